/**
 * Taint eviction controller: deletes Pods from nodes with NoExecute taints that they do not
 * tolerate, or no longer. Reads Pods and Nodes; deletes Pods.
 */
import { Node } from "#api/core/v1/node.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isTolerated } from "#api/core/v1/toleration.ts";
import type { Taint } from "#api/generated/core/v1.ts";
import { equalObjects } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import { type Controller, index, type Outcome, requeueAfter, watch } from "./controller.ts";
import { nodeNameIndex } from "./pod-gc.ts";
import { defineController } from "./runner.ts";

const noExecute = (node: Node): readonly Taint[] =>
  (node.spec.taints ?? []).filter((taint) => taint.effect === "NoExecute");

/**
 * How long the Pod may stay under these taints, in milliseconds: 0 not at all, Infinity for ever.
 */
export function staysMs(pod: Pod, taints: readonly Taint[]): number {
  const tolerations = pod.spec.tolerations ?? [];
  if (!taints.every((taint) => isTolerated(taint, tolerations))) return 0;
  const used = tolerations.filter((toleration) =>
    taints.some((taint) => isTolerated(taint, [toleration])),
  );
  const limits = used.flatMap(({ tolerationSeconds }) =>
    tolerationSeconds === undefined ? [] : [Math.max(0, tolerationSeconds) * 1000],
  );
  return Math.min(...limits);
}

export const taintEvictionController: Controller = {
  name: "taint-eviction",
  start: (world) => evictor().start(world),
};

function evictor(): Controller {
  /** Since when a Pod that may stay for a while has been under taints, by uid. */
  const since = new Map<string, number>();
  const uids = new Map<string, string>();
  return defineController<Pod>({
    name: "taint-eviction",
    account: "node-controller",
    reconciles: Pod,
    indexes: [index(Pod, nodeNameIndex, (pod) => [pod.spec.nodeName ?? ""])],
    watches: [
      watch(
        Node,
        ({ metadata: { name } }, lookup) =>
          lookup
            .cache(Pod)
            .byIndex(nodeNameIndex, name)
            .map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`),
        (node, old) => !equalObjects(noExecute(node), noExecute(old)),
      ),
    ],
    async reconcile(pod, context): Promise<Outcome> {
      const { client, now } = context;
      const { namespace = "", name, uid } = pod.metadata;
      const key = `${namespace}/${name}`;
      const node = context.cache(Node).get(pod.spec.nodeName ?? "");
      const taints = node === undefined ? [] : noExecute(node);
      const stays = taints.length === 0 ? Infinity : staysMs(pod, taints);
      if (stays === Infinity) {
        if (since.delete(uid) && pod.metadata.deletionTimestamp === undefined) {
          context.event(pod, "Normal", "TaintManagerEviction", `Cancelling deletion of Pod ${key}`);
        }
        return {};
      }
      if (pod.metadata.deletionTimestamp !== undefined || isPodTerminal(pod)) return {};
      const added = taints.map((taint) => parseTime(taint.timeAdded ?? "") ?? now);
      const start = since.get(uid) ?? Math.min(now, ...added);
      since.set(uid, start);
      uids.set(key, uid);
      if (now < start + stays) return requeueAfter(start + stays - now);
      context.event(pod, "Normal", "TaintManagerEviction", `Marking for deletion Pod ${key}`);
      const condition = {
        type: "DisruptionTarget",
        status: "True",
        reason: "DeletionByTaintManager",
        message: "Taint manager: deleting due to NoExecute taint",
        lastTransitionTime: formatTime(now),
      };
      const body = { metadata: { uid }, status: { conditions: [condition] } };
      try {
        await client.patch(Pod, { namespace, name }, "strategic", body, { subresource: "status" });
        await client.delete(Pod, { namespace, name }, { preconditions: { uid } });
      } catch (error) {
        if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
      }
      since.delete(uid);
      return {};
    },
    gone: async (key) => {
      since.delete(uids.get(key) ?? "");
      uids.delete(key);
    },
  });
}
