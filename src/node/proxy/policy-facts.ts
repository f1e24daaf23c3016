/**
 * What the NetworkPolicies mean for the pods of this node: pure, from policies, pods and namespaces to the gates of the dataplane.
 * Policies see where a connection really goes: a Service's backend, not its cluster IP.
 */
import type { Namespace } from "#api/core/v1/namespace.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { NetworkPolicyPeer, NetworkPolicyPort } from "#api/generated/networking/v1.ts";
import type { NetworkPolicy } from "#api/networking/v1/networkpolicy.ts";
import { cidrContains, parseCidrSloppy, parseIp } from "#machinery/ip.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { compareUtf8 } from "#machinery/object.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import type {
  DataplaneFact,
  Direction,
  GateFact,
  PolicyPort,
  PolicyRule,
  Protocol,
} from "#ports/dataplane.ts";

/** One of the cluster's DNS servers: a program of a node that policies may treat as the pod that it is elsewhere. */
export interface DnsEndpoint {
  readonly address: string;
  readonly protocol: string;
  readonly port: number;
}
export interface PolicyWorld {
  readonly nodeName: string;
  readonly policies: Iterable<Stored<NetworkPolicy>>;
  readonly namespaces: Iterable<Stored<Namespace>>;
  readonly podsIn: (namespace: string) => readonly Stored<Pod>[];
  readonly dns: readonly DnsEndpoint[];
}

/** As policies elsewhere name the cluster's DNS. */
const dnsNamespace = "kube-system";
const dnsLabels = { "k8s-app": "kube-dns" };
const dnsPort = 53;
const dnsPortNames: Readonly<Record<string, string>> = { UDP: "dns", TCP: "dns-tcp" };

const addressesOf = ({ status }: Pod): string[] =>
  (status.podIPs ?? (status.podIP === undefined ? [] : [{ ip: status.podIP }])).map(({ ip }) => ip);

/** Pods with an address of their own. What shares its node's is the node, which no policy concerns. */
const hasNetwork = (pod: Pod): boolean =>
  pod.spec.hostNetwork !== true &&
  pod.status.phase !== "Succeeded" &&
  pod.status.phase !== "Failed" &&
  addressesOf(pod).length > 0;

/** Facts by key; a pod that no policy selects has none. */
export function policyFacts(world: PolicyWorld): Map<string, DataplaneFact> {
  const facts = new Map<string, DataplaneFact>();
  const gates = new Map<
    string,
    { readonly direction: Direction; readonly address: string; policies: string[] }
  >();
  const cluster = new Cluster(world);
  const sorted = [...world.policies].toSorted((a, b) => compareUtf8(keyOf(a), keyOf(b)));
  for (const policy of sorted) {
    const { spec, metadata } = policy;
    const selects = compileLabelSelector(spec.podSelector);
    const selected = cluster
      .podsIn(metadata.namespace ?? "")
      .filter((pod) => pod.spec.nodeName === world.nodeName && selects(pod.metadata.labels));
    if (selected.length === 0) continue;
    for (const direction of ["ingress", "egress"] as const) {
      const type = direction === "ingress" ? "Ingress" : "Egress";
      if (!(spec.policyTypes ?? []).includes(type)) continue;
      const key = `policy/${keyOf(policy)}/${direction}`;
      const rules =
        direction === "ingress"
          ? (spec.ingress ?? []).map((rule) => ingressRule(cluster, policy, rule, selected))
          : (spec.egress ?? []).flatMap((rule) => egressRules(cluster, policy, rule));
      facts.set(key, { type: "policy", direction, rules });
      for (const address of selected.flatMap(addressesOf)) {
        const gateKey = `gate/${address}/${direction}`;
        const gate = gates.get(gateKey) ?? { direction, address, policies: [] };
        gate.policies.push(key);
        gates.set(gateKey, gate);
      }
    }
  }
  for (const [key, gate] of gates) facts.set(key, { type: "gate", ...gate } satisfies GateFact);
  return facts;
}

/** The pods, by what policies ask. */
class Cluster {
  readonly dns: readonly DnsEndpoint[];
  readonly #world: PolicyWorld;
  readonly #namespaces: readonly Stored<Namespace>[];
  readonly #pods = new Map<string, readonly Stored<Pod>[]>();

  constructor(world: PolicyWorld) {
    this.#world = world;
    this.#namespaces = [...world.namespaces];
    this.dns = world.dns;
  }
  podsIn(namespace: string): readonly Stored<Pod>[] {
    const known = this.#pods.get(namespace);
    if (known !== undefined) return known;
    const found = this.#world.podsIn(namespace).filter(hasNetwork);
    this.#pods.set(namespace, found);
    return found;
  }
  everyPod(): Stored<Pod>[] {
    return this.#namespaces.flatMap(({ metadata }) => [...this.podsIn(metadata.name)]);
  }
  /** Without a namespaceSelector: those of the policy's own namespace. */
  namespacesOf(policy: Stored<NetworkPolicy>, peer: NetworkPolicyPeer): string[] {
    const { namespaceSelector } = peer;
    if (namespaceSelector === undefined) return [policy.metadata.namespace ?? ""];
    const matches = compileLabelSelector(namespaceSelector);
    return this.#namespaces
      .filter(({ metadata }) => matches(metadata.labels))
      .map(({ metadata }) => metadata.name);
  }
  podsOf(policy: Stored<NetworkPolicy>, peer: NetworkPolicyPeer): Stored<Pod>[] {
    const matches = compileLabelSelector(peer.podSelector ?? {});
    return this.namespacesOf(policy, peer).flatMap((namespace) =>
      this.podsIn(namespace).filter(({ metadata }) => matches(metadata.labels)),
    );
  }
}

/** The other side of a rule: its pods and blocks; undefined: anyone. */
interface Peers {
  readonly pods: readonly Stored<Pod>[];
  readonly rule: NonNullable<PolicyRule["peers"]>;
}
function peersOf(
  cluster: Cluster,
  policy: Stored<NetworkPolicy>,
  peers: readonly NetworkPolicyPeer[],
): Peers | undefined {
  if (peers.length === 0) return undefined;
  const pods: Stored<Pod>[] = [];
  const blocks: { readonly cidr: string; readonly except: readonly string[] }[] = [];
  for (const peer of peers) {
    if (peer.ipBlock === undefined) pods.push(...cluster.podsOf(policy, peer));
    else blocks.push({ cidr: peer.ipBlock.cidr, except: peer.ipBlock.except ?? [] });
  }
  const addresses = [...new Set(pods.flatMap(addressesOf))].toSorted(compareUtf8);
  return { pods, rule: { addresses, blocks } };
}

/** Named ports are those of `targets`, each pod's own. */
function portsOf(
  ports: readonly NetworkPolicyPort[],
  targets: () => readonly Stored<Pod>[],
): PolicyPort[] {
  return ports.flatMap(({ protocol, port, endPort }): PolicyPort[] => {
    const own = (protocol ?? "TCP") as Protocol;
    if (port === undefined) return [{ protocol: own }];
    if (typeof port === "number") return [{ protocol: own, range: [port, endPort ?? port] }];
    const byNumber = new Map<number, string[]>();
    for (const pod of targets()) {
      const number = numberOf(pod, port, own);
      if (number === undefined) continue;
      byNumber.set(number, [...(byNumber.get(number) ?? []), ...addressesOf(pod)]);
    }
    return [...byNumber].map(([number, at]) => ({
      protocol: own,
      range: [number, number],
      at: at.toSorted(compareUtf8),
    }));
  });
}

function numberOf({ spec }: Pod, name: string, protocol: Protocol): number | undefined {
  const sidecars = (spec.initContainers ?? []).filter((one) => one.restartPolicy === "Always");
  return [...spec.containers, ...sidecars]
    .flatMap(({ ports }) => ports ?? [])
    .find((port) => port.name === name && (port.protocol ?? "TCP") === protocol)?.containerPort;
}

type IngressRules = NonNullable<NetworkPolicy["spec"]["ingress"]>;
function ingressRule(
  cluster: Cluster,
  policy: Stored<NetworkPolicy>,
  { from = [], ports = [] }: IngressRules[number],
  selected: readonly Stored<Pod>[],
): PolicyRule {
  const peers = peersOf(cluster, policy, from);
  return {
    ...(peers === undefined ? {} : { peers: peers.rule }),
    ...(ports.length === 0 ? {} : { ports: portsOf(ports, () => selected) }),
  };
}

type EgressRules = NonNullable<NetworkPolicy["spec"]["egress"]>;
function egressRules(
  cluster: Cluster,
  policy: Stored<NetworkPolicy>,
  { to = [], ports = [] }: EgressRules[number],
): PolicyRule[] {
  const peers = peersOf(cluster, policy, to);
  const targets = (): readonly Stored<Pod>[] =>
    peers === undefined || peers.rule.blocks.length > 0 ? cluster.everyPod() : peers.pods;
  const rule: PolicyRule = {
    ...(peers === undefined ? {} : { peers: peers.rule }),
    ...(ports.length === 0 ? {} : { ports: portsOf(ports, targets) }),
  };
  // Who may go anywhere may go to the cluster's DNS as well.
  if (peers === undefined && ports.length === 0) return [rule];
  return [rule, ...dnsRules(cluster, policy, to, ports)];
}

/**
 * The cluster's DNS runs on the nodes, on ports of its own. Policies are written for the pods that it is elsewhere: who may ask those may
 * ask these.
 */
function dnsRules(
  cluster: Cluster,
  policy: Stored<NetworkPolicy>,
  to: readonly NetworkPolicyPeer[],
  ports: readonly NetworkPolicyPort[],
): PolicyRule[] {
  return cluster.dns.flatMap(({ address, protocol, port }): PolicyRule[] => {
    const isPeer = to.length === 0 || to.some((peer) => isDns(cluster, policy, peer, address));
    if (!isPeer || !isDnsPort(ports, protocol)) return [];
    const range = [port, port] as const;
    return [
      {
        peers: { addresses: [address], blocks: [] },
        ports: [{ protocol: protocol as Protocol, range }],
      },
    ];
  });
}

function isDns(
  cluster: Cluster,
  policy: Stored<NetworkPolicy>,
  peer: NetworkPolicyPeer,
  text: string,
): boolean {
  const { ipBlock } = peer;
  if (ipBlock === undefined) {
    return (
      cluster.namespacesOf(policy, peer).includes(dnsNamespace) &&
      compileLabelSelector(peer.podSelector ?? {})(dnsLabels)
    );
  }
  const address = parseIp(text);
  const within = (block: string): boolean => {
    const cidr = parseCidrSloppy(block)?.cidr;
    return cidr !== undefined && address !== undefined && cidrContains(cidr, address);
  };
  return within(ipBlock.cidr) && !(ipBlock.except ?? []).some(within);
}

function isDnsPort(ports: readonly NetworkPolicyPort[], protocol: string): boolean {
  if (ports.length === 0) return true;
  return ports.some(({ protocol: own, port, endPort }) => {
    if ((own ?? "TCP") !== protocol) return false;
    if (port === undefined) return true;
    if (typeof port === "string") return port === dnsPortNames[protocol];
    return port <= dnsPort && dnsPort <= (endPort ?? port);
  });
}
