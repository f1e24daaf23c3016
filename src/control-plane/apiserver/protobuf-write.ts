/**
 * Protobuf answers (application/vnd.kubernetes.protobuf): the envelope and, by schema, the message inside, from the value that would be
 * printed as JSON; the other direction is protobuf.ts. What the value leaves out is left out: readers take it for zero.
 */
import { kindSchema } from "#api/facts.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { parseGoDuration } from "#machinery/go-duration.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import type { Field, ObjectSchema, ScalarSchema, Schema } from "#machinery/schema.ts";
import { parseTime } from "#machinery/time.ts";
import type { Bytes } from "#ports/stream.ts";
import { concat } from "./bytes.ts";

const encoder = new TextEncoder();
const magic = new Uint8Array([0x6b, 0x38, 0x73, 0x00]);

/** The parts of a message, in the order in which they are written. */
class Message {
  readonly #parts: Bytes[] = [];
  /** Messages that hold fields which JSON shows one level higher; by number. */
  readonly #inner = new Map<number, Message>();

  inner(number: number): Message {
    let found = this.#inner.get(number);
    if (found === undefined) this.#inner.set(number, (found = new Message()));
    return found;
  }

  varint(number: number, value: bigint): void {
    this.#parts.push(varint(BigInt(number * 8)), varint(BigInt.asUintN(64, value)));
  }
  bytes(number: number, value: Bytes): void {
    this.#parts.push(varint(BigInt(number * 8 + 2)), varint(BigInt(value.length)), value);
  }
  double(number: number, value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value, true);
    this.#parts.push(varint(BigInt(number * 8 + 1)), new Uint8Array(view.buffer));
  }
  text(number: number, value: string): void {
    this.bytes(number, encoder.encode(value));
  }

  done(): Bytes {
    for (const [number, message] of this.#inner) this.bytes(number, message.done());
    this.#inner.clear();
    return concat(this.#parts);
  }
}

function varint(value: bigint): Bytes {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return new Uint8Array(bytes);
}

/** A message of one field. */
function holding(write: (message: Message) => void): Bytes {
  const message = new Message();
  write(message);
  return message.done();
}

function timestamp(text: string): Bytes {
  const ms = parseTime(text) ?? 0;
  const seconds = Math.floor(ms / 1000);
  const nanos = Math.round((ms - seconds * 1000) * 1000) * 1000;
  return holding((message) => {
    message.varint(1, BigInt(seconds));
    message.varint(2, BigInt(nanos));
  });
}

function intOrString(value: unknown): Bytes {
  return holding((message) => {
    message.varint(1, typeof value === "string" ? 1n : 0n);
    message.varint(2, typeof value === "number" ? BigInt(value) : 0n);
    message.text(3, typeof value === "string" ? value : "");
  });
}

const rawJson = (value: unknown): Bytes =>
  holding((message) => message.text(1, JSON.stringify(value)));

/** JSON of one of several types, bare: protobuf says which. */
function alternative(alternatives: readonly Field[], value: unknown): Bytes {
  const kind = Array.isArray(value) ? "list" : typeof value;
  const chosen = alternatives.find(({ schema }) => schema.type === kind);
  return holding((message) => {
    if (chosen === undefined) return;
    // Upstream: a schema that allows is allowed.
    const allows = alternatives.find(({ schema }) => schema.type === "boolean");
    if (allows !== undefined && chosen !== allows) message.varint(allows.proto, 1n);
    writeField(message, chosen, value);
  });
}

/** Scalars that are messages of their own. */
function scalarMessage(schema: ScalarSchema, value: unknown): Bytes {
  if (schema.alternatives !== undefined) return alternative(schema.alternatives, value);
  const text = typeof value === "string" ? value : "";
  switch (schema.type) {
    case "time":
    case "microTime":
      return timestamp(text);
    case "duration": {
      const parsed = parseGoDuration(text);
      return holding((message) => message.varint(1, "nanos" in parsed ? parsed.nanos : 0n));
    }
    case "quantity":
      return holding((message) => message.text(1, text));
    case "intOrString":
      return intOrString(value);
    default:
      return rawJson(value);
  }
}

function writeScalar(message: Message, number: number, schema: ScalarSchema, value: unknown): void {
  switch (schema.type) {
    case "string":
      message.text(number, typeof value === "string" ? value : "");
      return;
    case "boolean":
      message.varint(number, value === true ? 1n : 0n);
      return;
    case "int32":
    case "int64":
      message.varint(number, typeof value === "number" ? BigInt(value) : 0n);
      return;
    case "float64":
      message.double(number, typeof value === "number" ? value : 0);
      return;
    case "bytes": {
      const decoded = decodeBase64(typeof value === "string" ? value : "");
      message.bytes(number, "bytes" in decoded ? decoded.bytes : new Uint8Array());
      return;
    }
    default:
      message.bytes(number, scalarMessage(schema, value));
  }
}

/** One value under a number: what a list repeats. */
function writeValue(message: Message, number: number, schema: Schema, value: unknown): void {
  switch (schema.type) {
    case "object":
      message.bytes(number, objectBytes(schema, isObject(value) ? value : {}));
      return;
    case "list":
    case "map":
      // Inside a list or map: a message with the inner one as its field 1.
      message.bytes(
        number,
        holding((inner) => writeMembers(inner, 1, schema, value)),
      );
      return;
    default:
      writeScalar(message, number, schema, value);
  }
}

function writeMembers(message: Message, number: number, schema: Schema, value: unknown): void {
  if (schema.type === "list" && Array.isArray(value)) {
    for (const item of value) writeValue(message, number, schema.items, item);
  } else if (schema.type === "map" && isObject(value)) {
    for (const [key, member] of Object.entries(value)) {
      const entry = holding((inner) => {
        inner.text(1, key);
        writeValue(inner, 2, schema.values, member);
      });
      message.bytes(number, entry);
    }
  }
}

function writeField(message: Message, field: Field, value: unknown): void {
  const { schema, proto } = field;
  if (schema.type === "list" && schema.protoWrapped === true) {
    message.bytes(
      proto,
      holding((inner) => writeMembers(inner, 1, schema, value)),
    );
  } else if (schema.type === "list" || schema.type === "map")
    writeMembers(message, proto, schema, value);
  else writeValue(message, proto, schema, value);
}

function objectBytes(schema: ObjectSchema, value: JsonObject): Bytes {
  const message = new Message();
  for (const field of schema.fields.values()) {
    const member = Object.hasOwn(value, field.name) ? value[field.name] : undefined;
    if (member === undefined || member === null || field.proto === 0) continue;
    let target = message;
    for (let inline = field.protoInline; inline !== undefined; ) {
      target = target.inner(inline.number);
      inline = inline.inner;
    }
    writeField(target, field, member);
  }
  return message.done();
}

/** The schema of any object that says its kind; undefined: a kind that protobuf does not know. */
export function protobufSchema(object: object): ObjectSchema | undefined {
  const { apiVersion, kind } = object as { apiVersion?: unknown; kind?: unknown };
  if (typeof kind !== "string") return undefined;
  const parsed = parseApiVersion(typeof apiVersion === "string" ? apiVersion : "v1");
  if (parsed === undefined) return undefined;
  const isMeta = parsed.group === "meta.k8s.io";
  const group = isMeta ? "" : parsed.group;
  return kindSchema(group, isMeta ? "v1" : parsed.version, kind);
}

/** The whole body: prefix, envelope, message. */
export function writeProtobuf(object: object, schema: ObjectSchema): Bytes {
  const { apiVersion, kind } = object as { apiVersion?: unknown; kind?: unknown };
  const type = holding((message) => {
    message.text(1, typeof apiVersion === "string" ? apiVersion : "");
    message.text(2, typeof kind === "string" ? kind : "");
  });
  const envelope = holding((message) => {
    message.bytes(1, type);
    message.bytes(2, objectBytes(schema, object as JsonObject));
    message.text(3, "");
    message.text(4, "");
  });
  return concat([magic, envelope]);
}

/** A frame of a watch: its length, then the event with the whole body of its object. */
export function protobufFrame(type: string, object: Bytes): Bytes {
  const event = holding((message) => {
    message.text(1, type);
    message.bytes(
      2,
      holding((raw) => raw.bytes(1, object)),
    );
  });
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, event.length);
  return concat([new Uint8Array(length.buffer), event]);
}
