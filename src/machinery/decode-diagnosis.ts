/**
 * The second pass of decoding, run only when something is wrong: walks value and schema together with a path, and gives the first
 * type error in Go's words and the unknown fields. Facts from sigs.k8s.io/json: messages, what a path holds, what ends the
 * walk (errors of types that parse themselves) and what is only remembered.
 */
import { jsonDepthMax } from "./json.ts";
import { isObject } from "./object.ts";
import { readScalar } from "./scalar.ts";
import type { Field, ObjectSchema, ScalarSchema, Schema } from "./schema.ts";

export interface Diagnosis {
  readonly problem?: string;
  readonly unknownFields: readonly string[];
}

/** As upstream: an answer does not list more. */
const unknownMax = 100;

/** Scalars that read their JSON themselves: their error ends the decoding at once, whatever was remembered before. */
const selfReading: readonly ScalarSchema["type"][] = [
  "time",
  "microTime",
  "duration",
  "quantity",
  "intOrString",
];

class Stop extends Error {}

export function diagnose(schema: ObjectSchema, value: unknown): Diagnosis {
  const walker = new Walker();
  try {
    if (value !== null && value !== undefined) walker.value(schema, value, "", 0);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { problem: error.message, unknownFields: [] };
  }
  const unknownFields = [...walker.unknown];
  return walker.problem === undefined
    ? { unknownFields }
    : { problem: walker.problem, unknownFields };
}

/** "io.k8s.api.core.v1.PodSpec" → "PodSpec". */
const shortName = (name: string): string => name.slice(name.lastIndexOf(".") + 1);
/** "io.k8s.api.core.v1.PodSpec" → "v1.PodSpec". */
const goName = (name: string): string => name.split(".").slice(-2).join(".");

const goScalars: Partial<Record<ScalarSchema["type"], string>> = {
  boolean: "bool",
  bytes: "[]uint8",
  time: "v1.Time",
  microTime: "v1.MicroTime",
  duration: "v1.Duration",
  quantity: "resource.Quantity",
  intOrString: "intstr.IntOrString",
  any: "runtime.RawExtension",
  fields: "v1.FieldsV1",
};
function goType(schema: Schema): string {
  if (schema.type === "list") return `[]${goType(schema.items)}`;
  if (schema.type === "map") {
    // Wherever upstream maps to quantities, it is by this name.
    if (schema.values.type === "quantity") return "v1.ResourceList";
    return `map[string]${goType(schema.values)}`;
  }
  if (schema.type === "object") return goName(schema.name);
  return goScalars[schema.type] ?? schema.type;
}

function numberText(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e21
    ? BigInt(value).toString()
    : String(value);
}
/** What Go calls the JSON value. Numbers are spelled out where a number was wanted. */
function describe(value: unknown, numeric: boolean): string {
  if (typeof value === "number") return numeric ? `number ${numberText(value)}` : "number";
  if (typeof value === "boolean") return "bool";
  if (Array.isArray(value)) return "array";
  return typeof value === "bigint" ? "number" : typeof value;
}

class Walker {
  readonly unknown = new Set<string>();
  problem: string | undefined;
  #struct = "";
  readonly #fields: string[] = [];

  value(schema: Schema, value: unknown, path: string, depth: number): void {
    if (depth > jsonDepthMax) throw new Stop("exceeded max depth");
    switch (schema.type) {
      case "object":
        if (isObject(value)) this.#object(schema, value, path, depth);
        else this.#remember(value, goType(schema), false);
        return;
      case "list":
        if (!Array.isArray(value)) this.#remember(value, goType(schema), false);
        else {
          for (const [index, item] of value.entries()) {
            if (item === null || item === undefined) continue;
            this.value(schema.items, item, `${path}[${index}]`, depth + 1);
          }
        }
        return;
      case "map":
        if (!isObject(value)) this.#remember(value, goType(schema), false);
        else {
          for (const [key, item] of Object.entries(value)) {
            if (item === null || item === undefined) continue;
            this.value(schema.values, item, path === "" ? key : `${path}.${key}`, depth + 1);
          }
        }
        return;
      default:
        this.#scalar(schema.type, value, depth);
    }
  }

  #object(
    schema: ObjectSchema,
    value: Readonly<Record<string, unknown>>,
    path: string,
    depth: number,
  ): void {
    const outerStruct = this.#struct;
    const outerLength = this.#fields.length;
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue;
      const keyPath = path === "" ? key : `${path}.${key}`;
      const field = schema.fields.get(key);
      if (field === undefined) {
        if (this.unknown.size < unknownMax) this.unknown.add(keyPath);
        continue;
      }
      this.#struct = shortName(schema.name);
      const embedded = embeddedName(field, depth);
      if (embedded !== undefined) this.#fields.push(embedded);
      this.#fields.push(key);
      if (member !== null) this.value(field.schema, member, keyPath, depth + 1);
      this.#fields.length = outerLength;
      this.#struct = outerStruct;
    }
  }

  #scalar(type: ScalarSchema["type"], value: unknown, depth: number): void {
    if (type === "any" || type === "fields") {
      if (!isJson(value, depth)) throw new Stop("exceeded max depth");
      return;
    }
    const read = readScalar(type, value);
    if ("value" in read) return;
    if ("problem" in read) {
      if (selfReading.includes(type)) throw new Stop(read.problem);
      this.problem ??= read.problem;
      return;
    }
    const numeric = ["int32", "int64", "float64"].includes(read.expected);
    if (selfReading.includes(type)) throw new Stop(this.#message(value, read.expected, numeric));
    this.#remember(value, read.expected, numeric);
  }

  #message(value: unknown, type: string, numeric: boolean): string {
    const what = `json: cannot unmarshal ${describe(value, numeric)} into Go`;
    if (this.#struct === "" && this.#fields.length === 0) return `${what} value of type ${type}`;
    return `${what} struct field ${this.#struct}.${this.#fields.join(".")} of type ${type}`;
  }

  /** Go reads on after such an error and reports the first. */
  #remember(value: unknown, type: string, numeric: boolean): void {
    this.problem ??= this.#message(value, type, numeric);
  }
}

/** Embedded structs whose Go name is not the one that protobuf has for them. */
const goEmbeddedNames: Readonly<Record<string, string>> = { handler: "ProbeHandler" };

/** A struct that Go embeds stands in the path by its type's name. */
function embeddedName(field: Field, depth: number): string | undefined {
  const name = field.protoInline?.name;
  if (name !== undefined) {
    return goEmbeddedNames[name] ?? `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
  }
  const isTypeMeta = depth === 0 && (field.name === "kind" || field.name === "apiVersion");
  return isTypeMeta ? "TypeMeta" : undefined;
}

function isJson(value: unknown, depth: number): boolean {
  if (depth > jsonDepthMax) return false;
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) {
    return ["string", "boolean", "undefined"].includes(typeof value) || value === null;
  }
  return Object.values(value).every((member) => isJson(member, depth + 1));
}
