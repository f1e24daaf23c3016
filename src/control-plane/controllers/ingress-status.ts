/**
 * Ingress status: writes into each Ingress of our classes where the nodes answer for it. Reads Ingresses, IngressClasses, Nodes, the
 * slices by which the nodes' ingresses say where they listen, and the Service by which other nodes lead there; writes the Ingresses'
 * status; leaves other classes alone.
 */
import { Node } from "#api/core/v1/node.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { IngressLoadBalancerIngress } from "#api/generated/networking/v1.ts";
import { Ingress } from "#api/networking/v1/ingress.ts";
import { ingressClassAnnotation } from "#api/networking/v1/ingress-validation.ts";
import { IngressClass } from "#api/networking/v1/ingressclass.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { type Controller, index, type Lookup, watch } from "./controller.ts";
import { serviceNameLabel } from "./endpointslice-plan.ts";
import { ingressServiceKey } from "./ingress-service.ts";
import { defineController } from "./runner.ts";

const ingressController = "wherry.io/ingress-controller";
const listeners = "wherry-ingress";
const listenersIndex = "ingressListeners";
const usualPorts: Readonly<Record<string, number>> = { http: 80, https: 443 };

const isListener = ({ metadata }: Stored<EndpointSlice>): boolean =>
  metadata.namespace === "kube-system" && metadata.labels?.[serviceNameLabel] === listeners;
const every = (lookup: Lookup): string[] => [...lookup.cache(Ingress).list()].map(keyOf);
const isReady = (node: Node): boolean =>
  node.status.conditions?.find(({ type }) => type === "Ready")?.status === "True";

/**
 * A usual port that another program has is told with the port that stands in for it. `led`: addresses of nodes that lead to those that
 * listen.
 */
export function ingressAddresses(
  slices: readonly EndpointSlice[],
  isNodeReady: (name: string) => boolean,
  led: readonly string[] = [],
): IngressLoadBalancerIngress[] {
  const all = slices.flatMap(({ endpoints, ports }) => {
    const listed = (ports ?? []).flatMap(({ name = "", port, protocol }) =>
      port === undefined ? [] : [{ name, port, protocol: protocol ?? "TCP" }],
    );
    const missing = Object.entries(usualPorts).filter(
      ([, usual]) => !listed.some(({ port }) => port === usual),
    );
    const told = [
      ...listed.map(({ port, protocol }) => ({ port, protocol })),
      ...missing.map(([, port]) => ({ port, protocol: "TCP", error: "PortInUse" })),
    ];
    return (endpoints ?? [])
      .filter(({ nodeName = "" }) => isNodeReady(nodeName))
      .flatMap(({ addresses }) =>
        addresses.map((ip) => (missing.length === 0 ? { ip } : { ip, ports: told })),
      );
  });
  if (all.length > 0) {
    const listening = new Set(all.map(({ ip }) => ip));
    all.push(...led.filter((ip) => !listening.has(ip)).map((ip) => ({ ip })));
  }
  return all.toSorted((a, b) => compareUtf8(a.ip, b.ip));
}

export const ingressStatusController: Controller = defineController<Ingress>({
  name: "ingress-status",
  reconciles: Ingress,
  indexes: [
    index(EndpointSlice, listenersIndex, (slice) => (isListener(slice) ? [listeners] : [])),
  ],
  watches: [
    watch(EndpointSlice, (slice, lookup) => (isListener(slice) ? every(lookup) : [])),
    watch(Service, (service, lookup) =>
      keyOf(service) === ingressServiceKey ? every(lookup) : [],
    ),
    watch(IngressClass, (_class, lookup) => every(lookup)),
    watch(
      Node,
      (_node, lookup) => every(lookup),
      (node, old) => isReady(node) !== isReady(old),
    ),
  ],
  async reconcile(ingress, context) {
    const { spec, metadata, status } = ingress;
    const name = spec.ingressClassName ?? metadata.annotations?.[ingressClassAnnotation] ?? "";
    const own = context.cache(IngressClass).get(name)?.spec.controller === ingressController;
    if (!own || metadata.deletionTimestamp !== undefined) return;
    const nodes = context.cache(Node);
    const addresses = ingressAddresses(
      context.cache(EndpointSlice).byIndex(listenersIndex, listeners),
      (node) => {
        const found = nodes.get(node);
        return found !== undefined && isReady(found);
      },
      (context.cache(Service).get(ingressServiceKey)?.status.loadBalancer.ingress ?? []).flatMap(
        ({ ip }) => (ip === undefined ? [] : [ip]),
      ),
    );
    if (equalObjects(status.loadBalancer.ingress ?? [], addresses)) return;
    const loadBalancer = addresses.length === 0 ? {} : { ingress: addresses };
    await context.client.updateStatus(Ingress, { ...ingress, status: { loadBalancer } });
  },
});
