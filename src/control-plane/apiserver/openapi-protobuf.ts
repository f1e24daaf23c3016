/**
 * The protobuf form of an OpenAPI v2 document: gnostic's messages (openapiv2/OpenAPIv2.proto), as kubectl asks for them. Reads the
 * document's JSON value. The tables name what our documents hold; a key that they do not know is a bug and throws.
 */
import { isObject } from "#machinery/object.ts";
import type { Bytes } from "#ports/stream.ts";
import { blockYaml } from "./openapi-yaml.ts";

const encoder = new TextEncoder();
const startBytes = 64 * 1024;
const lengthDelimited = 2;

/** Writes from the end to the start: so a message's length is known when it is due, and no message is copied into another. */
class Writer {
  #bytes: Bytes = new Uint8Array(startBytes);
  #at = startBytes;

  result(): Bytes {
    return this.#bytes.slice(this.#at);
  }

  #room(count: number): void {
    if (this.#at >= count) return;
    const used = this.#bytes.length - this.#at;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, used + count));
    grown.set(this.#bytes.subarray(this.#at), grown.length - used);
    this.#at = grown.length - used;
    this.#bytes = grown;
  }

  #varint(value: number): void {
    let size = 1;
    for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) size++;
    this.#room(size);
    this.#at -= size;
    let rest = value;
    for (let i = 0; i < size; i++) {
      const more = i < size - 1 ? 128 : 0;
      this.#bytes[this.#at + i] = (rest % 128) + more;
      rest = Math.floor(rest / 128);
    }
  }

  number(field: number, value: number): void {
    this.#varint(value);
    this.#varint(8 * field);
  }

  double(field: number, value: number): void {
    this.#room(8);
    this.#at -= 8;
    new DataView(this.#bytes.buffer, this.#at).setFloat64(0, value, true);
    this.#varint(8 * field + 1);
  }

  text(field: number, value: string): void {
    const bytes = encoder.encode(value);
    this.#room(bytes.length);
    this.#at -= bytes.length;
    this.#bytes.set(bytes, this.#at);
    this.#varint(bytes.length);
    this.#varint(8 * field + lengthDelimited);
  }

  /** `fill` writes the message's fields, the last first. */
  message(field: number, fill: () => void): void {
    const end = this.#bytes.length - this.#at;
    fill();
    this.#varint(this.#bytes.length - this.#at - end);
    this.#varint(8 * field + lengthDelimited);
  }
}

/** Writes one JSON value as the field of that number. */
type Put = (writer: Writer, field: number, value: unknown) => void;

function unexpected(value: unknown, wanted: string): Error {
  const shown = JSON.stringify(value)?.slice(0, 200);
  return new Error(`the OpenAPI v2 document has ${shown} where ${wanted} belongs`);
}

// Proto3: a scalar that is empty, false or zero is not written.
const string: Put = (writer, field, value) => {
  if (typeof value !== "string") throw unexpected(value, "a string");
  if (value !== "") writer.text(field, value);
};
const boolean: Put = (writer, field, value) => {
  if (typeof value !== "boolean") throw unexpected(value, "a boolean");
  if (value) writer.number(field, 1);
};
const count: Put = (writer, field, value) => {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw unexpected(value, "a count");
  if (value !== 0) writer.number(field, value);
};
const double: Put = (writer, field, value) => {
  if (typeof value !== "number") throw unexpected(value, "a number");
  if (value !== 0) writer.double(field, value);
};
const element: Put = (writer, field, value) => {
  if (typeof value !== "string") throw unexpected(value, "a string");
  writer.text(field, value);
};
const any: Put = (writer, field, value) =>
  writer.message(field, () => writer.text(2, blockYaml(value)));

/** A message that holds nothing but this value, as its field `inner`. */
const within =
  (inner: number, put: Put): Put =>
  (writer, field, value) =>
    writer.message(field, () => put(writer, inner, value));

const each =
  (put: Put): Put =>
  (writer, field, value) => {
    if (!Array.isArray(value)) throw unexpected(value, "a list");
    for (const item of value.toReversed()) put(writer, field, item);
  };

/** A map: pairs of name and value, in the document's order. */
const pairs =
  (put: Put, isMember: (name: string) => boolean = () => true): Put =>
  (writer, field, value) => {
    if (!isObject(value)) throw unexpected(value, "an object");
    for (const [name, member] of Object.entries(value).toReversed()) {
      if (member === undefined || !isMember(name)) continue;
      writer.message(field, () => {
        put(writer, 2, member);
        string(writer, 1, name);
      });
    }
  };

const isExtension = (name: string): boolean => name.startsWith("x-");
const extensions = pairs(any, isExtension);

type Fields = Readonly<Record<string, readonly [field: number, put: Put]>>;

/** The fields of a message into the writer, in the order of their numbers. Extensions always have its highest. */
function filler(fields: Fields, extension: number): (writer: Writer, value: unknown) => void {
  const known = new Map(Object.entries(fields));
  return (writer, value) => {
    if (!isObject(value)) throw unexpected(value, "an object");
    const found: { field: number; put: Put; member: unknown }[] = [];
    let isExtended = false;
    for (const name of Object.keys(value)) {
      const member = value[name];
      const one = known.get(name);
      if (member === undefined) continue;
      if (one !== undefined) found.push({ field: one[0], put: one[1], member });
      else if (isExtension(name)) isExtended = true;
      else throw unexpected({ [name]: member }, "a known field");
    }
    if (isExtended) extensions(writer, extension, value);
    found.sort((a, b) => b.field - a.field);
    for (const { field, put, member } of found) put(writer, field, member);
  };
}

function message(fields: Fields, extension: number): Put {
  const fill = filler(fields, extension);
  return (writer, field, value) => writer.message(field, () => fill(writer, value));
}

const externalDocs = message({ description: [1, string], url: [2, string] }, 3);

const schema: Put = (writer, field, value) => schemaMessage(writer, field, value);
const additionalProperties: Put = (writer, field, value) =>
  writer.message(field, () => {
    // One of two: what is chosen is written, also where it is false.
    if (typeof value === "boolean") writer.number(2, Number(value));
    else schema(writer, 1, value);
  });
const schemaMessage = message(
  {
    $ref: [1, string],
    format: [2, string],
    title: [3, string],
    description: [4, string],
    default: [5, any],
    multipleOf: [6, double],
    maximum: [7, double],
    exclusiveMaximum: [8, boolean],
    minimum: [9, double],
    exclusiveMinimum: [10, boolean],
    maxLength: [11, count],
    minLength: [12, count],
    pattern: [13, string],
    maxItems: [14, count],
    minItems: [15, count],
    uniqueItems: [16, boolean],
    maxProperties: [17, count],
    minProperties: [18, count],
    required: [19, each(element)],
    enum: [20, each(any)],
    additionalProperties: [21, additionalProperties],
    type: [22, within(1, element)],
    items: [23, within(1, schema)],
    allOf: [24, each(schema)],
    properties: [25, within(1, pairs(schema))],
    readOnly: [27, boolean],
    externalDocs: [29, externalDocs],
    example: [30, any],
  },
  31,
);

const bodyParameter = message(
  {
    description: [1, string],
    name: [2, string],
    in: [3, string],
    required: [4, boolean],
    schema: [5, schema],
  },
  6,
);
const queryParameter = message(
  {
    required: [1, boolean],
    in: [2, string],
    description: [3, string],
    name: [4, string],
    type: [6, string],
    format: [7, string],
    uniqueItems: [20, boolean],
  },
  23,
);
const pathParameter = message(
  {
    required: [1, boolean],
    in: [2, string],
    description: [3, string],
    name: [4, string],
    type: [5, string],
    format: [6, string],
    uniqueItems: [19, boolean],
  },
  22,
);
const parameters: Readonly<Record<string, Put>> = {
  body: within(1, within(1, bodyParameter)),
  query: within(1, within(2, within(3, queryParameter))),
  path: within(1, within(2, within(4, pathParameter))),
};
const parameter: Put = (writer, field, value) => {
  const place = isObject(value) && typeof value.in === "string" ? value.in : "";
  const put = Object.hasOwn(parameters, place) ? parameters[place] : undefined;
  if (put === undefined) throw unexpected(value, "a parameter of the body, query or path");
  put(writer, field, value);
};

const response = message({ description: [1, string], schema: [2, within(1, schema)] }, 5);

const operation = message(
  {
    tags: [1, each(element)],
    summary: [2, string],
    description: [3, string],
    externalDocs: [4, externalDocs],
    operationId: [5, string],
    produces: [6, each(element)],
    consumes: [7, each(element)],
    parameters: [8, each(parameter)],
    responses: [9, within(1, pairs(within(1, response)))],
    schemes: [10, each(element)],
    deprecated: [11, boolean],
  },
  13,
);

const pathItem = message(
  {
    get: [2, operation],
    put: [3, operation],
    post: [4, operation],
    delete: [5, operation],
    options: [6, operation],
    head: [7, operation],
    patch: [8, operation],
    parameters: [9, each(parameter)],
  },
  10,
);

const info = message({ title: [1, string], version: [2, string], description: [3, string] }, 7);

const fillDocument = filler(
  {
    swagger: [1, string],
    info: [2, info],
    paths: [8, within(2, pairs(pathItem))],
    definitions: [9, within(1, pairs(schema))],
  },
  16,
);

export function openApiProtobuf(document: Readonly<Record<string, unknown>>): Bytes {
  const writer = new Writer();
  fillDocument(writer, document);
  return writer.result();
}
