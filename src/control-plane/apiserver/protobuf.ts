/**
 * Protobuf bodies (application/vnd.kubernetes.protobuf), as typed clients send them: the envelope and, by schema, the message inside,
 * turned into the plain value that the same body in JSON would give. Answers in protobuf are made by protobuf-write.ts.
 */

import { encodeBase64 } from "#machinery/base64.ts";
import { formatGoDuration } from "#machinery/go-duration.ts";
import { parseJson } from "#machinery/json.ts";
import { type JsonObject, setKey } from "#machinery/object.ts";
import type { Field, ListSchema, ObjectSchema, ScalarSchema, Schema } from "#machinery/schema.ts";
import { formatMicroTime, formatTime } from "#machinery/time.ts";
import type { Bytes } from "#ports/stream.ts";

export class ProtobufError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ProtobufError";
  }
}

const depthMax = 200;
const utf8 = new TextDecoder();
const magic = [0x6b, 0x38, 0x73, 0x00];

/** One field on the wire: a number (as 64 bits), or bytes. */
interface WireField {
  readonly number: number;
  readonly value: bigint | Bytes;
}

class Reader {
  readonly #bytes: Bytes;
  #at = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  *fields(): Generator<WireField> {
    while (this.#at < this.#bytes.length) {
      const tag = Number(this.#varint());
      const number = Math.floor(tag / 8);
      yield { number, value: this.#value(tag % 8) };
    }
  }

  *varints(): Generator<bigint> {
    while (this.#at < this.#bytes.length) yield this.#varint();
  }

  #value(wireType: number): bigint | Bytes {
    switch (wireType) {
      case 0:
        return this.#varint();
      case 1:
        return this.#fixed(8);
      case 2:
        return this.#take(Number(this.#varint()));
      case 5:
        return this.#fixed(4);
      default:
        throw new ProtobufError(`proto: illegal wireType ${wireType}`);
    }
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new ProtobufError("unexpected EOF");
      this.#at++;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new ProtobufError("proto: integer overflow");
  }

  #fixed(length: number): bigint {
    let value = 0n;
    for (const [index, byte] of this.#take(length).entries())
      value |= BigInt(byte) << BigInt(8 * index);
    return value;
  }

  #take(length: number): Bytes {
    const end = this.#at + length;
    if (!Number.isSafeInteger(end) || end > this.#bytes.length)
      throw new ProtobufError("unexpected EOF");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

const asBytes = (value: bigint | Bytes): Bytes => {
  if (typeof value === "bigint") throw new ProtobufError("proto: wrong wireType");
  return value;
};
const asInteger = (value: bigint | Bytes): bigint => {
  if (typeof value !== "bigint") throw new ProtobufError("proto: wrong wireType");
  return BigInt.asIntN(64, value);
};

/** A message's fields by number; of those that occur several times the last. */
function lastFields(bytes: Bytes): Map<number, bigint | Bytes> {
  const found = new Map<number, bigint | Bytes>();
  for (const { number, value } of new Reader(bytes).fields()) found.set(number, value);
  return found;
}

function timeMs(bytes: Bytes): number | undefined {
  const fields = lastFields(bytes);
  const seconds = asInteger(fields.get(1) ?? 0n);
  const nanos = asInteger(fields.get(2) ?? 0n);
  if (seconds === 0n && nanos === 0n) return undefined;
  return Number(seconds) * 1000 + Number(nanos) / 1e6;
}

function rawJson(bytes: Bytes): unknown {
  const raw = lastFields(bytes).get(1);
  if (raw === undefined) return null;
  const text = asBytes(raw);
  return text.length === 0 ? null : parseJson(text);
}

function double(value: bigint | Bytes): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt.asUintN(64, asInteger(value)));
  return view.getFloat64(0);
}

function intOrString(bytes: Bytes): unknown {
  const fields = lastFields(bytes);
  if (asInteger(fields.get(1) ?? 0n) === 1n)
    return utf8.decode(asBytes(fields.get(3) ?? new Uint8Array()));
  return Number(asInteger(fields.get(2) ?? 0n));
}

/** One of several types: whichever field is there; a list or a schema counts more than the flag that allows it. */
function alternative(alternatives: readonly Field[], bytes: Bytes, depth: number): unknown {
  const plan = {
    own: new Map(alternatives.map((field) => [field.proto, field] as const)),
    inlined: new Map<number, MessagePlan>(),
  };
  const out: JsonObject = {};
  readInto(out, plan, bytes, depth);
  const found = alternatives.filter(({ name }) => Object.hasOwn(out, name));
  const chosen = found.find(({ schema }) => schema.type !== "boolean") ?? found[0];
  if (chosen !== undefined) return out[chosen.name];
  return alternatives.some(({ schema }) => schema.type === "boolean") ? false : [];
}

function scalar(schema: ScalarSchema, value: bigint | Bytes, depth: number): unknown {
  if (schema.alternatives !== undefined)
    return alternative(schema.alternatives, asBytes(value), depth + 1);
  switch (schema.type) {
    case "string":
      return utf8.decode(asBytes(value));
    case "boolean":
      return asInteger(value) !== 0n;
    case "int32":
      return Number(BigInt.asIntN(32, asInteger(value)));
    case "int64":
      return Number(asInteger(value));
    case "float64":
      return double(value);
    case "bytes":
      return encodeBase64(asBytes(value));
    case "time": {
      const ms = timeMs(asBytes(value));
      return ms === undefined ? null : formatTime(ms);
    }
    case "microTime": {
      const ms = timeMs(asBytes(value));
      return ms === undefined ? null : formatMicroTime(ms);
    }
    case "duration":
      return formatGoDuration(asInteger(lastFields(asBytes(value)).get(1) ?? 0n));
    case "quantity":
      return utf8.decode(asBytes(lastFields(asBytes(value)).get(1) ?? new Uint8Array()));
    case "intOrString":
      return intOrString(asBytes(value));
    default:
      return rawJson(asBytes(value));
  }
}

/** How the fields of a message are found by their numbers; those of inlined structs stand one message deeper. */
interface MessagePlan {
  readonly own: ReadonlyMap<number, Field>;
  readonly inlined: ReadonlyMap<number, MessagePlan>;
}
const plans = new WeakMap<ObjectSchema, MessagePlan>();

interface Building {
  readonly own: Map<number, Field>;
  readonly inlined: Map<number, Building>;
}
const newBuilding = (): Building => ({ own: new Map(), inlined: new Map() });

function planOf(schema: ObjectSchema): MessagePlan {
  const known = plans.get(schema);
  if (known !== undefined) return known;
  const plan = newBuilding();
  for (const field of schema.fields.values()) {
    let target = plan;
    for (let inline = field.protoInline; inline !== undefined; ) {
      let inner = target.inlined.get(inline.number);
      if (inner === undefined) target.inlined.set(inline.number, (inner = newBuilding()));
      target = inner;
      inline = inline.inner;
    }
    if (field.proto > 0) target.own.set(field.proto, field);
  }
  plans.set(schema, plan);
  return plan;
}

function readInto(out: JsonObject, plan: MessagePlan, bytes: Bytes, depth: number): void {
  if (depth > depthMax) throw new ProtobufError("proto: exceeded max depth");
  for (const { number, value } of new Reader(bytes).fields()) {
    const inner = plan.inlined.get(number);
    const field = plan.own.get(number);
    if (field !== undefined) addField(out, field, value, depth);
    else if (inner !== undefined) readInto(out, inner, asBytes(value), depth + 1);
  }
}

function addField(out: JsonObject, field: Field, value: bigint | Bytes, depth: number): void {
  const { name, schema } = field;
  if (schema.type === "list") {
    const list = (out[name] ??= []) as unknown[];
    if (schema.protoWrapped === true) {
      for (const item of new Reader(asBytes(value)).fields())
        if (item.number === 1) list.push(read(schema.items, item.value, depth + 1));
    } else if (isPacked(schema.items, value)) {
      for (const item of new Reader(asBytes(value)).varints())
        list.push(read(schema.items, item, depth + 1));
    } else list.push(read(schema.items, value, depth + 1));
  } else if (schema.type === "map") {
    const map = (out[name] ??= {}) as JsonObject;
    const entry = lastFields(asBytes(value));
    const key = utf8.decode(asBytes(entry.get(1) ?? new Uint8Array()));
    const empty = isNumber(schema.values) ? 0n : new Uint8Array();
    setKey(map, key, read(schema.values, entry.get(2) ?? empty, depth + 1));
  } else setKey(out, name, read(schema, value, depth + 1));
}

const isNumber = (schema: Schema): boolean =>
  schema.type === "int32" || schema.type === "int64" || schema.type === "boolean";
const isPacked = (items: Schema, value: bigint | Bytes): boolean =>
  isNumber(items) && typeof value !== "bigint";

const unwrapped = ({ items, listType, keys }: ListSchema): ListSchema => ({
  type: "list",
  items,
  listType,
  keys,
});

function read(schema: Schema, value: bigint | Bytes, depth: number): unknown {
  if (schema.type === "object") {
    const object: JsonObject = {};
    readInto(object, planOf(schema), asBytes(value), depth);
    return object;
  }
  if (schema.type === "list" || schema.type === "map") {
    // A list or map inside one is a message with the inner one as its field 1.
    const holder: JsonObject = {};
    const bare: Schema = schema.type === "list" ? unwrapped(schema) : schema;
    const field = { name: "items", schema: bare, proto: 1 } as Field;
    for (const item of new Reader(asBytes(value)).fields())
      if (item.number === 1) addField(holder, field, item.value, depth + 1);
    return holder.items ?? (schema.type === "list" ? [] : {});
  }
  return scalar(schema, value, depth);
}

/** The value that the body stands for, with the kind and apiVersion of its envelope. */
export function readProtobuf(bytes: Bytes, schema: ObjectSchema): JsonObject {
  if (magic.some((byte, index) => bytes[index] !== byte))
    throw new ProtobufError(
      "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    );
  const envelope = lastFields(bytes.subarray(magic.length));
  const type = lastFields(asBytes(envelope.get(1) ?? new Uint8Array()));
  const object: JsonObject = {};
  readInto(object, planOf(schema), asBytes(envelope.get(2) ?? new Uint8Array()), 0);
  const text = (number: number): string =>
    utf8.decode(asBytes(type.get(number) ?? new Uint8Array()));
  if (text(1) !== "") object.apiVersion = text(1);
  if (text(2) !== "") object.kind = text(2);
  return object;
}
