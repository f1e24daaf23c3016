/**
 * What a ValidatingAdmissionPolicy and its bindings must be like, and their defaults; what policies that mutate share with it. Wording is
 * upstream's.
 */

import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import {
  isDns1035Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isQualifiedName,
} from "#machinery/validation.ts";
import type {
  AuditAnnotation,
  MatchResources,
  ParamKind,
  ParamRef,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  Validation,
  Variable,
} from "../../generated/admissionregistration/v1.ts";
import {
  admissionEnvironment,
  type Compiled,
  compileExpression,
  compileVariables,
  type Scope,
  validateMatchConditions,
} from "./admission-expressions.ts";
import { validateRule } from "./webhook-validation.ts";

export function setMatchDefaults(match: MatchResources | undefined): void {
  if (match === undefined) return;
  match.matchPolicy ??= "Equivalent";
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
  for (const rule of [...(match.resourceRules ?? []), ...(match.excludeResourceRules ?? [])])
    rule.scope ??= "*";
}

export const oneOf = (path: string, value: string, known: readonly string[]): FieldError[] =>
  known.includes(value) ? [] : [notSupported(path, value, known)];

export function validateMatch(match: MatchResources, path: string): FieldError[] {
  const policy = match.matchPolicy ?? "Equivalent";
  const errors = [
    ...oneOf(`${path}.matchPolicy`, policy, ["Equivalent", "Exact"]),
    ...validateLabelSelector(match.namespaceSelector ?? {}, `${path}.namespaceSelector`),
    ...validateLabelSelector(match.objectSelector ?? {}, `${path}.objectSelector`),
  ];
  for (const list of ["resourceRules", "excludeResourceRules"] as const)
    for (const [index, rule] of (match[list] ?? []).entries()) {
      const at = `${path}.${list}[${index}]`;
      const seen = new Set<string>();
      for (const [place, name] of (rule.resourceNames ?? []).entries()) {
        const where = `${at}.resourceNames[${place}]`;
        errors.push(...isPathSegmentName(name).map((why) => invalid(where, name, why)));
        if (seen.has(name)) errors.push(duplicate(where, name));
        seen.add(name);
      }
      errors.push(...validateRule(rule, at));
    }
  return errors;
}

export function validateParamKind(
  { apiVersion = "", kind = "" }: ParamKind,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const at = `${path}.apiVersion`;
  const parts = apiVersion.split("/");
  if (apiVersion === "") errors.push(required(at));
  else if (parts.length > 2)
    errors.push(invalid(at, apiVersion, `unexpected GroupVersion string: ${apiVersion}`));
  else {
    const version = parts.at(-1) ?? "";
    const group = parts.length === 2 ? (parts[0] ?? "") : "";
    const groupProblems = group === "" ? [] : isDns1123Subdomain(group);
    if (groupProblems.length > 0) errors.push(invalid(at, group, groupProblems.join(",")));
    if (version === "") errors.push(invalid(at, apiVersion, "version must be specified"));
    else {
      const problems = isDns1035Label(version);
      if (problems.length > 0) errors.push(invalid(at, version, problems.join(",")));
    }
  }
  if (kind === "") return [...errors, required(`${path}.kind`)];
  const problems = isDns1035Label(kind.toLowerCase());
  if (problems.length > 0) {
    const why = `may have mixed case, but should otherwise match: ${problems.join(",")}`;
    errors.push(invalid(`${path}.kind`, kind, why));
  }
  return errors;
}

export function validateVariables(
  variables: readonly Variable[],
  compiled: readonly Compiled[],
  path: string,
): FieldError[] {
  return variables.flatMap(({ name, expression }, index) => {
    const at = `${path}[${index}]`;
    const errors: FieldError[] = [];
    if (name.trim() === "") errors.push(required(`${at}.name`, "name is not specified"));
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name))
      errors.push(invalid(`${at}.name`, name, "must be a valid CEL identifier"));
    const found = compiled[index];
    if (expression.trim() === "")
      errors.push(required(`${at}.expression`, "expression is not specified"));
    else if (found !== undefined && "problem" in found)
      errors.push(invalid(`${at}.expression`, expression, found.problem));
    return errors;
  });
}

const reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const breaks = /[\n\r]/;

function validateValidation(one: Validation, at: string, scope: Scope): FieldError[] {
  const errors: FieldError[] = [];
  const { expression, message = "", messageExpression = "", reason } = one;
  const judge = (
    field: string,
    text: string,
    kind: "bool" | "string",
    where: Scope,
  ): FieldError[] => {
    const found = compileExpression(text, admissionEnvironment(where), [kind]);
    return "problem" in found ? [invalid(`${at}.${field}`, text, found.problem)] : [];
  };
  if (expression.trim() === "")
    errors.push(required(`${at}.expression`, "expression is not specified"));
  else errors.push(...judge("expression", expression, "bool", scope));
  if (messageExpression !== "" && messageExpression.trim() === "") {
    const why = "must be non-empty if specified";
    errors.push(invalid(`${at}.messageExpression`, messageExpression, why));
  } else if (messageExpression !== "") {
    const told = { ...scope, authorizer: false };
    errors.push(...judge("messageExpression", messageExpression, "string", told));
  }
  if (message !== "" && message.trim() === "")
    errors.push(invalid(`${at}.message`, message, "must be non-empty if specified"));
  else if (breaks.test(message.trim()))
    errors.push(invalid(`${at}.message`, message, "must not contain line breaks"));
  if (reason !== undefined) errors.push(...oneOf(`${at}.reason`, reason, reasons));
  return errors;
}

const annotationsMax = 20;
const valueExpressionBytesMax = 5 * 1024;

function validateAnnotation(
  { key, valueExpression }: AuditAnnotation,
  name: string,
  at: string,
  scope: Scope,
): FieldError[] {
  const errors: FieldError[] = [];
  if (name === "") errors.push(invalid(`${at}.key`, key, "requires metadata.name be non-empty"));
  else {
    const full = `${name}/${key}`;
    errors.push(...isQualifiedName(full).map((why) => invalid(`${at}.key`, full, why)));
  }
  const text = valueExpression.trim();
  const where = `${at}.valueExpression`;
  if (text === "") return [...errors, required(where, "valueExpression is not specified")];
  if (text.length > valueExpressionBytesMax) {
    const why = `must not exceed ${valueExpressionBytesMax} bytes in length`;
    return [...errors, required(where, why)];
  }
  const found = compileExpression(text, admissionEnvironment(scope), ["string", "null"]);
  if ("problem" in found) errors.push(invalid(where, valueExpression, found.problem));
  return errors;
}

export function validatePolicy({ metadata, spec }: ValidatingAdmissionPolicy): FieldError[] {
  const { failurePolicy = "Fail", paramKind, matchConstraints, variables = [] } = spec;
  const { validations = [], auditAnnotations = [], matchConditions = [] } = spec;
  const errors = oneOf("spec.failurePolicy", failurePolicy, ["Fail", "Ignore"]);
  if (paramKind !== undefined) errors.push(...validateParamKind(paramKind, "spec.paramKind"));
  const at = "spec.matchConstraints";
  if (matchConstraints === undefined) errors.push(required(at));
  else {
    errors.push(...validateMatch(matchConstraints, at));
    if ((matchConstraints.resourceRules ?? []).length === 0)
      errors.push(required(`${at}.resourceRules`));
  }
  const base: Scope = { params: paramKind !== undefined, authorizer: true };
  errors.push(...validateMatchConditions(matchConditions, "spec.matchConditions", base));
  const { compiled, types } = compileVariables(variables, base);
  errors.push(...validateVariables(variables, compiled, "spec.variables"));
  const scope: Scope = variables.length === 0 ? base : { ...base, variables: types };
  if (validations.length + auditAnnotations.length === 0) {
    const why = "validations or auditAnnotations must contain at least one item";
    return [...errors, required("spec.validations", why), required("spec.auditAnnotations", why)];
  }
  for (const [index, one] of validations.entries())
    errors.push(...validateValidation(one, `spec.validations[${index}]`, scope));
  const list = "spec.auditAnnotations";
  if (auditAnnotations.length > annotationsMax) {
    const why = `must not have more than ${annotationsMax} auditAnnotations`;
    errors.push(invalid(list, auditAnnotations, why));
  }
  const keys = new Set<string>();
  for (const [index, one] of auditAnnotations.entries()) {
    errors.push(...validateAnnotation(one, metadata.name ?? "", `${list}[${index}]`, scope));
    if (keys.has(one.key)) errors.push(duplicate(`${list}[${index}].key`, one.key));
    keys.add(one.key);
  }
  return errors;
}

export function validateParamRef(ref: ParamRef, path: string): FieldError[] {
  const { name = "", selector, parameterNotFoundAction = "" } = ref;
  const errors: FieldError[] = [];
  const both = "name and selector are mutually exclusive";
  if (name !== "") {
    errors.push(...isPathSegmentName(name).map((why) => invalid(`${path}.name`, name, why)));
    if (selector !== undefined) errors.push(forbidden(`${path}.name`, both));
  }
  if (selector !== undefined) {
    errors.push(...validateLabelSelector(selector, `${path}.selector`));
    if (name !== "") errors.push(forbidden(`${path}.selector`, both));
  }
  if (name === "" && selector === undefined)
    errors.push(required(path, "one of name or selector must be specified"));
  const at = `${path}.parameterNotFoundAction`;
  if (parameterNotFoundAction === "") errors.push(required(at));
  else errors.push(...oneOf(at, parameterNotFoundAction, ["Deny", "Allow"]));
  return errors;
}

export function validateBinding({ spec }: ValidatingAdmissionPolicyBinding): FieldError[] {
  const { policyName = "", paramRef, matchResources, validationActions = [] } = spec;
  const errors: FieldError[] = [];
  if (policyName === "") errors.push(required("spec.policyName"));
  else
    errors.push(
      ...isDns1123Subdomain(policyName).map((why) => invalid("spec.policyName", policyName, why)),
    );
  if (paramRef !== undefined) errors.push(...validateParamRef(paramRef, "spec.paramRef"));
  if (matchResources !== undefined)
    errors.push(...validateMatch(matchResources, "spec.matchResources"));
  const at = "spec.validationActions";
  const seen = new Set<string>();
  for (const [index, action] of validationActions.entries()) {
    errors.push(...oneOf(`${at}[${index}]`, action, ["Audit", "Deny", "Warn"]));
    if (seen.has(action)) errors.push(duplicate(`${at}[${index}]`, action));
    seen.add(action);
  }
  if (seen.has("Deny") && seen.has("Warn")) {
    const why =
      "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
    errors.push(invalid(at, validationActions, why));
  }
  if (seen.size === 0) errors.push(required(at, "at least one validation action is required"));
  return errors;
}
