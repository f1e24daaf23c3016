/** The paths of a resource as OpenAPI tells them: operations with their kind, action and parameters. */
import { kindSchema } from "#api/facts.ts";
import type { ServedFacts } from "./discovery.ts";
import { type Dialect, reference } from "./openapi-reference.ts";

type Json = Record<string, unknown>;

interface Target {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind?: string;
}

const queryParameters: Readonly<Record<string, readonly string[]>> = {
  get: ["pretty"],
  list: [
    "pretty",
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
  ],
  post: ["pretty", "dryRun", "fieldManager", "fieldValidation"],
  put: ["pretty", "dryRun", "fieldManager", "fieldValidation"],
  patch: ["pretty", "dryRun", "fieldManager", "fieldValidation", "force"],
  delete: ["pretty", "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
  deletecollection: [
    "pretty",
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
  ],
};
const integers = new Set(["limit", "timeoutSeconds", "gracePeriodSeconds"]);
const booleans = new Set([
  "allowWatchBookmarks",
  "sendInitialEvents",
  "watch",
  "force",
  "orphanDependents",
]);

function parameter(name: string, dialect: Dialect): Json {
  const type = integers.has(name) ? "integer" : booleans.has(name) ? "boolean" : "string";
  const shape = { type, uniqueItems: true };
  return { name, in: "query", ...(dialect === "v2" ? shape : { schema: shape }) };
}

const patchTypes = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
/** Upstream: kubectl reads here that custom resources know no strategic merge. */
const customPatchTypes = patchTypes.filter((name) => !name.includes("strategic"));
const jsonAndYaml = ["application/json", "application/yaml"];

/** The method's word in the path, the action's in the extension. */
interface Operation {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  readonly action: string;
}
const collection: Readonly<Record<string, Operation>> = {
  list: { method: "get", action: "list" },
  create: { method: "post", action: "post" },
  deletecollection: { method: "delete", action: "deletecollection" },
};
const single: Readonly<Record<string, Operation>> = {
  get: { method: "get", action: "get" },
  update: { method: "put", action: "put" },
  patch: { method: "patch", action: "patch" },
  delete: { method: "delete", action: "delete" },
  create: { method: "post", action: "post" },
};

/** Upstream: what only joins two ends tells no kind of its own. */
export const isConnection = ({ kind }: Pick<Target, "kind">): boolean =>
  /^(Pod|Service|Node)\w+Options$/.test(kind);

/** How a kind's schema is named; kinds that the generated facts do not know are named by who defines them. */
type NameOf = (target: Target) => string | undefined;

function schemaOf(target: Target, dialect: Dialect, nameOf: NameOf): Json {
  const name = nameOf(target);
  if (name !== undefined) return reference(name, dialect);
  const schema = kindSchema(target.group, target.version, target.kind);
  return schema === undefined ? { type: "object" } : reference(schema.name, dialect);
}

function operationJson(
  operation: Operation,
  target: Target,
  dialect: Dialect,
  nameOf: NameOf,
): Json {
  const { action } = operation;
  const { group, version, kind } = target;
  const parameters = (queryParameters[action] ?? []).map((name) => parameter(name, dialect));
  const listKind = target.listKind ?? `${kind}List`;
  const listed = action === "list" ? { ...target, kind: listKind } : target;
  const schema = schemaOf(listed, dialect, nameOf);
  const hasBody = action === "post" || action === "put" || action === "patch";
  const body = action === "patch" ? { type: "object" } : schemaOf(target, dialect, nameOf);
  const patches = nameOf(target) === undefined ? patchTypes : customPatchTypes;
  const types = action === "patch" ? patches : jsonAndYaml;
  const base = {
    operationId: `${action}${kind}${version}${group}`,
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group, version, kind },
  };
  if (dialect === "v2") {
    return {
      ...base,
      consumes: hasBody ? types : ["*/*"],
      produces: jsonAndYaml,
      parameters: hasBody
        ? [{ name: "body", in: "body", required: true, schema: body }, ...parameters]
        : parameters,
      responses: { "200": { description: "OK", schema } },
    };
  }
  const content = (names: readonly string[], shape: Json): Json =>
    Object.fromEntries(names.map((name) => [name, { schema: shape }]));
  return {
    ...base,
    parameters,
    ...(hasBody ? { requestBody: { content: content(types, body), required: true } } : {}),
    responses: { "200": { description: "OK", content: content(jsonAndYaml, schema) } },
  };
}

function pathItem(
  verbs: readonly string[],
  table: Readonly<Record<string, Operation>>,
  target: Target,
  names: readonly string[],
  dialect: Dialect,
  nameOf: NameOf,
): Json {
  const item: Json = {};
  for (const verb of verbs) {
    const operation = Object.hasOwn(table, verb) ? table[verb] : undefined;
    if (operation !== undefined) {
      item[operation.method] = operationJson(operation, target, dialect, nameOf);
    }
  }
  const shape = { type: "string", uniqueItems: true };
  const parameters = names.map((name) => ({
    name,
    in: "path",
    required: true,
    ...(dialect === "v2" ? shape : { schema: shape }),
  }));
  return parameters.length === 0 ? item : { ...item, parameters };
}

/** The kind itself and its list, of a custom resource. */
function customNames({ facts, schema }: ServedFacts): NameOf {
  return ({ group, version, kind }) => {
    if (schema === undefined || group !== facts.group || version !== facts.version)
      return undefined;
    if (kind === facts.kind) return schema.name;
    return kind === (facts.listKind ?? `${facts.kind}List`) ? `${schema.name}List` : undefined;
  };
}

export function resourcePaths(served: ServedFacts, dialect: Dialect): Json {
  const { facts, subresources } = served;
  const nameOf = customNames(served);
  const { group, version, plural, namespaced, verbs } = facts;
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const all = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const one = `${all}/{name}`;
  const outer = namespaced ? ["namespace"] : [];
  const paths: Json = {};
  if (namespaced && verbs.includes("list"))
    paths[`${root}/${plural}`] = pathItem(["list"], collection, facts, [], dialect, nameOf);
  paths[all] = pathItem(verbs, collection, facts, outer, dialect, nameOf);
  const named = verbs.filter((verb) => verb !== "create");
  if (named.some((verb) => verb in single))
    paths[one] = pathItem(named, single, facts, ["name", ...outer], dialect, nameOf);
  for (const sub of subresources) {
    const parameters = ["name", ...outer];
    paths[`${one}/${sub.name}`] = pathItem(sub.verbs, single, sub, parameters, dialect, nameOf);
  }
  return paths;
}
