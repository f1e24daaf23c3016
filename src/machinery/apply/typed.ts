/**
 * Objects seen through their schema: which fields an object has, what changed between two, merging one into another, taking fields
 * out. The rules of server-side apply, without managers. Pure; inputs are plain JSON values and are not changed, results may share
 * parts with them. Facts from sigs.k8s.io/structured-merge-diff: typed (tofieldset, compare, merge, remove, reconcile_schema).
 */
import { equalObjects, getKey, isObject, type JsonObject, setKey } from "../object.ts";
import type { ListSchema, ObjectSchema, Schema } from "../schema.ts";
import {
  emptySet,
  type FieldSet,
  fieldElement,
  isEmptySet,
  isMember,
  keyElement,
  leaf,
  makeNode,
  valueElement,
} from "./field-set.ts";

/** Raw JSON has no schema: its maps are merged key by key, its lists are atomic. */
const untyped: Schema = { type: "any" };

/** What a key in a map or struct leads to. */
interface Child {
  readonly element: string;
  readonly schema: Schema;
  /** A field of a struct, not a key of a map. */
  readonly declared: boolean;
}
/** How a value is treated: as a whole, or by its parts. */
type Shape =
  | { readonly shape: "leaf" }
  | { readonly shape: "map"; readonly child: (key: string) => Child }
  | { readonly shape: "list"; readonly list: ListSchema };
const leafShape: Shape = { shape: "leaf" };
const childrenOf =
  (schema: Schema) =>
  (key: string): Child => ({ element: fieldElement(key), schema, declared: false });
const untypedMap: Shape = { shape: "map", child: childrenOf(untyped) };
const shapes = new WeakMap<Schema, Shape>();

/** `value` decides for raw JSON only. */
function shapeOf(schema: Schema, value: unknown): Shape {
  if (schema.type === "any" || schema.type === "fields") {
    return isObject(value) && schema.isAtomic !== true ? untypedMap : leafShape;
  }
  let shape = shapes.get(schema);
  if (shape === undefined) {
    shape = makeShape(schema);
    shapes.set(schema, shape);
  }
  return shape;
}
function makeShape(schema: Schema): Shape {
  if (schema.type === "list") {
    return schema.listType === "atomic" ? leafShape : { shape: "list", list: schema };
  }
  if (schema.type === "map") {
    if (schema.mapType === "atomic") return leafShape;
    return { shape: "map", child: childrenOf(schema.values) };
  }
  if (schema.type !== "object" || schema.mapType === "atomic") return leafShape;
  const { fields } = schema;
  const children = new Map<string, Child>();
  const undeclared = childrenOf(untyped);
  const child = (key: string): Child => {
    const known = children.get(key);
    if (known !== undefined) return known;
    const field = fields.get(key);
    if (field === undefined) return undeclared(key);
    const made: Child = { element: `f:${key}`, schema: field.schema, declared: true };
    children.set(key, made);
    return made;
  };
  return { shape: "map", child };
}

/** Nothing in it: absent, null, or an empty list or map. */
function isBlank(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object") return false;
  for (const _ in value) return false;
  return true;
}

/** The path element of an item in a list that is a set or a map. Key fields that are left out count with their defaults. */
export function itemElement(list: ListSchema, item: unknown): string {
  if (list.keys.length === 0) return valueElement(item);
  const pairs: [string, unknown][] = [];
  const keys = list.keys.length === 1 ? list.keys : [...list.keys].sort();
  for (const key of keys) {
    let value = isObject(item) ? getKey(item, key) : undefined;
    if (value === undefined && list.items.type === "object") {
      value = list.items.fields.get(key)?.default;
    }
    if (value !== undefined) pairs.push([key, value]);
  }
  return keyElement(pairs);
}

/** The fields that an applied configuration owns. */
export function fieldSetOf(schema: ObjectSchema, object: JsonObject): FieldSet {
  const node = setNode(schema, object, false);
  return node === undefined || node === leaf ? emptySet : node;
}
function setNode(schema: Schema, value: unknown, member: boolean): FieldSet | undefined {
  const shape = shapeOf(schema, value);
  if (shape.shape === "leaf") return leaf;
  if (value === null) return leaf;
  const children: Record<string, FieldSet> = {};
  if (shape.shape === "list") {
    if (!Array.isArray(value)) return leaf;
    for (const item of value) {
      const element = itemElement(shape.list, item);
      const isRepeated = children[element] !== undefined;
      children[element] = isRepeated ? leaf : (setNode(shape.list.items, item, true) ?? leaf);
    }
    return makeNode(member, children);
  }
  if (!isObject(value)) return leaf;
  for (const key of Object.keys(value)) {
    const child = shape.child(key);
    const node = setNode(child.schema, value[key], !child.declared);
    if (node !== undefined) children[child.element] = node;
  }
  return makeNode(member || isBlank(value), children);
}

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}
/** What is collected at one level while comparing. */
interface Changes {
  added: Record<string, FieldSet> | undefined;
  modified: Record<string, FieldSet> | undefined;
  removed: Record<string, FieldSet> | undefined;
}
const noChanges = (): Changes => ({ added: undefined, modified: undefined, removed: undefined });

/** Which fields the second object has that the first has not, has otherwise, or has no more. */
export function compareObjects(
  schema: ObjectSchema,
  before: JsonObject,
  after: JsonObject,
): Comparison {
  const changes = noChanges();
  compareMembers(shapeOf(schema, after), before, after, changes);
  return {
    added: changes.added ?? emptySet,
    modified: changes.modified ?? emptySet,
    removed: changes.removed ?? emptySet,
  };
}

function compareInto(
  schema: Schema,
  before: unknown,
  after: unknown,
  element: string,
  into: Changes,
): void {
  if (before === after) return;
  if (before === undefined) {
    (into.added ??= {})[element] = wholeNode(schema, after);
    return;
  }
  if (after === undefined) {
    (into.removed ??= {})[element] = wholeNode(schema, before);
    return;
  }
  const shape = shapeOf(schema, after);
  const changes = noChanges();
  const isRaw = schema.type === "any" && schema.isAtomic !== true;
  if (isRaw && isObject(before) !== isObject(after)) {
    // Raw JSON that turned from a map into something else, or the other way round.
    (into.modified ??= {})[element] = leaf;
    if (isObject(before)) compareMembers(untypedMap, before, {}, changes);
    else compareMembers(untypedMap, {}, after, changes);
  } else if (shape.shape === "leaf" || (isBlank(before) && isBlank(after))) {
    if (!equalObjects(before, after)) (into.modified ??= {})[element] = leaf;
    return;
  } else compareMembers(shape, before, after, changes);
  if (changes.added !== undefined) (into.added ??= {})[element] = changes.added;
  if (changes.removed !== undefined) (into.removed ??= {})[element] = changes.removed;
  if (changes.modified !== undefined) {
    const own = into.modified?.[element];
    (into.modified ??= {})[element] =
      own === undefined ? changes.modified : { ...changes.modified, ".": leaf };
  }
}

function compareMembers(shape: Shape, before: unknown, after: unknown, changes: Changes): void {
  if (shape.shape === "list") {
    compareItems(shape.list, before, after, changes);
    return;
  }
  if (shape.shape === "leaf") return;
  const left = isObject(before) ? before : {};
  const right = isObject(after) ? after : {};
  for (const key of Object.keys(right)) {
    const child = shape.child(key);
    compareInto(child.schema, getKey(left, key), right[key], child.element, changes);
  }
  for (const key of Object.keys(left)) {
    if (Object.hasOwn(right, key)) continue;
    const child = shape.child(key);
    compareInto(child.schema, left[key], undefined, child.element, changes);
  }
}

/** Items by path element; those that occur several times keep all their values. */
function indexItems(list: ListSchema, value: unknown): Map<string, unknown[]> {
  const index = new Map<string, unknown[]>();
  if (!Array.isArray(value)) return index;
  for (const item of value) {
    const element = itemElement(list, item);
    const known = index.get(element);
    if (known === undefined) index.set(element, [item]);
    else known.push(item);
  }
  return index;
}

function compareItems(list: ListSchema, before: unknown, after: unknown, changes: Changes): void {
  const left = indexItems(list, before);
  const right = indexItems(list, after);
  for (const [element, items] of right) {
    compareRepeated(list.items, left.get(element) ?? [], items, element, changes);
  }
  for (const [element, items] of left) {
    if (!right.has(element)) compareRepeated(list.items, items, [], element, changes);
  }
}
/** Items that occur once are compared; several with one key count as one atomic value. */
function compareRepeated(
  schema: Schema,
  before: readonly unknown[],
  after: readonly unknown[],
  element: string,
  changes: Changes,
): void {
  if (before.length <= 1 && after.length <= 1) {
    compareInto(schema, before[0], after[0], element, changes);
  } else if (before.length >= 2 && after.length >= 2) {
    if (!equalObjects(before, after)) (changes.modified ??= {})[element] = leaf;
  } else if (before.length >= 2) {
    (changes.removed ??= {})[element] = leaf;
    if (after.length === 1) (changes.added ??= {})[element] = wholeNode(schema, after[0]);
  } else {
    if (before.length === 1) (changes.removed ??= {})[element] = wholeNode(schema, before[0]);
    (changes.added ??= {})[element] = leaf;
  }
}

/** All paths of a value that is there on one side only: itself and everything below. */
function wholeNode(schema: Schema, value: unknown): FieldSet {
  const shape = shapeOf(schema, value);
  if (shape.shape === "leaf" || isBlank(value)) return leaf;
  const node: Record<string, FieldSet> = { ".": leaf };
  if (shape.shape === "list") {
    if (!Array.isArray(value)) return leaf;
    for (const item of value) {
      const element = itemElement(shape.list, item);
      node[element] = node[element] === undefined ? wholeNode(shape.list.items, item) : leaf;
    }
    return node;
  }
  if (!isObject(value)) return leaf;
  for (const key of Object.keys(value)) {
    const child = shape.child(key);
    node[child.element] = wholeNode(child.schema, value[key]);
  }
  return node;
}

/** The object with the configuration merged in: the configuration wins, lists are merged by their keys. */
export function mergeObjects(
  schema: ObjectSchema,
  object: JsonObject,
  config: JsonObject,
): JsonObject {
  const merged = mergeValues(schema, object, config);
  return isObject(merged) ? merged : {};
}
function mergeValues(schema: Schema, left: unknown, right: unknown): unknown {
  if (right === undefined) return left;
  if (left === undefined) return right;
  const shape = shapeOf(schema, right);
  if (shape.shape === "leaf" || (isBlank(left) && isBlank(right))) return right;
  if (shape.shape === "list") {
    const items = mergeItems(shape.list, left, right);
    return items.length === 0 ? undefined : items;
  }
  const before = isObject(left) ? left : {};
  const after = isObject(right) ? right : {};
  const out: JsonObject = {};
  for (const key of Object.keys(before)) {
    const value = mergeValues(shape.child(key).schema, before[key], getKey(after, key));
    if (value !== undefined) setKey(out, key, value);
  }
  for (const key of Object.keys(after)) {
    if (Object.hasOwn(before, key)) continue;
    const value = mergeValues(shape.child(key).schema, undefined, after[key]);
    if (value !== undefined) setKey(out, key, value);
  }
  return isBlank(out) ? undefined : out;
}

/**
 * The configuration's items in its order; items that only the object has keep their places among those that both have.
 */
function mergeItems(list: ListSchema, left: unknown, right: unknown): unknown[] {
  const lefts = Array.isArray(left) ? left : [];
  const rights = Array.isArray(right) ? right : [];
  const leftElements = lefts.map((item) => itemElement(list, item));
  const rightElements = rights.map((item) => itemElement(list, item));
  const leftItems = new Map<string, unknown>();
  for (const [index, element] of leftElements.entries()) {
    // Items that occur several times are not merged with the new value.
    leftItems.set(element, leftItems.has(element) ? undefined : lefts[index]);
  }
  const inRight = new Set(rightElements);
  const shared = rightElements.filter((element) => leftItems.has(element));
  const done = new Set<string>();
  const out: unknown[] = [];
  let nextShared = 0;
  const put = (value: unknown): void => {
    if (value !== undefined) out.push(value);
  };
  const takeRight = (index: number): void => {
    const element = rightElements[index] ?? "";
    done.add(element);
    put(mergeValues(list.items, leftItems.get(element) ?? undefined, rights[index]));
    if (shared[nextShared] === element) nextShared += 1;
  };
  let l = 0;
  let r = 0;
  while (l < lefts.length || r < rights.length) {
    const element = leftElements[l];
    if (element !== undefined && r < rights.length) {
      if (element === rightElements[r]) {
        takeRight(r);
        l += 1;
        r += 1;
        continue;
      }
      if (inRight.has(element) && nextShared < shared.length && shared[nextShared] !== element) {
        // Shared, but it is not its turn yet: it comes when the configuration names it.
        l += 1;
        continue;
      }
    }
    if (element !== undefined) {
      if (!inRight.has(element)) {
        put(mergeValues(list.items, lefts[l], undefined));
        l += 1;
        continue;
      }
      if (done.has(element)) l += 1;
    }
    if (r < rights.length) {
      takeRight(r);
      r += 1;
    }
  }
  return out;
}

/** The object without the fields of the set. What is emptied becomes null. */
export function removeFields(schema: ObjectSchema, object: JsonObject, set: FieldSet): JsonObject {
  const rest = removeFrom(schema, object, set);
  return isObject(rest) ? rest : {};
}
function removeFrom(schema: Schema, value: unknown, set: FieldSet): unknown {
  const shape = shapeOf(schema, value);
  if (typeof value !== "object" || value === null) return value;
  if (shape.shape === "leaf" || isBlank(value)) return null;
  if (shape.shape === "list") {
    if (!Array.isArray(value)) return null;
    const items: unknown[] = [];
    for (const item of value) {
      const node = set[itemElement(shape.list, item)];
      if (node === undefined) items.push(item);
      else if (!isMember(node)) items.push(removeFrom(shape.list.items, item, node));
    }
    return items.length === 0 ? null : items;
  }
  if (!isObject(value)) return null;
  const out: JsonObject = {};
  for (const key of Object.keys(value)) {
    const child = shape.child(key);
    const node = set[child.element];
    if (node === undefined) setKey(out, key, value[key]);
    else if (!isMember(node)) setKey(out, key, removeFrom(child.schema, value[key], node));
  }
  return isBlank(out) ? null : out;
}

/** The set with every named field on the way to a member as a member too (but not items and keys of maps). */
export function withNamedFields(schema: Schema, set: FieldSet): FieldSet {
  const out: Record<string, FieldSet> = {};
  const shape = shapeOf(schema, {});
  for (const element of Object.keys(set)) {
    const node = set[element] ?? leaf;
    if (element === "." || isEmptySet(node)) {
      out[element] = node;
      continue;
    }
    const name = element.slice(2);
    const isField = element.startsWith("f:");
    const field = isField && shape.shape === "map" ? shape.child(name) : undefined;
    const isItem = element.startsWith("k:") && schema.type === "list";
    const inner = withNamedFields(field?.schema ?? (isItem ? schema.items : untyped), node);
    const named = field?.declared === true;
    out[element] = named && !isMember(inner) ? { ".": leaf, ...inner } : inner;
  }
  return out;
}

/** Sets that need no change under a schema: most were written under the same. */
const reconciledSets = new WeakMap<Schema, WeakSet<FieldSet>>();

/** The set as it is to be read today: where a list or map has become atomic, owning a part of it means owning it. */
export function reconcileSet(schema: ObjectSchema, set: FieldSet): FieldSet {
  let known = reconciledSets.get(schema);
  if (known?.has(set) === true) return set;
  const reconciled = reconcileNode(schema, set);
  if (known === undefined) {
    known = new WeakSet();
    reconciledSets.set(schema, known);
  }
  // Only what cannot change any more may be remembered.
  if (Object.isFrozen(reconciled)) known.add(reconciled);
  return reconciled;
}
function reconcileNode(schema: Schema, node: FieldSet): FieldSet {
  if (isEmptySet(node) || schema.type === "any" || schema.type === "fields") return node;
  const shape = shapeOf(schema, undefined);
  if (shape.shape === "leaf") {
    return schema.type === "list" || schema.type === "map" || schema.type === "object"
      ? leaf
      : node;
  }
  let out: Record<string, FieldSet> | undefined;
  for (const element of Object.keys(node)) {
    const child = node[element] ?? leaf;
    if (element === "." || isEmptySet(child)) continue;
    const childSchema =
      shape.shape === "list"
        ? shape.list.items
        : element.startsWith("f:")
          ? shape.child(element.slice(2)).schema
          : untyped;
    const next = reconcileNode(childSchema, child);
    if (next !== child) (out ??= { ...node })[element] = next;
  }
  return out ?? node;
}

/** Several problems as one message. */
export const typedMessage = (problems: readonly string[]): string =>
  problems.length === 1
    ? (problems[0] ?? "")
    : `errors:\n${problems.map((one) => `  ${one}`).join("\n")}`;

/** Why an applied configuration cannot be read by its schema, as upstream says it: ".spec.foo: field not declared in schema". */
export function typedProblems(schema: ObjectSchema, config: JsonObject): string[] {
  const problems: string[] = [];
  checkTyped(schema, config, "", problems);
  return problems;
}
function checkTyped(schema: Schema, value: unknown, path: string, problems: string[]): void {
  if (value === null || value === undefined) return;
  const say = (message: string): void => {
    problems.push(path === "" ? message : `${path}: ${message}`);
  };
  if (schema.type === "any" || schema.type === "fields") return;
  if (schema.type === "list") {
    if (Array.isArray(value)) checkItems(schema, value, path, problems);
    else say(`expected list, got ${describe(value)}`);
  } else if (schema.type === "map" || schema.type === "object") {
    if (!isObject(value)) return say(`expected map, got ${describe(value)}`);
    for (const key of Object.keys(value)) {
      const child = schema.type === "map" ? schema.values : schema.fields.get(key)?.schema;
      if (child === undefined && schema.type === "object" && schema.isOpen === true) continue;
      if (child === undefined) problems.push(`${path}.${key}: field not declared in schema`);
      else checkTyped(child, value[key], `${path}.${key}`, problems);
    }
  } else checkScalar(schema.type, value, say);
}
function checkItems(
  schema: ListSchema,
  items: readonly unknown[],
  path: string,
  problems: string[],
): void {
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    let at = `${path}[${index}]`;
    if (schema.listType !== "atomic") {
      const problem = keyProblem(schema, item);
      if (problem !== undefined) {
        problems.push(`${path}: element ${index}: ${problem}`);
        return;
      }
      const element = itemElement(schema, item);
      at = `${path}[${showElement(element)}]`;
      if (seen.has(element)) {
        problems.push(`${path}: duplicate entries for key [${showElement(element)}]`);
      }
      seen.add(element);
    }
    checkTyped(schema.items, item, at, problems);
  }
}
const showElement = (element: string): string =>
  element.startsWith("v:")
    ? `=${element.slice(2)}`
    : element.slice(3, -1).replace(/"([^"]*)":/g, "$1=");

function keyProblem(schema: ListSchema, item: unknown): string | undefined {
  if (schema.keys.length === 0) {
    if (item === null)
      return "associative list without keys has an element that's an explicit null";
    if (Array.isArray(item)) return "not supported: associative list with lists as elements";
    return isObject(item)
      ? "associative list without keys has an element that's a map type"
      : undefined;
  }
  if (item === null) return "associative list with keys may not have a null element";
  if (!isObject(item)) return "associative list with keys may not have non-map elements";
  if (itemElement(schema, item) !== "k:{}") return undefined;
  const keys = schema.keys.map((key) => JSON.stringify(key)).join(" ");
  return `associative list with keys has an element that omits all key fields [${keys}] (and doesn't have default values for any key fields)`;
}

/** A value as structured-merge-diff prints it. */
const describe = (value: unknown): string => JSON.stringify(value);
function checkScalar(type: Schema["type"], value: unknown, say: (message: string) => void): void {
  const isNumber = typeof value === "number";
  switch (type) {
    case "int32":
    case "int64":
    case "float64": {
      const goType = typeof value === "boolean" ? "bool" : typeof value;
      const shown = Array.isArray(value)
        ? "[]interface {}"
        : isObject(value)
          ? "map[string]interface {}"
          : goType;
      if (!isNumber) say(`expected numeric (int or float), got ${shown}`);
      return;
    }
    case "boolean":
      if (typeof value !== "boolean") say(`expected boolean, got ${describe(value)}`);
      return;
    case "quantity":
    case "intOrString":
      if (typeof value === "object") say(`expected any scalar, got ${describe(value)}`);
      return;
    default:
      if (typeof value !== "string") {
        say(`expected string, got &value.valueUnstructured{Value:${describe(value)}}`);
      }
  }
}
