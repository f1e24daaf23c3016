/**
 * What a definition's schema says beyond values: lists that are sets or maps hold each key once, and a resource inside the resource
 * has a kind, a version and real metadata.
 */

import { DecodeError, decodeObject } from "#machinery/decode.ts";
import { duplicate, type FieldError, invalid, required } from "#machinery/field-error.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { validateObjectMeta } from "#machinery/meta-validation.ts";
import { getKey, isObject, type JsonObject } from "#machinery/object.ts";
import { isDns1035Label } from "#machinery/validation.ts";
import { typeSchema } from "../facts.ts";
import { itemsOf, type Props, propertyOf, valuesOf } from "./pruning.ts";

/** Visits every value that has a schema. */
function* walk(
  value: unknown,
  props: Props | undefined,
  path: string,
): Generator<{ readonly value: unknown; readonly props: Props; readonly path: string }> {
  if (props === undefined) return;
  yield { value, props, path };
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      yield* walk(item, itemsOf(props), `${path}[${index}]`);
  } else if (isObject(value)) {
    for (const [key, member] of Object.entries(value)) {
      const property = propertyOf(props, key);
      if (property !== undefined)
        yield* walk(member, property, path === "" ? key : `${path}.${key}`);
      else yield* walk(member, valuesOf(props), `${path}[${key}]`);
    }
  }
}

/** JSON with its keys in order: equal for equal values. */
const textOf = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) =>
    isObject(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  ) ?? "null";

/** The places where a value comes for the second time. */
function repeated(values: readonly unknown[]): number[] {
  const times = new Map<string, number>();
  const found: number[] = [];
  for (const [index, value] of values.entries()) {
    const text = textOf(value);
    const seen = times.get(text) ?? 0;
    times.set(text, seen + 1);
    if (seen === 1) found.push(index);
  }
  return found;
}

function keysOf(item: unknown, keys: readonly string[]): JsonObject {
  const found: JsonObject = {};
  if (isObject(item))
    for (const key of keys) if (Object.hasOwn(item, key)) found[key] = getKey(item, key);
  return found;
}

/** Sets and maps. */
export function validateListTypes(object: JsonObject, props: Props): FieldError[] {
  const errors: FieldError[] = [];
  for (const { value, props: own, path } of walk(object, props, "")) {
    if (!Array.isArray(value)) continue;
    if (own["x-kubernetes-list-type"] === "set") {
      for (const index of repeated(value))
        errors.push(duplicate(`${path}[${index}]`, value[index]));
    } else if (own["x-kubernetes-list-type"] === "map") {
      const wrong = value.findIndex((item) => item !== null && !isObject(item));
      if (wrong !== -1) {
        const why = "must be an object for an array of list-type map";
        errors.push(invalid(`${path}[${wrong}]`, value[wrong], why));
        continue;
      }
      const names = own["x-kubernetes-list-map-keys"] ?? [];
      const keys = value.map((item) => keysOf(item, names));
      for (const index of repeated(keys)) errors.push(duplicate(`${path}[${index}]`, keys[index]));
    }
  }
  return errors;
}

function validateTypeMeta(value: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of ["apiVersion", "kind"] as const) {
    const at = `${path}.${name}`;
    const text = getKey(value, name);
    if (text === undefined) errors.push(required(at));
    else if (typeof text !== "string") errors.push(invalid(at, text, "must be a string"));
    else if (text === "") errors.push(invalid(at, text, "must not be empty"));
    else if (name === "apiVersion") {
      if (parseApiVersion(text) === undefined)
        errors.push(invalid(at, text, `unexpected GroupVersion string: ${text}`));
    } else {
      const problems = isDns1035Label(text.toLowerCase());
      if (problems.length > 0) {
        const why = `may have mixed case, but should otherwise match: ${problems.join(",")}`;
        errors.push(invalid(at, text, why));
      }
    }
  }
  return errors;
}

function validateMeta(value: unknown, path: string): FieldError[] {
  let metadata: ObjectMeta;
  try {
    const schema = typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    const { object } = decodeObject(schema, value, { strict: false });
    metadata = object;
  } catch (error) {
    if (error instanceof DecodeError) return [invalid(path, value, error.message)];
    throw error;
  }
  // It need not have a name; what it has must be right.
  if ((metadata.name ?? "") === "") metadata.name = "fakename";
  const namespaced = (metadata.namespace ?? "") !== "";
  return validateObjectMeta(metadata, { namespaced, nameFormat: "pathSegment" }, path);
}

/** Resources inside the resource. */
export function validateEmbedded(object: JsonObject, props: Props): FieldError[] {
  const errors: FieldError[] = [];
  for (const { value, props: own, path } of walk(object, props, "")) {
    if (own["x-kubernetes-embedded-resource"] !== true || !isObject(value)) continue;
    errors.push(...validateTypeMeta(value, path));
    const metadata = getKey(value, "metadata");
    if (metadata !== undefined) errors.push(...validateMeta(metadata, `${path}.metadata`));
  }
  return errors;
}
