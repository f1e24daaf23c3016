/**
 * The patch that brings what is there (current) to what is wanted (modified), taking out what was wanted before (original) and is no
 * more, and leaving alone what others put in. Strategic where the kind's schema is known, else a JSON merge patch. Facts from
 * k8s.io/apimachinery/pkg/util/{strategicpatch,jsonmergepatch}.
 */
import {
  equalObjects,
  getKey,
  isObject,
  type JsonObject,
  setKey,
  sortedKeys,
} from "#machinery/object.ts";
import type { ObjectSchema, Schema } from "#machinery/schema.ts";
import { CommandError } from "./errors.ts";
import { compactJson } from "./json-print.ts";

const orderKey = (key: string): string => `$setElementOrder/${key}`;
const removalKey = (key: string): string => `$deleteFromPrimitiveList/${key}`;

/** "changes": what is new or differs; "removals": what is gone. */
type Which = "changes" | "removals";

interface Place {
  readonly schema: Schema | undefined;
  readonly merges: boolean;
  readonly replaces: boolean;
  readonly retains: boolean;
  readonly mergeKey: string;
}
function placeOf(schema: Schema | undefined, key: string): Place {
  const none = { merges: false, replaces: false, retains: false, mergeKey: "" };
  if (schema?.type === "map") return { ...none, schema: schema.values };
  const field = schema?.type === "object" ? schema.fields.get(key) : undefined;
  const strategies = field?.patchStrategy ?? [];
  return {
    schema: field?.schema,
    merges: strategies.includes("merge"),
    replaces: strategies.includes("replace"),
    retains: strategies.includes("retainKeys"),
    mergeKey: field?.patchMergeKey ?? "",
  };
}
const itemsOf = (schema: Schema | undefined): Schema | undefined =>
  schema?.type === "list" ? schema.items : undefined;

function diffMaps(
  from: JsonObject,
  to: JsonObject,
  schema: Schema | undefined,
  which: Which,
): JsonObject {
  const patch: JsonObject = {};
  for (const key of sortedKeys(to)) {
    const after = to[key];
    const before = getKey(from, key);
    if (before === undefined || before === null) {
      if (which === "changes" && after !== undefined && !(before === null && after === null))
        setKey(patch, key, after);
      continue;
    }
    const place = placeOf(schema, key);
    if (isObject(before) && isObject(after)) diffInner(patch, key, before, after, place, which);
    else if (Array.isArray(before) && Array.isArray(after))
      diffLists(patch, key, before, after, place, which);
    else if (which === "changes" && !equalObjects(before, after)) setKey(patch, key, after);
  }
  if (which === "removals") {
    for (const key of sortedKeys(from)) if (getKey(to, key) === undefined) setKey(patch, key, null);
  }
  return patch;
}

function diffInner(
  patch: JsonObject,
  key: string,
  before: JsonObject,
  after: JsonObject,
  place: Place,
  which: Which,
): void {
  if (place.replaces) {
    if (which === "changes" && !equalObjects(before, after)) setKey(patch, key, after);
    return;
  }
  const inner = diffMaps(before, after, place.schema, which);
  if (Object.keys(inner).length === 0) return;
  if (place.retains) inner["$retainKeys"] = sortedKeys(after).filter((one) => after[one] !== null);
  setKey(patch, key, inner);
}

function diffLists(
  patch: JsonObject,
  key: string,
  before: readonly unknown[],
  after: readonly unknown[],
  place: Place,
  which: Which,
): void {
  if (!place.merges) {
    if (which === "changes" && !equalObjects(before, after)) setKey(patch, key, after);
    return;
  }
  const { mergeKey } = place;
  if (mergeKey === "") {
    const has = (list: readonly unknown[], one: unknown): boolean => list.includes(one);
    if (which === "changes") {
      const added = after.filter((one) => !has(before, one));
      if (added.length === 0) return;
      setKey(patch, key, added);
      setKey(patch, orderKey(key), after);
    } else {
      const gone = before.filter((one) => !has(after, one));
      if (gone.length === 0) return;
      setKey(patch, removalKey(key), gone);
      setKey(patch, orderKey(key), after);
    }
    return;
  }
  const items = diffItems(
    before.filter(isObject),
    after.filter(isObject),
    mergeKey,
    itemsOf(place.schema),
    which,
  );
  const keysOf = (list: readonly unknown[]): unknown[] =>
    list.map((one) => (isObject(one) ? one[mergeKey] : undefined));
  const isReordered = which === "changes" && isOutOfOrder(keysOf(before), keysOf(after));
  if (items.length === 0 && !isReordered) return;
  if (items.length > 0) setKey(patch, key, items);
  setKey(
    patch,
    orderKey(key),
    keysOf(after).map((value) => ({ [mergeKey]: value })),
  );
}

/** Are those that both have in another order? */
function isOutOfOrder(before: readonly unknown[], after: readonly unknown[]): boolean {
  const common = before.filter((one) => after.includes(one));
  const wanted = after.filter((one) => before.includes(one));
  return !equalObjects(common, wanted);
}

function diffItems(
  before: readonly JsonObject[],
  after: readonly JsonObject[],
  mergeKey: string,
  schema: Schema | undefined,
  which: Which,
): JsonObject[] {
  const found: JsonObject[] = [];
  const keyOf = (item: JsonObject): unknown => {
    const value = item[mergeKey];
    if (value === undefined) {
      throw new CommandError(
        `map: ${compactJson(item)} does not contain declared merge key: ${mergeKey}`,
      );
    }
    return value;
  };
  for (const item of after) {
    const old = before.find((one) => equalObjects(one[mergeKey], keyOf(item)));
    if (old === undefined) {
      if (which === "changes") found.push(item);
      continue;
    }
    const inner = diffMaps(old, item, schema, which);
    if (Object.keys(inner).length > 0) found.push({ ...inner, [mergeKey]: item[mergeKey] });
  }
  if (which === "removals") {
    for (const item of before) {
      const isGone = !after.some((one) => equalObjects(one[mergeKey], keyOf(item)));
      if (isGone) found.push({ $patch: "delete", [mergeKey]: item[mergeKey] });
    }
  }
  return found;
}

/** Both patches in one; where they speak of the same, the changes win. */
function joinPatches(
  removals: JsonObject,
  changes: JsonObject,
  schema: Schema | undefined,
): JsonObject {
  const joined: JsonObject = { ...removals };
  for (const key of Object.keys(changes)) {
    const [mine, theirs] = [changes[key], getKey(removals, key)];
    const place = placeOf(schema, key);
    if (isObject(mine) && isObject(theirs))
      setKey(joined, key, joinPatches(theirs, mine, place.schema));
    else if (
      Array.isArray(mine) &&
      Array.isArray(theirs) &&
      place.merges &&
      place.mergeKey !== ""
    ) {
      const items = itemsOf(place.schema);
      const { mergeKey } = place;
      const isSame = (a: unknown, b: unknown): boolean =>
        isObject(a) && isObject(b) && equalObjects(a[mergeKey], b[mergeKey]);
      const merged = mine.map((item: unknown) => {
        const other: unknown = theirs.find((one) => isSame(one, item));
        return isObject(item) && isObject(other) ? joinPatches(other, item, items) : item;
      });
      setKey(joined, key, [
        ...merged,
        ...theirs.filter((one) => !mine.some((item) => isSame(item, one))),
      ]);
    } else setKey(joined, key, mine);
  }
  return joined;
}

export function threeWayStrategicPatch(
  schema: ObjectSchema,
  original: JsonObject,
  modified: JsonObject,
  current: JsonObject,
): JsonObject {
  const changes = diffMaps(current, modified, schema, "changes");
  const removals = withoutAbsent(diffMaps(original, modified, schema, "removals"), current, schema);
  return joinPatches(removals, changes, schema);
}

/** What is to be removed and is not there any more needs no word; so that an apply of the same says "unchanged". */
function withoutAbsent(
  removals: JsonObject,
  current: JsonObject,
  schema: Schema | undefined,
): JsonObject {
  const kept: JsonObject = {};
  for (const key of Object.keys(removals)) {
    const value = removals[key];
    const there = getKey(current, key);
    const place = placeOf(schema, key);
    if (value === null) {
      if (there !== undefined && there !== null) kept[key] = null;
    } else if (isObject(value) && isObject(there)) {
      const inner = withoutAbsent(value, there, place.schema);
      if (Object.keys(inner).some((one) => one !== "$retainKeys")) kept[key] = inner;
    } else if (!isObject(value)) setKey(kept, key, value);
  }
  return kept;
}

function mergeDiff(from: JsonObject, to: JsonObject, which: Which): JsonObject {
  const patch: JsonObject = {};
  for (const key of sortedKeys(to)) {
    const [before, after] = [getKey(from, key), to[key]];
    if (isObject(before) && isObject(after)) {
      const inner = mergeDiff(before, after, which);
      if (Object.keys(inner).length > 0) setKey(patch, key, inner);
    } else if (which === "changes" && !equalObjects(before, after)) setKey(patch, key, after);
  }
  if (which === "removals") {
    for (const key of sortedKeys(from)) if (getKey(to, key) === undefined) setKey(patch, key, null);
  }
  return patch;
}
function joinMerge(removals: JsonObject, changes: JsonObject): JsonObject {
  const joined: JsonObject = { ...removals };
  for (const key of Object.keys(changes)) {
    const [mine, theirs] = [changes[key], getKey(removals, key)];
    setKey(joined, key, isObject(mine) && isObject(theirs) ? joinMerge(theirs, mine) : mine);
  }
  return joined;
}
function onlyPresent(removals: JsonObject, current: JsonObject): JsonObject {
  const kept: JsonObject = {};
  for (const key of Object.keys(removals)) {
    const [value, there] = [removals[key], getKey(current, key)];
    if (there === undefined) continue;
    if (!isObject(value)) setKey(kept, key, value);
    else if (isObject(there)) {
      const inner = onlyPresent(value, there);
      if (Object.keys(inner).length > 0) setKey(kept, key, inner);
    }
  }
  return kept;
}
export function threeWayMergePatch(
  original: JsonObject,
  modified: JsonObject,
  current: JsonObject,
): JsonObject {
  const removals = onlyPresent(mergeDiff(original, modified, "removals"), current);
  return joinMerge(removals, mergeDiff(current, modified, "changes"));
}

/** From one state to another: the merge patch that edit and label send. */
export function twoWayMergePatch(from: JsonObject, to: JsonObject): JsonObject {
  return joinMerge(mergeDiff(from, to, "removals"), mergeDiff(from, to, "changes"));
}
export function twoWayStrategicPatch(
  schema: ObjectSchema,
  from: JsonObject,
  to: JsonObject,
): JsonObject {
  return joinPatches(
    diffMaps(from, to, schema, "removals"),
    diffMaps(from, to, schema, "changes"),
    schema,
  );
}
