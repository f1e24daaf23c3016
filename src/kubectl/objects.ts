/** Looking into API objects whose kind is not known at compile time. */

import type { ApiObject, ObjectMeta } from "#machinery/meta.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";

/** An object of some kind, as the server gave it or a file says it. */
export type AnyObject = JsonObject & Partial<ApiObject>;

export function metaOf(object: JsonObject): ObjectMeta {
  const { metadata } = object;
  return isObject(metadata) ? metadata : {};
}
export const nameOf = (object: JsonObject): string => metaOf(object).name ?? "";
export const kindOf = (object: JsonObject): string =>
  typeof object["kind"] === "string" ? object["kind"] : "";
export const apiVersionIn = (object: JsonObject): string =>
  typeof object["apiVersion"] === "string" ? object["apiVersion"] : "";

/** A plain value as text; what is inside out is JSON. */
export function plainText(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : JSON.stringify(value);
}

/** The value behind the names, if there are objects all the way. */
export function at(value: unknown, ...names: readonly string[]): unknown {
  let inner: unknown = value;
  for (const name of names) {
    if (!isObject(inner)) return undefined;
    inner = Object.hasOwn(inner, name) ? inner[name] : undefined;
  }
  return inner;
}
export const textAt = (value: unknown, ...names: readonly string[]): string => {
  const found = at(value, ...names);
  return typeof found === "string" ? found : "";
};
export const numberAt = (value: unknown, ...names: readonly string[]): number | undefined => {
  const found = at(value, ...names);
  return typeof found === "number" ? found : undefined;
};
export const objectAt = (value: unknown, ...names: readonly string[]): JsonObject => {
  const found = at(value, ...names);
  return isObject(found) ? found : {};
};
export const objectsAt = (value: unknown, ...names: readonly string[]): JsonObject[] => {
  const found = at(value, ...names);
  return Array.isArray(found) ? found.filter(isObject) : [];
};
export const textsAt = (value: unknown, ...names: readonly string[]): string[] => {
  const found = at(value, ...names);
  return Array.isArray(found) ? found.map(String) : [];
};

export const isList = (object: JsonObject): boolean =>
  kindOf(object).endsWith("List") && Array.isArray(object["items"]);

/** Without managed fields, which nobody wants to read. */
export function withoutManagedFields(object: JsonObject): JsonObject {
  const items = object["items"];
  if (isList(object) && Array.isArray(items)) {
    return {
      ...object,
      items: items.map((item) => (isObject(item) ? withoutManagedFields(item) : item)),
    };
  }
  const { metadata } = object;
  if (!isObject(metadata) || metadata["managedFields"] === undefined) return object;
  const { managedFields: _, ...rest } = metadata;
  return { ...object, metadata: rest };
}
