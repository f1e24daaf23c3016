/**
 * The scale subresource manages one field of its parent under another name: these turn the parent's managed fields into those of
 * the Scale object that a request works on, and back.
 */
import type { ManagedFieldsEntry } from "../meta.ts";
import { difference, emptySet, fieldPath, hasPath, isEmptySet, setOfPaths } from "./field-set.ts";
import { type ManagedByIdentity, readManagedFields, writeManagedFields } from "./managed-fields.ts";

const scaleVersion = "autoscaling/v1";
const replicasOfScale = fieldPath("spec.replicas");

/** Where the parent keeps its replicas (".spec.replicas" as "spec.replicas"), by apiVersion; undefined: no such version. */
export type ReplicasPaths = (apiVersion: string) => string | undefined;

export function toScale(
  parent: readonly ManagedFieldsEntry[] | undefined,
  paths: ReplicasPaths,
): ManagedFieldsEntry[] | undefined {
  const out: ManagedByIdentity = new Map();
  for (const [identity, one] of readManagedFields(parent) ?? []) {
    const path = paths(one.apiVersion);
    if (path === undefined || !hasPath(one.fields, fieldPath(path))) continue;
    const fields = setOfPaths([replicasOfScale]);
    out.set(identity, { ...one, apiVersion: scaleVersion, fields, entry: undefined });
  }
  return writeManagedFields(out);
}

/** `apiVersion`: the parent's, in which the request came. */
export function fromScale(
  parent: readonly ManagedFieldsEntry[] | undefined,
  scale: readonly ManagedFieldsEntry[] | undefined,
  apiVersion: string,
  paths: ReplicasPaths,
): ManagedFieldsEntry[] | undefined {
  const key = (one: { manager: string; operation: string; subresource: string }): string =>
    JSON.stringify([one.operation, one.manager, one.subresource]);
  const owners = new Map(
    [...(readManagedFields(scale) ?? new Map()).values()].map((one) => [key(one), one]),
  );
  const out: ManagedByIdentity = new Map();
  for (const [identity, one] of readManagedFields(parent) ?? []) {
    const path = paths(one.apiVersion);
    if (path === undefined) continue;
    if (!hasPath(one.fields, fieldPath(path)) || owners.delete(key(one))) {
      out.set(identity, one);
      continue;
    }
    // Someone else has set the replicas through scale.
    const fields = difference(one.fields, setOfPaths([fieldPath(path)]));
    if (!isEmptySet(fields)) out.set(identity, { ...one, fields, entry: undefined });
  }
  const path = paths(apiVersion);
  for (const [identity, one] of owners) {
    if (path === undefined || !hasPath(one.fields, replicasOfScale)) continue;
    const fields = path === "" ? emptySet : setOfPaths([fieldPath(path)]);
    out.set(`scale ${identity}`, { ...one, apiVersion, fields, entry: undefined });
  }
  return writeManagedFields(out);
}
