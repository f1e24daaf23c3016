/** Windows: subresources that show and take the whole object, but change only some fields of it. */
import type { ApiObject } from "#machinery/meta.ts";

type WithSpec = ApiObject & { spec: Record<string, unknown> };

export interface Window {
  /** The fields of the spec that are seen to change. */
  readonly fields: readonly string[];
  /** What is brought over; everything else stays as it was. "status": the status, as the strategy lets it. */
  readonly copy: ((into: ApiObject, from: ApiObject) => void) | "status";
}

const onField = (field: string): Window => ({
  fields: [field],
  copy(into, from) {
    const value = (from as WithSpec).spec[field];
    if (value === undefined) delete (into as WithSpec).spec[field];
    else (into as WithSpec).spec[field] = value;
  },
});

export const windows: Readonly<Record<string, Window>> = {
  "certificates.k8s.io/certificatesigningrequests/approval": { fields: [], copy: "status" },
  "/namespaces/finalize": onField("finalizers"),
  "/pods/ephemeralcontainers": onField("ephemeralContainers"),
  "/pods/resize": {
    fields: ["containers", "initContainers", "resources"],
    // Which of its fields may change is the strategy's business: it sees containers that do not fit.
    copy(into, from) {
      (into as WithSpec).spec = (from as WithSpec).spec;
    },
  },
};

export const windowOf = (
  { group, plural }: { readonly group: string; readonly plural: string },
  subresource: string,
): Window | undefined => windows[`${group}/${plural}/${subresource}`];
