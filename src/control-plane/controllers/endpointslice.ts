/**
 * EndpointSlice controller: tells, for every Service with a selector, which addresses stand behind
 * it. Reads Services, Pods and Nodes (for zones); writes EndpointSlices that carry its mark, and
 * leaves all others alone.
 */
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { namespaceIndex } from "#client/cache.ts";
import { keyOf } from "#machinery/meta.ts";
import { compileLabelMap } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { type Controller, index, keyFor, watch } from "./controller.ts";
import { managedBy, managedByLabel, planSlices, serviceNameLabel } from "./endpointslice-plan.ts";
import { defineController, isEnding } from "./runner.ts";
import { changesEndpoints, servicesOf, Triggers } from "./service-pods.ts";

const serviceIndex = "service";

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
      watch(Pod, servicesOf, changesEndpoints),
      watch(EndpointSlice, ({ metadata: { labels, namespace } }) =>
        labels?.[managedByLabel] === managedBy
          ? [keyFor(namespace, labels[serviceNameLabel] ?? "")]
          : [],
      ),
      // Its zone is all that endpoints take from a node.
      watch(
        Node,
        (_node, lookup) => [...lookup.cache(Service).list()].map(keyOf),
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
