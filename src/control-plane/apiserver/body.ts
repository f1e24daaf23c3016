/** Request bodies and write options: bytes or an object in, a decoded object of the expected kind out, with upstream's refusals. */

import { kindSchema } from "#api/facts.ts";
import type { ApiRequest } from "#api/request.ts";
import { apiVersionOf, type Resource } from "#api/resource.ts";
import {
  cannotBeHandledMessage,
  DecodeError,
  decodeObject,
  JsonSyntaxError,
  parseJson,
  strictDecodingMessage,
} from "#machinery/decode.ts";
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, isObject, type JsonObject } from "#machinery/object.ts";
import { isPrintable } from "#machinery/quote.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import { badRequest, invalidObject, requestTooLarge } from "#machinery/status-error.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import type { Bytes } from "#ports/stream.ts";
import { bodyFormat } from "./media-type.ts";
import { ProtobufError, readProtobuf } from "./protobuf.ts";
import { validateDryRun } from "./registry-delete.ts";
import { queryValue } from "./request-info.ts";

export const bodyBytesMax = 3 * 1024 * 1024;
const managerLengthMax = 128;
const encoder = new TextEncoder();

export type FieldValidation = "Ignore" | "Warn" | "Strict";
export interface WriteOptions {
  readonly dryRun: boolean;
  /** The field manager, or else what the user agent begins with. */
  readonly manager: string;
  readonly fieldValidation: FieldValidation;
  readonly force: boolean;
}

/** Upstream: without a field manager it is the user agent up to the first slash. */
function managerOf(userAgent: string): string {
  let manager = "";
  for (const char of userAgent.split("/")[0] ?? "") {
    if (!isPrintable(char)) continue;
    if (manager.length + char.length > managerLengthMax) break;
    manager += char;
  }
  return manager;
}

const optionsKinds = {
  POST: "CreateOptions",
  PUT: "UpdateOptions",
  PATCH: "PatchOptions",
} as const;

function validateManager(manager: string): FieldError[] {
  const errors: FieldError[] = [];
  if (manager.length > managerLengthMax) {
    errors.push({
      path: "fieldManager",
      type: "FieldValueTooLong",
      message: `Too long: may not be more than ${managerLengthMax} bytes`,
    });
  }
  let position = 0;
  for (const char of manager) {
    const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    const why = `invalid character U+${code} (at position ${position})`;
    if (!isPrintable(char)) errors.push(invalid("fieldManager", manager, why));
    position += encoder.encode(char).length;
  }
  return errors;
}

export function writeOptions(request: ApiRequest, apply = false): WriteOptions {
  const errors: FieldError[] = [];
  const dryRun = request.query.filter(([name]) => name === "dryRun").map(([, value]) => value);
  const manager = queryValue(request, "fieldManager") ?? "";
  const validation = queryValue(request, "fieldValidation") ?? "";
  const force = queryValue(request, "force");
  if (request.method === "PATCH") {
    if (apply && manager === "")
      errors.push(required("fieldManager", "is required for apply patch"));
    if (!apply && force !== undefined)
      errors.push(forbidden("force", "may not be specified for non-apply patch"));
  }
  errors.push(...validateManager(manager), ...validateDryRun(dryRun));
  if (!["", "Ignore", "Warn", "Strict"].includes(validation))
    errors.push(notSupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]));
  if (errors.length > 0) {
    const kind = optionsKinds[request.method as keyof typeof optionsKinds] ?? "UpdateOptions";
    throw invalidObject({ group: "meta.k8s.io", kind }, "", errors);
  }
  return {
    dryRun: dryRun.length > 0,
    manager: manager === "" ? managerOf(request.headers["user-agent"] ?? "") : manager,
    fieldValidation: validation === "" ? "Warn" : (validation as FieldValidation),
    force: force === "true" || force === "1",
  };
}

function bytesOf(request: ApiRequest): Bytes | undefined {
  if (request.body === undefined || "object" in request.body) return undefined;
  const { bytes } = request.body;
  if (bytes.length > bodyBytesMax) throw requestTooLarge(`limit is ${bodyBytesMax}`);
  return bytes;
}

/** Parsed JSON or YAML, with the keys that occur twice. */
export interface ParsedBody {
  readonly value: unknown;
  readonly duplicates: readonly string[];
  /** The same of YAML, already worded. */
  readonly repeated: readonly string[];
}

export function parseBytes(bytes: Bytes, format: "json" | "yaml", strict: boolean): ParsedBody {
  if (format === "yaml") {
    const [document] = readYamlDocuments(bytes);
    return { value: document?.value ?? null, duplicates: [], repeated: document?.duplicates ?? [] };
  }
  const duplicates: string[] = [];
  const value = parseJson(bytes, strict ? duplicates : undefined);
  return { value, duplicates, repeated: [] };
}

/** Upstream: what was sent instead, cut short. */
function summary(bytes: Bytes): string {
  if (bytes.length === 0) return "<empty>";
  const cut = bytes.subarray(0, 30);
  const dots = bytes.length > 30 ? " ..." : "";
  if (bytes[0] === 0x7b) return new TextDecoder().decode(cut) + dots;
  return [...cut].map((byte) => byte.toString(16).padStart(2, "0")).join("") + dots;
}

function parsedBody(
  request: ApiRequest,
  kind: string,
  schema: ObjectSchema,
  strict: boolean,
): ParsedBody {
  if (request.body !== undefined && "object" in request.body)
    return { value: request.body.object, duplicates: [], repeated: [] };
  const format = bodyFormat(request.headers["content-type"], schema.custom === undefined);
  const bytes = bytesOf(request) ?? new Uint8Array();
  try {
    if (bytes.length === 0) throw new JsonSyntaxError("unexpected end of JSON input");
    if (format !== "protobuf") {
      const parsed = parseBytes(bytes, format, strict);
      if (schema.custom === undefined) checkTypeMeta(parsed.value);
      return parsed;
    }
    return { value: readProtobuf(bytes, schema), duplicates: [], repeated: [] };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${error.message} (${summary(bytes)})`,
    );
  }
}

interface Expected {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** What Go calls a JSON value that is no object. */
const goValue = (value: unknown): string =>
  Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;

/** Upstream reads kind and apiVersion first, before it knows what to read the rest as. */
function checkTypeMeta(value: unknown): void {
  if (value === null) return;
  if (!isObject(value)) {
    const struct =
      'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }';
    throw new JsonSyntaxError(
      `json: cannot unmarshal ${goValue(value)} into Go value of type ${struct}`,
    );
  }
  for (const field of ["apiVersion", "kind"] as const) {
    const given = value[field];
    if (given === undefined || given === null || typeof given === "string") continue;
    const what = isObject(given) ? "object" : goValue(given);
    throw new JsonSyntaxError(
      `json: cannot unmarshal ${what} into Go struct field .${field} of type string`,
    );
  }
}

/** Upstream's names of its packages of internal types: not of the group's first word. */
const internalPackages: Readonly<Record<string, string>> = {
  "": "core",
  "events.k8s.io": "core",
  "internal.apiserver.k8s.io": "apiserverinternal",
};
const internalPackage = (group: string): string =>
  internalPackages[group] ?? group.split(".")[0] ?? group;

/** A body that says to be of another kind or version. */
function checkKind(value: unknown, expected: Expected & { readonly schema: ObjectSchema }): void {
  if (!isObject(value)) return;
  const apiVersion = apiVersionOf(expected);
  const kind = typeof value.kind === "string" && value.kind !== "" ? value.kind : expected.kind;
  const given =
    typeof value.apiVersion === "string" && value.apiVersion !== "" ? value.apiVersion : apiVersion;
  if (kind === expected.kind && given === apiVersion) return;
  const slash = given.indexOf("/");
  const [group, version] = [given.slice(0, Math.max(slash, 0)), given.slice(slash + 1)];
  const refuse = (why: string): Error =>
    badRequest(cannotBeHandledMessage(kind, version, expected.kind, why));
  if (expected.schema.custom === undefined && kindSchema(group, version, kind) === undefined)
    throw refuse(
      `no kind "${kind}" is registered for version "${given}" in scheme "pkg/runtime/scheme.go:111"`,
    );
  if (given !== apiVersion && kind === expected.kind)
    throw badRequest(
      `the API version in the data (${given}) does not match the expected API version (${apiVersion})`,
    );
  if (expected.schema.custom === undefined) {
    const into = `${internalPackage(expected.group)}.${expected.kind}`;
    throw refuse(`converting (${version}.${kind}) to (${into}): unknown conversion`);
  }
  const { metadata } = value;
  const name = isObject(metadata) && typeof metadata.name === "string" ? metadata.name : "";
  throw invalidObject(expected, name, [invalid("kind", kind, `must be ${expected.kind}`)]);
}

/** Unknown and repeated fields: refused, told as warnings, or ignored. */
export function heedStrictErrors(
  strictErrors: readonly string[],
  validation: FieldValidation,
  warnings: string[],
  refuse: (why: string) => Error,
): void {
  if (strictErrors.length === 0 || validation === "Ignore") return;
  if (validation === "Strict") throw refuse(strictDecodingMessage(strictErrors));
  warnings.push(...strictErrors);
}

/** The body as an object of a kind with metadata. Defaults are not applied. */
export const readBody = (
  request: ApiRequest,
  expected: Expected & { readonly schema: ObjectSchema },
  validation: FieldValidation,
  warnings: string[],
): ApiObject => readBodyAndValue(request, expected, validation, warnings).object;

/** The same, and the value as it was sent. */
export function readBodyAndValue(
  request: ApiRequest,
  expected: Expected & { readonly schema: ObjectSchema },
  validation: FieldValidation,
  warnings: string[],
): { readonly object: ApiObject; readonly value: unknown } {
  const strict = validation !== "Ignore";
  const parsed = parsedBody(request, expected.kind, expected.schema, strict);
  const { value } = parsed;
  checkKind(value, expected);
  const object = decodeValue(parsed, expected, validation, warnings);
  object.kind = expected.kind;
  object.apiVersion = apiVersionOf(expected);
  return { object: object as unknown as ApiObject, value };
}

function decodeValue(
  { value, duplicates, repeated }: ParsedBody,
  { kind, version, schema }: Expected & { readonly schema: ObjectSchema },
  validation: FieldValidation,
  warnings: string[],
): JsonObject {
  const refuse = (why: string) => badRequest(cannotBeHandledMessage(kind, version, kind, why));
  try {
    const decoded = decodeObject(schema, value, {
      strict: validation !== "Ignore",
      duplicates,
    });
    const strictErrors = [...repeated, ...decoded.strictErrors];
    heedStrictErrors(strictErrors, validation, warnings, refuse);
    return decoded.object;
  } catch (error) {
    if (error instanceof DecodeError) throw refuse(error.message);
    throw error;
  }
}

/** A body that is no API object (DeleteOptions), as it was sent. Undefined: there is none. */
export function readPlainBody(request: ApiRequest, schema: ObjectSchema): unknown {
  if (request.body !== undefined && "object" in request.body) return cloneJson(request.body.object);
  const bytes = bytesOf(request);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const format = bodyFormat(request.headers["content-type"]);
  try {
    if (format === "protobuf") return readProtobuf(bytes, schema);
    return parseBytes(bytes, format, false).value;
  } catch (error) {
    if (error instanceof JsonSyntaxError || error instanceof ProtobufError)
      throw badRequest(error.message);
    throw error;
  }
}

export const expectedOf = (resource: Resource) => ({
  group: resource.group,
  version: resource.version,
  kind: resource.kind,
  schema: resource.schema,
});

export const bodyBytes = bytesOf;
