/**
 * Strategic merge patch: a merge patch that knows the schema, so that lists with merge keys are merged item by item. Facts from
 * k8s.io/apimachinery/pkg/util/strategicpatch: directives ($patch, $retainKeys, $deleteFromPrimitiveList/…,
 * $setElementOrder/…), the order of the result, the wording of errors.
 */
import { cloneJson, getKey, isObject, type JsonObject, setKey } from "./object.ts";
import { PatchError } from "./patch-error.ts";
import type { Field, ObjectSchema, Schema } from "./schema.ts";

const directiveKey = "$patch";
const retainKey = "$retainKeys";
const deletePrefix = "$deleteFromPrimitiveList";
const orderPrefix = "$setElementOrder";

const badPrimitiveList = "invalid patch format of primitive list";
const badRetainKeys = "invalid patch format of retainKeys";
const badOrderList = "invalid patch format of setElementOrder list";

/** The patched object, sharing nothing with the input. Throws PatchError. */
export function strategicMergePatch(
  schema: ObjectSchema,
  object: JsonObject,
  patch: unknown,
): JsonObject {
  if (!isObject(patch)) {
    const name = Array.isArray(patch) ? "array" : patch === null ? "null" : typeof patch;
    const type = "map[string]interface {}";
    throw new PatchError(
      "BadRequest",
      `json: cannot unmarshal ${name} into Go value of type ${type}`,
    );
  }
  return mergeMap(schema, cloneJson(object), cloneJson(patch));
}

/** What is known of a place in the object: its schema, or nothing (raw JSON). */
type Known = Schema | undefined;

/** Of a key in an object or map: the schema of its value, and how lists there merge. */
interface Place {
  readonly schema: Known;
  readonly strategy: string | undefined;
  readonly mergeKey: string;
}
function placeOf(schema: Known, key: string): Place {
  if (schema === undefined || schema.type === "any" || schema.type === "fields") {
    return { schema: undefined, strategy: undefined, mergeKey: "" };
  }
  if (schema.type === "map") return { schema: schema.values, strategy: undefined, mergeKey: "" };
  const field: Field | undefined = schema.type === "object" ? schema.fields.get(key) : undefined;
  if (field === undefined) {
    const name =
      schema.type === "object" ? schema.name.slice(schema.name.lastIndexOf(".") + 1) : "";
    throw new PatchError(
      "Unknown",
      `unable to find api field in struct ${name} for the json field ${JSON.stringify(key)}`,
    );
  }
  const strategy = field.patchStrategy?.find((one) => one !== "retainKeys");
  return { schema: field.schema, strategy, mergeKey: field.patchMergeKey ?? "" };
}
const itemsOf = (schema: Known): Known => (schema?.type === "list" ? schema.items : undefined);

function badDirective(directive: unknown, map: JsonObject): never {
  throw new PatchError(
    "Unknown",
    `unknown patch type: ${goText(directive)} in map: ${goText(map)}`,
  );
}
function noMergeKey(map: JsonObject, key: string): never {
  throw new PatchError(
    "Unknown",
    `map: ${goText(map)} does not contain declared merge key: ${key}`,
  );
}
const goTypes: Readonly<Record<string, string>> = {
  string: "string",
  boolean: "bool",
  number: "int64",
};
function badType(expected: "map[string]interface {}" | "[]interface {}", actual: unknown): never {
  const name = Array.isArray(actual)
    ? "[]interface {}"
    : isObject(actual)
      ? "map[string]interface {}"
      : (goTypes[typeof actual] ?? "%!s(<nil>)");
  throw new PatchError("Unknown", `expected a ${expected}, but received a ${name}`);
}

/** A value as Go's %v prints it: "map[a:1 b:[x y]]". */
function goText(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).sort();
    return `map[${keys.map((key) => `${key}:${goText(value[key])}`).join(" ")}]`;
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Merges `patch` into `original`; both are ours to change. */
function mergeMap(schema: Known, original: JsonObject, patch: JsonObject): JsonObject {
  if (Object.hasOwn(patch, directiveKey)) return obeyDirective(patch);
  applyRetainKeys(original, patch);
  mergeOrderedLists(schema, original, patch);
  for (const patchKey of Object.keys(patch)) {
    const value = patch[patchKey];
    const isDeleteList = patchKey.startsWith(deletePrefix);
    const key = isDeleteList ? listKey(patchKey, deletePrefix, badPrimitiveList) : patchKey;
    if (value === null) {
      delete original[key];
      continue;
    }
    const current = getKey(original, key);
    if (current === undefined || !isSameKind(current, value)) {
      if (!isDeleteList) take(original, key, value);
    } else if (Array.isArray(current) && Array.isArray(value)) {
      setKey(original, key, mergeField(schema, key, current, value, isDeleteList));
    } else if (isObject(current) && isObject(value)) {
      const place = placeOf(schema, key);
      const merged = place.strategy === "replace" ? value : mergeMap(place.schema, current, value);
      setKey(original, key, merged);
    } else take(original, key, value);
  }
  return original;
}

function obeyDirective(patch: JsonObject): JsonObject {
  const directive = patch[directiveKey];
  if (directive === "delete") return {};
  if (directive !== "replace") return badDirective(directive, patch);
  delete patch[directiveKey];
  return patch;
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? "list" : typeof value);
const isSameKind = (a: unknown, b: unknown): boolean => kindOf(a) === kindOf(b) && a !== null;

/** Puts a value of the patch in place as it is, without its nulls and directives. */
function take(target: JsonObject, key: string, value: unknown): void {
  discardNulls(value);
  const kept = withoutDirectives(value);
  if (kept === undefined) delete target[key];
  else setKey(target, key, kept);
}
function discardNulls(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) discardNulls(item);
  else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      if (value[key] === null) delete value[key];
      else discardNulls(value[key]);
    }
  }
}
/** Undefined: the value is itself a directive and goes. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(withoutDirectives).filter((item) => item !== undefined);
  }
  if (!isObject(value)) return value;
  if (Object.hasOwn(value, directiveKey)) return undefined;
  for (const key of Object.keys(value)) {
    const kept = withoutDirectives(value[key]);
    if (kept === undefined) delete value[key];
    else setKey(value, key, kept);
  }
  return value;
}

/** "$setElementOrder/containers" → "containers". */
function listKey(key: string, prefix: string, problem: string): string {
  if (!key.startsWith(`${prefix}/`)) throw new PatchError("BadRequest", problem);
  return key.slice(prefix.length + 1);
}

/** $retainKeys lists every key that may stay. */
function applyRetainKeys(original: JsonObject, patch: JsonObject): void {
  if (!Object.hasOwn(patch, retainKey)) return;
  const list = patch[retainKey];
  delete patch[retainKey];
  if (!Array.isArray(list)) throw new PatchError("BadRequest", badRetainKeys);
  const retained = new Set<unknown>(list);
  for (const key of Object.keys(patch)) {
    const isList = key.startsWith(deletePrefix) || key.startsWith(orderPrefix);
    if (patch[key] === null || isList || retained.has(key)) continue;
    throw new PatchError("BadRequest", badRetainKeys);
  }
  for (const key of Object.keys(original)) if (!retained.has(key)) delete original[key];
}

/** $setElementOrder: merges the list it speaks of, and puts the result in that order. */
function mergeOrderedLists(schema: Known, original: JsonObject, patch: JsonObject): void {
  for (const orderKey of Object.keys(patch)) {
    if (!orderKey.startsWith(orderPrefix)) continue;
    const order = patch[orderKey];
    delete patch[orderKey];
    if (!Array.isArray(order)) badType("[]interface {}", order);
    const key = listKey(orderKey, orderPrefix, badOrderList);
    const current = getKey(original, key);
    const changes = getKey(patch, key);
    if (current !== undefined && !Array.isArray(current)) badType("[]interface {}", current);
    if (changes !== undefined && !Array.isArray(changes)) badType("[]interface {}", changes);
    const place = placeOf(schema, key);
    checkOrder(changes ?? [], order as unknown[], place.mergeKey);
    if (current === undefined && changes === undefined) continue;
    const before: readonly unknown[] = [...(current ?? [])];
    let merged: unknown[] = current ?? [];
    if (changes !== undefined) {
      delete patch[key];
      merged =
        current === undefined
          ? (withoutDirectives(changes) as unknown[])
          : mergeByStrategy(place, current, changes, false);
    }
    setKey(original, key, arrange(merged, order as unknown[], before, place.mergeKey));
  }
}

/** The items of the patch must stand in the order list, in the same order. */
function checkOrder(changes: unknown[], order: unknown[], mergeKey: string): void {
  if (order.length === 0 || changes.length === 0) return;
  const listed = changes.filter((item) => !isObject(item) || !Object.hasOwn(item, directiveKey));
  let at = 0;
  for (const item of order) {
    if (at >= listed.length) return;
    if (identityOf(item, mergeKey) === identityOf(listed[at], mergeKey)) at += 1;
  }
  if (at < listed.length) {
    const message = `The order in patch list:\n${goText(changes)}\n doesn't match ${orderPrefix} list:\n${goText(order)}\n`;
    throw new PatchError("Unknown", message);
  }
}

/** What tells an item of a merging list from others: the value of its merge key, or the scalar itself. */
function identityOf(item: unknown, mergeKey: string): unknown {
  if (mergeKey === "") return item;
  if (!isObject(item)) return badType("map[string]interface {}", item);
  const identity = getKey(item, mergeKey);
  return identity === undefined ? noMergeKey(item, mergeKey) : identity;
}

function mergeField(
  schema: Known,
  key: string,
  current: unknown[],
  changes: unknown[],
  isDeleteList: boolean,
): unknown[] {
  return mergeByStrategy(placeOf(schema, key), current, changes, isDeleteList);
}
function mergeByStrategy(
  place: Place,
  current: unknown[],
  changes: unknown[],
  isDeleteList: boolean,
): unknown[] {
  if (isDeleteList) {
    const gone = new Set(changes);
    return current.filter((item) => !gone.has(item));
  }
  if (place.strategy !== "merge") return changes;
  if (current.length === 0 && changes.length === 0) return current;
  if (itemKind(current, changes) !== "object") {
    const merged = [...new Set([...current, ...changes])];
    return arrange(merged, changes, current, "");
  }
  if (place.mergeKey === "") {
    throw new PatchError("Unknown", "cannot merge lists without merge key for struct");
  }
  return mergeItems(itemsOf(place.schema), place.mergeKey, current, changes);
}

/** All items must be of one kind, and none a list. */
function itemKind(...lists: readonly (readonly unknown[])[]): string {
  const kinds = new Set(lists.flat(1).map(kindOf));
  for (const list of lists) {
    if (list.some(Array.isArray)) {
      throw new PatchError("Invalid", "lists of lists are not supported");
    }
  }
  if (kinds.size > 1) {
    throw new PatchError("Unknown", `list element types are not identical: ${goText(lists)}`);
  }
  return [...kinds][0] ?? "undefined";
}

function mergeItems(
  schema: Known,
  mergeKey: string,
  current: unknown[],
  changes: unknown[],
): unknown[] {
  let kept = current;
  let replaces = false;
  const updates: JsonObject[] = [];
  for (const change of changes) {
    if (!isObject(change)) return badType("map[string]interface {}", change);
    const directive = getKey(change, directiveKey);
    if (directive === undefined) updates.push(change);
    else if (directive === "replace") replaces = true;
    else if (directive === "delete") {
      const gone = identityOf(change, mergeKey);
      kept = kept.filter((item) => !isObject(item) || getKey(item, mergeKey) !== gone);
    } else if (directive === "merge") {
      throw new PatchError("Unknown", "merging lists cannot yet be specified in the patch");
    } else badDirective(directive, change);
  }
  if (replaces) return arrange(updates, [], updates, mergeKey);
  const merged = [...kept];
  const places = new Map<unknown, number>();
  for (const [index, item] of merged.entries()) {
    if (!isObject(item)) return badType("map[string]interface {}", item);
    const identity = getKey(item, mergeKey);
    if (identity !== undefined && !places.has(identity)) places.set(identity, index);
  }
  for (const update of updates) {
    const identity = identityOf(update, mergeKey);
    const at = places.get(identity);
    const old = at === undefined ? undefined : merged[at];
    if (at === undefined || !isObject(old)) {
      places.set(identity, merged.length);
      merged.push(update);
    } else merged[at] = mergeMap(schema, old, update);
  }
  return arrange(merged, updates, kept, mergeKey);
}

/**
 * The order of a merged list: items that `order` names follow it; the others follow `before`. The two are woven together by
 * `before`, best effort, without breaking either order.
 */
function arrange(
  merged: readonly unknown[],
  order: readonly unknown[],
  before: readonly unknown[],
  mergeKey: string,
): unknown[] {
  const ranks = (list: readonly unknown[]): Map<unknown, number> => {
    const ranked = new Map<unknown, number>();
    for (const [index, item] of list.entries()) {
      const identity = mergeKey === "" ? item : isObject(item) ? getKey(item, mergeKey) : undefined;
      if (!ranked.has(identity)) ranked.set(identity, index);
    }
    return ranked;
  };
  const wanted = ranks(order);
  const live = ranks(before);
  const listed: unknown[] = [];
  const others: unknown[] = [];
  for (const item of merged) {
    (wanted.has(identityOf(item, mergeKey)) ? listed : others).push(item);
  }
  const rankIn = (ranked: Map<unknown, number>, item: unknown): number =>
    ranked.get(identityOf(item, mergeKey)) ?? -1;
  listed.sort((a, b) => rankIn(wanted, a) - rankIn(wanted, b));
  others.sort((a, b) => rankIn(live, a) - rankIn(live, b));
  const woven: unknown[] = [];
  let next = 0;
  for (const item of listed) {
    const at = rankIn(live, item);
    for (; next < others.length; next++) {
      const other = rankIn(live, others[next]);
      if (other < 0 || other >= at) break;
      woven.push(others[next]);
    }
    woven.push(item);
  }
  return [...woven, ...others.slice(next)];
}
