/** PATCH: the new object from the old one and the patch, in the served version, by the patch's content type. */
import type { ApiRequest } from "#api/request.ts";
import { apiVersionOf } from "#api/resource.ts";
import { resetsManagers } from "#machinery/apply/managed-fields.ts";
import {
  type Decoded,
  DecodeError,
  decodeObject,
  JsonSyntaxError,
  strictDecodingMessage,
} from "#machinery/decode.ts";
import { invalid } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, isObject } from "#machinery/object.ts";
import { jsonPatch, mergePatch, PatchError, strategicMergePatch } from "#machinery/patch.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import { badRequest, invalidObject, StatusError } from "#machinery/status-error.ts";
import { bodyBytes, expectedOf, type FieldValidation, parseBytes } from "./body.ts";
import { unsupportedBody } from "./media-type.ts";
import { applyDefaults } from "./object-codec.ts";
import type { ServedResource } from "./served-resource.ts";

const patchTypes = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
} as const;
export type PatchType = (typeof patchTypes)[keyof typeof patchTypes];

/** Upstream: the schemas of custom resources have no merge keys, so there is no strategic merge patch of them. */
export function patchTypeOf(request: ApiRequest, schema: ObjectSchema | undefined): PatchType {
  const name = (request.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
  const offered = Object.entries(patchTypes).filter(
    ([, type]) => type !== "strategic" || schema?.custom === undefined,
  );
  const found = offered.find(([mediaType]) => mediaType === name);
  if (found !== undefined) return found[1];
  // Upstream: of built-in kinds the router refuses it, in its own words.
  if (schema !== undefined && schema.custom === undefined)
    throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  throw unsupportedBody(offered.map(([mediaType]) => mediaType).join(", "));
}

export interface Patch {
  readonly type: PatchType;
  readonly value: unknown;
  /** What strict validation has against the patch itself. */
  readonly strictErrors: readonly string[];
}

export function readPatch(
  request: ApiRequest,
  type: PatchType,
  validation: FieldValidation,
): Patch {
  if (request.body !== undefined && "object" in request.body)
    return { type, value: cloneJson(request.body.object), strictErrors: [] };
  const bytes = bodyBytes(request) ?? new Uint8Array();
  const strict = validation !== "Ignore";
  try {
    // Upstream: an apply patch may be YAML; JSON is YAML.
    const format = type === "apply" && bytes[0] !== 0x7b ? "yaml" : "json";
    const { value, duplicates, repeated } = parseBytes(bytes, format, strict);
    const prefix = type === "json" ? "json patch " : "";
    const strictErrors = [
      ...repeated,
      ...duplicates.map((path) => `${prefix}duplicate field ${JSON.stringify(path)}`),
    ];
    return { type, value, strictErrors };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw badRequest(`error decoding patch: ${error.message}`);
  }
}

function patched(patch: Patch, schema: ObjectSchema, old: ApiObject): unknown {
  try {
    if (patch.type === "json") return jsonPatch(old, patch.value);
    if (!isObject(patch.value))
      throw badRequest(
        "json: cannot unmarshal patch into Go value of type map[string]interface {}",
      );
    if (patch.type === "merge") return mergePatch(old, patch.value);
    return strategicMergePatch(schema, { ...old }, patch.value);
  } catch (error) {
    if (error instanceof PatchError) throw error.toStatusError();
    if (error instanceof JsonSyntaxError) throw badRequest(error.message);
    throw error;
  }
}

const cannotPatch = (value: unknown, why: string) =>
  invalidObject({ group: "", kind: "" }, "", [invalid("patch", JSON.stringify(value), why)]);

interface PatchedKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly schema: ObjectSchema;
}

export interface Patched {
  readonly object: ApiObject;
  /** The patch asks to forget who manages the object. */
  readonly reset: boolean;
}

/** For the three types that say what to change. The result is decoded; defaults are not applied. */
export function patchValue(
  patch: Patch,
  target: PatchedKind,
  old: ApiObject,
  validation: FieldValidation,
  warnings: string[],
): Patched {
  const value = patched(patch, target.schema, old);
  let decoded: Decoded;
  try {
    decoded = decodeObject(target.schema, value, {
      strict: validation !== "Ignore",
    });
  } catch (error) {
    if (error instanceof DecodeError) throw cannotPatch(value, error.message);
    throw error;
  }
  const strictErrors = [...patch.strictErrors, ...decoded.strictErrors];
  if (validation === "Strict" && strictErrors.length > 0)
    throw cannotPatch(value, strictDecodingMessage(strictErrors));
  if (validation === "Warn") warnings.push(...strictErrors);
  const object = decoded.object as unknown as ApiObject;
  checkUnchangedKind(object, target);
  return { object, reset: resetsManagers(value) };
}

/** The same for a served resource, with its defaults. */
export function applyPatchTo(
  patch: Patch,
  served: ServedResource,
  old: ApiObject,
  validation: FieldValidation,
  warnings: string[],
): Patched {
  const made = patchValue(patch, expectedOf(served.resource), old, validation, warnings);
  applyDefaults(served.resource, made.object);
  return { ...made, object: served.heard(made.object) };
}

function checkUnchangedKind(object: ApiObject, target: PatchedKind): void {
  const apiVersion = apiVersionOf(target);
  if (object.kind === target.kind && object.apiVersion === apiVersion) return;
  throw badRequest(
    `the API version in the data (${object.apiVersion}, kind ${object.kind}) does not match the expected API version (${apiVersion}, kind ${target.kind})`,
  );
}
