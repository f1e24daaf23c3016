/**
 * Which of the cluster's nodes answer for a Service of type LoadBalancer: the nodes' own addresses are its addresses, as long as nothing
 * else has its ports there. Pure.
 */
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { LoadBalancerIngress } from "#api/generated/core/v1.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { compareUtf8 } from "#machinery/object.ts";

const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers";

/** Balancers of other classes are somebody else's business. */
export const isOurs = ({ spec }: Service): boolean =>
  spec.type === "LoadBalancer" && spec.loadBalancerClass === undefined;

export interface BalancerWorld {
  readonly services: Iterable<Stored<Service>>;
  readonly nodes: Iterable<Stored<Node>>;
  /** On that node. */
  readonly podsOn: (nodeName: string) => readonly Stored<Pod>[];
  readonly slicesOf: (serviceKey: string) => readonly Stored<EndpointSlice>[];
  /** Services whose endpoints are programs of the nodes themselves, listening on the nodes' addresses. */
  readonly onNodes: readonly string[];
}
export interface BalancerPlan {
  readonly ingress: LoadBalancerIngress[];
  /** Why there is no address; empty if there is one. */
  readonly problem: string;
}

const protocolOf = ({ protocol }: { readonly protocol?: string }): string => protocol ?? "TCP";
const portName = (port: number, protocol: string): string => `${port}/${protocol}`;

const isReady = ({ status }: Node): boolean =>
  status.conditions?.find(({ type }) => type === "Ready")?.status === "True";

/** The address under which others reach a node. */
function addressOf({ status }: Node): string | undefined {
  const of = (type: string): string | undefined =>
    status.addresses?.find((one) => one.type === type && !one.address.includes(":"))?.address;
  return of("ExternalIP") ?? of("InternalIP");
}

/** The older Service keeps what both want. */
const isBefore = (a: Stored<Service>, b: Stored<Service>): boolean =>
  (compareUtf8(a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? "") ||
    compareUtf8(keyOf(a), keyOf(b))) < 0;

/** "port/protocol" → who has it, on every node. */
function takenEverywhere(service: Stored<Service>, world: BalancerWorld): Map<string, string> {
  const taken = new Map<string, string>();
  for (const other of world.services) {
    if (keyOf(other) === keyOf(service)) continue;
    const name = `Service ${keyOf(other)}`;
    for (const port of other.spec.ports ?? []) {
      const { nodePort } = port;
      if (nodePort !== undefined) {
        taken.set(portName(nodePort, protocolOf(port)), `node port of ${name}`);
      }
      if (isOurs(other) && isBefore(other, service)) {
        taken.set(portName(port.port, protocolOf(port)), name);
      }
    }
  }
  return taken;
}

function takenOn(node: Stored<Node>, address: string, world: BalancerWorld): Map<string, string> {
  const taken = new Map<string, string>();
  const kubelet = node.status.daemonEndpoints?.kubeletEndpoint?.Port;
  if (kubelet !== undefined) taken.set(portName(kubelet, "TCP"), "the kubelet");
  for (const key of world.onNodes) {
    for (const { ports, endpoints } of world.slicesOf(key)) {
      if (!(endpoints ?? []).some(({ addresses }) => addresses.includes(address))) continue;
      for (const port of ports ?? []) {
        if (port.port !== undefined)
          taken.set(portName(port.port, protocolOf(port)), `Service ${key}`);
      }
    }
  }
  for (const pod of world.podsOn(node.metadata.name)) {
    if (isPodTerminal(pod)) continue;
    const { containers, initContainers = [], hostNetwork } = pod.spec;
    for (const port of [...containers, ...initContainers].flatMap(({ ports }) => ports ?? [])) {
      const own = port.hostPort ?? (hostNetwork === true ? port.containerPort : undefined);
      if (own !== undefined) taken.set(portName(own, protocolOf(port)), `Pod ${keyOf(pod)}`);
    }
  }
  return taken;
}

/** With externalTrafficPolicy Local a node without endpoints would only drop what it gets. */
function mayServe(service: Stored<Service>, node: Stored<Node>, world: BalancerWorld): boolean {
  if (!isReady(node) || node.metadata.labels?.[excludeLabel] !== undefined) return false;
  if (service.spec.externalTrafficPolicy !== "Local") return true;
  return world
    .slicesOf(keyOf(service))
    .some(({ endpoints }) =>
      (endpoints ?? []).some(
        ({ nodeName, conditions }) => nodeName === node.metadata.name && conditions.ready !== false,
      ),
    );
}

export function planBalancer(service: Stored<Service>, world: BalancerWorld): BalancerPlan {
  const ingress: LoadBalancerIngress[] = [];
  const problems = new Set<string>();
  const everywhere = takenEverywhere(service, world);
  const { loadBalancerIP = "", ports = [] } = service.spec;
  for (const node of world.nodes) {
    const ip = addressOf(node);
    if (ip === undefined || !mayServe(service, node, world)) continue;
    if (loadBalancerIP !== "" && loadBalancerIP !== ip) continue;
    const here = takenOn(node, ip, world);
    const conflicts = ports.flatMap((port) => {
      const name = portName(port.port, protocolOf(port));
      const holder = everywhere.get(name) ?? here.get(name);
      return holder === undefined ? [] : [`port ${name} is in use by ${holder}`];
    });
    for (const conflict of conflicts) problems.add(conflict);
    if (conflicts.length === 0) ingress.push({ ip, ipMode: "VIP" });
  }
  ingress.sort((a, b) => compareUtf8(a.ip ?? "", b.ip ?? ""));
  if (ingress.length > 0) return { ingress, problem: "" };
  if (problems.size > 0) return { ingress, problem: [...problems].join("; ") };
  const problem =
    loadBalancerIP === ""
      ? "no node is ready to serve it"
      : `spec.loadBalancerIP ${loadBalancerIP} is no address of a ready node`;
  return { ingress, problem };
}
