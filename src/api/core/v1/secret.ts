/** Secret: configuration that is one. */
import { base64ByteLength, decodeBase64, encodeBase64 } from "#machinery/base64.ts";
import { type FieldError, forbidden, invalid, required, tooLong } from "#machinery/field-error.ts";
import { JsonSyntaxError, parseJson } from "#machinery/json.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects, isObject, sortedKeys } from "#machinery/object.ts";
import { isConfigMapKey } from "#machinery/validation.ts";
import type { Secret as SecretObject } from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { immutableWhenSet } from "./configmap.ts";

export type Secret = SecretObject;

const dataBytesMax = 1024 * 1024;
const tlsType = "kubernetes.io/tls";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** stringData is for writing only: it is turned into data, over what stands there. */
function setSecretDefaults(secret: Secret): void {
  const { stringData } = secret;
  if (stringData !== undefined) {
    const data = { ...secret.data };
    for (const [key, value] of Object.entries(stringData)) {
      data[key] = encodeBase64(encoder.encode(value));
    }
    delete secret.stringData;
    if (Object.keys(data).length > 0) secret.data = data;
  }
  if ((secret.type ?? "") === "") secret.type = "Opaque";
}

/** What Go says of bytes that are no JSON object. */
function jsonObjectProblem(base64: string): string | undefined {
  const decoded = decodeBase64(base64);
  if ("problem" in decoded) return decoded.problem;
  try {
    const value = parseJson(decoder.decode(decoded.bytes));
    if (value === null || isObject(value)) return undefined;
    const kind = Array.isArray(value)
      ? "array"
      : typeof value === "boolean"
        ? "bool"
        : typeof value;
    return `json: cannot unmarshal ${kind} into Go value of type map[string]interface {}`;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return error.message;
    throw error;
  }
}

function validateJson(data: Readonly<Record<string, string>>, key: string): FieldError[] {
  const path = `data[${key}]`;
  const value = data[key];
  if (value === undefined) return [required(path)];
  const problem = jsonObjectProblem(value);
  return problem === undefined ? [] : [invalid(path, "<secret contents redacted>", problem)];
}

/** What a type asks of the data. */
function validateByType({ metadata, type, data = {} }: Secret): FieldError[] {
  const has = (key: string): boolean => Object.hasOwn(data, key);
  switch (type) {
    case "kubernetes.io/service-account-token": {
      const key = "kubernetes.io/service-account.name";
      const named = (metadata.annotations?.[key] ?? "") !== "";
      return named ? [] : [required(`metadata.annotations[${key}]`)];
    }
    case "kubernetes.io/dockercfg":
      return validateJson(data, ".dockercfg");
    case "kubernetes.io/dockerconfigjson":
      return validateJson(data, ".dockerconfigjson");
    case "kubernetes.io/basic-auth":
      if (has("username") || has("password")) return [];
      return [required("data[username]"), required("data[password]")];
    case "kubernetes.io/ssh-auth":
      return (data["ssh-privatekey"] ?? "") === "" ? [required("data[ssh-privatekey]")] : [];
    case tlsType:
      return ["tls.crt", "tls.key"]
        .filter((key) => !has(key))
        .map((key) => required(`data[${key}]`));
    default:
      return [];
  }
}

function validateSecret(secret: Secret): FieldError[] {
  const errors: FieldError[] = [];
  const data = secret.data ?? {};
  let bytes = 0;
  for (const key of sortedKeys(data)) {
    for (const message of isConfigMapKey(key)) errors.push(invalid(`data[${key}]`, key, message));
    bytes += base64ByteLength(data[key] ?? "");
  }
  if (bytes > dataBytesMax) errors.push(tooLong("data", dataBytesMax));
  return [...errors, ...validateByType(secret)];
}

function validateSecretUpdate(object: Secret, old: Secret): FieldError[] {
  const errors = validateImmutable(object.type ?? "", old.type ?? "", "type");
  if (old.immutable === true) {
    if (object.immutable !== true) errors.push(forbidden("immutable", immutableWhenSet));
    if (!equalObjects(object.data ?? {}, old.data ?? {})) {
      errors.push(forbidden("data", immutableWhenSet));
    }
  }
  return [...errors, ...validateSecret(object)];
}

/**
 * Whether key and certificate belong together only a crypto library can tell; whether there is PEM
 * at all, we can.
 */
function secretWarnings({ type, data = {} }: Secret): string[] {
  if (type !== tlsType) return [];
  const hasPem = (key: string): boolean => {
    const decoded = decodeBase64(data[key] ?? "");
    return "bytes" in decoded && decoder.decode(decoded.bytes).includes("-----BEGIN ");
  };
  if (!hasPem("tls.crt")) return ["tls: failed to find any PEM data in certificate input"];
  return hasPem("tls.key") ? [] : ["tls: failed to find any PEM data in key input"];
}

export const Secret = defineResource<Secret>({
  group: "",
  version: "v1",
  plural: "secrets",
  selectableFields: { type: ({ type }) => type ?? "" },
  printerColumns: [
    { name: "Type", value: ({ type }) => type ?? "" },
    { name: "Data", value: ({ data }) => Object.keys(data ?? {}).length },
    ageColumn,
  ],
  strategy: {
    defaults: setSecretDefaults,
    validate: validateSecret,
    validateUpdate: validateSecretUpdate,
    warnings: secretWarnings,
  },
});
