/** ConfigMap: configuration in keys and values. */
import { base64ByteLength } from "#machinery/base64.ts";
import { type FieldError, forbidden, invalid, tooLong } from "#machinery/field-error.ts";
import { equalObjects, sortedKeys } from "#machinery/object.ts";
import { isConfigMapKey } from "#machinery/validation.ts";
import type { ConfigMap as ConfigMapObject } from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type ConfigMap = ConfigMapObject;

const dataBytesMax = 1024 * 1024;
export const immutableWhenSet = "field is immutable when `immutable` is set";
const encoder = new TextEncoder();

function validateConfigMap({ data = {}, binaryData = {} }: ConfigMap): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const key of sortedKeys(data)) {
    const path = `data[${key}]`;
    for (const message of isConfigMapKey(key)) errors.push(invalid(path, key, message));
    if (Object.hasOwn(binaryData, key)) {
      errors.push(invalid(path, key, "duplicate of key present in binaryData"));
    }
    bytes += encoder.encode(data[key] ?? "").length;
  }
  for (const key of sortedKeys(binaryData)) {
    for (const message of isConfigMapKey(key)) {
      errors.push(invalid(`binaryData[${key}]`, key, message));
    }
    bytes += base64ByteLength(binaryData[key] ?? "");
  }
  // Upstream: the error is about the whole object, so its path is empty.
  if (bytes > dataBytesMax) errors.push(tooLong("", dataBytesMax));
  return errors;
}

function validateConfigMapUpdate(object: ConfigMap, old: ConfigMap): FieldError[] {
  const errors: FieldError[] = [];
  if (old.immutable === true) {
    if (object.immutable !== true) errors.push(forbidden("immutable", immutableWhenSet));
    for (const field of ["data", "binaryData"] as const) {
      if (!equalObjects(object[field] ?? {}, old[field] ?? {})) {
        errors.push(forbidden(field, immutableWhenSet));
      }
    }
  }
  return [...errors, ...validateConfigMap(object)];
}

export const ConfigMap = defineResource<ConfigMap>({
  group: "",
  version: "v1",
  plural: "configmaps",
  printerColumns: [
    {
      name: "Data",
      value: ({ data = {}, binaryData = {} }) =>
        Object.keys(data).length + Object.keys(binaryData).length,
    },
    ageColumn,
  ],
  strategy: { validate: validateConfigMap, validateUpdate: validateConfigMapUpdate },
});
