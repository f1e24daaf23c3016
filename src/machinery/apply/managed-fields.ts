/**
 * Managed fields: who set which field. Here: the entries of an object as field sets, and what an ordinary write (create, update,
 * patch) does to them. Server-side apply builds on it. Facts from k8s.io/apimachinery/pkg/util/managedfields: identity and
 * order of entries, what is never tracked, the bound on entries, how entries are reset.
 */
import { decodeObject } from "../decode.ts";
import type { ManagedFieldsEntry, ObjectMeta } from "../meta.ts";
import { equalObjects, isObject, type JsonObject } from "../object.ts";
import type { ObjectSchema } from "../schema.ts";
import { parseTime } from "../time.ts";
import {
  difference,
  emptySet,
  type FieldSet,
  fieldPath,
  intersection,
  isEmptySet,
  parseFieldSet,
  recursiveDifference,
  setOfPaths,
  union,
  writtenSet,
} from "./field-set.ts";
import { type Comparison, compareObjects, reconcileSet } from "./typed.ts";

/** One manager's fields. */
export interface Managed {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: FieldSet;
  /** The entry that this was read from, if nothing has changed: it is written back as it is. */
  readonly entry: ManagedFieldsEntry | undefined;
}
/** By identity: see identityOf. */
export type ManagedByIdentity = Map<string, Managed>;

/** An object as one of its versions: for entries that were written in another version than the request's. */
export interface VersionedSchema {
  readonly schema: ObjectSchema;
  /** The object in that version; it may be returned as it is if nothing differs. */
  readonly fromRequest: (object: JsonObject) => JsonObject;
  readonly toRequest: (object: JsonObject) => JsonObject;
}

export interface WriteContext {
  /** The version that the request speaks. */
  readonly apiVersion: string;
  readonly schema: ObjectSchema;
  /** The fieldManager parameter, else the user agent up to its first slash. */
  readonly manager: string;
  readonly subresource?: string;
  /** RFC 3339. */
  readonly now: string;
  /** Fields that this endpoint ignores or resets (status on the main endpoint), by version. */
  readonly resetFields?: (apiVersion: string) => FieldSet | undefined;
  /** Other versions of the kind; undefined: there is no such version (any more). */
  readonly version?: (apiVersion: string) => VersionedSchema | undefined;
}

/** As upstream: more Update entries than this are merged, the oldest first. */
const updateManagersMax = 10;
const oldUpdatesManager = "ancient-changes";

/** Never tracked: everybody sets them, or only the server does. */
const untracked = setOfPaths(
  [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
  ].map(fieldPath),
);

/** Applying in another version continues one's entry; updating in another version starts a new one. */
const identityOf = (one: Omit<Managed, "time" | "fields" | "entry">): string =>
  JSON.stringify([
    one.operation,
    one.manager,
    one.operation === "Apply" ? "" : one.apiVersion,
    one.subresource,
  ]);

export const metaOf = (object: JsonObject | undefined): ObjectMeta | undefined =>
  isObject(object?.["metadata"]) ? object["metadata"] : undefined;

/** Undefined: the entries are malformed. */
export function readManagedFields(
  entries: readonly ManagedFieldsEntry[] | undefined,
): ManagedByIdentity | undefined {
  const managed: ManagedByIdentity = new Map();
  for (const entry of entries ?? []) {
    const { operation, apiVersion = "" } = entry;
    if (operation !== "Apply" && operation !== "Update") return undefined;
    if (apiVersion === "" || entry.fieldsType !== "FieldsV1") return undefined;
    const fields = parseFieldSet(entry.fieldsV1);
    if (fields === undefined) return undefined;
    const one: Managed = {
      manager: entry.manager ?? "",
      operation,
      apiVersion,
      subresource: entry.subresource ?? "",
      time: entry.time,
      fields,
      entry,
    };
    managed.set(identityOf(one), one);
  }
  return managed;
}

const secondsOf = (time: string | undefined): number =>
  time === undefined ? 0 : Math.floor((parseTime(time) ?? 0) / 1000);
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const inOrder = (a: Managed, b: Managed): number =>
  compareText(a.operation, b.operation) ||
  secondsOf(a.time) - secondsOf(b.time) ||
  compareText(a.manager, b.manager) ||
  compareText(a.apiVersion, b.apiVersion) ||
  compareText(a.subresource, b.subresource);

/** The entries for metadata.managedFields; undefined: none. */
export function writeManagedFields(managed: ManagedByIdentity): ManagedFieldsEntry[] | undefined {
  if (managed.size === 0) return undefined;
  return [...managed.values()].sort(inOrder).map((one) => one.entry ?? entryOf(one));
}
const entryOf = (one: Managed): ManagedFieldsEntry => ({
  ...(one.manager === "" ? {} : { manager: one.manager }),
  operation: one.operation,
  apiVersion: one.apiVersion,
  ...(one.time === undefined ? {} : { time: one.time }),
  fieldsType: "FieldsV1",
  fieldsV1: writtenSet(one.fields),
  ...(one.subresource === "" ? {} : { subresource: one.subresource }),
});

/** Whether an object, parsed but not decoded, asks to forget who manages it. */
export const resetsManagers = (object: unknown): boolean =>
  isObject(object) &&
  isObject(object["metadata"]) &&
  asksForReset(object["metadata"]["managedFields"]);

/** A request resets managed fields by a list that is empty or has one empty item. The empty list must be seen before decoding. */
export const asksForReset = (managedFields: unknown): boolean =>
  Array.isArray(managedFields) &&
  (managedFields.length === 0 ||
    (managedFields.length === 1 && equalObjects(managedFields[0], {})));

const zeroObjects = new WeakMap<ObjectSchema, JsonObject>();
/** What a create is compared with: the empty object, with those empty parts that Go prints. */
export function emptyObjectOf(schema: ObjectSchema): JsonObject {
  let zero = zeroObjects.get(schema);
  if (zero === undefined) {
    zero = decodeObject(schema, {}, { strict: false }).object;
    zeroObjects.set(schema, zero);
  }
  return zero;
}

/** An object without its managed fields: they are about the others, not among them. */
export function withoutManagedFields(object: JsonObject): JsonObject {
  const meta = metaOf(object);
  if (meta?.managedFields === undefined) return object;
  const { managedFields: _, ...rest } = meta;
  return { ...object, metadata: rest };
}

export function manageOwn(
  context: WriteContext,
  operation: "Apply" | "Update",
): {
  readonly identity: string;
  readonly one: Managed;
} {
  const one: Managed = {
    manager: context.manager === "" ? "unknown" : context.manager,
    operation,
    apiVersion: context.apiVersion,
    subresource: context.subresource ?? "",
    time: context.now,
    fields: emptySet,
    entry: undefined,
  };
  return { identity: identityOf(one), one };
}

const withFields = (one: Managed, fields: FieldSet): Managed =>
  fields === one.fields ? one : { ...one, fields, entry: undefined };

function filtered(comparison: Comparison, reset: FieldSet | undefined): Comparison {
  if (reset === undefined) return comparison;
  return {
    added: recursiveDifference(comparison.added, reset),
    modified: recursiveDifference(comparison.modified, reset),
    removed: recursiveDifference(comparison.removed, reset),
  };
}

/** Everyone's sets as they read under today's schemas. */
export function reconcileAll(managed: ManagedByIdentity, context: WriteContext): ManagedByIdentity {
  const out: ManagedByIdentity = new Map();
  for (const [identity, one] of managed) {
    const schema =
      one.apiVersion === context.apiVersion
        ? context.schema
        : context.version?.(one.apiVersion)?.schema;
    // An entry of a version that is gone goes too.
    if (schema !== undefined) out.set(identity, withFields(one, reconcileSet(schema, one.fields)));
  }
  return out;
}

export interface Transfer {
  /** What others lose. */
  readonly conflicts: ReadonlyMap<string, FieldSet>;
  readonly managed: ManagedByIdentity;
  /** In the request's version. */
  readonly comparison: Comparison;
}

/**
 * What a change from one object to the other means for everyone but `writer`: fields that changed are no longer theirs, nor are
 * fields that are gone.
 */
export function transfer(
  before: JsonObject,
  after: JsonObject,
  managed: ManagedByIdentity,
  writer: string,
  context: WriteContext,
): Transfer {
  const comparisons = new Map<string, Comparison>();
  const compareIn = (apiVersion: string): Comparison | undefined => {
    const known = comparisons.get(apiVersion);
    if (known !== undefined) return known;
    let comparison: Comparison;
    if (apiVersion === context.apiVersion) {
      comparison = compareObjects(context.schema, before, after);
    } else {
      const version = context.version?.(apiVersion);
      if (version === undefined) return undefined;
      const { schema, fromRequest } = version;
      comparison = compareObjects(schema, fromRequest(before), fromRequest(after));
    }
    const result = filtered(comparison, context.resetFields?.(apiVersion));
    comparisons.set(apiVersion, result);
    return result;
  };
  const comparison = compareIn(context.apiVersion);
  if (comparison === undefined) throw new Error("a version compares with itself");
  const conflicts = new Map<string, FieldSet>();
  const out: ManagedByIdentity = new Map();
  for (const [identity, one] of managed) {
    if (identity === writer) {
      out.set(identity, one);
      continue;
    }
    const changes = compareIn(one.apiVersion);
    if (changes === undefined) continue;
    const taken = intersection(one.fields, union(changes.modified, changes.added));
    if (!isEmptySet(taken)) conflicts.set(identity, taken);
    const fields = difference(difference(one.fields, taken), changes.removed);
    if (!isEmptySet(fields)) out.set(identity, withFields(one, fields));
  }
  return { conflicts, managed: out, comparison };
}

/** Which entries a write starts from: the object's own (they may be edited directly), else those that are stored. */
function startingEntries(
  live: JsonObject | undefined,
  next: JsonObject,
  subresource: string,
): ManagedByIdentity {
  const stored = metaOf(live)?.managedFields;
  const sent = metaOf(next)?.managedFields;
  const readStored = (): ManagedByIdentity => readManagedFields(stored) ?? new Map();
  if (subresource !== "" || sent === undefined) return readStored();
  if (asksForReset(sent)) return new Map();
  if (sent === stored || equalObjects(sent, stored)) return readStored();
  const read = readManagedFields(sent);
  return read === undefined || read.size === 0 ? readStored() : read;
}

/**
 * The managed fields of `next` after an ordinary write (undefined: none). `live` is what was stored, undefined for a create; `next` is
 * what is going to be stored, canonical and complete. Neither is changed. `reset`: the request asked to forget (asksForReset).
 */
export function updateManagedFields(
  live: JsonObject | undefined,
  next: JsonObject,
  context: WriteContext & { readonly reset?: boolean },
): ManagedFieldsEntry[] | undefined {
  const subresource = context.subresource ?? "";
  const start =
    // Through a subresource entries cannot be edited.
    context.reset === true && subresource === ""
      ? new Map<string, Managed>()
      : startingEntries(live, next, subresource);
  // Upstream: an object whose managed fields were reset stays untracked until it is applied.
  if (start.size === 0 && live !== undefined) return undefined;
  const before = live === undefined ? emptyObjectOf(context.schema) : withoutManagedFields(live);
  return writeManagedFields(trackUpdate(before, withoutManagedFields(next), start, context));
}

/** An update by the context's manager, from one object to the other. */
export function trackUpdate(
  before: JsonObject,
  after: JsonObject,
  start: ManagedByIdentity,
  context: WriteContext,
): ManagedByIdentity {
  const reconciled = reconcileAll(start, context);
  // The writer's own earlier entry takes part like any other, and gets the changed fields back below.
  const { managed, comparison } = transfer(before, after, reconciled, "", context);
  const changed = difference(union(comparison.modified, comparison.added), untracked);
  if (!isEmptySet(changed)) {
    const { identity, one } = manageOwn(context, "Update");
    const previous = managed.get(identity)?.fields ?? emptySet;
    managed.set(identity, { ...one, fields: union(previous, changed) });
  }
  return capUpdates(managed);
}

/** Merges the oldest updates of each version into one entry, until there are few enough. */
function capUpdates(managed: ManagedByIdentity): ManagedByIdentity {
  const updates = [...managed].filter(([, one]) => one.operation === "Update");
  let count = updates.length;
  if (count <= updateManagersMax) return managed;
  updates.sort(
    ([identityA, a], [identityB, b]) =>
      secondsOf(a.time) - secondsOf(b.time) || compareText(identityA, identityB),
  );
  const firstOf = new Map<string, string>();
  for (const [identity, one] of updates) {
    if (count <= updateManagersMax) break;
    const first = firstOf.get(one.apiVersion);
    if (first === undefined) {
      firstOf.set(one.apiVersion, identity);
      continue;
    }
    const bucket: Managed = {
      ...one,
      manager: oldUpdatesManager,
      subresource: "",
      entry: undefined,
    };
    const bucketIdentity = identityOf(bucket);
    const gathered = managed.get(bucketIdentity) ?? managed.get(first);
    if (!managed.has(bucketIdentity)) managed.delete(first);
    managed.delete(identity);
    const fields = union(one.fields, gathered?.fields ?? emptySet);
    managed.set(bucketIdentity, { ...bucket, fields });
    count -= 1;
  }
  return managed;
}

export const untrackedFields = untracked;
