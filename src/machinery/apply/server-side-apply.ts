/**
 * Server-side apply: merges what a manager applies into the object, takes away what it no longer applies, and says who else manages
 * fields that it would change. Facts from k8s.io/apimachinery/pkg/util/managedfields and sigs.k8s.io/structured-merge-diff/merge.
 */
import type { ManagedFieldsEntry } from "../meta.ts";
import { cloneJson, equalObjects, isObject, type JsonObject } from "../object.ts";
import { badRequest, StatusError } from "../status-error.ts";
import {
  difference,
  emptySet,
  type FieldPath,
  type FieldSet,
  formatPath,
  hasPath,
  intersection,
  isEmptySet,
  pathsOf,
  recursiveDifference,
  union,
} from "./field-set.ts";
import {
  emptyObjectOf,
  type Managed,
  type ManagedByIdentity,
  manageOwn,
  metaOf,
  readManagedFields,
  reconcileAll,
  trackUpdate,
  transfer,
  untrackedFields,
  type WriteContext,
  withoutManagedFields,
  writeManagedFields,
} from "./managed-fields.ts";
import {
  compareObjects,
  fieldSetOf,
  mergeObjects,
  removeFields,
  typedMessage,
  typedProblems,
  withNamedFields,
} from "./typed.ts";

export const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";
/** Owns what was there when nothing was tracked yet. */
const beforeFirstApply = "before-first-apply";
/** kubectl's own manager: only for it is the move from client-side apply made smooth. */
const kubectlManager = "kubectl";
const annotationsBytesMax = 256 * 1024;

export interface ApplyContext extends WriteContext {
  readonly kind: string;
  readonly force: boolean;
}
export interface Applied {
  /** Plain and not yet decoded: it may hold nulls, and has no defaults. Without managedFields. */
  readonly object: JsonObject;
  readonly managedFields: ManagedFieldsEntry[] | undefined;
  /** False: the object is as it was (managedFields may differ all the same). */
  readonly changed: boolean;
}

interface Conflict {
  readonly manager: Managed;
  readonly path: FieldPath;
}
class ConflictsFound extends Error {
  readonly conflicts: readonly Conflict[];
  constructor(conflicts: readonly Conflict[]) {
    super("fields are managed by others");
    this.conflicts = conflicts;
  }
}

/**
 * What the object becomes. `live` is what is stored, in the request's version; undefined: apply creates it. `config` is the applied
 * configuration as it was sent (parsed, not decoded). Throws StatusError: 409 with all conflicts, 400 for a configuration that
 * cannot be applied, 500 (as upstream) for one that does not fit its schema.
 */
export function applyManaged(
  live: JsonObject | undefined,
  config: JsonObject,
  context: ApplyContext,
): Applied {
  checkConfig(config, context);
  const entries = metaOf(live)?.managedFields;
  const managed = readManagedFields(entries);
  if (managed === undefined) {
    throw new StatusError(500, "InternalError", "failed to decode managed fields");
  }
  const before = live === undefined ? emptyObjectOf(context.schema) : withoutManagedFields(live);
  let start = managed;
  if (start.size === 0) {
    const { force: _, ...writer } = { ...context, manager: beforeFirstApply };
    start = trackUpdate(emptyObjectOf(context.schema), before, start, writer);
  }
  const applied = migrate(before, config, start, context);
  return applied.changed ? withLastApplied(applied, config, context) : applied;
}

function checkConfig(config: JsonObject, context: ApplyContext): void {
  const { apiVersion, kind } = config;
  const version = typeof apiVersion === "string" ? apiVersion : "";
  if (version !== context.apiVersion || kind !== context.kind) {
    const groupVersion = version.includes("/") ? version : `/${version}`;
    throw badRequest(
      `invalid object type: ${groupVersion}, Kind=${typeof kind === "string" ? kind : ""}`,
    );
  }
  if (isObject(config["metadata"]) && (config["metadata"]["managedFields"] ?? null) !== null) {
    throw badRequest("metadata.managedFields must be nil");
  }
  const problems = typedProblems(context.schema, config);
  if (problems.length === 0) return;
  const meta = metaOf(config);
  const name = `${meta?.namespace ?? ""}/${meta?.name ?? ""}; ${context.apiVersion}, Kind=${context.kind}`;
  const message = `failed to create typed patch object (${name}): ${typedMessage(problems)}`;
  throw new StatusError(500, "", message);
}

/**
 * Applies; where kubectl meets conflicts only about fields that it has itself applied from the client (the annotation tells), it takes
 * them over.
 */
function migrate(
  before: JsonObject,
  config: JsonObject,
  managed: ManagedByIdentity,
  context: ApplyContext,
): Applied {
  try {
    return apply(before, config, managed, context);
  } catch (error) {
    if (!(error instanceof ConflictsFound)) throw error;
    const allowed =
      context.manager === kubectlManager ? fieldsOfLastApplied(before, context) : undefined;
    if (allowed === undefined) throw conflictError(error.conflicts);
    const left = error.conflicts.filter(({ path }) => !hasPath(allowed, path));
    if (left.length > 0) throw conflictError(left);
    return apply(before, config, managed, { ...context, force: true });
  }
}

/** Fields that client-side apply set and nobody changed since; undefined: none was made, or not in this version. */
function fieldsOfLastApplied(live: JsonObject, context: ApplyContext): FieldSet | undefined {
  const text = metaOf(live)?.annotations?.[lastAppliedAnnotation];
  if (text === undefined || text === "") return undefined;
  let last: unknown;
  try {
    last = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(last) || last["apiVersion"] !== context.apiVersion) return undefined;
  if (typedProblems(context.schema, last).length > 0) return undefined;
  const { added, modified, removed } = compareObjects(context.schema, last, live);
  const fields = fieldSetOf(context.schema, last);
  return difference(difference(difference(fields, modified), added), removed);
}

function apply(
  before: JsonObject,
  config: JsonObject,
  start: ManagedByIdentity,
  context: ApplyContext,
): Applied {
  const managed = reconcileAll(start, context);
  const { identity, one } = manageOwn(context, "Apply");
  const last = managed.get(identity);
  const reset = context.resetFields?.(context.apiVersion);
  const all = fieldSetOf(context.schema, config);
  const fields = reset === undefined ? all : recursiveDifference(all, reset);
  const own: Managed = { ...one, fields, time: last?.time };
  managed.set(identity, own);
  const merged = mergeObjects(context.schema, before, config);
  const after = prune(merged, managed, last, context);
  const moved = transfer(before, after, managed, identity, context);
  if (!context.force && moved.conflicts.size > 0) {
    throw new ConflictsFound(conflictsOf(moved.conflicts, managed));
  }
  const changed = !equalObjects(before, after);
  const kept = difference(fields, untrackedFields);
  if (isEmptySet(kept)) moved.managed.delete(identity);
  else {
    const time = changed ? context.now : last?.time;
    moved.managed.set(identity, { ...own, fields: kept, time });
  }
  return {
    object: cloneJson(changed ? after : before),
    managedFields: writeManagedFields(moved.managed),
    changed,
  };
}

/** The request's version, or another one. */
interface View {
  readonly schema: WriteContext["schema"];
  readonly from: (object: JsonObject) => JsonObject;
  readonly to: (object: JsonObject) => JsonObject;
}
const same = (object: JsonObject): JsonObject => object;
function viewOf(context: WriteContext, apiVersion: string): View | undefined {
  if (apiVersion === context.apiVersion) return { schema: context.schema, from: same, to: same };
  const version = context.version?.(apiVersion);
  if (version === undefined) return undefined;
  return { schema: version.schema, from: version.fromRequest, to: version.toRequest };
}

/** Takes away what the manager applied last time, does not apply now, and nobody else manages. */
function prune(
  merged: JsonObject,
  managed: ManagedByIdentity,
  last: Managed | undefined,
  context: WriteContext,
): JsonObject {
  if (last === undefined || isEmptySet(last.fields)) return merged;
  const view = viewOf(context, last.apiVersion);
  if (view === undefined) return merged;
  const object = view.from(merged);
  const lastFields = withNamedFields(view.schema, last.fields);
  let pruned = view.to(removeFields(view.schema, object, lastFields));
  pruned = addBackOwned(merged, pruned, last.apiVersion, managed, context);
  // Only what the manager itself had applied may go: fields of nobody, or of updates, stay.
  const mergedFields = withNamedFields(view.schema, fieldSetOf(view.schema, object));
  const prunedFields = withNamedFields(view.schema, fieldSetOf(view.schema, view.from(pruned)));
  const gone = intersection(difference(mergedFields, prunedFields), lastFields);
  return view.to(removeFields(view.schema, object, gone));
}

/** Puts back what someone (the new configuration too) manages, version by version. */
function addBackOwned(
  merged: JsonObject,
  pruned: JsonObject,
  firstVersion: string,
  managed: ManagedByIdentity,
  context: WriteContext,
): JsonObject {
  const byVersion = new Map<string, FieldSet>();
  for (const one of managed.values()) {
    byVersion.set(one.apiVersion, union(byVersion.get(one.apiVersion) ?? emptySet, one.fields));
  }
  const versions = [...byVersion.keys()].sort(
    (a, b) => Number(b === firstVersion) - Number(a === firstVersion),
  );
  let result = pruned;
  for (const apiVersion of versions) {
    const view = viewOf(context, apiVersion);
    if (view === undefined) continue;
    const { schema } = view;
    const object = view.from(merged);
    const mergedFields = withNamedFields(schema, fieldSetOf(schema, object));
    const prunedFields = withNamedFields(schema, fieldSetOf(schema, view.from(result)));
    const ownedFields = withNamedFields(schema, byVersion.get(apiVersion) ?? emptySet);
    const gone = difference(mergedFields, union(prunedFields, ownedFields));
    result = view.to(removeFields(schema, object, gone));
  }
  return result;
}

function conflictsOf(
  sets: ReadonlyMap<string, FieldSet>,
  managed: ManagedByIdentity,
): readonly Conflict[] {
  const conflicts: Conflict[] = [];
  for (const [identity, set] of sets) {
    const manager = managed.get(identity);
    if (manager === undefined) continue;
    for (const path of pathsOf(set)) conflicts.push({ manager, path });
  }
  return conflicts;
}

/** `"kubectl-client-side-apply" using apps/v1`. */
function describeManager({ manager, operation, apiVersion, subresource }: Managed): string {
  const name = JSON.stringify(manager);
  const through = subresource === "" ? "" : ` with subresource ${JSON.stringify(subresource)}`;
  return `${name}${through}${operation === "Update" ? ` using ${apiVersion}` : ""}`;
}

/** Upstream lists managers by the JSON of what identifies them. */
const sortKeyOf = ({ manager, operation, apiVersion, subresource }: Managed): string =>
  JSON.stringify({
    manager,
    operation,
    ...(operation === "Update" ? { apiVersion } : {}),
    ...(subresource === "" ? {} : { subresource }),
  });

function conflictError(conflicts: readonly Conflict[]): StatusError {
  const causes = conflicts.map(({ manager, path }) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${describeManager(manager)}`,
    field: formatPath(path),
  }));
  const [first] = causes;
  if (first !== undefined && causes.length === 1) {
    const message = `Apply failed with 1 conflict: ${first.message}: ${first.field}`;
    return new StatusError(409, "Conflict", message, { causes });
  }
  const byManager = new Map<string, string[]>();
  for (const { manager, path } of conflicts) {
    const key = sortKeyOf(manager);
    const lines = byManager.get(key) ?? [`conflicts with ${describeManager(manager)}:`];
    byManager.set(key, [...lines, `- ${formatPath(path)}`]);
  }
  const lines = [...byManager].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, list]) => list);
  const message = `Apply failed with ${causes.length} conflicts: ${lines.join("\n")}`;
  return new StatusError(409, "Conflict", message, { causes });
}

/** Keeps client-side apply's annotation true where there is one, so that one may go back to it. */
function withLastApplied(applied: Applied, config: JsonObject, context: ApplyContext): Applied {
  if (context.manager !== kubectlManager) return applied;
  const { object } = applied;
  const meta = object["metadata"];
  const annotations = isObject(meta) ? meta["annotations"] : undefined;
  if (!isObject(meta) || !isObject(annotations)) return applied;
  const old = annotations[lastAppliedAnnotation];
  if (old === undefined || old === "") return applied;
  const configMeta = isObject(config["metadata"]) ? config["metadata"] : {};
  const configAnnotations = isObject(configMeta["annotations"]) ? configMeta["annotations"] : {};
  const { [lastAppliedAnnotation]: _, ...rest } = configAnnotations;
  const annotationsPart = configMeta["annotations"] === undefined ? {} : { annotations: rest };
  const text = `${JSON.stringify({ ...config, metadata: { ...configMeta, ...annotationsPart } })}\n`;
  const next: JsonObject = { ...annotations, [lastAppliedAnnotation]: text };
  const encoder = new TextEncoder();
  const bytes = Object.entries(next).reduce(
    (sum, [key, value]) => sum + encoder.encode(key + String(value)).length,
    0,
  );
  if (bytes > annotationsBytesMax) delete next[lastAppliedAnnotation];
  return { ...applied, object: { ...object, metadata: { ...meta, annotations: next } } };
}
