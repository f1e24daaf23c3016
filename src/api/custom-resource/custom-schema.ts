/**
 * A definition's schema as the rest of the system reads schemas: how values merge (server-side apply, managed fields), how they are
 * pruned and defaulted, what OpenAPI prints.
 */

import { cloneJson, isObject, type JsonObject, setKey, sortedKeys } from "#machinery/object.ts";
import type { Field, ObjectSchema, Schema } from "#machinery/schema.ts";
import { typeSchema } from "../facts.ts";
import {
  dropVoidNulls,
  itemsOf,
  type Props,
  pruneResource,
  setDefaults,
  typeMetaFields,
  valuesOf,
} from "./pruning.ts";

const metaSchema = (): ObjectSchema =>
  typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");

function fieldOf(name: string, schema: Schema, props: Props | undefined, required: boolean): Field {
  return {
    name,
    schema,
    omit: "empty",
    pointer: true,
    required,
    proto: 0,
    ...(props?.default === undefined ? {} : { default: props.default }),
  };
}

const text: Schema = { type: "string" };
const anything: Schema = { type: "any" };

const headFields = (): [string, Field][] => [
  ["kind", { ...fieldOf("kind", text, undefined, false), pointer: false }],
  ["apiVersion", { ...fieldOf("apiVersion", text, undefined, false), pointer: false }],
  ["metadata", { ...fieldOf("metadata", metaSchema(), undefined, false), pointer: false }],
];

/** How a value of the schema is merged. */
function mergeSchema(props: Props): Schema {
  if (props["x-kubernetes-int-or-string"] === true) return { type: "intOrString" };
  switch (props.type) {
    case "array": {
      const items = itemsOf(props);
      const listType = props["x-kubernetes-list-type"];
      const base = {
        type: "list",
        items: items === undefined ? anything : mergeSchema(items),
        keys: props["x-kubernetes-list-map-keys"] ?? [],
      } as const;
      if (listType === "set" || listType === "map") return { ...base, listType };
      return listType === undefined
        ? { ...base, listType: "atomic", implied: true }
        : { ...base, listType: "atomic" };
    }
    case "object":
      return mergeObject(props);
    case "string":
      return text;
    case "boolean":
      return { type: "boolean" };
    case "integer":
      return { type: "int64" };
    case "number":
      return { type: "float64" };
    default:
      return anything;
  }
}

function mergeObject(props: Props): Schema {
  const mapType = props["x-kubernetes-map-type"] === "atomic" ? "atomic" : "granular";
  const { properties, additionalProperties } = props;
  const embedded = props["x-kubernetes-embedded-resource"] === true;
  if (properties === undefined && !embedded) {
    if (props["x-kubernetes-preserve-unknown-fields"] === true && mapType === "granular")
      return anything;
    if (additionalProperties !== undefined && additionalProperties !== false) {
      const values = valuesOf(props);
      return {
        type: "map",
        mapType,
        values: values === undefined ? anything : mergeSchema(values),
      };
    }
  }
  return {
    type: "object",
    name: "",
    mapType,
    fields: new Map([...(embedded ? headFields() : []), ...propertyFields(props)]),
    ...openness(props),
  };
}

const openness = (props: Props): { readonly isOpen?: true } =>
  props["x-kubernetes-preserve-unknown-fields"] === true ? { isOpen: true } : {};

const propertyFields = (props: Props): [string, Field][] =>
  Object.entries(props.properties ?? {})
    .filter(
      ([name]) => props["x-kubernetes-embedded-resource"] !== true || !typeMetaFields.has(name),
    )
    .map(([name, property]) => {
      const required = props.required?.includes(name) === true;
      return [name, fieldOf(name, mergeSchema(property), property, required)];
    });

/** "io.example.stable.v1.CronTab". */
export const modelName = (group: string, version: string, kind: string): string =>
  `${group.split(".").toReversed().join(".")}.${version}.${kind}`;

/** The schema of a custom resource in one version. Without `props` every field is kept. */
export function customSchema(
  group: string,
  version: string,
  kind: string,
  props: Props | undefined,
): ObjectSchema {
  const known: Props = props ?? { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const head: ObjectSchema = {
    type: "object",
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata",
    mapType: "granular",
    fields: new Map(headFields()),
  };
  const own = Object.entries(known.properties ?? {}).filter(([name]) => !typeMetaFields.has(name));
  const fields = own.map(([name, property]): [string, Field] => {
    const required = known.required?.includes(name) === true;
    return [name, fieldOf(name, mergeSchema(property), property, required)];
  });
  return {
    type: "object",
    name: modelName(group, version, kind),
    mapType: "granular",
    fields: new Map([...headFields(), ...fields]),
    ...openness(known),
    custom: {
      head,
      prune: (value, unknown) => pruneResource(value, known, unknown),
      defaults(object: JsonObject) {
        const rest: JsonObject = {};
        for (const key of Object.keys(object)) {
          if (typeMetaFields.has(key)) continue;
          setKey(rest, key, object[key]);
          delete object[key];
        }
        dropVoidNulls(rest, known);
        setDefaults(rest, known);
        for (const key of sortedKeys(rest)) setKey(object, key, rest[key]);
      },
      openApi: (dialect) => openApiOf(known, dialect),
    },
  };
}

const apiVersionText =
  "APIVersion defines the version of the schema by which this object is written, as group/version. Servers may refuse versions they do not know.";
const kindText = "Kind is what this object is, in CamelCase. It cannot be changed.";

function openApiOf(props: Props, dialect: "v2" | "v3"): JsonObject {
  // Upstream: kubectl takes what v2 does not list for unknown, so that an open kind lists nothing.
  if (dialect === "v2" && props["x-kubernetes-preserve-unknown-fields"] === true)
    return { type: "object" };
  const schema = (dialect === "v3" ? cloneJson(props) : plainOf(props)) as JsonObject;
  const meta = metaSchema().name;
  const ref =
    dialect === "v2"
      ? { $ref: `#/definitions/${meta}` }
      : { allOf: [{ $ref: `#/components/schemas/${meta}` }] };
  const own = isObject(schema.properties) ? schema.properties : {};
  return {
    ...schema,
    properties: {
      apiVersion: { description: apiVersionText, type: "string" },
      kind: { description: kindText, type: "string" },
      metadata: {
        description:
          "Standard object's metadata: its name, labels, owners and what the server notes about it.",
        ...ref,
      },
      ...Object.fromEntries(Object.entries(own).filter(([name]) => !typeMetaFields.has(name))),
    },
  };
}

/** Swagger 2 has no alternatives and no nulls: what uses them is left open. */
function plainOf(props: Props): Props {
  const {
    allOf: _allOf,
    anyOf: _anyOf,
    oneOf: _oneOf,
    not: _not,
    nullable,
    default: _default,
    ...rest
  } = props;
  const out: Props = { ...rest };
  const open = nullable === true || props["x-kubernetes-preserve-unknown-fields"] === true;
  if (open) {
    delete out.items;
    delete out.properties;
    delete out.additionalProperties;
    delete out.required;
  }
  if (nullable === true || props["x-kubernetes-int-or-string"] === true) delete out.type;
  if (out.properties !== undefined) {
    out.properties = Object.fromEntries(
      Object.entries(out.properties).map(([name, property]) => [name, plainOf(property)]),
    );
  }
  const items = itemsOf(out);
  if (items !== undefined) out.items = plainOf(items);
  const values = valuesOf(out);
  if (values !== undefined) out.additionalProperties = plainOf(values);
  return cloneJson(out);
}
