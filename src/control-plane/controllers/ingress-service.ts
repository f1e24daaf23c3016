/**
 * Ingress service: machines that have no ingress of their own lead their ports 80 and 443 to one that has. As long as there are such
 * machines, and a node's ingress listens for all of them, there is a Service of type LoadBalancer, kube-system/wherry-ingress, whose
 * endpoints those are that listen. Reads the slices by which they say so, and Nodes; makes and deletes that Service, no other, and leaves
 * it alone where somebody else made it.
 */
import { Node } from "#api/core/v1/node.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import {
  type Controller,
  index,
  keyFor,
  type Lookup,
  type ReconcileContext,
  watch,
} from "./controller.ts";
import { serviceNameLabel } from "./endpointslice-plan.ts";
import { defineController } from "./runner.ts";

const namespace = "kube-system";
const name = "wherry-ingress";
export const ingressServiceKey = keyFor(namespace, name);
const listenersIndex = "ingressServiceListeners";
/** On a slice: its node listens for the whole cluster, not only for itself. */
const forClusterLabel = "wherry.io/ingress-for";
const managedByLabel = "app.kubernetes.io/managed-by";
const managedBy = "ingress-service-controller";

const isListener = ({ metadata }: Stored<EndpointSlice>): boolean =>
  keyFor(metadata.namespace, metadata.labels?.[serviceNameLabel] ?? "") === ingressServiceKey;

/** Whether there is one that listens for all, and somebody that it has to be led from. */
export function wantsIngressService(
  listeners: readonly Stored<EndpointSlice>[],
  nodes: Iterable<Stored<Node>>,
): boolean {
  const forAll = listeners.some(({ metadata }) => metadata.labels?.[forClusterLabel] === "cluster");
  if (!forAll) return false;
  const listening = new Set(
    listeners.flatMap(({ endpoints }) => (endpoints ?? []).map(({ nodeName }) => nodeName)),
  );
  return [...nodes].some(({ metadata }) => !listening.has(metadata.name));
}

const isWanted = (context: Lookup): boolean =>
  wantsIngressService(
    context.cache(EndpointSlice).byIndex(listenersIndex, ingressServiceKey),
    context.cache(Node).list(),
  );

async function make({ client }: ReconcileContext): Promise<void> {
  const port = (of: string, number: number) =>
    ({ name: of, port: number, targetPort: number, protocol: "TCP" }) as const;
  await client.create(Service, {
    metadata: { name, namespace, labels: { [managedByLabel]: managedBy } },
    spec: {
      type: "LoadBalancer",
      // The nodes' own ports are what it is for.
      allocateLoadBalancerNodePorts: false,
      ports: [port("http", 80), port("https", 443)],
    },
  });
}

export const ingressServiceController: Controller = defineController<Service>({
  name: "ingress-service",
  reconciles: Service,
  indexes: [
    index(EndpointSlice, listenersIndex, (slice) => (isListener(slice) ? [ingressServiceKey] : [])),
  ],
  watches: [
    watch(EndpointSlice, (slice) => (isListener(slice) ? [ingressServiceKey] : [])),
    watch(
      Node,
      () => [ingressServiceKey],
      // They come and go; what else there is about them does not matter.
      () => false,
    ),
  ],
  async gone(key, context) {
    if (key === ingressServiceKey && isWanted(context)) await make(context);
    return {};
  },
  async reconcile(service, context) {
    if (keyOf(service) !== ingressServiceKey || isWanted(context)) return;
    const { labels, uid, deletionTimestamp } = service.metadata;
    if (labels?.[managedByLabel] !== managedBy || deletionTimestamp !== undefined) return;
    try {
      await context.client.delete(Service, { name, namespace }, { preconditions: { uid } });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  },
});
