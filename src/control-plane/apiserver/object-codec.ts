/** How objects of a kind are read from the store and written to it: canonical JSON without the resourceVersion, today's defaults. */
import type { Resource } from "#api/resource.ts";
import { apiVersionOf } from "#api/resource.ts";
import { applySchemaDefaults, decodeObject, deepFreeze, parseJson } from "#machinery/decode.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { isObject } from "#machinery/object.ts";
import { StatusError } from "#machinery/status-error.ts";
import type { Bytes } from "#ports/stream.ts";
import type { StoredShape } from "./stored-object.ts";

const encoder = new TextEncoder();

/** As etcd's default bound on a request. */
const objectBytesMax = 1.5 * 1024 * 1024;

export const encodeJson = (value: unknown): Bytes => encoder.encode(JSON.stringify(value));

/** A decoded value of the schema's kind is an API object: it has kind, apiVersion and metadata. */
function asApiObject(value: object): ApiObject {
  if (!("metadata" in value) || !isObject(value.metadata))
    throw new Error("an API object lacks metadata");
  return value as ApiObject;
}

/** The canonical form of an object, sharing nothing with it: what a round trip through the store gives. */
export function canonical(resource: Resource, object: object): ApiObject {
  // Upstream keeps built-in kinds as protobuf, which knows no list without items.
  const options = { strict: false, nullsEmpty: true };
  const decoded = asApiObject(decodeObject(resource.schema, object, options).object);
  decoded.kind = resource.kind;
  decoded.apiVersion = apiVersionOf(resource);
  return decoded;
}

/** All defaults of a version, in place. `now`: of what a request brings; those of what is stored never depend on the time. */
export function applyDefaults(resource: Resource, object: ApiObject, now?: number): void {
  applySchemaDefaults(resource.schema, object);
  resource.strategy.defaults?.(object, now);
}

export function encodeForStore(object: ApiObject): Bytes {
  const bytes = encodeJson(object);
  if (bytes.length > objectBytesMax)
    throw new StatusError(500, "", "etcdserver: request is too large");
  return bytes;
}

/** The storage version is `resource`'s. */
export function storedShape(resource: Resource): Omit<StoredShape, "keepsObjects"> {
  const apiVersion = apiVersionOf(resource);
  const head = `{"kind":${JSON.stringify(resource.kind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":{`;
  return {
    head: encoder.encode(head),
    decode(value, revision) {
      const object = canonical(resource, parseJson(value) as object);
      applyDefaults(resource, object);
      object.metadata.resourceVersion = String(revision);
      return object;
    },
    encode(object) {
      const { resourceVersion: _, ...metadata } = object.metadata;
      return encodeJson({ ...object, metadata });
    },
    freeze: deepFreeze,
  };
}
