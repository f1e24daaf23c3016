/**
 * The CEL expressions of admission: what they may name (object, oldObject, request, params, namespaceObject, authorizer, variables) and what
 * they must give. Compiled where a configuration is written, to refuse what is wrong, and again where it is asked; wording is upstream's.
 */

import { compile, environmentOf, kubernetesFunctions } from "#machinery/cel/compile.ts";
import { type Environment, functionsOf } from "#machinery/cel/environment.ts";
import type { Program } from "#machinery/cel/interpret.ts";
import {
  boolType,
  dynType,
  listOf,
  mapOf,
  type ObjectType,
  opaque,
  stringType,
  type Type,
  typeText,
} from "#machinery/cel/type.ts";
import { type FieldError, invalid, required, tooMany } from "#machinery/field-error.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type { MatchCondition, Variable } from "../../generated/admissionregistration/v1.ts";
import { authorizerFunctions } from "./authorizer-functions.ts";
import { jsonPatchFunctions, patchType } from "./patch-types.ts";

const record = (name: string, fields: Readonly<Record<string, Type>>): ObjectType => ({
  kind: "object",
  name,
  field: (field) => (Object.hasOwn(fields, field) ? fields[field] : undefined),
});
const kindType = record("kubernetes.GroupVersionKind", {
  group: stringType,
  version: stringType,
  kind: stringType,
});
const resourceType = record("kubernetes.GroupVersionResource", {
  group: stringType,
  version: stringType,
  resource: stringType,
});
const userType = record("kubernetes.UserInfo", {
  username: stringType,
  uid: stringType,
  groups: listOf(stringType),
  extra: mapOf(stringType, listOf(stringType)),
});
const requestType = record("kubernetes.AdmissionRequest", {
  kind: kindType,
  resource: resourceType,
  subResource: stringType,
  requestKind: kindType,
  requestResource: resourceType,
  requestSubResource: stringType,
  name: stringType,
  namespace: stringType,
  operation: stringType,
  userInfo: userType,
  dryRun: boolType,
  options: dynType,
});
const namespaceType = record("kubernetes.Namespace", {
  metadata: record("kubernetes.NamespaceMetadata", {
    name: stringType,
    generateName: stringType,
    namespace: stringType,
    labels: mapOf(stringType, stringType),
    annotations: mapOf(stringType, stringType),
    uid: stringType,
    creationTimestamp: { kind: "timestamp" },
    deletionTimestamp: { kind: "timestamp" },
    deletionGracePeriodSeconds: { kind: "int" },
    generation: { kind: "int" },
    resourceVersion: stringType,
    finalizers: listOf(stringType),
  }),
  spec: record("kubernetes.NamespaceSpec", { finalizers: listOf(stringType) }),
  status: record("kubernetes.NamespaceStatus", { phase: stringType }),
});

const withAuthorizer = functionsOf(kubernetesFunctions, authorizerFunctions);
const patchFunctions = functionsOf(kubernetesFunctions, authorizerFunctions, jsonPatchFunctions);

export interface Scope {
  readonly params: boolean;
  readonly authorizer: boolean;
  /** Types of the variables that come before, by name. */
  readonly variables?: ReadonlyMap<string, Type>;
  /** What mutates may make Object{…} and JSONPatch{…}. */
  readonly patches?: boolean;
  /** What is known of the kinds at hand; at run time everything may come. */
  readonly types?: { readonly object: Type; readonly params?: Type };
}

export function admissionEnvironment(scope: Scope): Environment {
  const { variables, types } = scope;
  const object = types?.object ?? dynType;
  const declared: [string, Type][] = [
    ["object", object],
    ["oldObject", object],
    ["request", requestType],
    ["namespaceObject", namespaceType],
  ];
  if (scope.params) declared.push(["params", types?.params ?? dynType]);
  if (scope.authorizer)
    declared.push(
      ["authorizer", authorizerType],
      ["authorizer.requestResource", opaque("kubernetes.authorization.ResourceCheck")],
    );
  if (variables !== undefined)
    declared.push([
      "variables",
      {
        kind: "object",
        name: "kubernetes.variables",
        field: (name) => variables.get(name),
      },
    ]);
  if (scope.patches === true)
    return environmentOf(declared, { functions: patchFunctions, structs: patchType });
  return environmentOf(declared, scope.authorizer ? { functions: withAuthorizer } : {});
}

export const authorizerType = opaque("kubernetes.authorization.Authorizer");

export type Compiled = { readonly program: Program } | { readonly problem: string };

/** The types that expressions of admission may be asked for. */
export type Wanted = "bool" | "string" | "null" | "Object" | "list(JSONPatch)";

/** `wanted`: the types that it may have; none: any. */
export function compileExpression(
  source: string,
  environment: Environment,
  wanted: readonly Wanted[],
): Compiled {
  const compiled = compile(source, environment);
  if ("problem" in compiled) return { problem: `compilation failed: ${compiled.problem}` };
  const { type } = compiled.program;
  const shown = typeText(type);
  if (wanted.length === 0 || wanted.some((one) => one === shown)) return compiled;
  const [only] = wanted;
  if (wanted.length === 1) return { problem: `must evaluate to ${only} but got ${shown}` };
  const names = wanted.map((kind) => (kind === "null" ? "null_type" : kind)).join(" ");
  return { problem: `must evaluate to one of [${names}] but got ${shown}` };
}

/** The variables one after the other: each may name those before it. */
export function compileVariables(
  variables: readonly Variable[],
  scope: Scope,
): { readonly compiled: readonly Compiled[]; readonly types: ReadonlyMap<string, Type> } {
  const types = new Map<string, Type>();
  const compiled = variables.map(({ name, expression }) => {
    const environment = admissionEnvironment({ ...scope, variables: types });
    const found = compileExpression(expression, environment, []);
    if (expression.trim() !== "")
      types.set(name, "problem" in found ? dynType : found.program.type);
    return found;
  });
  return { compiled, types };
}

const conditionsMax = 64;

export function validateMatchConditions(
  conditions: readonly MatchCondition[],
  path: string,
  scope: Scope,
): FieldError[] {
  const errors: FieldError[] = [];
  if (conditions.length > conditionsMax)
    errors.push(tooMany(path, conditions.length, conditionsMax));
  const names = new Set<string>();
  const environment = admissionEnvironment(scope);
  for (const [index, { name, expression }] of conditions.entries()) {
    const at = `${path}[${index}]`;
    const text = expression.trim();
    if (text === "") errors.push(required(`${at}.expression`));
    else {
      const found = compileExpression(text, environment, ["bool"]);
      if ("problem" in found) errors.push(invalid(`${at}.expression`, text, found.problem));
    }
    if (name === "") {
      errors.push(required(`${at}.name`));
      continue;
    }
    errors.push(...isQualifiedName(name).map((why) => invalid(`${at}.name`, name, why)));
    if (names.has(name))
      errors.push({
        path: `${at}.name`,
        type: "FieldValueDuplicate",
        message: `Duplicate value: ${JSON.stringify(name)}`,
      });
    names.add(name);
  }
  return errors;
}
