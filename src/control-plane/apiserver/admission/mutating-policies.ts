/**
 * MutatingAdmissionPolicy: changes writes as the policies whose bindings meet them say, in CEL: by merging a configuration, or by a JSON
 * patch. Reads policies, bindings and parameters; runs before the webhooks, which see what it made of the object. Wording is upstream's.
 */

import type { Compiled, Scope } from "#api/admissionregistration/v1/admission-expressions.ts";
import { typeNameProblems } from "#api/admissionregistration/v1/patch-types.ts";
import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  MutatingAdmissionPolicySpec,
  Mutation,
} from "#api/generated/admissionregistration/v1.ts";
import { mergeConfiguration } from "#machinery/apply/atomic.ts";
import { jsonValue, toJson } from "#machinery/cel/json-value.ts";
import { CelError, List, MapValue, type Value } from "#machinery/cel/value.ts";
import { DecodeError } from "#machinery/decode.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, isObject, type JsonObject } from "#machinery/object.ts";
import { jsonPatch, PatchError } from "#machinery/patch.ts";
import { internalError } from "#machinery/status-error.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  type ObjectChanges,
  refuse,
  replaceObject,
} from "./admission.ts";
import {
  budgetOfPolicy,
  compileAll,
  conditionsHold,
  runner,
  type Subject,
  subjectOf,
  variablesOf,
} from "./expressions.ts";
import { isPolicy, matchesResources, parametersOf, policyGroup } from "./policy-parameters.ts";
import type { Asked } from "./reinvocation.ts";

const policyRef = { group: policyGroup, plural: "mutatingadmissionpolicies" };
const bindingRef = { group: policyGroup, plural: "mutatingadmissionpolicybindings" };

interface CompiledPolicy {
  readonly conditions: readonly Compiled[];
  readonly variables: Subject["variables"] & {};
  readonly mutations: readonly Compiled[];
}

const compiledPolicies = new WeakMap<MutatingAdmissionPolicySpec, CompiledPolicy>();
const expressionOf = ({ jsonPatch: patch, applyConfiguration: apply }: Mutation): string =>
  patch?.expression ?? apply?.expression ?? "";

/** Once for each stored policy. */
function compiledOf(spec: MutatingAdmissionPolicySpec): CompiledPolicy {
  const known = compiledPolicies.get(spec);
  if (known !== undefined) return known;
  const base: Scope = { params: spec.paramKind !== undefined, authorizer: true };
  const { variables, types } = variablesOf(spec.variables ?? [], base);
  const scope: Scope = { ...base, variables: types, patches: true };
  const conditions = (spec.matchConditions ?? []).map(({ expression }) => expression);
  const made: CompiledPolicy = {
    conditions: compileAll(conditions, base, ["bool"]),
    variables,
    mutations: (spec.mutations ?? []).flatMap((one) =>
      compileAll([expressionOf(one)], scope, [
        one.patchType === "JSONPatch" ? "list(JSONPatch)" : "Object",
      ]),
    ),
  };
  compiledPolicies.set(spec, made);
  return made;
}

/** One policy at work for one binding and one of its parameters. */
interface Invocation {
  readonly policy: MutatingAdmissionPolicy;
  readonly binding: MutatingAdmissionPolicyBinding;
  readonly param: ApiObject | undefined;
}
interface Failure {
  readonly policy: MutatingAdmissionPolicy;
  readonly binding: MutatingAdmissionPolicyBinding;
  readonly reason?: string;
  readonly message: string;
}

function invocationsFor(
  request: AdmissionRequest,
  world: AdmissionWorld,
): { readonly invocations: Invocation[]; readonly failures: Failure[] } {
  const invocations: Invocation[] = [];
  const failures: Failure[] = [];
  const policies = [...world.reader.list(policyRef)] as unknown as MutatingAdmissionPolicy[];
  if (policies.length === 0) return { invocations, failures };
  const bindings = [
    ...world.reader.list(bindingRef),
  ] as unknown as MutatingAdmissionPolicyBinding[];
  for (const policy of policies) {
    const own = bindings.filter((one) => one.spec.policyName === policy.metadata.name);
    const { spec } = policy;
    if (own.length === 0 || !matchesResources(spec.matchConstraints, request, world)) continue;
    for (const binding of own) {
      if (!matchesResources(binding.spec.matchResources, request, world)) continue;
      const found = parametersOf(spec.paramKind, binding.spec.paramRef, request, world);
      if ("problem" in found) {
        const message = `failed to configure binding: ${found.problem}`;
        failures.push({ policy, binding, message });
      } else for (const param of found.params) invocations.push({ policy, binding, param });
    }
  }
  return { invocations, failures };
}

const keyOf = ({ policy, binding, param }: Invocation): string =>
  [policy, binding, param]
    .map((one) => `${one?.metadata.namespace ?? ""}/${one?.metadata.name ?? ""}`)
    .join(" ");

/** What one mutation makes of the object; or why it can not. */
type Outcome = { readonly object: ApiObject } | { readonly problem: string };

function applyConfiguration(value: Value, object: ApiObject, changes: ObjectChanges): Outcome {
  const problems = typeNameProblems(value);
  if (problems.length > 0) return { problem: `type mismatch: ${problems.join("\n")}` };
  const plain = toJson(value);
  if (!isObject(plain)) return { problem: "invalid return type" };
  const { apiVersion, kind } = object;
  const live = cloneJson(object) as unknown as JsonObject;
  const merged = mergeConfiguration(changes.schema, live, { ...plain, apiVersion, kind });
  if ("problem" in merged) return { problem: `error applying patch: ${merged.problem}` };
  return { object: changes.revise(merged.object) };
}

function operationOf(value: Value): JsonObject {
  if (!(value instanceof MapValue)) throw new CelError("no such overload");
  const text = (name: string): string => {
    const found = value.get(name);
    return typeof found === "string" ? found : "";
  };
  const from = text("from");
  const given = value.get("value");
  return {
    op: text("op"),
    path: text("path"),
    ...(from === "" ? {} : { from }),
    ...(given === undefined ? {} : { value: toJson(given) }),
  };
}

function patchBy(value: Value, object: ApiObject, changes: ObjectChanges): Outcome {
  if (!(value instanceof List)) return { problem: "no such overload" };
  const problems = value.items.flatMap((one) =>
    one instanceof MapValue ? typeNameProblems(one.get("value") ?? null) : [],
  );
  if (problems.length > 0) return { problem: `type mismatch: ${problems.join("\n")}` };
  let changed: unknown;
  try {
    changed = jsonPatch(cloneJson(object), value.items.map(operationOf));
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    // Whoever tests does not want the patch where the test fails.
    if (error.message.startsWith("testing ")) return { object };
    return { problem: `JSON Patch: ${error.message}` };
  }
  try {
    return { object: changes.revise(changed, true) };
  } catch (error) {
    if (error instanceof DecodeError) throw internalError(error.message);
    throw error;
  }
}

function mutate(
  mutation: Mutation,
  compiled: Compiled,
  subject: Subject,
  object: ApiObject,
  changes: ObjectChanges,
): Outcome {
  const run = runner(subject, { left: budgetOfPolicy });
  const result = run(compiled, expressionOf(mutation));
  if ("error" in result) return { problem: result.error };
  const change = mutation.patchType === "JSONPatch" ? patchBy : applyConfiguration;
  try {
    return change(result.value, object, changes);
  } catch (error) {
    if (error instanceof CelError || error instanceof DecodeError)
      return { problem: error.message };
    throw error;
  }
}

/** All mutations of a policy, one after the other: each sees what those before it made of the object. */
function invoke(
  invocation: Invocation,
  request: AdmissionRequest,
  world: AdmissionWorld,
  asked: Asked,
): Failure[] {
  const { policy, binding, param } = invocation;
  const { spec } = policy;
  const { conditions, mutations, variables } = compiledOf(spec);
  const params: Value = param === undefined ? null : jsonValue(param);
  const subject = (): Subject => ({
    values: new Map([...subjectOf(request, world).values, ["params", params] as const]),
    variables,
  });
  const failed = (message: string): Failure => ({ policy, binding, reason: "Invalid", message });
  const holds = conditionsHold(spec.matchConditions ?? [], conditions, subject());
  if ("error" in holds) return [failed(holds.error)];
  const key = keyOf(invocation);
  if (!holds.holds || !asked.isDue(key)) return [];
  const failures: Failure[] = [];
  let isChanged = false;
  for (const [index, mutation] of (spec.mutations ?? []).entries()) {
    const compiled = mutations[index];
    const { object, changes } = request;
    if (compiled === undefined || object === undefined || changes === undefined) continue;
    const outcome = mutate(mutation, compiled, subject(), object, changes);
    if ("problem" in outcome) failures.push(failed(outcome.problem));
    else if (replaceObject(request, outcome.object)) isChanged = true;
  }
  asked.done(key, isChanged, spec.reinvocationPolicy === "IfNeeded");
  return failures;
}

function refuseFailures(request: AdmissionRequest, failures: readonly Failure[]): void {
  const [first] = failures;
  if (first === undefined) return;
  const told = failures.map(({ policy, binding, message }) => ({
    message: `policy '${policy.metadata.name ?? ""}' with binding '${binding.metadata.name ?? ""}' denied request: ${message}`,
  }));
  const error = refuse(request, "admission request denied by policy");
  const { reason = error.status.reason } = first;
  const { details } = error.status;
  const message = told[0]?.message ?? "";
  Object.assign(error.status, { message, reason, details: { ...details, causes: told } });
  throw error;
}

export const mutatingPolicies: AdmissionPlugin = {
  name: "MutatingAdmissionPolicy",
  handles: (request) => request.operation !== "DELETE" && !isPolicy(request),
  admit(request, world, rounds) {
    const { invocations, failures } = invocationsFor(request, world);
    if (invocations.length > 0) {
      const asked = rounds.of("MutatingAdmissionPolicy");
      asked.begin(request.object);
      for (const one of invocations) failures.push(...invoke(one, request, world, asked));
      asked.end(request.object);
    }
    refuseFailures(
      request,
      failures.filter(({ policy }) => policy.spec.failurePolicy !== "Ignore"),
    );
  },
};
