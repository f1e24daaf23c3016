/**
 * Decoding: the one way in. Whatever comes from outside (parsed JSON, or an object that a component in this process hands over)
 * is copied by its schema into the canonical form: what Go prints after reading it. So the copy has no unknown fields, no empty
 * omitempty values, every zero value that Go spells out, keys in Go's order, and shares nothing with the input but frozen sets of fields.
 * A decoder is compiled once per schema. It knows no paths: what is wrong is found in a second pass by decode-diagnosis.ts.
 */
import { diagnose } from "./decode-diagnosis.ts";
import { jsonDepthMax, parseJson } from "./json.ts";
import { getKey, isObject, type JsonObject, setKey, sortedKeys } from "./object.ts";
import { readScalar } from "./scalar.ts";
import type { CustomSchema, Field, ObjectSchema, ScalarSchema, Schema } from "./schema.ts";

export { JsonSyntaxError, parseJson } from "./json.ts";
export { cloneBySchema, cloneJson, deepFreeze, equalObjects } from "./object.ts";

/** The input cannot be read as this type. The message is Go's: "json: cannot unmarshal string into Go struct field …". */
export class DecodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "DecodeError";
  }
}

export interface DecodeOptions {
  /** Also say which fields are unknown. */
  readonly strict: boolean;
  /** Lists and maps that are always printed are null when they are empty, as Go's after a round through protobuf. */
  readonly nullsEmpty?: boolean;
  /** What parseJson found; those below unknown fields are not reported (as upstream). */
  readonly duplicates?: readonly string[];
}
export interface Decoded {
  readonly object: JsonObject;
  /** Paths: "spec.containers[0].imagee". Empty unless strict. */
  readonly unknownFields: readonly string[];
  readonly duplicateFields: readonly string[];
  /** Both as upstream words them: `unknown field "spec.foo"`. For warnings one by one, or for strictDecodingMessage. */
  readonly strictErrors: readonly string[];
}

/** Thrown by compiled decoders; caught in decodeObject, which then looks for the reason. */
class Mismatch extends Error {}
const mismatch = new Mismatch("value does not fit its schema");

interface Decoder {
  /** `value` is neither null nor undefined. */
  readonly decode: (value: unknown, depth: number) => unknown;
  /** What Go prints for the type's zero value. */
  readonly zero: () => unknown;
  /** For omitempty: is the decoded value left out? */
  readonly isEmpty: (decoded: unknown) => boolean;
  /** For omitzero. */
  readonly isZero: (decoded: unknown) => boolean;
}

/** Counts unknown fields of the decode that is running; decoding is synchronous and never re-enters. */
let unknownCount = 0;
let nullsEmpty = false;

export function decodeObject(
  schema: ObjectSchema,
  value: unknown,
  options: DecodeOptions,
): Decoded {
  if (schema.custom !== undefined) return decodeCustom(schema.custom, value, options);
  const decoder = decoderOf(schema);
  unknownCount = 0;
  nullsEmpty = options.nullsEmpty ?? false;
  let object: unknown;
  try {
    if (value === null || value === undefined) object = decoder.zero();
    else object = decoder.decode(value, 0);
  } catch (error) {
    if (error !== mismatch) throw error;
    const { problem } = diagnose(schema, value);
    throw new DecodeError(problem ?? "json: the value does not fit its type");
  }
  if (!isObject(object)) throw new Error(`schema ${schema.name} did not decode to an object`);
  const duplicates = options.duplicates ?? [];
  if (!options.strict || (unknownCount === 0 && duplicates.length === 0)) {
    return { object, unknownFields: [], duplicateFields: [], strictErrors: [] };
  }
  const { unknownFields } = diagnose(schema, value);
  const duplicateFields = duplicates.filter((path) => isTyped(schema, path, unknownFields));
  const strictErrors = [
    ...unknownFields.map((path) => `unknown field ${JSON.stringify(path)}`),
    ...duplicateFields.map((path) => `duplicate field ${JSON.stringify(path)}`),
  ];
  return { object, unknownFields, duplicateFields, strictErrors };
}

/** A custom resource: only what every object has is typed. */
function decodeCustom(custom: CustomSchema, value: unknown, options: DecodeOptions): Decoded {
  const given = value ?? {};
  if (!isObject(given)) {
    const name = Array.isArray(given)
      ? "array"
      : typeof given === "boolean"
        ? "bool"
        : typeof given;
    throw new DecodeError(
      `json: cannot unmarshal ${name} into Go value of type map[string]interface {}`,
    );
  }
  const { kind, apiVersion, metadata } = given;
  const head = decodeObject(
    custom.head,
    { kind, apiVersion, metadata },
    { strict: options.strict },
  );
  const pruned: string[] = [];
  const rest = custom.prune(given, pruned);
  const object: JsonObject = head.object;
  for (const key of Object.keys(rest)) setKey(object, key, rest[key]);
  const unknownFields = options.strict ? [...head.unknownFields, ...pruned] : [];
  const duplicateFields = options.strict ? [...(options.duplicates ?? [])] : [];
  const strictErrors = [
    ...duplicateFields.map((path) => `duplicate field ${JSON.stringify(path)}`),
    ...unknownFields.map((path) => `unknown field ${JSON.stringify(path)}`),
  ];
  return { object, unknownFields, duplicateFields, strictErrors };
}

/** From JSON text. Throws JsonSyntaxError or DecodeError. */
export function decodeJson(
  schema: ObjectSchema,
  source: string | Uint8Array,
  options: { readonly strict: boolean },
): Decoded {
  const duplicates: string[] = [];
  const value = parseJson(source, options.strict ? duplicates : undefined);
  return decodeObject(schema, value, { strict: options.strict, duplicates });
}

/** "strict decoding error: unknown field …, unknown field …". */
export const strictDecodingMessage = (errors: readonly string[]): string =>
  `strict decoding error: ${errors.join(", ")}`;

/** The message of the 400 that answers a body which does not decode. */
export const cannotBeHandledMessage = (
  kind: string,
  version: string,
  expectedKind: string,
  why: string,
): string => `${kind} in version "${version}" cannot be handled as a ${expectedKind}: ${why}`;

/** Upstream looks at duplicates only where it knows the type: not in unknown fields, not in raw JSON. */
function isTyped(schema: ObjectSchema, path: string, unknownFields: readonly string[]): boolean {
  for (const unknown of unknownFields) {
    if (path === unknown) return false;
    if (path.startsWith(unknown) && ".[".includes(path[unknown.length] ?? "")) return false;
  }
  let at: Schema = schema;
  let rest = path;
  while (rest !== "") {
    if (at.type === "list") {
      rest = rest.replace(/^\[\d+\]\.?/, "");
      at = at.items;
    } else if (at.type === "map") {
      // A map's key may hold dots: it is the last step, unless structs or lists lie below.
      if (at.values.type !== "object" && at.values.type !== "list") return true;
      rest = rest.replace(/^[^.[]*\.?/, "");
      at = at.values;
    } else if (at.type === "object") {
      const name = /^[^.[]*/.exec(rest)?.[0] ?? "";
      const field: Field | undefined = at.fields.get(name);
      if (field === undefined) return false;
      rest = rest.slice(name.length).replace(/^\./, "");
      at = field.schema;
    } else return false;
  }
  return true;
}

const decoders = new WeakMap<Schema, Decoder>();
function decoderOf(schema: Schema): Decoder {
  const known = decoders.get(schema);
  if (known !== undefined) return known;
  const made = compile(schema);
  decoders.set(schema, made);
  return made;
}

function compile(schema: Schema): Decoder {
  switch (schema.type) {
    case "list":
      return compileList(schema.items);
    case "map":
      return compileMap(schema.values);
    case "object":
      return compileObject(schema);
    default:
      return schema.alternatives === undefined
        ? compileScalar(schema.type)
        : compileAlternatives(schema.alternatives);
  }
}

/** JSON that holds one of several types bare (JSONSchemaPropsOrBool …): which one, its JSON kind tells. */
function compileAlternatives(alternatives: readonly Field[]): Decoder {
  const raw = compileScalar("any");
  const kindOf = (value: unknown): string => (Array.isArray(value) ? "list" : typeof value);
  const decode = (value: unknown, depth: number): unknown => {
    const chosen = alternatives.find(({ schema }) => schema.type === kindOf(value));
    return (chosen === undefined ? raw : decoderOf(chosen.schema)).decode(value, depth);
  };
  return { ...raw, decode };
}

const never = (): boolean => false;
const isFalsy = (value: unknown): boolean => !value;
const isNull = (value: unknown): boolean => value === null;
const zeroNull = (): unknown => null;

/** The zero values of scalars that are structs in Go: omitempty does not leave them out. */
const structZeros: Partial<Record<ScalarSchema["type"], unknown>> = {
  time: null,
  microTime: null,
  duration: "0s",
  quantity: "0",
  intOrString: 0,
  any: null,
  fields: null,
};

function compileScalar(type: ScalarSchema["type"]): Decoder {
  if (type in structZeros) {
    const zero = structZeros[type];
    const decode =
      type === "any"
        ? cloneAny
        : type === "fields"
          ? decodeFields
          : (value: unknown): unknown => {
              const read = readScalar(type, value);
              if (!("value" in read)) throw mismatch;
              return read.value;
            };
    return { decode, zero: () => zero, isEmpty: never, isZero: (value) => value === zero };
  }
  if (type === "string") {
    const decode = (value: unknown): unknown => {
      if (typeof value !== "string") throw mismatch;
      return value;
    };
    return { decode, zero: () => "", isEmpty: isFalsy, isZero: isFalsy };
  }
  const decode = (value: unknown): unknown => {
    const read = readScalar(type, value);
    if (!("value" in read)) throw mismatch;
    return read.value;
  };
  const zero = type === "bytes" ? null : type === "boolean" ? false : 0;
  return { decode, zero: () => zero, isEmpty: isFalsy, isZero: isFalsy };
}

/** A set of fields is as large as its object, and never changed: what is frozen is shared. */
const decodeFields = (value: unknown, depth: number): unknown =>
  Object.isFrozen(value) ? value : cloneAny(value, depth);

/** Raw JSON (RawExtension, JSON, FieldsV1): copied as it is, nulls and order included. */
function cloneAny(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw mismatch;
      return value;
    case "object":
      break;
    default:
      throw mismatch;
  }
  if (value === null) return null;
  if (depth > jsonDepthMax) throw mismatch;
  if (Array.isArray(value)) {
    return value.map((item) => (item === undefined ? null : cloneAny(item, depth + 1)));
  }
  const copy: JsonObject = {};
  const record = value as JsonObject;
  for (const key of Object.keys(record)) {
    const member = record[key];
    if (member !== undefined) setKey(copy, key, cloneAny(member, depth + 1));
  }
  return copy;
}

function compileList(itemSchema: Schema): Decoder {
  let items: Decoder | undefined;
  const decode = (value: unknown, depth: number): unknown => {
    if (!Array.isArray(value)) throw mismatch;
    items ??= decoderOf(itemSchema);
    const copy: unknown[] = [];
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      copy.push(item === null || item === undefined ? items.zero() : items.decode(item, depth + 1));
    }
    return copy;
  };
  const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;
  return { decode, zero: zeroNull, isEmpty, isZero: isNull };
}

function compileMap(valueSchema: Schema): Decoder {
  let values: Decoder | undefined;
  const decode = (value: unknown, depth: number): unknown => {
    if (!isObject(value)) throw mismatch;
    values ??= decoderOf(valueSchema);
    const copy: JsonObject = {};
    for (const key of sortedKeys(value)) {
      const member = value[key];
      if (member === undefined) continue;
      setKey(copy, key, member === null ? values.zero() : values.decode(member, depth + 1));
    }
    return copy;
  };
  const isEmpty = (value: unknown): boolean => {
    for (const _ in value as object) return false;
    return true;
  };
  return { decode, zero: zeroNull, isEmpty, isZero: isNull };
}

/** One field of a struct, ready to run. */
interface Entry {
  readonly name: string;
  readonly index: number;
  readonly decoder: Decoder;
  /** What stands there when the value is absent or null; undefined: nothing. */
  readonly absent: (() => unknown) | undefined;
  readonly omits: (decoded: unknown) => boolean;
  /** A list or a map that may be without members. */
  readonly holds: boolean;
}

function entryOf(field: Field, index: number): Entry {
  const decoder = decoderOf(field.schema);
  const isStruct = field.schema.type === "object" || Object.hasOwn(structZeros, field.schema.type);
  const { name } = field;
  const isContainer = field.schema.type === "list" || field.schema.type === "map";
  const holds = isContainer && !field.pointer;
  if (field.pointer) {
    const absent = field.omit === "never" ? zeroNull : undefined;
    return { name, index, decoder, absent, omits: never, holds };
  }
  if (field.omit === "never" || (field.omit === "empty" && isStruct)) {
    return { name, index, decoder, absent: decoder.zero, omits: never, holds };
  }
  const omits =
    field.omit === "zero" && isStruct
      ? decoder.isZero
      : isContainer
        ? (decoded: unknown) => decoded === null || decoder.isEmpty(decoded)
        : decoder.isEmpty;
  return { name, index, decoder, absent: undefined, omits, holds };
}

function compileObject(schema: ObjectSchema): Decoder {
  let plan: { byName: Map<string, Entry>; always: Entry[] } | undefined;
  const planOf = (): { byName: Map<string, Entry>; always: Entry[] } => {
    const entries = [...schema.fields.values()].map(entryOf);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    return { byName, always: entries.filter((entry) => entry.absent !== undefined) };
  };
  const decode = (value: unknown, depth: number): unknown => {
    if (!isObject(value) || depth > jsonDepthMax) throw mismatch;
    plan ??= planOf();
    const found: Entry[] = [];
    for (const key of Object.keys(value)) {
      const entry = plan.byName.get(key);
      if (entry !== undefined) insert(found, entry);
      else if (value[key] !== undefined) unknownCount += 1;
    }
    return build(value, found, plan.always, depth);
  };
  const zero = (): unknown => {
    plan ??= planOf();
    return build({}, [], plan.always, 0);
  };
  const isZero = (decoded: unknown): boolean => {
    plan ??= planOf();
    if (!isObject(decoded)) return false;
    for (const key of Object.keys(decoded)) {
      const entry = plan.byName.get(key);
      if (entry?.absent === undefined) return false;
      const member = decoded[key];
      if (member !== null && !entry.decoder.isZero(member)) return false;
    }
    return true;
  };
  return { decode, zero, isEmpty: never, isZero };
}

/** Keeps `found` in Go's order. A struct has few fields, and they mostly come sorted one way or another. */
function insert(found: Entry[], entry: Entry): void {
  let at = found.length;
  while (at > 0 && (found[at - 1]?.index ?? 0) > entry.index) {
    found[at] = found[at - 1] as Entry;
    at -= 1;
  }
  found[at] = entry;
}

/** Merges the fields that are there with those that Go prints in any case. */
function build(
  input: JsonObject,
  found: readonly Entry[],
  always: readonly Entry[],
  depth: number,
): JsonObject {
  const out: JsonObject = {};
  let next = 0;
  for (const entry of found) {
    const raw = input[entry.name];
    if (raw === null || raw === undefined) continue;
    for (; next < always.length; next++) {
      const printed = always[next];
      if (printed === undefined || printed.index >= entry.index) break;
      out[printed.name] = printed.absent?.();
    }
    if (always[next] === entry) next += 1;
    const decoded = entry.decoder.decode(raw, depth + 1);
    if (nullsEmpty && entry.holds && entry.decoder.isEmpty(decoded)) {
      if (entry.absent !== undefined) out[entry.name] = null;
    } else if (!entry.omits(decoded)) out[entry.name] = decoded;
  }
  for (; next < always.length; next++) {
    const printed = always[next];
    if (printed !== undefined) out[printed.name] = printed.absent?.();
  }
  return out;
}

type Defaulter = (value: unknown) => void;
const defaulters = new WeakMap<Schema, Defaulter | "none">();

/**
 * Sets what `+default` markers say, in place, as upstream's generated defaulting does: in every struct that is there, never
 * making one. The object is in canonical form before and after.
 */
export function applySchemaDefaults(schema: ObjectSchema, object: object): void {
  if (schema.custom === undefined) defaulterOf(schema)?.(object);
  else schema.custom.defaults(object as JsonObject);
}

function defaulterOf(schema: Schema): Defaulter | undefined {
  let known = defaulters.get(schema);
  if (known === undefined) {
    known = hasDefaults(schema, new Set()) ? compileDefaulter(schema) : "none";
    defaulters.set(schema, known);
  }
  return known === "none" ? undefined : known;
}

function hasDefaults(schema: Schema, seen: Set<Schema>): boolean {
  if (seen.has(schema)) return false;
  seen.add(schema);
  if (schema.type === "list") return hasDefaults(schema.items, seen);
  if (schema.type === "map") return hasDefaults(schema.values, seen);
  if (schema.type !== "object") return false;
  for (const field of schema.fields.values()) {
    if (field.default !== undefined || hasDefaults(field.schema, seen)) return true;
  }
  return false;
}

function compileDefaulter(schema: Schema): Defaulter {
  if (schema.type === "list" || schema.type === "map") {
    const inner = schema.type === "list" ? schema.items : schema.values;
    return (value) => {
      const run = defaulterOf(inner);
      if (run === undefined || typeof value !== "object" || value === null) return;
      for (const item of Object.values(value)) run(item);
    };
  }
  if (schema.type !== "object") return () => {};
  const makers = [...schema.fields.values()].flatMap((field) => {
    if (field.default === undefined || field.default === null) return [];
    const { decoder, omits, name } = entryOf(field, 0);
    const first = decoder.decode(field.default, 0);
    if (omits(first)) return [];
    const make = (): unknown => (isObject(first) ? decoder.decode(field.default, 0) : first);
    return [{ name, pointer: field.pointer, isZero: decoder.isZero, make }];
  });
  const nested = [...schema.fields.values()].filter((field) =>
    hasDefaults(field.schema, new Set()),
  );
  return (value) => {
    if (!isObject(value)) return;
    for (const { name, pointer, isZero, make } of makers) {
      const present = getKey(value, name);
      if (present === undefined || present === null || (!pointer && isZero(present))) {
        value[name] = make();
      }
    }
    for (const field of nested) {
      const present = getKey(value, field.name);
      if (present !== undefined) defaulterOf(field.schema)?.(present);
    }
  };
}
