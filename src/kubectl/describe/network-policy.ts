/** Description of NetworkPolicies: what they select, and the traffic they allow each way. */
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from "#api/generated/networking/v1.ts";
import type { Describe } from "./describe.ts";
import { type Page, selectorOrNone, writeAnnotations, writeLabels } from "./page.ts";

const indent = "    ";

interface Rule {
  readonly ports?: readonly NetworkPolicyPort[];
  readonly peers?: readonly NetworkPolicyPeer[];
}
interface Direction {
  readonly traffic: "ingress" | "egress";
  readonly peer: "From" | "To";
  readonly unrestricted: string;
}
const inward: Direction = {
  traffic: "ingress",
  peer: "From",
  unrestricted: "traffic not restricted by source",
};
const outward: Direction = {
  traffic: "egress",
  peer: "To",
  unrestricted: "traffic not restricted by destination",
};

function writePorts(page: Page, ports: readonly NetworkPolicyPort[]): void {
  if (ports.length === 0) {
    page.line(0, `${indent}To Port: <any> (traffic allowed to all ports)`);
  }
  for (const { port, endPort, protocol = "TCP" } of ports) {
    // Upstream: a port that is left out prints as Go's nil.
    const first = port ?? "<nil>";
    page.line(
      0,
      endPort === undefined
        ? `${indent}To Port: ${first}/${protocol}`
        : `${indent}To Port Range: ${first}-${endPort}/${protocol}`,
    );
  }
}

function writePeers(page: Page, peers: readonly NetworkPolicyPeer[], direction: Direction): void {
  const { peer, unrestricted } = direction;
  if (peers.length === 0) page.line(0, `${indent}${peer}: <any> (${unrestricted})`);
  for (const { namespaceSelector, podSelector, ipBlock } of peers) {
    page.line(0, `${indent}${peer}:`);
    if (namespaceSelector !== undefined) {
      page.line(1, `${indent}NamespaceSelector: ${selectorOrNone(namespaceSelector)}`);
    }
    if (podSelector !== undefined) {
      page.line(1, `${indent}PodSelector: ${selectorOrNone(podSelector)}`);
    }
    if (namespaceSelector !== undefined || podSelector !== undefined || ipBlock === undefined) {
      continue;
    }
    page.line(1, `${indent}IPBlock:`);
    page.line(2, `${indent}CIDR: ${ipBlock.cidr}`);
    page.line(2, `${indent}Except: ${(ipBlock.except ?? []).join(", ")}`);
  }
}

function writeDirection(
  page: Page,
  direction: Direction,
  isAffected: boolean,
  rules: readonly Rule[],
): void {
  const { traffic } = direction;
  if (!isAffected) {
    page.line(1, `Not affecting ${traffic} traffic`);
    return;
  }
  page.line(1, `Allowing ${traffic} traffic:`);
  if (rules.length === 0) {
    page.line(0, `${indent}<none> (Selected pods are isolated for ${traffic} connectivity)`);
  }
  for (const [i, { ports = [], peers = [] }] of rules.entries()) {
    if (i > 0) page.line(0, `${indent}----------`);
    writePorts(page, ports);
    writePeers(page, peers, direction);
  }
}

export const describeNetworkPolicy: Describe = (page, object) => {
  const { metadata, spec } = object as unknown as NetworkPolicy;
  const { podSelector, policyTypes = [], ingress = [], egress = [] } = spec;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  page.line(0, `Namespace:\t${metadata.namespace ?? ""}`);
  page.line(0, `Created on:\t${page.stamp(metadata.creationTimestamp)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, "Spec:");
  const selected = selectorOrNone(podSelector);
  page.write(1, "PodSelector: ");
  page.line(
    2,
    selected === "<none>"
      ? "<none> (Allowing the specific traffic to all pods in this namespace)"
      : selected,
  );
  const incoming = ingress.map(({ ports, from }) => ({ ports, peers: from }) as Rule);
  const outgoing = egress.map(({ ports, to }) => ({ ports, peers: to }) as Rule);
  writeDirection(page, inward, policyTypes.includes("Ingress"), incoming);
  writeDirection(page, outward, policyTypes.includes("Egress"), outgoing);
  page.line(1, `Policy Types: ${policyTypes.join(", ")}`);
  return Promise.resolve();
};
