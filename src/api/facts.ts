/**
 * Facts: what upstream's published Go modules state about the built-in kinds, decoded from the
 * generated tables: schemas by type name or kind, resources as discovery prints them, groups in
 * their order. At import only the resource lines are split; a type's line is decoded when it is
 * first asked for, a field's own schema when it is first read.
 *
 * A type's line (written by tools/facts/tables.go): `head field… |discriminator=a,b`.
 *   head   letters: k (kind and apiVersion come first), a (atomic), o (JSON holds one field's value
 *          bare); "-": none
 *   field  name:number:flags:type, then any of :^message.number :~strategy+…/mergeKey :#enum|…
 *          :=default (always last)
 *   flags  n (never omitted) z (omitted when zero) p (pointer) r (required); neither n nor z:
 *          omitted when empty
 *   type   a scalar's letter; []T {}T with "a" (atomic), "s" (set), "mKEY/KEY" (map), "w" (wrapped)
 *          inside; .Name or .folder/version.Name; instead of ".": "!" atomic here, "+" granular here
 */
import type {
  Field,
  ListSchema,
  MapSchema,
  ObjectSchema,
  ScalarSchema,
  Schema,
} from "#machinery/schema.ts";
import { groupVersions, resourceLines } from "./generated/resources.ts";
import { type PackageTable, packageTables } from "./generated/tables/index.ts";

const machinery = "io.k8s.apimachinery.pkg";
const scalars: Readonly<Record<string, ScalarSchema>> = {
  s: { type: "string" },
  b: { type: "boolean" },
  i: { type: "int32" },
  l: { type: "int64" },
  f: { type: "float64" },
  y: { type: "bytes" },
  t: { type: "time", name: `${machinery}.apis.meta.v1.Time` },
  u: { type: "microTime", name: `${machinery}.apis.meta.v1.MicroTime` },
  d: { type: "duration", name: `${machinery}.apis.meta.v1.Duration` },
  q: { type: "quantity", name: `${machinery}.api.resource.Quantity` },
  x: { type: "intOrString", name: `${machinery}.util.intstr.IntOrString` },
  a: { type: "any", isAtomic: true, name: `${machinery}.runtime.RawExtension` },
  j: {
    type: "any",
    isAtomic: true,
    name: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
  },
  F: { type: "fields", name: `${machinery}.apis.meta.v1.FieldsV1` },
};

/** A type as its line says it: most are objects, a few are "any" with alternatives. */
interface DecodedType {
  readonly schema: ObjectSchema | ScalarSchema;
  readonly kind: boolean;
}

type Union = NonNullable<ObjectSchema["unions"]>[number];

/** By "folder/version.Name". The tables are fixed, so this is bounded by them. */
const decodedTypes = new Map<string, DecodedType>();
/** Types as fields know them that say otherwise about their unit of ownership. */
const overriddenTypes = new Map<string, ObjectSchema>();
const fieldMapTypes: Readonly<Record<string, ObjectSchema["mapType"]>> = {
  "!": "atomic",
  "+": "granular",
};

const keyByModel: ReadonlyMap<string, string> = new Map(
  Object.entries(packageTables).map(([key, table]) => [table.model, key]),
);
const keysByGroupVersion = ((): ReadonlyMap<string, readonly string[]> => {
  const keys = new Map<string, string[]>();
  for (const [key, table] of Object.entries(packageTables)) {
    const groupVersion = `${table.group}/${table.version}`;
    keys.set(groupVersion, [...(keys.get(groupVersion) ?? []), key]);
  }
  // Upstream: kinds of no group (Status, APIGroupList, DeleteOptions …) say apiVersion v1.
  keys.set("/v1", [...(keys.get("/v1") ?? []), "meta/v1"]);
  return keys;
})();

/** A field whose schema is decoded when first read: some types refer to themselves. */
class LazyField implements Field {
  readonly name: string;
  readonly omit: Field["omit"];
  readonly pointer: boolean;
  readonly required: boolean;
  readonly proto: number;
  declare readonly default?: unknown;
  declare readonly enum?: readonly string[];
  declare readonly protoInline?: NonNullable<Field["protoInline"]>;
  declare readonly patchStrategy?: NonNullable<Field["patchStrategy"]>;
  declare readonly patchMergeKey?: string;
  #schema: Schema | undefined;
  readonly #typeText: string;
  readonly #packageKey: string;

  constructor(text: string, packageKey: string) {
    const defaultAt = text.indexOf(":=");
    const parts = (defaultAt < 0 ? text : text.slice(0, defaultAt)).split(":");
    const [name = "", number = "", flags = "", typeText = ""] = parts;
    this.name = name;
    this.proto = Number(number);
    this.omit = flags.includes("n") ? "never" : flags.includes("z") ? "zero" : "empty";
    this.pointer = flags.includes("p");
    this.required = flags.includes("r");
    this.#typeText = typeText;
    this.#packageKey = packageKey;
    const messages: { name: string; number: number }[] = [];
    for (const part of parts.slice(4)) {
      const rest = part.slice(1);
      if (part.startsWith("^")) messages.push(decodeInline(rest));
      else if (part.startsWith("#")) this.enum = rest.replaceAll("%20", " ").split("|");
      else {
        const [strategies = "", mergeKey = ""] = rest.split("/");
        if (strategies !== "") this.patchStrategy = strategies.split("+").map(patchStrategyOf);
        if (mergeKey !== "") this.patchMergeKey = mergeKey;
      }
    }
    const [outer, inner] = messages;
    if (outer !== undefined) this.protoInline = inner === undefined ? outer : { ...outer, inner };
    if (defaultAt >= 0) this.default = JSON.parse(text.slice(defaultAt + 2));
  }

  get schema(): Schema {
    this.#schema ??= decodeSchema(this.#typeText, this.#packageKey);
    return this.#schema;
  }
}

const decodeInline = (text: string): { name: string; number: number } => {
  const [name = "", number = ""] = text.split(".");
  return { name, number: Number(number) };
};

function patchStrategyOf(text: string): "merge" | "replace" | "retainKeys" {
  if (text === "merge" || text === "replace" || text === "retainKeys") return text;
  throw new Error(`the facts name an unknown patch strategy, ${text}: regenerate them`);
}

function tableOf(packageKey: string): PackageTable {
  const table = packageTables[packageKey];
  if (table === undefined) throw new Error(`the facts refer to ${packageKey}, which has no table`);
  return table;
}

function decodeSchema(text: string, packageKey: string): Schema {
  const first = text.charAt(0);
  if (first === "[") return decodeList(text, packageKey);
  if (first === "{") return decodeMap(text, packageKey);
  const mapType = fieldMapTypes[first];
  if (mapType === undefined && first !== ".") {
    const scalar = scalars[text];
    if (scalar === undefined) throw new Error(`the facts hold an unknown type, ${text}`);
    return scalar;
  }
  const target = text.slice(1);
  const key = target.includes("/") ? target : `${packageKey}.${target}`;
  const schema = decodeType(key).schema;
  if (mapType === undefined || schema.type !== "object") return schema;
  const overridden = overriddenTypes.get(first + key) ?? { ...schema, mapType, plain: schema };
  overriddenTypes.set(first + key, overridden);
  return overridden;
}

function decodeList(text: string, packageKey: string): ListSchema {
  const end = text.indexOf("]");
  const wrapped = text.charAt(1) === "w";
  const kind = text.slice(wrapped ? 2 : 1, end);
  let items: Schema | undefined;
  return {
    type: "list",
    get items() {
      items ??= decodeSchema(text.slice(end + 1), packageKey);
      return items;
    },
    listType: kind.startsWith("m") ? "map" : kind === "s" ? "set" : "atomic",
    keys: kind.startsWith("m") ? kind.slice(1).split("/") : [],
    ...(kind === "" ? { implied: true as const } : {}),
    ...(wrapped ? { protoWrapped: true as const } : {}),
  };
}

function decodeMap(text: string, packageKey: string): MapSchema {
  const end = text.indexOf("}");
  let values: Schema | undefined;
  return {
    type: "map",
    get values() {
      values ??= decodeSchema(text.slice(end + 1), packageKey);
      return values;
    },
    mapType: text.slice(1, end) === "a" ? "atomic" : "granular",
  };
}

function decodeType(key: string): DecodedType {
  const known = decodedTypes.get(key);
  if (known !== undefined) return known;
  const dot = key.indexOf(".");
  const packageKey = key.slice(0, dot);
  const name = key.slice(dot + 1);
  const table = tableOf(packageKey);
  const line = Object.hasOwn(table.types, name) ? table.types[name] : undefined;
  if (line === undefined) throw new Error(`the facts hold no type ${name} in ${table.model}`);
  const [head = "", ...tokens] = line.split(" ");
  const fields: Field[] = head.includes("k")
    ? ["kind:::s", "apiVersion:::s"].map((text) => new LazyField(text, packageKey))
    : [];
  const unions: Union[] = [];
  for (const token of tokens) {
    if (token.startsWith("|")) unions.push(decodeUnion(token));
    else fields.push(new LazyField(token, packageKey));
  }
  const fullName = `${table.model}.${name}`;
  const decoded: DecodedType = {
    kind: head.includes("k"),
    schema: head.includes("o")
      ? { type: "any", name: fullName, alternatives: fields }
      : {
          type: "object",
          name: fullName,
          mapType: head.includes("a") ? "atomic" : "granular",
          fields: new Map(fields.map((field) => [field.name, field])),
          ...(unions.length > 0 ? { unions } : {}),
        },
  };
  decodedTypes.set(key, decoded);
  return decoded;
}

function decodeUnion(token: string): Union {
  const [discriminator = "", members = ""] = token.slice(1).split("=");
  const fields = members.split(",");
  return discriminator === "" ? { fields } : { discriminator, fields };
}

/** A type by upstream's name ("io.k8s.api.core.v1.Pod"): the same value at every call. */
export function typeSchema(name: string): ObjectSchema {
  const dot = name.lastIndexOf(".");
  const key = keyByModel.get(name.slice(0, dot));
  if (key === undefined) throw new Error(`no facts about ${name}: unknown package`);
  const { schema } = decodeType(`${key}.${name.slice(dot + 1)}`);
  if (schema.type !== "object") throw new Error(`${name} is no object: its JSON has many forms`);
  return schema;
}

/** A kind's schema; undefined where the facts know no such kind. */
export function kindSchema(group: string, version: string, kind: string): ObjectSchema | undefined {
  for (const key of keysByGroupVersion.get(`${group}/${version}`) ?? []) {
    if (!Object.hasOwn(tableOf(key).types, kind)) continue;
    const decoded = decodeType(`${key}.${kind}`);
    if (decoded.kind && decoded.schema.type === "object") return decoded.schema;
  }
  return undefined;
}

/** The kind that a type is; undefined: it is part of one. */
export function kindOfType(
  name: string,
): { readonly group: string; readonly version: string; readonly kind: string } | undefined {
  const dot = name.lastIndexOf(".");
  const key = keyByModel.get(name.slice(0, dot));
  if (key === undefined) return undefined;
  const kind = name.slice(dot + 1);
  if (!decodeType(`${key}.${kind}`).kind) return undefined;
  const { group, version } = tableOf(key);
  return { group, version, kind };
}

/** Every type's name, in the tables' order. */
export function typeNames(): string[] {
  return Object.values(packageTables).flatMap((table) =>
    Object.keys(table.types)
      .filter((name) => !table.types[name]?.startsWith("o "))
      .map((name) => `${table.model}.${name}`),
  );
}

export interface SubresourceFacts {
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly verbs: readonly string[];
}

export interface ResourceFacts {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  readonly subresources: readonly SubresourceFacts[];
  readonly storageVersionHash?: string;
  /** Upstream serves its version unless told otherwise. */
  readonly servedByDefault: boolean;
  /** Where it is not the kind with "List" behind it. */
  readonly listKind?: string;
}

const splitApiVersion = (apiVersion: string): { group: string; version: string } => {
  const slash = apiVersion.indexOf("/");
  return { group: apiVersion.slice(0, Math.max(slash, 0)), version: apiVersion.slice(slash + 1) };
};
const listOf = (text: string): readonly string[] => (text === "-" ? [] : text.split(","));

function decodeSubresource(text: string): SubresourceFacts {
  const [name = "", target = ""] = text.split("=");
  const [type = "", verbs = ""] = target.split(":");
  const dot = type.lastIndexOf(".");
  return {
    name,
    ...splitApiVersion(type.slice(0, dot)),
    kind: type.slice(dot + 1),
    verbs: verbs.split(","),
  };
}

function decodeResource(line: string): ResourceFacts {
  const [apiVersion = "", plural = "", singular = "", kind = "", scope, ...rest] = line.split(" ");
  const [shortNames = "-", categories = "-", verbs = "-", hash = "-", state, ...subresources] =
    rest;
  return {
    ...splitApiVersion(apiVersion),
    plural,
    singular,
    kind,
    namespaced: scope === "Namespaced",
    shortNames: listOf(shortNames),
    categories: listOf(categories),
    verbs: listOf(verbs),
    subresources: subresources.map(decodeSubresource),
    ...(hash === "-" ? {} : { storageVersionHash: hash }),
    servedByDefault: state === "served",
  };
}

/** Every built-in resource of every version, served by default or not; groups in /apis' order. */
export const resourceFacts: readonly ResourceFacts[] = resourceLines.map(decodeResource);

const factsByName: ReadonlyMap<string, ResourceFacts> = new Map(
  resourceFacts.map((facts) => [`${facts.group}/${facts.version}/${facts.plural}`, facts]),
);

export function resourceFactsOf(
  group: string,
  version: string,
  plural: string,
): ResourceFacts | undefined {
  return factsByName.get(`${group}/${version}/${plural}`);
}

export interface GroupFacts {
  readonly group: string;
  /** The preferred one first. Priorities: a built-in APIService's; 0 where upstream has none. */
  readonly versions: readonly {
    readonly version: string;
    readonly served: boolean;
    readonly groupPriority: number;
    readonly versionPriority: number;
  }[];
}

/** Groups in the order of /apis, the core group "" first; `served`: by default. */
export const groupOrder: readonly GroupFacts[] = groupVersions;
