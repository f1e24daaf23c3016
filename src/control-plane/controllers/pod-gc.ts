/**
 * Pod garbage collector: removes Pods that nobody else will: bound to a node that is gone, deleted
 * before they had a node, stuck on a node declared out of service, or ended and too many. Reads
 * Pods and Nodes; deletes Pods.
 */
import { Node } from "#api/core/v1/node.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import {
  type Controller,
  index,
  type Outcome,
  type ReconcileContext,
  requeueAfter,
  watch,
} from "./controller.ts";
import { defineController } from "./runner.ts";

export const nodeNameIndex = "nodeName";
const endedIndex = "ended";
/** A node that was only missed for a moment comes back within this. */
const quarantineMs = 40_000;

export const podGcController: Controller = {
  name: "pod-garbage-collector",
  start: (world) => collector(world.settings.terminatedPodsMax).start(world),
};

function collector(endedMax: number): Controller {
  /** Since when (monotonic) a node that Pods name has been missing. */
  const missing = new Map<string, number>();
  return defineController<Pod>({
    name: "pod-garbage-collector",
    account: "pod-garbage-collector",
    reconciles: Pod,
    indexes: [
      index(Pod, nodeNameIndex, (pod) => [pod.spec.nodeName ?? ""]),
      index(Pod, endedIndex, (pod) => (isPodTerminal(pod) ? ["true"] : [])),
    ],
    watches: [
      watch(
        Node,
        ({ metadata: { name } }, lookup) =>
          lookup
            .cache(Pod)
            .byIndex(nodeNameIndex, name)
            .map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`),
        (node, old) => isOutOfService(node) !== isOutOfService(old),
      ),
    ],
    async reconcile(pod, context): Promise<Outcome> {
      const { nodeName = "" } = pod.spec;
      const node = context.cache(Node).get(nodeName);
      if (nodeName !== "" && node === undefined) return orphaned(pod, nodeName, missing, context);
      missing.delete(nodeName);
      const deleting = pod.metadata.deletionTimestamp !== undefined;
      if (deleting && nodeName === "") {
        await remove(pod, undefined, context);
      } else if (deleting && node !== undefined && isOutOfService(node) && !isNodeReady(node)) {
        await remove(pod, undefined, context);
      } else if (isPodTerminal(pod) && endedMax > 0) await trim(endedMax, context);
      return {};
    },
  });
}

const isOutOfService = (node: Node): boolean =>
  (node.spec.taints ?? []).some((taint) => taint.key === "node.kubernetes.io/out-of-service");
const isNodeReady = (node: Node): boolean =>
  node.status.conditions?.find((condition) => condition.type === "Ready")?.status === "True";

async function orphaned(
  pod: Stored<Pod>,
  nodeName: string,
  missing: Map<string, number>,
  context: ReconcileContext,
): Promise<Outcome> {
  const now = context.clock.monotonicMs();
  const since = missing.get(nodeName) ?? now;
  missing.set(nodeName, since);
  if (now - since < quarantineMs) return requeueAfter(since + quarantineMs - now);
  try {
    await context.client.get(Node, { name: nodeName });
    return requeueAfter(quarantineMs);
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
  const condition = {
    type: "DisruptionTarget",
    status: "True",
    reason: "DeletionByPodGC",
    message: "PodGC: node no longer exists",
  };
  await remove(pod, condition, context);
  if (context.cache(Pod).byIndex(nodeNameIndex, nodeName).length <= 1) missing.delete(nodeName);
  return {};
}

/** The oldest of those that have ended, until no more than the limit are left. */
async function trim(endedMax: number, context: ReconcileContext): Promise<void> {
  const ended = context.cache(Pod).byIndex(endedIndex, "true");
  if (ended.length <= endedMax) return;
  const oldest = [...ended].sort((a, b) => {
    const left = a.metadata.creationTimestamp;
    const right = b.metadata.creationTimestamp;
    if (left !== right) return left < right ? -1 : 1;
    return a.metadata.name < b.metadata.name ? -1 : 1;
  });
  for (const pod of oldest.slice(0, ended.length - endedMax)) await remove(pod, undefined, context);
}

/** At once and without grace: there is no kubelet that could confirm it. */
async function remove(
  pod: Stored<Pod>,
  condition: Readonly<Record<string, string>> | undefined,
  { client, now }: ReconcileContext,
): Promise<void> {
  const { namespace = "", name, uid } = pod.metadata;
  const ref = { namespace, name };
  try {
    if (!isPodTerminal(pod)) {
      const added =
        condition === undefined
          ? {}
          : { conditions: [{ ...condition, lastTransitionTime: formatTime(now) }] };
      const body = { metadata: { uid }, status: { phase: "Failed", ...added } };
      await client.patch(Pod, ref, "strategic", body, { subresource: "status" });
    }
    await client.delete(Pod, ref, { gracePeriodSeconds: 0, preconditions: { uid } });
  } catch (error) {
    if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
  }
}
