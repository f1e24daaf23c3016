/**
 * What the types of the matched kinds say about a policy's expressions, which its writing takes as they come: warnings for its status.
 * Reads schemas of built-in kinds and definitions of custom ones. Wording is upstream's.
 */

import { compile } from "#machinery/cel/compile.ts";
import { escapeName } from "#machinery/cel/json-value.ts";
import {
  boolType,
  bytesType,
  doubleType,
  dynType,
  intType,
  listOf,
  mapOf,
  type ObjectType,
  stringType,
  type Type,
  timestampType,
} from "#machinery/cel/type.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import type { ObjectSchema, Schema } from "#machinery/schema.ts";
import { shapeOf } from "../../custom-resource/rule-schema.ts";
import { kindSchema, typeSchema } from "../../facts.ts";
import type {
  ExpressionWarning,
  RuleWithOperations,
  ValidatingAdmissionPolicySpec,
} from "../../generated/admissionregistration/v1.ts";
import type { JSONSchemaProps } from "../../generated/apiextensions/v1.ts";
import { admissionEnvironment, compileVariables, type Scope } from "./admission-expressions.ts";

/** More kinds than this are not judged. */
const typesMax = 10;

export interface KnownKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Of a custom resource; absent: of a built-in kind, or of one without a schema. */
  readonly openApi?: JSONSchemaProps;
}

const scalars: Readonly<Record<string, Type>> = {
  string: stringType,
  boolean: boolType,
  int32: intType,
  int64: intType,
  float64: doubleType,
  bytes: bytesType,
  time: timestampType,
  microTime: timestampType,
  duration: stringType,
};
const objectTypes = new WeakMap<ObjectSchema, ObjectType>();

function typeOf(schema: Schema): Type {
  switch (schema.type) {
    case "list":
      return listOf(typeOf(schema.items));
    case "map":
      return mapOf(stringType, typeOf(schema.values));
    case "object":
      return objectTypeOf(schema);
    default:
      return scalars[schema.type] ?? dynType;
  }
}

/** Its fields' types are worked out when they are asked for: kinds may hold themselves. */
function objectTypeOf(schema: ObjectSchema): ObjectType {
  const known = objectTypes.get(schema);
  if (known !== undefined) return known;
  const names = new Map<string, string>();
  for (const name of schema.fields.keys()) names.set(escapeName(name) ?? name, name);
  const made: ObjectType = {
    kind: "object",
    name: schema.name,
    field(name) {
      const field = schema.fields.get(names.get(name) ?? "");
      return field === undefined ? undefined : typeOf(field.schema);
    },
  };
  objectTypes.set(schema, made);
  return made;
}

/** Undefined: nothing is known of it. */
function typeOfKind({ group, version, kind, openApi }: KnownKind): Type | undefined {
  if (openApi === undefined) {
    const schema = kindSchema(group, version, kind);
    return schema === undefined ? undefined : objectTypeOf(schema);
  }
  const shape = shapeOf(openApi, true);
  if (shape?.type.kind !== "object") return shape?.type;
  const { name, field } = shape.type;
  const meta = objectTypeOf(typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
  return { kind: "object", name, field: (one) => (one === "metadata" ? meta : field(one)) };
}

const hasWildcard = (list: readonly string[]): boolean => list.some((one) => one.includes("*"));
const isNamedBy = (rule: RuleWithOperations, one: KnownKind): boolean => {
  const { apiGroups = [], apiVersions = [], resources = [] } = rule;
  if (hasWildcard(apiGroups) || hasWildcard(apiVersions)) return false;
  return (
    apiGroups.includes(one.group) &&
    apiVersions.includes(one.version) &&
    resources.includes(one.plural)
  );
};

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

function matched(spec: ValidatingAdmissionPolicySpec, kinds: readonly KnownKind[]): KnownKind[] {
  const rules = spec.matchConstraints?.resourceRules ?? [];
  return kinds
    .filter((one) => rules.some((rule) => isNamedBy(rule, one)))
    .toSorted(
      (a, b) =>
        compare(a.group, b.group) || compare(a.version, b.version) || compare(a.kind, b.kind),
    )
    .slice(0, typesMax);
}

function paramsType(
  { paramKind }: ValidatingAdmissionPolicySpec,
  kinds: readonly KnownKind[],
): Type | undefined {
  const parsed = parseApiVersion(paramKind?.apiVersion ?? "");
  if (parsed === undefined) return undefined;
  const found = kinds.find(
    ({ group, version, kind }) =>
      group === parsed.group && version === parsed.version && kind === paramKind?.kind,
  );
  return found === undefined ? undefined : typeOfKind(found);
}

/** One warning for each expression that does not fit one of the kinds; kinds that are not known are left alone. */
export function typeWarnings(
  spec: ValidatingAdmissionPolicySpec,
  kinds: readonly KnownKind[],
): ExpressionWarning[] {
  const params = paramsType(spec, kinds);
  const environments = matched(spec, kinds).flatMap((one) => {
    const object = typeOfKind(one);
    if (object === undefined) return [];
    const base: Scope = {
      params: spec.paramKind !== undefined,
      authorizer: true,
      types: { object, ...(params === undefined ? {} : { params }) },
    };
    const { types } = compileVariables(spec.variables ?? [], base);
    const environment = admissionEnvironment({ ...base, variables: types });
    return [{ name: `${one.group}/${one.version}, Kind=${one.kind}`, environment }];
  });
  const judge = (fieldRef: string, expression: string): ExpressionWarning[] => {
    const found = environments.flatMap(({ name, environment }) => {
      const compiled = compile(expression, environment);
      return "problem" in compiled ? [`${name}: ${compiled.problem}\n`] : [];
    });
    return found.length === 0 ? [] : [{ fieldRef, warning: found.join("\n") }];
  };
  return (spec.validations ?? []).flatMap(({ expression, messageExpression = "" }, index) => {
    const at = `spec.validations[${index}]`;
    return [
      ...judge(`${at}.expression`, expression),
      ...(messageExpression === "" ? [] : judge(`${at}.messageExpression`, messageExpression)),
    ];
  });
}
