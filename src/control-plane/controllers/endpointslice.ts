/**
 * EndpointSlice controller: tells, for every Service with a selector, which addresses stand behind it. Reads Services, Pods and
 * Nodes (for zones); writes EndpointSlices that carry its mark, and leaves all others alone.
 */
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { namespaceIndex } from "#client/cache.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { compileLabelMap } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import { type Controller, index, keyFor, type Lookup, watch } from "./controller.ts";
import { managedBy, managedByLabel, planSlices, serviceNameLabel } from "./endpointslice-plan.ts";
import { isTerminal, readySince } from "./pod-state.ts";
import { defineController, isEnding } from "./runner.ts";

const serviceIndex = "service";

/** Services that select a Pod. */
const servicesOf = (pod: Pod, lookup: Lookup): string[] =>
  lookup
    .cache(Service)
    .byIndex(namespaceIndex, pod.metadata.namespace ?? "")
    .filter((service) => compileLabelMap(service.spec.selector)(pod.metadata.labels))
    .map(keyOf);

const matters = (pod: Pod) => ({
  labels: pod.metadata.labels,
  deleting: pod.metadata.deletionTimestamp !== undefined,
  ended: isTerminal(pod),
  ready: readySince(pod),
  ips: pod.status.podIPs,
  node: pod.spec.nodeName,
});

/** When things last changed, by Service: so that the annotation names only changes that no earlier pass has answered to. */
class Triggers {
  readonly #seen = new Map<string, ReadonlyMap<string, number>>();
  /** The earliest change that is new. */
  latest(key: string, service: Stored<Service>, pods: readonly Stored<Pod>[]): string | undefined {
    const times = new Map([["", parseTime(service.metadata.creationTimestamp) ?? 0]]);
    for (const pod of pods) {
      const since = readySince(pod);
      if (since !== undefined) times.set(pod.metadata.uid, since);
    }
    const old = this.#seen.get(key);
    this.#seen.set(key, times);
    const fresh = [...times].filter(([id, at]) => at > (old?.get(id) ?? 0)).map(([, at]) => at);
    return fresh.length === 0 ? undefined : formatTime(Math.min(...fresh));
  }
  forget(key: string): void {
    this.#seen.delete(key);
  }
}

export const endpointSliceController: Controller = {
  name: "endpointslice",
  start: (world) => loop(new Triggers()).start(world),
};

const loop = (triggers: Triggers): Controller =>
  defineController<Service>({
    name: "endpointslice",
    reconciles: Service,
    indexes: [
      index(EndpointSlice, serviceIndex, (slice) =>
        slice.metadata.labels?.[managedByLabel] === managedBy
          ? [keyFor(slice.metadata.namespace, slice.metadata.labels[serviceNameLabel] ?? "")]
          : [],
      ),
    ],
    watches: [
      watch(Pod, servicesOf, (pod, old) => !equalObjects(matters(pod), matters(old))),
      watch(EndpointSlice, ({ metadata: { labels, namespace } }) =>
        labels?.[managedByLabel] === managedBy
          ? [keyFor(namespace, labels[serviceNameLabel] ?? "")]
          : [],
      ),
      watch(
        Node,
        (node, lookup) =>
          // Only Services that have, or could have, endpoints on it; its zone is all that they take from it.
          [...lookup.cache(Service).list()]
            .filter((one) => one.spec.selector !== undefined && node.metadata.name !== "")
            .map(keyOf),
        (node, old) =>
          node.metadata.labels?.["topology.kubernetes.io/zone"] !==
          old.metadata.labels?.["topology.kubernetes.io/zone"],
      ),
    ],

    async reconcile(service, context) {
      const { selector, type } = service.spec;
      // Without a selector somebody else says where the Service leads.
      if (type === "ExternalName" || selector === undefined) return;
      if (service.metadata.deletionTimestamp !== undefined) return;
      const key = keyOf(service);
      const { namespace = "" } = service.metadata;
      const selects = compileLabelMap(selector);
      const pods = context
        .cache(Pod)
        .byIndex(namespaceIndex, namespace)
        .filter((pod) => selects(pod.metadata.labels));
      const existing = context
        .cache(EndpointSlice)
        .byIndex(serviceIndex, key)
        .filter((slice) => slice.metadata.deletionTimestamp === undefined);
      const plan = planSlices(
        service,
        pods,
        existing,
        (name) => context.cache(Node).get(name),
        triggers.latest(key, service, pods),
      );
      const { client } = context;
      const writes = [
        ...plan.create.map((slice) => client.create(EndpointSlice, slice)),
        ...plan.update.map((slice) => client.update(EndpointSlice, slice)),
        ...plan.remove.map(async ({ metadata: { name } }) => {
          try {
            await client.delete(EndpointSlice, { namespace, name });
          } catch (error) {
            if (!isStatus(error, "NotFound")) throw error;
          }
        }),
      ];
      const failed = (await Promise.allSettled(writes)).find((one) => one.status === "rejected");
      if (failed === undefined || isEnding(failed.reason)) return;
      const why = failed.reason instanceof Error ? failed.reason.message : String(failed.reason);
      context.event(
        service,
        "Warning",
        "FailedToUpdateEndpointSlices",
        `Error updating Endpoint Slices for Service ${key}: ${why}`,
      );
      throw failed.reason;
    },
    gone: async (key) => triggers.forget(key),
  });
