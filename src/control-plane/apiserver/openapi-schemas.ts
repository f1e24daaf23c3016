/** The types' schemas as OpenAPI tells them, made from the facts: of some types and of everything they refer to. */
import { kindOfType, typeSchema } from "#api/facts.ts";
import type { Field, ObjectSchema, ScalarSchema, Schema } from "#machinery/schema.ts";
import type { ServedFacts } from "./discovery.ts";
import { metaDescriptions } from "./meta-descriptions.ts";
import { type Dialect, reference } from "./openapi-reference.ts";

export type Json = Record<string, unknown>;

const scalars: Readonly<Record<ScalarSchema["type"], Json>> = {
  string: { type: "string" },
  boolean: { type: "boolean" },
  int32: { type: "integer", format: "int32" },
  int64: { type: "integer", format: "int64" },
  float64: { type: "number", format: "double" },
  bytes: { type: "string", format: "byte" },
  time: { type: "string", format: "date-time" },
  microTime: { type: "string", format: "date-time" },
  duration: { type: "string" },
  quantity: { type: "string" },
  intOrString: { type: "string", format: "int-or-string" },
  any: {},
  fields: { type: "object" },
};
const scalarsV3: Partial<Record<ScalarSchema["type"], Json>> = {
  quantity: { oneOf: [{ type: "string" }, { type: "number" }] },
  intOrString: { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] },
};
/** What a field holds that nobody set: of JSON's own types, and where Go always prints it. */
const zeros: Partial<Record<ScalarSchema["type"], unknown>> = {
  string: "",
  boolean: false,
  int32: 0,
  int64: 0,
  float64: 0,
};

export const metaType = (name: string): string => `io.k8s.apimachinery.pkg.apis.meta.v1.${name}`;
const objectMeta = metaType("ObjectMeta");
const listMeta = metaType("ListMeta");
const rawExtension = "io.k8s.apimachinery.pkg.runtime.RawExtension";

function scalarJson(schema: ScalarSchema, dialect: Dialect): Json {
  if (schema.name === rawExtension) return { type: "object" };
  return (dialect === "v3" ? scalarsV3[schema.type] : undefined) ?? scalars[schema.type];
}

type Found = (schema: ObjectSchema | ScalarSchema) => void;

function schemaJson(schema: Schema, values: Json, dialect: Dialect, found: Found): Json {
  switch (schema.type) {
    case "object":
      found(schema.plain ?? schema);
      return reference(schema.name, dialect);
    case "list": {
      const items = { ...schemaJson(schema.items, {}, dialect, found), ...values };
      const list = { type: "array", items };
      if (schema.implied === true) return list;
      return {
        ...list,
        "x-kubernetes-list-type": schema.listType,
        ...(schema.listType === "map" ? { "x-kubernetes-list-map-keys": schema.keys } : {}),
      };
    }
    case "map":
      return {
        type: "object",
        additionalProperties: { ...schemaJson(schema.values, {}, dialect, found), ...values },
        ...(schema.mapType === "atomic" ? { "x-kubernetes-map-type": "atomic" } : {}),
      };
    default:
      if (schema.name === undefined) return { ...scalarJson(schema, dialect), ...values };
      found(schema);
      return reference(schema.name, dialect);
  }
}

/** Upstream: what must be there and was not said has its zero value as the default. */
function defaultOf(field: Field): unknown {
  if (field.default !== undefined) return field.default;
  if (field.pointer) return undefined;
  if (field.schema.type === "object") return {};
  if (field.omit !== "never" || !(field.schema.type in scalars)) return undefined;
  return field.schema.type === "list" || field.schema.type === "map"
    ? undefined
    : zeros[field.schema.type];
}

function fieldJson(field: Field, description: string | undefined, dialect: Dialect, found: Found) {
  const { schema, patchStrategy, patchMergeKey, enum: values } = field;
  const json = schemaJson(schema, values === undefined ? {} : { enum: values }, dialect, found);
  // Upstream: version 2 tells no defaults.
  const fallback = dialect === "v3" ? defaultOf(field) : undefined;
  const beside: Json = {
    ...(description === undefined ? {} : { description }),
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(schema.type === "object" && schema.plain !== undefined
      ? { "x-kubernetes-map-type": schema.mapType }
      : {}),
    ...(patchStrategy === undefined
      ? {}
      : { "x-kubernetes-patch-strategy": patchStrategy.join(",") }),
    ...(patchMergeKey === undefined ? {} : { "x-kubernetes-patch-merge-key": patchMergeKey }),
  };
  // Beside a reference v3 heeds nothing.
  if (dialect === "v3" && "$ref" in json) return { ...beside, allOf: [json] };
  return { ...json, ...beside };
}

const unionJson = ({
  discriminator,
  fields,
}: NonNullable<ObjectSchema["unions"]>[number]): Json => ({
  ...(discriminator === undefined ? {} : { discriminator }),
  "fields-to-discriminateBy": Object.fromEntries(
    fields.map((name) => [name, name.charAt(0).toUpperCase() + name.slice(1)]),
  ),
});

export class Schemas {
  readonly #dialect: Dialect;
  readonly #waiting: ObjectSchema[] = [];
  readonly #kinds = new Map<string, Json[]>();
  readonly made: Record<string, Json> = {};

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  readonly add = (schema: ObjectSchema | ScalarSchema): void => {
    const { name } = schema;
    if (name === undefined || name in this.made) return;
    this.made[name] = schema.type === "object" ? {} : scalarJson(schema, this.#dialect);
    if (schema.type === "object") this.#waiting.push(schema);
  };

  addKind(schema: ObjectSchema, kind: Json): void {
    const known = this.#kinds.get(schema.name) ?? [];
    if (!known.some((one) => one.group === kind.group && one.version === kind.version))
      this.#kinds.set(schema.name, [...known, kind]);
    this.add(schema);
  }

  /** What is spoken besides kinds, in groups that list their resources and, if `storing`, keep objects. */
  addMeta(
    versions: readonly { readonly group: string; readonly version: string }[],
    storing: boolean,
  ): void {
    const core = { group: "", version: "v1" };
    const kinds = storing ? ["APIResourceList", "Status"] : ["APIResourceList"];
    for (const kind of kinds) this.addKind(typeSchema(metaType(kind)), { ...core, kind });
    if (!storing) return;
    for (const kind of ["DeleteOptions", "WatchEvent"])
      for (const { group, version } of [core, ...versions])
        this.addKind(typeSchema(metaType(kind)), { group, kind, version });
    this.made[metaType("Patch")] = { type: "object" };
  }

  /** A custom resource and its list, as the definition has it. */
  addCustom(schema: ObjectSchema, facts: ServedFacts["facts"]): void {
    const { group, version, kind } = facts;
    const own = schema.custom?.openApi(this.#dialect) ?? {};
    const groupKind = "x-kubernetes-group-version-kind";
    this.made[schema.name] = { ...own, [groupKind]: [{ group, kind, version }] };
    for (const name of [objectMeta, listMeta]) this.add(typeSchema(name));
    const listKind = facts.listKind ?? `${kind}List`;
    const ofList = reference(listMeta, this.#dialect);
    this.made[`${schema.name}List`] = {
      type: "object",
      required: ["items"],
      properties: {
        apiVersion: { type: "string" },
        items: { type: "array", items: reference(schema.name, this.#dialect) },
        kind: { type: "string" },
        metadata: this.#dialect === "v3" ? { allOf: [ofList] } : ofList,
      },
      [groupKind]: [{ group, kind: listKind, version }],
    };
  }

  finish(): Record<string, Json> {
    for (let schema = this.#waiting.pop(); schema !== undefined; schema = this.#waiting.pop())
      this.made[schema.name] = this.#make(schema);
    for (const [name, kinds] of this.#kinds) {
      const json = this.made[name];
      if (json !== undefined) json["x-kubernetes-group-version-kind"] = kinds;
    }
    return this.made;
  }

  #make(schema: ObjectSchema): Json {
    const properties: Json = {};
    const required: string[] = [];
    for (const field of schema.fields.values()) {
      const description = schema.name === objectMeta ? metaDescriptions[field.name] : undefined;
      properties[field.name] = fieldJson(field, description, this.#dialect, this.add);
      if (field.required) required.push(field.name);
    }
    const kind = kindOfType(schema.name);
    return {
      type: "object",
      ...(kind === undefined ? {} : { "x-kubernetes-group-version-kind": [kind] }),
      ...(schema.fields.size === 0 ? {} : { properties }),
      ...(required.length === 0 ? {} : { required }),
      ...(schema.mapType === "atomic" ? { "x-kubernetes-map-type": "atomic" } : {}),
      ...(schema.unions === undefined
        ? {}
        : { "x-kubernetes-unions": schema.unions.map(unionJson) }),
    };
  }
}
