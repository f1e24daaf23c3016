/** JSON as CEL's values, without a schema: whole numbers are ints, members are made when they are asked for. */

import { encodeBase64 } from "../base64.ts";
import { getKey, isObject, type JsonObject } from "../object.ts";
import { durationText, timestampText } from "./civil-time.ts";
import {
  CelError,
  Duration,
  type Key,
  List,
  MapValue,
  Optional,
  Timestamp,
  typeName,
  Uint,
  type Value,
} from "./value.ts";

/** How one member of an object or map becomes a value. */
export type Adapt = (value: unknown) => Value;

/** A JSON object as a map: all values of one kind. */
export class JsonMap extends MapValue {
  readonly #object: JsonObject;
  readonly #adapt: Adapt;
  readonly #made = new Map<string, Value>();

  constructor(object: JsonObject, adapt: Adapt) {
    super();
    this.#object = object;
    this.#adapt = adapt;
  }

  get size(): number {
    return Object.keys(this.#object).length;
  }

  get(key: Value): Value | undefined {
    if (typeof key !== "string") return undefined;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const raw = getKey(this.#object, key);
    if (raw === undefined) return undefined;
    const value = this.#adapt(raw);
    this.#made.set(key, value);
    return value;
  }

  keys(): Iterable<Key> {
    return Object.keys(this.#object);
  }
}

export interface AdaptedField {
  /** In JSON; what an expression says may be an escaped form. */
  readonly name: string;
  readonly adapt: Adapt;
}

/** A JSON object whose fields a schema tells. */
export class JsonFields extends MapValue {
  readonly #object: JsonObject;
  readonly #fields: ReadonlyMap<string, AdaptedField>;
  readonly #made = new Map<string, Value>();

  constructor(object: JsonObject, fields: ReadonlyMap<string, AdaptedField>) {
    super();
    this.#object = object;
    this.#fields = fields;
  }

  override get typeName(): string {
    return "object";
  }

  get size(): number {
    return [...this.keys()].length;
  }

  get(key: Value): Value | undefined {
    if (typeof key !== "string") return undefined;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const field = this.#fields.get(key);
    if (field === undefined) return undefined;
    const raw = getKey(this.#object, field.name);
    if (raw === undefined) return undefined;
    const value = field.adapt(raw);
    this.#made.set(key, value);
    return value;
  }

  *keys(): Iterable<Key> {
    for (const [key, { name }] of this.#fields)
      if (getKey(this.#object, name) !== undefined) yield key;
  }
}

export function jsonValue(value: unknown): Value {
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return new List(value.map(jsonValue));
  return isObject(value) ? new JsonMap(value, jsonValue) : null;
}

/** A value as JSON; throws CelError for what JSON has no form for. */
export function toJson(value: Value): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint) return Number(value.value);
  if (value instanceof List) return value.items.map(toJson);
  if (value instanceof MapValue) {
    const made: [string, unknown][] = [];
    for (const key of value.keys()) {
      if (typeof key !== "string") throw new CelError("no such overload");
      made.push([key, toJson(value.get(key) ?? null)]);
    }
    return Object.fromEntries(made);
  }
  if (value instanceof Timestamp) return timestampText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof Uint8Array) return encodeBase64(value);
  if (value instanceof Optional && value.value !== undefined) return toJson(value.value);
  throw new CelError(`unsupported conversion of ${typeName(value)} to JSON`);
}

const reserved = new Set([
  ..."true false null in as break const continue else for function if import let loop".split(" "),
  ..."package namespace return var void while".split(" "),
]);

/** How an expression names a field; undefined: it can not. */
export function escapeName(name: string): string | undefined {
  if (reserved.has(name)) return `__${name}__`;
  if (!/^[A-Za-z_.\-/][\w.\-/]*$/.test(name)) return undefined;
  return name
    .replace(/__/g, "__underscores__")
    .replace(/\./g, "__dot__")
    .replace(/-/g, "__dash__")
    .replace(/\//g, "__slash__");
}
