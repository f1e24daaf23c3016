/**
 * CEL of admission at run time: the values that expressions see of a write, and the runs within a budget. Programs are compiled once per
 * stored configuration; a write that nothing is configured for costs nothing.
 */

import {
  admissionEnvironment,
  type Compiled,
  compileExpression,
  compileVariables,
  type Scope,
  type Wanted,
} from "#api/admissionregistration/v1/admission-expressions.ts";
import {
  type AskAuthorizer,
  type AuthorizerQuestion,
  authorizerValue,
  requestResourceValue,
} from "#api/admissionregistration/v1/authorizer-functions.ts";
import type { MatchCondition, Variable } from "#api/generated/admissionregistration/v1.ts";
import { parseTimestamp } from "#machinery/cel/civil-time.ts";
import { JsonFields, JsonMap, jsonValue } from "#machinery/cel/json-value.ts";
import { CelError, type Key, MapValue, type Value } from "#machinery/cel/value.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { forbiddenError } from "#machinery/status-error.ts";
import type { AdmissionRequest, AdmissionWorld } from "./admission.ts";

const callCostMax = 1_000_000;
export const budgetOfPolicy = 10_000_000;
const budgetOfConditions = 2_500_000;

export const outOfBudget =
  "validation failed due to running out of cost budget, no further validation rules will be run";

/** What is left to spend, for several expressions together. */
export interface Budget {
  left: number;
}
export type Result = { readonly value: Value } | { readonly error: string };

/** One write, as expressions see it. */
export interface Subject {
  readonly values: ReadonlyMap<string, Value>;
  readonly variables?: readonly { readonly name: string; readonly compiled: Compiled }[];
}

const optionsKinds = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" };

function requestOf(request: AdmissionRequest): JsonObject {
  const { group, version, kind, plural, subresource, name, namespace, operation } = request;
  const { user, dryRun } = request;
  const gvk = { group, version, kind };
  const resource = { group, version, resource: plural };
  const optionsKind = optionsKinds[operation as keyof typeof optionsKinds];
  return {
    kind: gvk,
    resource,
    subResource: subresource,
    requestKind: gvk,
    requestResource: resource,
    requestSubResource: subresource,
    name,
    namespace,
    operation,
    userInfo: {
      username: user.name,
      uid: user.uid ?? "",
      groups: user.groups,
      extra: user.extra ?? {},
    },
    dryRun,
    options: optionsKind === undefined ? null : { kind: optionsKind, apiVersion: "meta.k8s.io/v1" },
  };
}

const times = new Set(["creationTimestamp", "deletionTimestamp"]);

function namespaceValue(space: ApiObject | undefined): Value {
  if (space === undefined) return null;
  const { metadata } = space;
  const shown: JsonObject = { ...metadata };
  const field = (name: string) => ({
    name,
    adapt: (value: unknown): Value =>
      times.has(name) && typeof value === "string"
        ? (parseTimestamp(value) ?? null)
        : jsonValue(value),
  });
  const names = Object.keys(shown).filter((name) => name !== "managedFields");
  const fields = new Map(names.map((name) => [name, field(name)]));
  const object = space as unknown as JsonObject;
  const whole: JsonObject = { metadata: shown };
  if (object.spec !== undefined) whole.spec = object.spec;
  if (object.status !== undefined) whole.status = object.status;
  return new JsonFields(
    whole,
    new Map([
      [
        "metadata",
        {
          name: "metadata",
          adapt: (value) => new JsonFields(isObject(value) ? value : {}, fields),
        },
      ],
      ["spec", { name: "spec", adapt: jsonValue }],
      ["status", { name: "status", adapt: jsonValue }],
    ]),
  );
}

function authorizerOf(request: AdmissionRequest, world: AdmissionWorld): AskAuthorizer {
  const { group, version, plural, subresource, namespace, name } = request;
  return {
    requested: { group, resource: plural, subresource, namespace, name },
    ask(question: AuthorizerQuestion, verb) {
      const { serviceAccount, path } = question;
      const account = serviceAccount;
      const user =
        account === undefined
          ? request.user
          : {
              name: `system:serviceaccount:${account.namespace}:${account.name}`,
              groups: [
                "system:serviceaccounts",
                `system:serviceaccounts:${account.namespace}`,
                "system:authenticated",
              ],
            };
      const isPath = path !== undefined;
      const answer = world.authorizer.authorize({
        user,
        verb,
        isResource: !isPath,
        group: question.group ?? "",
        version: isPath ? "" : question.group === group ? version : "*",
        resource: question.resource ?? "",
        subresource: question.subresource ?? "",
        namespace: question.namespace ?? "",
        name: question.name ?? "",
        path: path ?? "",
      });
      return { allowed: answer.decision === "allow", reason: answer.reason };
    },
  };
}

const namespaces = { group: "", plural: "namespaces" };
const shownObject = (object: ApiObject | undefined): Value =>
  object === undefined ? null : new JsonMap(object as unknown as JsonObject, jsonValue);

export function subjectOf(request: AdmissionRequest, world: AdmissionWorld): Subject {
  const isNamespace = request.group === "" && request.plural === "namespaces";
  const space =
    request.namespace === "" || isNamespace
      ? undefined
      : world.reader.get(namespaces, "", request.namespace);
  const authorizer = authorizerOf(request, world);
  return {
    values: new Map<string, Value>([
      ["object", shownObject(request.object)],
      ["oldObject", shownObject(request.oldObject)],
      ["request", new JsonMap(requestOf(request), jsonValue)],
      ["namespaceObject", namespaceValue(space)],
      ["authorizer", authorizerValue(authorizer)],
      ["authorizer.requestResource", requestResourceValue(authorizer)],
    ]),
  };
}

/** The policy's variables: each is worked out when it is first named. */
class Variables extends MapValue {
  readonly #subject: Subject;
  readonly #budget: Budget;
  readonly #known = new Map<string, Value>();

  constructor(subject: Subject, budget: Budget) {
    super();
    this.#subject = subject;
    this.#budget = budget;
  }

  get size(): number {
    return this.#subject.variables?.length ?? 0;
  }

  get(key: Value): Value | undefined {
    if (typeof key !== "string") return undefined;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const one = this.#subject.variables?.find(({ name }) => name === key);
    if (one === undefined) return undefined;
    const result = runWith(one.compiled, this.#subject, this.#budget, this);
    if ("error" in result)
      throw new CelError(`composited variable "${key}" fails to evaluate: ${result.error}`);
    this.#known.set(key, result.value);
    return result.value;
  }

  keys(): Iterable<Key> {
    return this.#subject.variables?.map(({ name }) => name) ?? [];
  }
}

function runWith(compiled: Compiled, subject: Subject, budget: Budget, variables: Value): Result {
  if ("problem" in compiled) return { error: `compilation error: ${compiled.problem}` };
  const { program } = compiled;
  const values = program.inputs.map((name) =>
    name === "variables" ? variables : (subject.values.get(name) ?? null),
  );
  const outcome = program.run(values, callCostMax);
  budget.left -= outcome.cost;
  if (budget.left < 0) return { error: outOfBudget };
  return "error" in outcome ? { error: outcome.error } : { value: outcome.value };
}

/** Runs several over one subject: what the variables are is worked out once. */
export function runner(
  subject: Subject,
  budget: Budget,
): (compiled: Compiled, text: string) => Result {
  const variables = new Variables(subject, budget);
  return (compiled, text) => {
    const result = runWith(compiled, subject, budget, variables);
    if ("value" in result || result.error === outOfBudget) return result;
    return { error: `expression '${text}' resulted in error: ${result.error}` };
  };
}

export const compileAll = (
  expressions: readonly string[],
  scope: Scope,
  kinds: readonly Wanted[],
): Compiled[] => {
  const environment = admissionEnvironment(scope);
  return expressions.map((text) => compileExpression(text, environment, kinds));
};

export function variablesOf(list: readonly Variable[], scope: Scope) {
  const { compiled, types } = compileVariables(list, scope);
  const variables = list.flatMap(({ name }, index) => {
    const one = compiled[index];
    return one === undefined ? [] : [{ name, compiled: one }];
  });
  return { variables, types };
}

/** Whether all conditions hold; a false one settles it, else errors are told. */
export function conditionsHold(
  conditions: readonly MatchCondition[],
  compiled: readonly Compiled[],
  subject: Subject,
): { readonly holds: boolean } | { readonly error: string } {
  const run = runner(subject, { left: budgetOfConditions });
  const errors: string[] = [];
  for (const [index, { expression }] of conditions.entries()) {
    const one = compiled[index];
    if (one === undefined) continue;
    const result = run(one, expression);
    if ("error" in result) errors.push(result.error);
    else if (result.value !== true) return { holds: false };
  }
  if (errors.length === 0) return { holds: true };
  return { error: errors.length === 1 ? (errors[0] ?? "") : `[${errors.join(", ")}]` };
}

interface Conditional {
  readonly matchConditions?: MatchCondition[];
  readonly failurePolicy?: string;
}
const compiledHooks = new WeakMap<Conditional, readonly Compiled[]>();
const hookScope: Scope = { params: false, authorizer: true };

/** Whether a webhook's conditions let it be asked; throws where they fail and that matters. */
export function hookConditionsHold(
  hook: Conditional,
  request: AdmissionRequest,
  world: AdmissionWorld,
): boolean {
  const { matchConditions = [] } = hook;
  if (matchConditions.length === 0) return true;
  let compiled = compiledHooks.get(hook);
  if (compiled === undefined) {
    const texts = matchConditions.map(({ expression }) => expression);
    compiled = compileAll(texts, hookScope, ["bool"]);
    compiledHooks.set(hook, compiled);
  }
  const outcome = conditionsHold(matchConditions, compiled, subjectOf(request, world));
  if ("holds" in outcome) return outcome.holds;
  if (hook.failurePolicy === "Ignore") return false;
  throw forbiddenError(
    { group: request.group, plural: request.plural },
    request.name,
    outcome.error,
  );
}
