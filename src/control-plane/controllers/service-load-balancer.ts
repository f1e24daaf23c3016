/**
 * Service load balancer: gives Services of type LoadBalancer the addresses of the cluster's nodes, at once and without any further
 * program: the nodes' proxies take what comes in there. Reads Services, Nodes, Pods and EndpointSlices; writes the Services' status;
 * leaves Services with a loadBalancerClass alone.
 */
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { type Controller, index, keyFor, type Lookup, watch } from "./controller.ts";
import { serviceNameLabel } from "./endpointslice-plan.ts";
import { defineController } from "./runner.ts";
import { isOurs, planBalancer } from "./service-load-balancer-plan.ts";

const ofService = "balancerService";
const onNode = "node";
/** Services behind which the nodes' own programs stand. */
const onNodes: readonly string[] = ["default/kubernetes", "kube-system/wherry-ingress"];

const serviceKey = ({ metadata }: Stored<EndpointSlice>): string =>
  keyFor(metadata.namespace, metadata.labels?.[serviceNameLabel] ?? "");

/** What one of them gets or gives up, another may lose or get. */
const allBalancers = (lookup: Lookup): string[] =>
  [...lookup.cache(Service).list()].filter(isOurs).map(keyOf);

const usesNode = (pod: Stored<Pod>): boolean =>
  pod.spec.hostNetwork === true ||
  [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].some(({ ports }) =>
    (ports ?? []).some(({ hostPort }) => hostPort !== undefined),
  );

const balancedBy = (node: Stored<Node>) => [
  node.metadata.labels,
  node.status.addresses,
  node.status.daemonEndpoints,
  node.status.conditions?.find(({ type }) => type === "Ready")?.status,
];

export const serviceLoadBalancerController: Controller = defineController<Service>({
  name: "service-load-balancer",
  // Upstream's name for who fills in the status of balancers.
  account: "service-controller",
  reconciles: Service,
  indexes: [
    index(EndpointSlice, ofService, (slice) => [serviceKey(slice)]),
    index(Pod, onNode, ({ spec }) => (spec.nodeName ? [spec.nodeName] : [])),
  ],
  watches: [
    watch(
      Service,
      (_service, lookup) => allBalancers(lookup),
      (service, old) => !equalObjects(service.spec, old.spec),
    ),
    watch(
      Node,
      (_node, lookup) => allBalancers(lookup),
      (node, old) => !equalObjects(balancedBy(node), balancedBy(old)),
    ),
    watch(
      Pod,
      (pod, lookup) => (usesNode(pod) ? allBalancers(lookup) : []),
      (pod, old) =>
        pod.spec.nodeName !== old.spec.nodeName || pod.status.phase !== old.status.phase,
    ),
    watch(EndpointSlice, (slice, lookup) => {
      const key = serviceKey(slice);
      return onNodes.includes(key) ? allBalancers(lookup) : [key];
    }),
  ],
  async reconcile(service, context) {
    if (!isOurs(service) || service.metadata.deletionTimestamp !== undefined) return;
    const plan = planBalancer(service, {
      services: context.cache(Service).list(),
      nodes: context.cache(Node).list(),
      podsOn: (name) => context.cache(Pod).byIndex(onNode, name),
      slicesOf: (key) => context.cache(EndpointSlice).byIndex(ofService, key),
      onNodes,
    });
    const before = service.status.loadBalancer.ingress ?? [];
    if (plan.problem !== "") {
      const why = `Error syncing load balancer: failed to ensure load balancer: ${plan.problem}`;
      context.event(service, "Warning", "SyncLoadBalancerFailed", why);
    }
    if (equalObjects(before, plan.ingress)) return;
    const loadBalancer = plan.ingress.length === 0 ? {} : { ingress: plan.ingress };
    await context.client.updateStatus(Service, {
      ...service,
      status: { ...service.status, loadBalancer },
    });
    if (plan.ingress.length === 0) return;
    context.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer");
  },
});
