/**
 * FieldSet: a set of field paths, kept exactly as it is on the wire (FieldsV1), so that nothing is parsed or printed: an object
 * whose keys are path elements ("f:spec", `k:{"name":"web"}`, `v:"x"`, "i:0"). A path is a member if its node is empty or has the
 * key ".". Sets are never changed once made, are shared freely, and the root stands for no path.
 * Facts from sigs.k8s.io/structured-merge-diff: fieldpath (set, element, serialize).
 */
import { goJson } from "../json.ts";
import { compareUtf8, deepFreeze, isObject } from "../object.ts";

export interface FieldSet {
  readonly [element: string]: FieldSet;
}
type MutableFieldSet = Record<string, FieldSet>;

/** A member without children. As the root: the empty set. */
export const leaf: FieldSet = Object.freeze({});
export const emptySet = leaf;
const self = ".";

export const isEmptySet = (set: FieldSet): boolean => {
  for (const _ in set) return false;
  return true;
};
/** Is the path that leads to this node a member? */
export const isMember = (node: FieldSet): boolean => isEmptySet(node) || node[self] !== undefined;
const hasChildren = (node: FieldSet): boolean => {
  for (const element in node) if (element !== self) return true;
  return false;
};

/** A node made of children; undefined if it would say nothing. */
export function makeNode(member: boolean, children: FieldSet | undefined): FieldSet | undefined {
  if (children === undefined || isEmptySet(children)) return member ? leaf : undefined;
  return member ? { [self]: leaf, ...children } : children;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || isEmptySet(b)) return a;
  if (isEmptySet(a)) return b;
  let out: MutableFieldSet | undefined;
  for (const element of Object.keys(b)) {
    const right = b[element] ?? leaf;
    const left = a[element];
    const merged = left === undefined ? right : unionNodes(left, right);
    if (merged !== left) (out ??= { ...a })[element] = merged;
  }
  return out ?? a;
}
/** Unlike at the root, an empty node is a member. */
function unionNodes(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  if (isEmptySet(b)) return isMember(a) ? a : { [self]: leaf, ...a };
  if (isEmptySet(a)) return isMember(b) ? b : { [self]: leaf, ...b };
  return union(a, b);
}

/**
 * What is in `a` and not in `b`, path by path: a member of `b` does not take the paths below it away.
 * The empty result is `emptySet`.
 */
export const difference = (a: FieldSet, b: FieldSet): FieldSet => subtract(a, b, false) ?? emptySet;

/** As difference, but a member of `b` takes everything below it away too. */
export const recursiveDifference = (a: FieldSet, b: FieldSet): FieldSet =>
  subtract(a, b, true) ?? emptySet;

function subtract(a: FieldSet, b: FieldSet, recursive: boolean): FieldSet | undefined {
  if (isEmptySet(a)) return undefined;
  if (isEmptySet(b)) return a;
  let out: MutableFieldSet | undefined;
  for (const element of Object.keys(a)) {
    const right = b[element];
    if (right === undefined) continue;
    const left = a[element] ?? leaf;
    const rest = element === self ? undefined : subtractNodes(left, right, recursive);
    if (rest === left) continue;
    out ??= { ...a };
    if (rest === undefined) delete out[element];
    else out[element] = rest;
  }
  if (out === undefined) return a;
  return isEmptySet(out) ? undefined : out;
}
function subtractNodes(a: FieldSet, b: FieldSet, recursive: boolean): FieldSet | undefined {
  const removed = isMember(b);
  if (recursive && removed) return undefined;
  const member = isMember(a) && !removed;
  if (!hasChildren(a)) return member ? a : undefined;
  const children = withoutSelf(a);
  const rest = subtract(children, withoutSelf(b), recursive);
  return rest === children && member === isMember(a) ? a : makeNode(member, rest);
}
function withoutSelf(node: FieldSet): FieldSet {
  if (node[self] === undefined) return node;
  const { [self]: _, ...children } = node;
  return children;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  const out: MutableFieldSet = {};
  for (const element of Object.keys(a)) {
    const left = a[element];
    const right = b[element];
    if (element === self || left === undefined || right === undefined) continue;
    const node = intersectNodes(left, right);
    if (node !== undefined) out[element] = node;
  }
  return isEmptySet(out) ? emptySet : out;
}
function intersectNodes(a: FieldSet, b: FieldSet): FieldSet | undefined {
  if (a === b) return a;
  const member = isMember(a) && isMember(b);
  return makeNode(member, hasChildren(a) && hasChildren(b) ? intersection(a, b) : undefined);
}

export const equalSets = (a: FieldSet, b: FieldSet): boolean => {
  if (a === b) return true;
  const elements = Object.keys(a).filter((element) => element !== self);
  const others = Object.keys(b).filter((element) => element !== self);
  return (
    elements.length === others.length &&
    elements.every((element) => {
      const left = a[element] ?? leaf;
      const right = b[element];
      return right !== undefined && isMember(left) === isMember(right) && equalSets(left, right);
    })
  );
};

/** A path is the elements that lead to it. */
export type FieldPath = readonly string[];

/** Upstream's order of the types of elements: the node itself, fields, keyed items, values, positions. */
const typeRank: Readonly<Record<string, number>> = { [self]: 0, f: 1, k: 2, v: 3, i: 4 };

export function inOrder(a: string, b: string): number {
  if (a.charCodeAt(0) !== b.charCodeAt(0)) {
    return (typeRank[a.charAt(0)] ?? 0) - (typeRank[b.charAt(0)] ?? 0);
  }
  return a.startsWith("i:") ? Number(a.slice(2)) - Number(b.slice(2)) : compareUtf8(a, b);
}

/** The elements of a node, in upstream's order. Most sets are in it already: nothing is sorted for those. */
function elementsInOrder(set: FieldSet): { readonly elements: string[]; readonly isSame: boolean } {
  const elements = Object.keys(set);
  for (let at = 1; at < elements.length; at++) {
    if (inOrder(elements[at - 1] ?? "", elements[at] ?? "") > 0) {
      return { elements: elements.sort(inOrder), isSame: false };
    }
  }
  return { elements, isSame: true };
}

/** The same set, written in upstream's order: clients compare what managers own as text. */
export function ordered(set: FieldSet): FieldSet {
  const { elements, isSame } = elementsInOrder(set);
  let out: MutableFieldSet | undefined = isSame ? undefined : {};
  for (let at = 0; at < elements.length; at++) {
    const element = elements[at] ?? "";
    const node = set[element] ?? leaf;
    const child = ordered(node);
    if (out === undefined && child !== node) {
      out = {};
      for (const known of elements.slice(0, at)) out[known] = set[known] ?? leaf;
    }
    if (out !== undefined) out[element] = child;
  }
  return out ?? set;
}

/** The set as it goes into an object: in order, frozen, and known for a set when it is read again. */
export function writtenSet(set: FieldSet): FieldSet {
  const result = deepFreeze(ordered(set));
  parsedSets.set(result, result);
  return result;
}

export function* pathsOf(
  set: FieldSet,
  prefix: FieldPath = [],
): Generator<FieldPath, void, undefined> {
  // In upstream's order: fields before items, members before what lies below them.
  const elements = Object.keys(set)
    .filter((element) => element !== self)
    .sort(inOrder);
  for (const element of elements) {
    const node = set[element] ?? leaf;
    if (isMember(node)) yield [...prefix, element];
  }
  for (const element of elements) {
    const node = set[element] ?? leaf;
    if (hasChildren(node)) yield* pathsOf(node, [...prefix, element]);
  }
}

export function hasPath(set: FieldSet, path: FieldPath): boolean {
  let at: FieldSet | undefined = set;
  for (const element of path) {
    at = at[element];
    if (at === undefined) return false;
  }
  return path.length > 0 && isMember(at);
}

export function setOfPaths(paths: readonly FieldPath[]): FieldSet {
  let set: FieldSet = emptySet;
  for (const path of paths) {
    let node: FieldSet = leaf;
    for (const element of path.toReversed()) node = { [element]: node };
    set = union(set, node);
  }
  return set;
}

/** "spec.replicas", for paths of plain field names. */
export const fieldPath = (dotted: string): FieldPath => dotted.split(".").map(fieldElement);

const elementsMax = 4096;
const fieldElements = new Map<string, string>();
/** "spec" → "f:spec". Remembered: the same names come again and again. */
export function fieldElement(name: string): string {
  let element = fieldElements.get(name);
  if (element === undefined) {
    element = `f:${name}`;
    if (fieldElements.size >= elementsMax) fieldElements.clear();
    fieldElements.set(name, element);
  }
  return element;
}

/** The item with these key fields; the pairs are sorted by name. */
export function keyElement(pairs: readonly (readonly [name: string, value: unknown])[]): string {
  let text = "k:{";
  for (const [name, value] of pairs) {
    text += `${text === "k:{" ? "" : ","}${goJson(name)}:${goJson(value)}`;
  }
  return `${text}}`;
}
/** The item of a set that is this scalar. */
export const valueElement = (value: unknown): string => `v:${goJson(value)}`;

/** One element as messages show it: ".spec", `[name="web"]`, `[="x"]`, "[0]". */
function formatElement(element: string): string {
  const text = element.slice(2);
  switch (element.slice(0, 2)) {
    case "f:":
      return `.${text}`;
    case "k:": {
      const pairs: unknown = JSON.parse(text);
      const shown = Object.entries(isObject(pairs) ? pairs : {}).map(
        ([name, value]) => `${name}=${JSON.stringify(value)}`,
      );
      return `[${shown.join(",")}]`;
    }
    case "v:":
      return `[=${text}]`;
    default:
      return `[${text}]`;
  }
}
/** ".spec.template.spec.containers[name="web"].image". */
export const formatPath = (path: FieldPath): string => path.map(formatElement).join("");

/** Deeper than any real set; the sets that clients send are walked recursively. */
const depthMax = 200;

/**
 * A set as a client may have written it, checked and with its elements in their one spelling. Undefined: it is none. Elements of
 * unknown types are dropped, as upstream drops them.
 */
export function parseFieldSet(value: unknown): FieldSet | undefined {
  if (value === undefined || value === null) return emptySet;
  if (!isObject(value)) return undefined;
  const known = parsedSets.get(value);
  if (known !== undefined) return known;
  const node = parseNode(value, 0);
  if (node === undefined) return undefined;
  const set = withoutSelf(node);
  // Only what cannot change any more may be remembered: stored objects are frozen through and through.
  if (Object.isFrozen(value)) parsedSets.set(value, set);
  return set;
}
const parsedSets = new WeakMap<object, FieldSet>();
function parseNode(value: unknown, depth: number): FieldSet | undefined {
  if (!isObject(value) || depth > depthMax) return undefined;
  let out: MutableFieldSet | undefined;
  const keys = Object.keys(value);
  for (const key of keys) {
    const element = key === self ? self : parseElement(key);
    const node = key === self ? leaf : parseNode(value[key], depth + 1);
    if (element === undefined || node === undefined) return undefined;
    if (element === key && node === value[key] && out === undefined) continue;
    out ??= copyUntil(value, keys, key);
    if (element === "") continue;
    const known = out[element];
    out[element] = known === undefined ? node : unionNodes(known, node);
  }
  return out ?? (value as unknown as FieldSet);
}
function copyUntil(
  value: Readonly<Record<string, unknown>>,
  keys: readonly string[],
  end: string,
): MutableFieldSet {
  const copy: MutableFieldSet = {};
  for (const key of keys) {
    if (key === end) break;
    copy[key] = value[key] as FieldSet;
  }
  return copy;
}

/** The element in its one spelling; "": of an unknown type; undefined: malformed. */
function parseElement(text: string): string | undefined {
  if (text[1] !== ":") return undefined;
  const rest = text.slice(2);
  switch (text[0]) {
    case "f":
      return text;
    case "i":
      return /^-?\d{1,15}$/.test(rest) ? text : undefined;
    case "v":
    case "k": {
      let value: unknown;
      try {
        value = JSON.parse(rest);
      } catch {
        return undefined;
      }
      if (text[0] === "v") return valueElement(value);
      if (!isObject(value)) return undefined;
      const pairs = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
      return keyElement(pairs);
    }
    default:
      return "";
  }
}
