/**
 * pods/NAME/eviction: deletes the pod, if the budget that covers it has something left. What is
 * taken from the budget is noted in its status before the pod goes, so that two who evict at once
 * cannot both take the last.
 */
import type { Pod, PodCondition } from "#api/generated/core/v1.ts";
import type { Eviction, PodDisruptionBudget } from "#api/generated/policy/v1.ts";
import {
  disruptionAllowed,
  syncFailed,
  withDisruptionCondition,
} from "#api/policy/v1/disruption-condition.ts";
import type { ApiResponse } from "#api/request.ts";
import { findCondition, isConditionTrue } from "#machinery/conditions.ts";
import { invalid } from "#machinery/field-error.ts";
import { matchesSelector } from "#machinery/selector.ts";
import {
  badRequest,
  conflict,
  forbiddenError,
  invalidObject,
  isStatus,
  StatusError,
  tooManyRequests,
} from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { answerPlain, plainFormOf } from "./answer.ts";
import { writeOptions } from "./body.ts";
import type { ChainContext } from "./chain.ts";
import { readKind, success } from "./pod-subresources.ts";
import { type DeleteOptions, deleteObject, validateDeleteOptions } from "./registry-delete.ts";
import { getObject, listObjects } from "./registry-read.ts";
import { notAllowed, scopeOf, type VerbWorld } from "./resource-verbs.ts";
import type { ServedResource } from "./served-resource.ts";

/** Pods that were evicted and that the controller has not seen go. */
const pendingMax = 2000;
const attemptsMax = 20;
const budgetName = { group: "policy", plural: "poddisruptionbudget" };
const violates = "Cannot evict pod as it would violate the pod's disruption budget.";

function withCause(error: StatusError, message: string): StatusError {
  const { status } = error;
  const causes = [{ reason: "DisruptionBudget", message }];
  const details = { ...status.details, causes };
  return new StatusError(error.code, error.reason, status.message ?? "", details);
}

const stillProcessed = (name: string): StatusError =>
  withCause(
    tooManyRequests(violates, 10),
    `The disruption budget ${name} is still being processed by the server.`,
  );

/** Why the budget does not allow it; undefined: it does. */
function refusal({ metadata, status }: PodDisruptionBudget): StatusError | undefined {
  const { name = "", generation = 0 } = metadata;
  if ((status.observedGeneration ?? 0) < generation) return stillProcessed(name);
  const lead = `The disruption budget ${name} does not allow evicting pods currently`;
  if (status.disruptionsAllowed < 0) {
    const why = "pdb disruptions allowed is negative";
    return withCause(forbiddenError(budgetName, name, why), `${lead}: ${why}`);
  }
  if (Object.keys(status.disruptedPods ?? {}).length > pendingMax) {
    const why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
    const told = `${lead}: too many pending evictions not confirmed by PDB controller`;
    return withCause(forbiddenError(budgetName, name, why), told);
  }
  if (status.disruptionsAllowed > 0) return undefined;
  const condition = findCondition(status.conditions, disruptionAllowed);
  const why = condition?.status === "False" ? (condition.message ?? "") : "";
  const { currentHealthy, desiredHealthy } = status;
  let message = lead;
  if (why !== "" && condition?.reason === syncFailed) {
    message = `${lead} because it failed sync: ${why}`;
  } else if (currentHealthy <= desiredHealthy) {
    message = `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`;
  } else if (why !== "") message = `${lead} (${condition?.reason}): ${why}`;
  return withCause(tooManyRequests(violates, 0), message);
}

async function budgetsOf(
  pod: Pod,
  budgets: ServedResource | undefined,
): Promise<readonly PodDisruptionBudget[]> {
  if (budgets === undefined) return [];
  const { items } = await listObjects(budgets.registry, {
    namespace: pod.metadata.namespace ?? "",
    labelSelector: "",
    fieldSelector: "",
    limit: 0,
    continue: "",
    resourceVersion: "",
    resourceVersionMatch: "",
  });
  return items
    .map(({ object }) => object as PodDisruptionBudget)
    .filter(({ spec }) => matchesSelector(spec.selector, pod.metadata.labels));
}

/** Ended, not yet started or on its way out: nobody misses it. */
const isIdle = ({ metadata, status }: Pod): boolean =>
  ["Succeeded", "Failed", "Pending"].includes(status.phase ?? "") ||
  metadata.deletionTimestamp !== undefined;

/** An unready pod serves nobody: it may go while the others are enough. */
function goesUnready(pod: Pod, { spec, status }: PodDisruptionBudget): boolean {
  if (isConditionTrue(pod.status.conditions, "Ready")) return false;
  if (spec.unhealthyPodEvictionPolicy === "AlwaysAllow") return true;
  return status.currentHealthy >= status.desiredHealthy && status.desiredHealthy > 0;
}

interface Case {
  readonly context: ChainContext;
  readonly pods: ServedResource;
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
  readonly now: number;
}

const asksVersion = ({ preconditions }: DeleteOptions): boolean =>
  preconditions?.resourceVersion !== undefined;

/** `pinned`: only as it was seen. */
async function evict(one: Case, pod: Pod, pinned: boolean): Promise<void> {
  const { context, pods, dryRun, now } = one;
  const { namespace, name } = context.info;
  const { resourceVersion } = pod.metadata;
  let { options } = one;
  if (pinned && !asksVersion(options) && resourceVersion !== undefined) {
    options = { ...options, preconditions: { ...options.preconditions, resourceVersion } };
  }
  if (!dryRun) {
    const written = await pods.registry.modify(namespace, name, false, (object) =>
      markEvicted(object as Pod, options, now),
    );
    const current = pods.objectOfWritten(written).metadata.resourceVersion;
    if (asksVersion(options) && current !== undefined) {
      const preconditions = { ...options.preconditions, resourceVersion: current };
      options = { ...options, preconditions };
    }
  }
  const scope = { ...scopeOf(context, pods, dryRun), subresource: "" };
  await deleteObject(pods.registry, scope, name, options);
}

/** The pod says why it goes: a Job can tell this from a failure. */
function markEvicted(pod: Pod, { preconditions = {} }: DeleteOptions, now: number): void {
  const { uid, resourceVersion } = preconditions;
  const { metadata } = pod;
  const refuse = (what: string, wanted: string, found: string | undefined, why: string) =>
    conflict(
      { group: "", plural: "Pod" },
      metadata.name ?? "",
      `the ${what} in the precondition (${wanted}) does not match the ${what} in record (${found ?? ""}). The object might have been ${why}`,
    );
  if (uid && uid !== metadata.uid) {
    throw refuse("UID", uid, metadata.uid, "deleted and then recreated");
  }
  if (resourceVersion && resourceVersion !== metadata.resourceVersion) {
    throw refuse("ResourceVersion", resourceVersion, metadata.resourceVersion, "modified");
  }
  const type = "DisruptionTarget";
  const conditions = pod.status.conditions ?? [];
  const old = conditions.find((one) => one.type === type);
  const next = {
    type,
    status: "True",
    lastTransitionTime: old?.status === "True" ? old.lastTransitionTime : formatTime(now),
    reason: "EvictionByEvictionAPI",
    message: "Eviction API: evicting",
  };
  pod.status.conditions = [...conditions.filter((one) => one !== old), next as PodCondition];
}

/** Notes the pod in the budget. */
async function take(
  budgets: ServedResource,
  { metadata: { namespace = "", name: budget = "" } }: PodDisruptionBudget,
  { context, dryRun, now }: Case,
): Promise<void> {
  await budgets.registry.modify(namespace, budget, dryRun, (object) => {
    const found = object as PodDisruptionBudget;
    const refused = refusal(found);
    if (refused !== undefined) throw refused;
    const { status } = found;
    const left = { ...status, disruptionsAllowed: status.disruptionsAllowed - 1 };
    const disruptedPods = { ...status.disruptedPods, [context.info.name]: formatTime(now) };
    const next = left.disruptionsAllowed === 0 ? withDisruptionCondition(left, now) : left;
    found.status = { ...next, disruptedPods };
  });
}

function optionsOf(context: ChainContext): DeleteOptions {
  const eviction = readKind(context, "policy", "Eviction") as Eviction;
  const { name } = context.info;
  if (eviction.metadata.name !== name) {
    throw badRequest("name in URL does not match name in Eviction object");
  }
  const { deleteOptions } = eviction;
  if (deleteOptions?.ignoreStoreReadErrorWithClusterBreakingPotential === true) {
    const path = "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential";
    const detail = "can not be set for pod eviction, try after removing the option";
    const errors = [invalid(path, true, detail)];
    throw invalidObject({ group: "policy", kind: "Eviction" }, name, errors);
  }
  const options = (deleteOptions ?? {}) as DeleteOptions;
  validateDeleteOptions(options);
  return options;
}

/** Gives the pod, or undefined if it is evicted: nobody misses it. */
async function evictIdle(one: Case): Promise<Pod | undefined> {
  const { pods, context, options } = one;
  const { namespace, name } = context.info;
  for (let attempt = 1; ; attempt += 1) {
    const pod = (await getObject(pods.registry, namespace, name, "")).object as Pod;
    if (!isIdle(pod)) return pod;
    const { phase } = pod.status;
    const over = phase !== "Pending" || pod.metadata.deletionTimestamp !== undefined;
    try {
      await evict(one, pod, !over);
      return undefined;
    } catch (error) {
      // It has changed: perhaps it runs by now, and somebody misses it.
      const again = isStatus(error, "Conflict") && !asksVersion(options) && attempt < attemptsMax;
      if (!again) throw error;
    }
  }
}

export async function handleEviction(
  context: ChainContext,
  pods: ServedResource,
  budgets: ServedResource | undefined,
  world: VerbWorld,
): Promise<ApiResponse> {
  if (context.info.verb !== "create") throw notAllowed();
  const form = plainFormOf(context, world.now());
  const options = optionsOf(context);
  const dryRun = writeOptions(context.request).dryRun || (options.dryRun ?? []).length > 0;
  const one: Case = { context, pods, options, dryRun, now: world.now() };
  const pod = await evictIdle(one);
  if (pod === undefined) return answerPlain(201, success, form);
  const covering = await budgetsOf(pod, budgets);
  if (covering.length > 1) {
    const message =
      "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    throw new StatusError(500, "", message);
  }
  const [budget] = covering;
  const unready = budget !== undefined && goesUnready(pod, budget);
  if (budgets !== undefined && budget !== undefined && !unready) await take(budgets, budget, one);
  try {
    await evict(one, pod, unready);
  } catch (error) {
    if (unready && isStatus(error, "Conflict") && !asksVersion(options)) {
      throw stillProcessed(budget.metadata.name ?? "");
    }
    throw error;
  }
  return answerPlain(201, success, form);
}
