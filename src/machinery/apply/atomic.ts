/**
 * Merging without managers, as policies that mutate do it: a configuration over an object, by the lists' keys. What is only ever set as a
 * whole may not be in the configuration, so that nobody drops what he did not name. Wording is upstream's.
 */
import { isObject, type JsonObject } from "../object.ts";
import type { ObjectSchema, Schema } from "../schema.ts";
import { mergeObjects, typedMessage, typedProblems } from "./typed.ts";

function isAtomic(schema: Schema): boolean {
  if (schema.type === "list") return schema.listType === "atomic";
  return (schema.type === "map" || schema.type === "object") && schema.mapType === "atomic";
}

/** The atomic lists, maps and objects in a value: ".spec.selector". */
function atomicPaths(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value)) {
    if (schema.type !== "list") return [];
    const { items } = schema;
    const inner = value.flatMap((item, index) => atomicPaths(items, item, `${path}[${index}]`));
    return isAtomic(schema) ? [path, ...inner] : inner;
  }
  if (!isObject(value)) return [];
  const own = isAtomic(schema) ? [path] : [];
  if (schema.type !== "object") return own;
  const inner = Object.entries(value).flatMap(([key, one]) => {
    const child = schema.fields.get(key)?.schema;
    return child === undefined ? [] : atomicPaths(child, one, `${path}.${key}`);
  });
  return [...own, ...inner];
}

export type Merged = { readonly object: JsonObject } | { readonly problem: string };

export function mergeConfiguration(
  schema: ObjectSchema,
  object: JsonObject,
  config: JsonObject,
): Merged {
  const problems = typedProblems(schema, config);
  if (problems.length > 0) {
    const why = typedMessage(problems);
    return { problem: `failed to convert patch object to typed object: ${why}` };
  }
  const atomics = atomicPaths(schema, config, "");
  if (atomics.length > 0) {
    const why = `may not mutate atomic arrays, maps or structs: ${atomics.join(", ")}`;
    return { problem: `invalid ApplyConfiguration: ${why}` };
  }
  return { object: mergeObjects(schema, object, config) };
}
