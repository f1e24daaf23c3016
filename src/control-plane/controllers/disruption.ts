/**
 * Disruption controller: keeps in every PodDisruptionBudget's status how many Pods may be evicted
 * now. Reads budgets, Pods and those who manage Pods; writes the budgets' status, and takes back
 * the mark of Pods whose eviction came to nothing.
 */
import { Deployment } from "#api/apps/v1/deployment.ts";
import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal, podCondition } from "#api/core/v1/pod-status.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import type { PodDisruptionBudgetStatus } from "#api/generated/policy/v1.ts";
import { withDisruptionCondition } from "#api/policy/v1/disruption-condition.ts";
import { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import { apiVersionOf, type Kind } from "#api/resource.ts";
import { namespaceIndex } from "#client/cache.ts";
import { pathOf } from "#client/client.ts";
import {
  type ApiObject,
  controllerOf,
  keyOf,
  type OwnerReference,
  type Stored,
} from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { formatLabelSelector, matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import { keyFor, type Outcome, type ReconcileContext, requeueAfter, watch } from "./controller.ts";
import { ask, discover } from "./discovery.ts";
import { needsScale, planBudget } from "./disruption-plan.ts";
import { defineController } from "./runner.ts";

const staleMs = 2 * 60_000;
const account = "disruption-controller";
const eventSource = "controllermanager";

const selects = (budget: PodDisruptionBudget, pod: Pod): boolean =>
  matchesSelector(budget.spec.selector, pod.metadata.labels);

export const disruptionController = defineController<PodDisruptionBudget>({
  name: "disruption",
  account,
  eventSource,
  reconciles: PodDisruptionBudget,
  reads: [ReplicationController, ReplicaSet, Deployment, StatefulSet],
  watches: [
    watch(Pod, (pod, lookup) =>
      lookup
        .cache(PodDisruptionBudget)
        .byIndex(namespaceIndex, pod.metadata.namespace ?? "")
        .filter((budget) => selects(budget, pod))
        .map(keyOf),
    ),
  ],
  async reconcile(budget, context): Promise<Outcome> {
    const pods = context
      .cache(Pod)
      .byIndex(namespaceIndex, budget.metadata.namespace ?? "")
      .filter((pod) => selects(budget, pod));
    if (pods.length === 0) {
      context.event(budget, "Normal", "NoPods", "No matching pods found");
    }
    let expected: number;
    try {
      expected = needsScale(budget) ? await expectedScale(budget, pods, context) : pods.length;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const message = `Failed to calculate the number of expected pods: ${why}`;
      context.event(budget, "Warning", "CalculateExpectedPodCountFailed", message);
      const closed = { ...budget.status, disruptionsAllowed: 0 };
      await save(budget, withDisruptionCondition(closed, context.now, why), context);
      return {};
    }
    const { status, overdue, againInMs } = planBudget(budget, pods, expected, context.now);
    const { namespace } = budget.metadata;
    for (const pod of overdue) {
      // Upstream: the namespace stands where the budget's name was meant.
      const message = `Pod was expected by PDB ${namespace}/${namespace} to be deleted but it wasn't`;
      context.event(pod, "Warning", "NotDeleted", message);
    }
    await save(budget, status, context);
    return requeueAfter(againInMs);
  },
});

async function save(
  budget: Stored<PodDisruptionBudget>,
  status: PodDisruptionBudgetStatus,
  context: ReconcileContext,
): Promise<void> {
  if (equalObjects(budget.status, status)) return;
  await context.client.updateStatus(PodDisruptionBudget, { ...budget, status });
}

/** How many Pods their managers want, all together. */
async function expectedScale(
  budget: Stored<PodDisruptionBudget>,
  pods: readonly Stored<Pod>[],
  context: ReconcileContext,
): Promise<number> {
  const scales = new Map<string, number>();
  const known = new Set<string>();
  let unmanaged = false;
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (owner === undefined) unmanaged = true;
    if (owner === undefined || known.has(owner.uid)) continue;
    const scale = await scaleOf(owner, pod.metadata.namespace ?? "", context);
    if (scale === undefined) throw new Error(`found no controllers for pod "${pod.metadata.name}"`);
    known.add(owner.uid);
    scales.set(scale.uid, scale.replicas);
  }
  if (unmanaged) {
    const selector = formatLabelSelector(budget.spec.selector);
    const message = `Pods selected by this PodDisruptionBudget (selector: ${selector}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.`;
    context.event(budget, "Warning", "UnmanagedPods", message);
  }
  return [...scales.values()].reduce((sum, one) => sum + one, 0);
}

interface Scale {
  readonly uid: string;
  readonly replicas: number;
}

/** Upstream: whoever manages a ReplicaSet by a Deployment is asked for the Deployment's size. */
async function scaleOf(
  owner: OwnerReference,
  namespace: string,
  context: ReconcileContext,
): Promise<Scale | undefined> {
  const sized = [ReplicationController, ReplicaSet, StatefulSet, Deployment];
  for (const kind of sized as readonly Kind<Sized>[]) {
    if (kind.kind !== owner.kind || apiVersionOf(kind) !== owner.apiVersion) continue;
    const object = context.cache(kind).get(keyFor(namespace, owner.name));
    if (object === undefined || object.metadata.uid !== owner.uid) return undefined;
    const above = controllerOf(object);
    if (owner.kind === "ReplicaSet" && above?.kind === "Deployment") {
      return scaleOf(above, namespace, context);
    }
    return { uid: object.metadata.uid, replicas: object.spec.replicas ?? 1 };
  }
  return askScale(owner, namespace, context);
}
interface Sized extends ApiObject {
  readonly spec: { readonly replicas?: number };
}

/** Of any other kind, its scale subresource. */
async function askScale(
  { apiVersion, kind, name, uid }: OwnerReference,
  namespace: string,
  context: ReconcileContext,
): Promise<Scale | undefined> {
  const { kinds } = await discover(context.client);
  const found = kinds.find((one) => one.kind === kind && apiVersionOf(one) === apiVersion);
  if (found === undefined)
    throw new Error(`no matches for kind "${kind}" in version "${apiVersion}"`);
  const path = pathOf(found, { namespace, name, subresource: "scale" });
  let scale: Stored<Sized>;
  try {
    scale = await ask<Stored<Sized>>(context.client, path);
  } catch (error) {
    if (!isStatus(error, "")) throw error;
    const what = found.group === "" ? found.plural : `${found.plural}.${found.group}`;
    throw new Error(`${what} does not implement the scale subresource`, { cause: error });
  }
  if (scale.metadata.uid !== uid) return undefined;
  return { uid, replicas: scale.spec.replicas ?? 0 };
}

/** A Pod that was to be disrupted, and after minutes is not on its way out, is a Pod like others. */
export const staleDisruptionController = defineController<Pod>({
  name: "stale-disruption",
  account,
  eventSource,
  reconciles: Pod,
  async reconcile(pod, context): Promise<Outcome> {
    const condition = podCondition(pod, "DisruptionTarget");
    const { name, namespace = "", deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined || condition?.status !== "True") return {};
    if (condition.reason === "TerminationByKubelet" || isPodTerminal(pod)) return {};
    const since = parseTime(condition.lastTransitionTime ?? "") ?? 0;
    const leftMs = since + staleMs - context.now;
    if (leftMs > 0) return requeueAfter(leftMs);
    const reset = {
      type: "DisruptionTarget",
      status: "False",
      reason: "",
      message: "",
      lastTransitionTime: formatTime(context.now),
    };
    const body = { metadata: { uid: pod.metadata.uid }, status: { conditions: [reset] } };
    try {
      const options = { subresource: "status" };
      await context.client.patch(Pod, { namespace, name }, "strategic", body, options);
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
    return {};
  },
});
