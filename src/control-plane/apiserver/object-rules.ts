/** Laws about metadata that hold for every kind and every write. */
import type { ApiObject, ObjectMeta, OwnerReference } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { badRequest } from "#machinery/status-error.ts";

/** What only the server sets. */
export function wipeSystemFields(metadata: ObjectMeta): void {
  delete metadata.uid;
  delete metadata.creationTimestamp;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.selfLink;
}

/** An object goes where the request goes. */
export function ensureNamespace(metadata: ObjectMeta, namespace: string): void {
  if (metadata.namespace === undefined || metadata.namespace === "") {
    if (namespace !== "") metadata.namespace = namespace;
    return;
  }
  if (metadata.namespace !== namespace)
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request",
    );
}

export function checkName(object: ApiObject, name: string): void {
  const own = object.metadata.name ?? "";
  if (own === "")
    throw badRequest(
      `the name of the object (${name} based on URL) was undeterminable: name must be provided`,
    );
  if (own !== name)
    throw badRequest(
      `the name of the object (${own}) does not match the name on the URL (${name})`,
    );
}

/** Drops owners that are named twice, and says so. */
export function dedupeOwners(
  metadata: ObjectMeta,
  warnings: string[],
  afterAdmission: boolean,
): void {
  const owners = metadata.ownerReferences;
  if (owners === undefined || owners.length < 2) return;
  const kept: OwnerReference[] = [];
  const twice: string[] = [];
  for (const owner of owners) {
    if (kept.some((one) => equalObjects(one, owner))) twice.push(owner.uid);
    else kept.push(owner);
  }
  if (twice.length === 0) return;
  metadata.ownerReferences = kept;
  const uids = twice.join(", ");
  warnings.push(
    afterAdmission
      ? `.metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: ${uids}`
      : `.metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: ${uids}`,
  );
}

/** Everything but metadata and status: what the generation counts. `isTyped`: not a custom resource. */
export function sameBesidesStatus(a: ApiObject, b: ApiObject, isTyped: boolean): boolean {
  return equalObjects(
    { ...a, metadata: undefined, status: undefined },
    { ...b, metadata: undefined, status: undefined },
    isTyped,
  );
}

const withoutTimes = (object: ApiObject): ApiObject => {
  const { managedFields, resourceVersion: _, ...metadata } = object.metadata;
  const entries = managedFields?.map(({ time: _time, ...entry }) => entry);
  return {
    ...object,
    metadata: entries === undefined ? metadata : { ...metadata, managedFields: entries },
  };
};

/** Whether writing `next` over `old` would change nothing but when who last managed it. */
export const isNoChange = (next: ApiObject, old: ApiObject, isTyped: boolean): boolean =>
  equalObjects(withoutTimes(next), withoutTimes(old), isTyped);
