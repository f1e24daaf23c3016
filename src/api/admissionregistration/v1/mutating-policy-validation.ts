/** What a MutatingAdmissionPolicy and its bindings must be like. Wording is upstream's. */

import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type {
  MatchResources,
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  Mutation,
} from "../../generated/admissionregistration/v1.ts";
import {
  admissionEnvironment,
  compileExpression,
  compileVariables,
  type Scope,
  validateMatchConditions,
  type Wanted,
} from "./admission-expressions.ts";
import {
  oneOf,
  validateMatch,
  validateParamKind,
  validateParamRef,
  validateVariables,
} from "./policy-validation.ts";

/** What goes leaves no object that could be changed. */
const operations = ["*", "CONNECT", "CREATE", "UPDATE"];

function validateOperations({ resourceRules = [] }: MatchResources, path: string): FieldError[] {
  return resourceRules
    .flatMap((rule) => rule.operations ?? [])
    .filter((one) => !operations.includes(one))
    .map((one) => notSupported(`${path}.resourceRules.operations`, one, operations));
}

function validateExpression(
  expression: string,
  wanted: Wanted,
  path: string,
  scope: Scope,
): FieldError[] {
  const text = expression.trim();
  if (text === "") return [required(path)];
  const found = compileExpression(text, admissionEnvironment(scope), [wanted]);
  return "problem" in found ? [invalid(path, text, found.problem)] : [];
}

const forms = [
  {
    type: "ApplyConfiguration",
    own: "applyConfiguration",
    other: "jsonPatch",
    wanted: "Object",
  },
  {
    type: "JSONPatch",
    own: "jsonPatch",
    other: "applyConfiguration",
    wanted: "list(JSONPatch)",
  },
] as const;

function validateMutation(mutation: Mutation, path: string, scope: Scope): FieldError[] {
  const { patchType } = mutation;
  if (patchType === "") return [required(`${path}.patchType`)];
  const form = forms.find(({ type }) => type === patchType);
  if (form === undefined)
    return [
      notSupported(
        `${path}.patchType`,
        patchType,
        forms.map(({ type }) => type),
      ),
    ];
  const { own, other, wanted } = form;
  const errors: FieldError[] = [];
  const given = mutation[own];
  if (given === undefined)
    errors.push(required(`${path}.${own}`, `must be specified when patchType is ${patchType}`));
  else {
    const at = `${path}.${own}.expression`;
    errors.push(...validateExpression(given.expression ?? "", wanted, at, scope));
  }
  if (mutation[other] !== undefined) {
    const why = `must not be specified when patchType is ${patchType}`;
    errors.push(invalid(`${path}.${other}`, `{${other}}`, why));
  }
  return errors;
}

export function validateMutatingPolicy({ spec }: MutatingAdmissionPolicy): FieldError[] {
  const { failurePolicy = "Fail", paramKind, matchConstraints, variables = [] } = spec;
  const { mutations = [], matchConditions = [], reinvocationPolicy = "" } = spec;
  const errors = oneOf("spec.failurePolicy", failurePolicy, ["Fail", "Ignore"]);
  if (paramKind !== undefined) errors.push(...validateParamKind(paramKind, "spec.paramKind"));
  const at = "spec.matchConstraints";
  if (matchConstraints === undefined) errors.push(required(at));
  else {
    errors.push(...validateMatch(matchConstraints, at));
    if ((matchConstraints.resourceRules ?? []).length === 0)
      errors.push(required(`${at}.resourceRules`));
    errors.push(...validateOperations(matchConstraints, at));
  }
  const base: Scope = { params: paramKind !== undefined, authorizer: true };
  errors.push(...validateMatchConditions(matchConditions, "spec.matchConditions", base));
  const { compiled, types } = compileVariables(variables, base);
  errors.push(...validateVariables(variables, compiled, "spec.variables"));
  const scope: Scope = { ...base, variables: types, patches: true };
  if (mutations.length === 0)
    errors.push(required("spec.mutations", "mutations must contain at least one item"));
  for (const [index, one] of mutations.entries())
    errors.push(...validateMutation(one, `spec.mutations[${index}]`, scope));
  const policy = "spec.reinvocationPolicy";
  if (reinvocationPolicy === "") errors.push(required(policy));
  else errors.push(...oneOf(policy, reinvocationPolicy, ["IfNeeded", "Never"]));
  return errors;
}

export function validateMutatingBinding({ spec }: MutatingAdmissionPolicyBinding): FieldError[] {
  const { policyName = "", paramRef, matchResources } = spec;
  const errors: FieldError[] = [];
  if (policyName === "") errors.push(required("spec.policyName"));
  else
    errors.push(
      ...isDns1123Subdomain(policyName).map((why) => invalid("spec.policyName", policyName, why)),
    );
  if (paramRef !== undefined) errors.push(...validateParamRef(paramRef, "spec.paramRef"));
  if (matchResources !== undefined)
    errors.push(
      ...validateMatch(matchResources, "spec.matchResources"),
      ...validateOperations(matchResources, "spec.matchResources"),
    );
  return errors;
}
