/**
 * What a definition's schema does to a custom resource before anybody judges it: unknown fields go, nulls that may not be go or become
 * defaults, defaults are set. Facts from apiextensions-apiserver's pruning and defaulting.
 */

import { DecodeError, decodeObject } from "#machinery/decode.ts";
import {
  cloneJson,
  getKey,
  isObject,
  type JsonObject,
  setKey,
  sortedKeys,
} from "#machinery/object.ts";
import { typeSchema } from "../facts.ts";
import type { JSONSchemaProps } from "../generated/apiextensions/v1.ts";

export type Props = JSONSchemaProps;

const metaType = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
export const typeMetaFields: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata"]);

/** The one schema of a list's items. */
export const itemsOf = (props: Props): Props | undefined =>
  isObject(props.items) ? props.items : undefined;

/** The schema of a map's values; undefined: there is none, or anything goes. */
export const valuesOf = (props: Props): Props | undefined =>
  isObject(props.additionalProperties) ? props.additionalProperties : undefined;

export function propertyOf(props: Props, name: string): Props | undefined {
  const { properties } = props;
  return properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
}

const join = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);

/** A copy without unknown fields. */
export function prune(
  value: unknown,
  props: Props | undefined,
  path: string,
  unknown: string[],
): unknown {
  if (Array.isArray(value)) {
    const items = props === undefined ? undefined : itemsOf(props);
    return value.map((item, index) => prune(item ?? null, items, `${path}[${index}]`, unknown));
  }
  if (!isObject(value)) return value ?? null;
  return pruneFields(
    value,
    props,
    path,
    unknown,
    props?.["x-kubernetes-embedded-resource"] === true,
  );
}

function pruneFields(
  value: JsonObject,
  props: Props | undefined,
  path: string,
  unknown: string[],
  embedded: boolean,
): JsonObject {
  const preserves = props?.["x-kubernetes-preserve-unknown-fields"] === true;
  const out: JsonObject = {};
  for (const key of sortedKeys(value)) {
    const member = value[key];
    if (member === undefined) continue;
    const at = join(path, key);
    const property = props === undefined ? undefined : propertyOf(props, key);
    if (embedded && typeMetaFields.has(key))
      setKey(out, key, key === "metadata" ? coerceMeta(member, at, unknown) : cloneJson(member));
    else if (property !== undefined) setKey(out, key, prune(member, property, at, unknown));
    else if (preserves) setKey(out, key, cloneJson(member));
    else if (props?.additionalProperties !== undefined && props.additionalProperties !== false) {
      const values = valuesOf(props);
      setKey(
        out,
        key,
        values === undefined ? cloneJson(member) : prune(member, values, at, unknown),
      );
    } else unknown.push(at);
  }
  return out;
}

/** The metadata of a resource inside the resource; what is no metadata at all is left for validation to refuse. */
function coerceMeta(value: unknown, path: string, unknown: string[]): unknown {
  try {
    const decoded = decodeObject(typeSchema(metaType), value, { strict: true });
    unknown.push(...decoded.unknownFields.map((name) => join(path, name)));
    const { object } = decoded;
    if (object.creationTimestamp === null) delete object.creationTimestamp;
    return object;
  } catch (error) {
    if (error instanceof DecodeError) return cloneJson(value);
    throw error;
  }
}

/** The fields of the whole resource besides kind, apiVersion and metadata. */
export function pruneResource(value: JsonObject, props: Props, unknown: string[]): JsonObject {
  const rest: JsonObject = {};
  for (const key of Object.keys(value)) if (!typeMetaFields.has(key)) setKey(rest, key, value[key]);
  return pruneFields(rest, props, "", unknown, false);
}

/** Null, though it may not be, and with no default to take its place. */
const isVoid = (value: unknown, props: Props | undefined): boolean =>
  value === null && props !== undefined && props.nullable !== true && props.default === undefined;

const childOf = (props: Props | undefined, key: string): Props | undefined =>
  props === undefined ? undefined : (propertyOf(props, key) ?? valuesOf(props));

/** In place: takes out nulls that have no meaning. */
export function dropVoidNulls(value: unknown, props: Props | undefined): void {
  if (Array.isArray(value)) {
    const items = props === undefined ? undefined : itemsOf(props);
    for (const item of value) dropVoidNulls(item, items);
  } else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      const child = childOf(props, key);
      const member = getKey(value, key);
      if (isVoid(member, child)) delete value[key];
      else dropVoidNulls(member, child);
    }
  }
}

/** In place. */
export function setDefaults(value: unknown, props: Props | undefined): void {
  if (props === undefined) return;
  const isNull = (member: unknown, schema: Props | undefined): boolean =>
    member === null && schema !== undefined && schema.nullable !== true;
  if (Array.isArray(value)) {
    const items = itemsOf(props);
    for (const [index, item] of value.entries()) {
      if (isNull(item, items) && items?.default !== undefined)
        value[index] = cloneJson(items.default);
      setDefaults(value[index], items);
    }
    return;
  }
  if (!isObject(value)) return;
  for (const [name, property] of Object.entries(props.properties ?? {})) {
    if (property.default === undefined) continue;
    const member = getKey(value, name);
    if (member === undefined || isNull(member, property))
      setKey(value, name, cloneJson(property.default));
  }
  const values = valuesOf(props);
  for (const key of Object.keys(value)) {
    const property = propertyOf(props, key);
    if (property === undefined && values !== undefined) {
      if (isNull(value[key], values) && values.default !== undefined)
        setKey(value, key, cloneJson(values.default));
    }
    setDefaults(getKey(value, key), property ?? values);
  }
}
