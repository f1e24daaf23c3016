/**
 * ReplicationController controller: the ReplicaSet controller's work, for the kind that was there
 * before it. Reads ReplicationControllers and Pods; writes Pods and the status.
 */
import type { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import type { Stored } from "#machinery/meta.ts";
import { compileLabelMap } from "#machinery/selector.ts";
import { keepReplicas } from "./replicaset.ts";
import { defineController } from "./runner.ts";

/** It as a ReplicaSet of its own name and kind. Upstream: an empty map selects nothing. */
const asReplicaSet = (controller: Stored<ReplicationController>): Stored<ReplicaSet> => {
  const { selector = {}, template, ...spec } = controller.spec;
  const empty = Object.keys(selector).length === 0;
  return {
    ...controller,
    spec: {
      ...spec,
      selector: empty
        ? { matchExpressions: [{ key: "none", operator: "In", values: [] }] }
        : { matchLabels: selector },
      template: template ?? { metadata: {}, spec: { containers: [] } },
    },
  };
};

export const replicationController = defineController<ReplicationController>({
  name: "replicationcontroller",
  account: "replication-controller",
  reconciles: ReplicationController,
  owns: [Pod],
  adopts: ({ spec }, pod) => compileLabelMap(spec.selector)(pod.metadata.labels),
  reconcile(controller, context) {
    const view = asReplicaSet(controller);
    const updateStatus = (status: ReplicaSet["status"]) =>
      context.client.updateStatus(ReplicationController, { ...controller, status });
    const shape = (status: ReplicaSet["status"]) => {
      const { terminatingReplicas: _, ...known } = status;
      return known;
    };
    return keepReplicas(ReplicationController, view, [view], context, updateStatus, shape);
  },
});
