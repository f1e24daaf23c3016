/** Windows: subresources that show and take the whole object, but change only some fields of it. */
import type { ApiObject } from "#machinery/meta.ts";

type Spec = Record<string, unknown>;
const specOf = (object: ApiObject): Spec => (object as ApiObject & { spec: Spec }).spec;

function copyField(field: string): (into: ApiObject, from: ApiObject) => void {
  return (into, from) => {
    const value = specOf(from)[field];
    if (value === undefined) delete specOf(into)[field];
    else specOf(into)[field] = value;
  };
}

function copyResize(into: ApiObject, from: ApiObject): void {
  type WithResources = { name: string; resources?: unknown; resizePolicy?: unknown };
  const asked = from as ApiObject & { spec: { containers: WithResources[] } };
  const target = into as ApiObject & { spec: { containers: WithResources[] } };
  for (const container of target.spec.containers) {
    const other = asked.spec.containers.find(({ name }) => name === container.name);
    if (other?.resources !== undefined) container.resources = other.resources;
  }
}

/** Upstream: these see and write the whole object, but change only these fields of it. */
export const windows: Readonly<Record<string, (into: ApiObject, from: ApiObject) => void>> = {
  "/namespaces/finalize": copyField("finalizers"),
  "/pods/ephemeralcontainers": copyField("ephemeralContainers"),
  "/pods/resize": copyResize,
};
