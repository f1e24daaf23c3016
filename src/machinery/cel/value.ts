/**
 * CEL's values while a program runs. int is a bigint, double a number; string, bool and null are themselves; the rest are the classes
 * here. Equality and order are CEL's: across the three kinds of number, lists and maps by their members.
 */

import { bytesEqual, compareBytes } from "./bytes.ts";
import type { Type } from "./type.ts";

/** An evaluation's error: its text is what clients see. */
export class CelError extends Error {}

export class Uint {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}
export class Timestamp {
  /** Nanoseconds since 1970. */
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}
export class Duration {
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}
export class TypeValue {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
export class Optional {
  readonly value: Value | undefined;
  constructor(value: Value | undefined) {
    this.value = value;
  }
}
export const none = new Optional(undefined);

/** How a list of a schema compares and adds: as a set, or by keys. */
export interface ListRule {
  readonly type: "set" | "map";
  readonly keys: readonly string[];
}
export class List {
  readonly items: readonly Value[];
  readonly rule: ListRule | undefined;
  constructor(items: readonly Value[], rule?: ListRule) {
    this.items = items;
    this.rule = rule;
  }
}

/** A list or map that a comprehension is building: nobody else sees it before it is done. */
export class Building extends List {
  readonly growing: Value[];
  constructor() {
    const items: Value[] = [];
    super(items);
    this.growing = items;
  }
}

export type Key = string | bigint | boolean | Uint;

/** A map or an object: read only, its members perhaps made when they are asked for. */
export abstract class MapValue {
  abstract readonly size: number;
  /** Undefined: there is no such key. */
  abstract get(key: Value): Value | undefined;
  abstract keys(): Iterable<Key>;
  /** The name of its type: "map", or an object's. */
  get typeName(): string {
    return "map";
  }
}

const plainKey = (key: Value): string | bigint | boolean | undefined => {
  if (typeof key === "string" || typeof key === "bigint" || typeof key === "boolean") return key;
  if (key instanceof Uint) return key.value;
  return typeof key === "number" && Number.isInteger(key) ? BigInt(key) : undefined;
};

/** A map that an expression made. Numbers that are equal are one key. */
export class Entries extends MapValue {
  readonly #entries = new Map<string | bigint | boolean, [Key, Value]>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    const plain = plainKey(key);
    return plain === undefined ? undefined : this.#entries.get(plain)?.[1];
  }

  *keys(): Iterable<Key> {
    for (const [key] of this.#entries.values()) yield key;
  }

  /** False: the key is there already. */
  add(key: Value, value: Value): boolean {
    const plain = plainKey(key);
    if (plain === undefined || typeof key === "number")
      throw new CelError(`unsupported key type: ${typeName(key)}`);
    if (this.#entries.has(plain)) return false;
    this.#entries.set(plain, [key as Key, value]);
    return true;
  }
}

/** A library's value: a quantity, a URL, an address. */
export class Opaque<T = unknown> {
  readonly name: string;
  readonly value: T;
  readonly same: (a: T, b: T) => boolean;
  constructor(name: string, value: T, same: (a: T, b: T) => boolean) {
    this.name = name;
    this.value = value;
    this.same = same;
  }
}

export type Value =
  | null
  | boolean
  | string
  | number
  | bigint
  | Uint
  | Uint8Array
  | Timestamp
  | Duration
  | TypeValue
  | Optional
  | List
  | MapValue
  | Opaque;

export function typeName(value: Value): string {
  switch (typeof value) {
    case "string":
      return "string";
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "boolean":
      return "bool";
  }
  if (value === null) return "null_type";
  if (value instanceof List) return "list";
  if (value instanceof MapValue) return value.typeName;
  if (value instanceof Uint) return "uint";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Timestamp) return "google.protobuf.Timestamp";
  if (value instanceof Duration) return "google.protobuf.Duration";
  if (value instanceof Optional) return "optional_type";
  return value instanceof TypeValue ? "type" : value.name;
}

type Numeric = bigint | number | Uint;
export const isNumeric = (value: Value): value is Numeric =>
  typeof value === "bigint" || typeof value === "number" || value instanceof Uint;
const bare = (value: Numeric): bigint | number => (value instanceof Uint ? value.value : value);

/** The language compares bigints with numbers exactly. */
function compareNumeric(a: Numeric, b: Numeric): number {
  const x = bare(a);
  const y = bare(b);
  if (x < y) return -1;
  return x > y ? 1 : 0;
}

/** Code points' order, as Go compares UTF-8. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x === y) continue;
    const bothHigh = x >= 0xd800 && y >= 0xd800;
    if (!bothHigh) return x < y ? -1 : 1;
    const up = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit + 0x2000);
    return up(x) < up(y) ? -1 : 1;
  }
  return a.length < b.length ? -1 : 1;
}

/** Undefined: the two have no order. NaN is in no order, which a number of -2 says. */
export function compareValues(a: Value, b: Value): number | undefined {
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  if (isNumeric(a) && isNumeric(b))
    return Number.isNaN(a) || Number.isNaN(b) ? -2 : compareNumeric(a, b);
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if (a instanceof Timestamp && b instanceof Timestamp) return compareNumeric(a.nanos, b.nanos);
  if (a instanceof Duration && b instanceof Duration) return compareNumeric(a.nanos, b.nanos);
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b);
  return undefined;
}

/** What identifies a member of a list with keys. */
function itemKeys(item: Value, keys: readonly string[]): Value[] | undefined {
  if (!(item instanceof MapValue)) return undefined;
  return keys.map((key) => item.get(key) ?? null);
}
const sameKeys = (a: Value, b: Value, keys: readonly string[]): boolean => {
  const x = itemKeys(a, keys);
  const y = itemKeys(b, keys);
  if (x === undefined || y === undefined) return false;
  return x.every((one, index) => equalValues(one, y[index] ?? null));
};

function equalLists(a: List, b: List): boolean {
  if (a.items.length !== b.items.length) return false;
  const rule = a.rule ?? b.rule;
  if (rule?.type === "set")
    return a.items.every((one) => b.items.some((other) => equalValues(one, other)));
  if (rule?.type === "map") {
    return a.items.every((one) =>
      b.items.some((other) => sameKeys(one, other, rule.keys) && equalValues(one, other)),
    );
  }
  return a.items.every((one, index) => equalValues(one, b.items[index] ?? null));
}

/** What a schema's list becomes when another is added to it: sets stay sets, items with the same keys are replaced. */
export function addLists(a: List, b: List): List {
  const { rule } = a;
  if (rule === undefined) return new List([...a.items, ...b.items]);
  const items = [...a.items];
  for (const one of b.items) {
    const at = items.findIndex((other) =>
      rule.type === "set" ? equalValues(one, other) : sameKeys(one, other, rule.keys),
    );
    if (at === -1) items.push(one);
    else if (rule.type === "map") items[at] = one;
  }
  return new List(items, rule);
}

function equalMaps(a: MapValue, b: MapValue): boolean {
  if (a.size !== b.size) return false;
  for (const key of a.keys()) {
    const x = a.get(key);
    const y = b.get(key);
    if (x === undefined || y === undefined || !equalValues(x, y)) return false;
  }
  return true;
}

export function equalValues(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (isNumeric(a)) return isNumeric(b) && !Number.isNaN(a) && compareValues(a, b) === 0;
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return false;
  if (a instanceof List) return b instanceof List && equalLists(a, b);
  if (a instanceof MapValue) return b instanceof MapValue && equalMaps(a, b);
  if (a instanceof Uint8Array) return b instanceof Uint8Array && bytesEqual(a, b);
  if (a instanceof Timestamp) return b instanceof Timestamp && a.nanos === b.nanos;
  if (a instanceof Duration) return b instanceof Duration && a.nanos === b.nanos;
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name;
  if (a instanceof Optional) {
    if (!(b instanceof Optional)) return false;
    if (a.value === undefined || b.value === undefined) return a.value === b.value;
    return equalValues(a.value, b.value);
  }
  return (
    a instanceof Opaque && b instanceof Opaque && a.name === b.name && a.same(a.value, b.value)
  );
}

/** Whether a value can be passed where an overload wants this type: kinds only, not what lists hold. */
export function hasType(value: Value, type: Type): boolean {
  switch (type.kind) {
    case "string":
      return typeof value === "string";
    case "int":
      return typeof value === "bigint";
    case "double":
      return typeof value === "number";
    case "bool":
      return typeof value === "boolean";
    case "null":
      return value === null;
    case "uint":
      return value instanceof Uint;
    case "bytes":
      return value instanceof Uint8Array;
    case "timestamp":
      return value instanceof Timestamp;
    case "duration":
      return value instanceof Duration;
    case "list":
      return value instanceof List;
    case "map":
      return value instanceof MapValue;
    case "type":
      return value instanceof TypeValue;
    case "opaque":
      return type.name === "optional_type"
        ? value instanceof Optional
        : value instanceof Opaque && value.name === type.name;
    default:
      return true;
  }
}

/** Neither zero nor empty: what optional.ofNonZeroValue keeps. */
export function isZero(value: Value): boolean {
  if (value === null || value === "" || value === false || value === 0 || value === 0n) return true;
  if (value instanceof Uint) return value.value === 0n;
  if (value instanceof List) return value.items.length === 0;
  if (value instanceof MapValue) return value.size === 0;
  if (value instanceof Uint8Array) return value.length === 0;
  if (value instanceof Duration) return value.nanos === 0n;
  return value instanceof Optional && value.value === undefined;
}
