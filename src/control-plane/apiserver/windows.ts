/** Windows: subresources that show and take the whole object, but change only some fields of it. */
import type { ApiObject } from "#machinery/meta.ts";

type Spec = Record<string, unknown>;
type WithSpec = ApiObject & { spec: Spec };

function copyField(field: string): (into: ApiObject, from: ApiObject) => void {
  return (into, from) => {
    const value = (from as WithSpec).spec[field];
    if (value === undefined) delete (into as WithSpec).spec[field];
    else (into as WithSpec).spec[field] = value;
  };
}

/** Which of its fields may change is then the strategy's business. */
function copySpec(into: ApiObject, from: ApiObject): void {
  (into as WithSpec).spec = (from as WithSpec).spec;
}

/** What each brings over; everything else stays as it was. */
export const windows: Readonly<Record<string, (into: ApiObject, from: ApiObject) => void>> = {
  "/namespaces/finalize": copyField("finalizers"),
  "/pods/ephemeralcontainers": copyField("ephemeralContainers"),
  "/pods/resize": copySpec,
};
