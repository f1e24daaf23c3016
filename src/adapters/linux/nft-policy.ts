/**
 * From gates and policies of the dataplane to nftables: pure text. A gate is a chain that a pod's packets go through; a policy a chain that
 * gates jump to. The peers of a rule are a set of their own, so that a pod that comes or goes is one element.
 */
import type { GateFact, PolicyFact, PolicyPort, PolicyRule } from "#ports/dataplane.ts";
import { element, idOf, isIpv4, Parts, type Rendered } from "./nft-parts.ts";

/**
 * Each direction has a chain of its own on the hook: an accept ends only the chain that says it. What a machine sends to its own pods
 * passes none of them; what pods send to their machine passes on its way in.
 */
export const policyFrame = `  map gates-ingress { type ipv4_addr : verdict; }
  map gates-egress { type ipv4_addr : verdict; }
  chain egress-forward { type filter hook forward priority 10; policy accept; ct state established,related accept; ip saddr vmap @gates-egress; }
  chain egress-input { type filter hook input priority 10; policy accept; ct state established,related accept; ip saddr vmap @gates-egress; }
  chain ingress-forward { type filter hook forward priority 11; policy accept; ct state established,related accept; ip daddr vmap @gates-ingress; }
`;

const policyChain = (key: string): string => `p-${idOf(key)}`;

export function renderGate(key: string, fact: GateFact): Rendered {
  const parts = new Parts();
  if (!isIpv4(fact.address)) return parts;
  const chain = `g-${idOf(key)}`;
  const other = fact.direction === "ingress" ? "saddr" : "daddr";
  parts.chains.set(chain, [
    `ip ${other} ${fact.address} accept`,
    ...fact.policies.map((policy) => `jump ${policyChain(policy)}`),
    "drop",
  ]);
  parts.elements.set(element(`gates-${fact.direction}`, fact.address), `goto ${chain}`);
  return parts;
}

export function renderPolicy(key: string, fact: PolicyFact): Rendered {
  const parts = new Parts();
  const other = fact.direction === "ingress" ? "saddr" : "daddr";
  const rules = fact.rules.flatMap((rule, i) => {
    const peers = peerMatches(parts, `${idOf(key)}-${i}`, other, rule);
    const ports = rule.ports === undefined ? [""] : portMatches(rule.ports);
    return peers.flatMap((peer) => ports.map((port) => [peer, port, "accept"].join(" ").trim()));
  });
  parts.chains.set(policyChain(key), rules);
  return parts;
}

/** One match for the pods, one for each block of addresses. */
function peerMatches(
  parts: Parts,
  id: string,
  other: "saddr" | "daddr",
  { peers }: PolicyRule,
): string[] {
  if (peers === undefined) return [""];
  const matches: string[] = [];
  const addresses = peers.addresses.filter(isIpv4);
  const set = `q-${id}`;
  parts.sets.set(set, "{ type ipv4_addr; }");
  for (const address of addresses) parts.elements.set(element(set, address), "");
  matches.push(`ip ${other} @${set}`);
  for (const { cidr, except } of peers.blocks) {
    if (!isIpv4(cidr)) continue;
    const not = except.filter(isIpv4);
    const but = not.length === 0 ? "" : ` ip ${other} != { ${not.join(", ")} }`;
    matches.push(`ip ${other} ${cidr}${but}`);
  }
  return matches;
}

const text = ([first, last]: readonly [number, number]): string =>
  first === last ? `${first}` : `${first}-${last}`;

/** Each port by itself: ranges that overlap may not share a set. */
function portMatches(ports: readonly PolicyPort[]): string[] {
  return ports.flatMap(({ protocol, range, at }) => {
    const what = `meta l4proto ${protocol.toLowerCase()}`;
    const match = range === undefined ? what : `${what} th dport ${text(range)}`;
    if (at === undefined) return [match];
    const where = at.filter(isIpv4);
    return where.length === 0 ? [] : [`ip daddr { ${where.join(", ")} } ${match}`];
  });
}
