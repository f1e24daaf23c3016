/**
 * ValidatingAdmissionPolicy: judges writes by the policies whose bindings meet them, in CEL: refuses, warns. Reads policies, bindings and
 * parameters; asks after the webhooks have changed what they wanted. Wording is upstream's.
 */

import type { Compiled, Scope } from "#api/admissionregistration/v1/admission-expressions.ts";
import type {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicySpec,
} from "#api/generated/admissionregistration/v1.ts";
import { jsonValue } from "#machinery/cel/json-value.ts";
import type { Value } from "#machinery/cel/value.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { StatusError } from "#machinery/status-error.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  refuse,
} from "./admission.ts";
import {
  budgetOfPolicy,
  compileAll,
  conditionsHold,
  outOfBudget,
  runner,
  type Subject,
  subjectOf,
  variablesOf,
} from "./expressions.ts";
import { isPolicy, matchesResources, parametersOf, policyGroup } from "./policy-parameters.ts";

const group = policyGroup;
const policyRef = { group, plural: "validatingadmissionpolicies" };
const bindingRef = { group, plural: "validatingadmissionpolicybindings" };
const messageBytesMax = 5 * 1024;

interface CompiledPolicy {
  readonly conditions: readonly Compiled[];
  readonly variables: Subject["variables"] & {};
  readonly validations: readonly Compiled[];
  readonly messages: readonly (Compiled | undefined)[];
  readonly annotations: readonly Compiled[];
}

const compiledPolicies = new WeakMap<ValidatingAdmissionPolicySpec, CompiledPolicy>();

/** Once for each stored policy. */
function compiledOf(spec: ValidatingAdmissionPolicySpec): CompiledPolicy {
  const known = compiledPolicies.get(spec);
  if (known !== undefined) return known;
  const base: Scope = { params: spec.paramKind !== undefined, authorizer: true };
  const { variables, types } = variablesOf(spec.variables ?? [], base);
  const scope: Scope = { ...base, variables: types };
  const told: Scope = { ...scope, authorizer: false };
  const validations = spec.validations ?? [];
  const texts = (list: readonly { expression: string }[]): string[] =>
    list.map(({ expression }) => expression);
  const made: CompiledPolicy = {
    conditions: compileAll(texts(spec.matchConditions ?? []), base, ["bool"]),
    variables,
    validations: compileAll(texts(validations), scope, ["bool"]),
    messages: validations.map(({ messageExpression = "" }) =>
      messageExpression === "" ? undefined : compileAll([messageExpression], told, ["string"])[0],
    ),
    annotations: compileAll(
      (spec.auditAnnotations ?? []).map(({ valueExpression }) => valueExpression),
      scope,
      ["string", "null"],
    ),
  };
  compiledPolicies.set(spec, made);
  return made;
}

interface Denial {
  readonly reason: string;
  readonly message: string;
}
type Found = { readonly denials: readonly Denial[] } | { readonly configuration: string };

const failing = (spec: ValidatingAdmissionPolicySpec, message: string): Denial[] =>
  spec.failurePolicy === "Ignore" ? [] : [{ reason: "Invalid", message }];

/** What one policy has against the write, with one parameter. */
function judge(spec: ValidatingAdmissionPolicySpec, plain: Subject, param: Value): Denial[] {
  const compiled = compiledOf(spec);
  const values = new Map([...plain.values, ["params", param] as const]);
  const subject: Subject = { values, variables: compiled.variables };
  const holds = conditionsHold(spec.matchConditions ?? [], compiled.conditions, subject);
  if ("error" in holds) return failing(spec, holds.error);
  if (!holds.holds) return [];
  const run = runner(subject, { left: budgetOfPolicy });
  const denials: Denial[] = [];
  for (const [index, one] of (spec.validations ?? []).entries()) {
    const program = compiled.validations[index];
    if (program === undefined) continue;
    const result = run(program, one.expression);
    if ("error" in result) {
      denials.push(...failing(spec, result.error));
      if (result.error === outOfBudget) return denials;
    } else if (result.value !== true) {
      const told = compiled.messages[index];
      const said = told === undefined ? undefined : run(told, one.messageExpression ?? "");
      const text = said !== undefined && "value" in said ? said.value : "";
      const plainMessage = (one.message ?? "").trim();
      const fallback =
        plainMessage === "" ? `failed expression: ${one.expression.trim()}` : plainMessage;
      const usable =
        typeof text === "string" &&
        text.trim() !== "" &&
        text.length <= messageBytesMax &&
        !text.trim().includes("\n");
      denials.push({
        reason: one.reason ?? "Invalid",
        message: usable ? text.trim() : fallback,
      });
    }
  }
  return denials;
}

function judgeBinding(
  spec: ValidatingAdmissionPolicySpec,
  binding: ValidatingAdmissionPolicyBinding,
  subject: Subject,
  request: AdmissionRequest,
  world: AdmissionWorld,
): Found {
  const found = parametersOf(spec.paramKind, binding.spec.paramRef, request, world);
  if ("problem" in found) return { configuration: found.problem };
  const shown = (param: ApiObject | undefined): Value =>
    param === undefined ? null : jsonValue(param);
  return { denials: found.params.flatMap((param) => judge(spec, subject, shown(param))) };
}

const codes: Readonly<Record<string, number>> = {
  Forbidden: 403,
  Unauthorized: 401,
  RequestEntityTooLarge: 413,
};

function denied(request: AdmissionRequest, { reason, message }: Denial): StatusError {
  const forbidden = refuse(request, message);
  const error = new StatusError(codes[reason] ?? 422, reason, forbidden.message);
  const { details } = forbidden.status;
  Object.assign(error.status, { details: { ...details, causes: [{ message }] } });
  return error;
}

export const validatingPolicies: AdmissionPlugin = {
  name: "ValidatingAdmissionPolicy",
  handles: (request) => !isPolicy(request),
  validate(request, world) {
    const { reader } = world;
    const bindings = [...reader.list(bindingRef)] as unknown as ValidatingAdmissionPolicyBinding[];
    if (bindings.length === 0) return;
    let subject: Subject | undefined;
    const denials: Denial[] = [];
    for (const policy of reader.list(policyRef) as Iterable<unknown>) {
      const { metadata, spec } = policy as ValidatingAdmissionPolicy;
      const name = metadata.name ?? "";
      const own = bindings.filter((one) => one.spec.policyName === name);
      if (own.length === 0 || !matchesResources(spec.matchConstraints, request, world)) continue;
      for (const binding of own) {
        if (!matchesResources(binding.spec.matchResources, request, world)) continue;
        subject ??= subjectOf(request, world);
        const found = judgeBinding(spec, binding, subject, request, world);
        const of = `ValidatingAdmissionPolicy '${name}' with binding '${binding.metadata.name ?? ""}'`;
        const refused = (one: Denial): Denial => ({
          ...one,
          message: `${of} denied request: ${one.message}`,
        });
        if ("configuration" in found) {
          const message = `failed to configure binding: ${found.configuration}`;
          denials.push(...failing(spec, message).map(refused));
          continue;
        }
        const { validationActions = [] } = binding.spec;
        for (const one of found.denials) {
          if (validationActions.includes("Deny")) denials.push(refused(one));
          if (validationActions.includes("Warn"))
            request.warnings.push(
              `Validation failed for ValidatingAdmissionPolicy '${name}' with binding '${binding.metadata.name ?? ""}': ${one.message}`,
            );
        }
      }
    }
    const [first] = denials;
    if (first !== undefined) throw denied(request, first);
  },
};
