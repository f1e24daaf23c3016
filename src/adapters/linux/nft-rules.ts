/**
 * From a fact of the dataplane to nftables: pure text. A fact becomes chains, sets and map elements whose names derive from its key, so
 * that a change of one fact touches nothing else. The table's frame (hooks, maps) is fixed.
 */
import { createHash } from "node:crypto";
import type { Backend, HostPortFact, MasqueradeFact, ServiceFact } from "#ports/dataplane.ts";

/** What one fact puts into the table. */
export interface Rendered {
  /** Name → its rules. In the order in which they may refer to each other. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Where a chain hangs on a hook of its own; it never changes for a name. */
  readonly hooks: ReadonlyMap<string, string>;
  /** Dynamic sets: name → definition. */
  readonly sets: ReadonlyMap<string, string>;
  /** "map key" → the value behind the colon, or "" for a set's element. */
  readonly elements: ReadonlyMap<string, string>;
}

/** Bit of the packet mark that asks for masquerading, as kube-proxy uses it. */
const masqueradeMark = "0x4000";

const idOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);
const element = (map: string, key: string): string => `${map} ${key}`;

/** The fixed part, written once; deleting it first makes writing it anew one atomic step. */
export function tableFrame(table: string): string {
  return `table ip ${table}
delete table ip ${table}
table ip ${table} {
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map node-ports { type inet_proto . inet_service : verdict; }
  map refused-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  map refused-ports { type inet_proto . inet_service : verdict; }
  set hairpin { type ipv4_addr . ipv4_addr; }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
  chain mark-masquerade { meta mark set meta mark or ${masqueradeMark}; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local meta l4proto . th dport vmap @node-ports
  }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain output { type nat hook output priority -100; policy accept; jump services; }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & ${masqueradeMark} == ${masqueradeMark} meta mark set meta mark xor ${masqueradeMark} masquerade fully-random
    ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
  }
  chain no-endpoints {
    ip daddr . meta l4proto . th dport vmap @refused-ips
    fib daddr type local meta l4proto . th dport vmap @refused-ports
  }
  chain filter-input { type filter hook input priority filter; policy accept; ct state new jump no-endpoints; }
  chain filter-forward { type filter hook forward priority filter; policy accept; ct state new jump no-endpoints; }
  chain filter-output { type filter hook output priority filter; policy accept; ct state new jump no-endpoints; }
  chain protect-loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 ct status != dnat drop
  }
}
`;
}

/** IPv4 only: this table's family. */
const isIpv4 = (address: string): boolean => !address.includes(":");

class Parts implements Rendered {
  readonly chains = new Map<string, readonly string[]>();
  readonly hooks = new Map<string, string>();
  readonly sets = new Map<string, string>();
  readonly elements = new Map<string, string>();
}

export function renderService(key: string, fact: ServiceFact): Rendered {
  const parts = new Parts();
  const id = idOf(key);
  const protocol = fact.protocol.toLowerCase();
  const at = (address: string): string => `${address} . ${protocol} . ${fact.port}`;
  const backends = fact.backends.filter(({ address }) => isIpv4(address));
  const internal = fact.internalLocal ? backends.filter(({ local }) => local) : backends;
  const external = fact.externalLocal ? backends.filter(({ local }) => local) : backends;
  const addresses = fact.addresses.filter(isIpv4);
  const externalAddresses = fact.externalAddresses.filter(isIpv4);

  for (const { address } of backends) {
    parts.elements.set(element("hairpin", `${address} . ${address}`), "");
  }
  if (internal.length > 0) {
    const chain = balance(parts, `s-${id}`, id, fact, internal);
    for (const address of addresses)
      parts.elements.set(element("service-ips", at(address)), `goto ${chain}`);
  } else {
    const verdict = backends.length === 0 ? "goto refuse" : "drop";
    for (const address of addresses)
      parts.elements.set(element("refused-ips", at(address)), verdict);
  }

  const nodePort = fact.nodePort === undefined ? undefined : `${protocol} . ${fact.nodePort}`;
  if (nodePort === undefined && externalAddresses.length === 0) return parts;
  if (external.length === 0) {
    const verdict = backends.length === 0 ? "goto refuse" : "drop";
    if (nodePort !== undefined) parts.elements.set(element("refused-ports", nodePort), verdict);
    for (const address of externalAddresses) {
      parts.elements.set(element("refused-ips", at(address)), verdict);
    }
    return parts;
  }
  const chain = externalChain(parts, id, fact, external);
  if (nodePort !== undefined) parts.elements.set(element("node-ports", nodePort), `goto ${chain}`);
  for (const address of externalAddresses) {
    parts.elements.set(element("service-ips", at(address)), `goto ${chain}`);
  }
  return parts;
}

/** Traffic from outside: masqueraded, so that the answer comes back here, unless only local backends may serve. */
function externalChain(
  parts: Parts,
  id: string,
  fact: ServiceFact,
  backends: readonly Backend[],
): string {
  const name = `x-${id}`;
  const target = balance(parts, `t-${id}`, `${id}x`, fact, backends);
  const sources = fact.sourceRanges.filter(isIpv4);
  parts.chains.set(name, [
    ...(sources.length === 0 ? [] : [`ip saddr != { ${sources.join(", ")} } drop`]),
    // From this machine itself the source address may be one that a pod cannot answer (127.0.0.1).
    fact.externalLocal ? "fib saddr type local jump mark-masquerade" : "jump mark-masquerade",
    `goto ${target}`,
  ]);
  return name;
}

/** A chain that picks one of the backends at random, or the client's own under session affinity. */
function balance(
  parts: Parts,
  name: string,
  id: string,
  fact: ServiceFact,
  backends: readonly Backend[],
): string {
  const protocol = fact.protocol.toLowerCase();
  if (fact.affinitySeconds === undefined) {
    const targets = backends.map(({ address, port }, i) => `${i} : ${address} . ${port}`);
    const [only] = backends;
    parts.chains.set(name, [
      backends.length === 1 && only !== undefined
        ? `meta l4proto ${protocol} dnat ip to ${only.address}:${only.port}`
        : `meta l4proto ${protocol} dnat ip to numgen random mod ${backends.length} map { ${targets.join(", ")} }`,
    ]);
    return name;
  }
  const remembered: string[] = [];
  const verdicts: string[] = [];
  for (const [i, { address, port }] of backends.entries()) {
    const suffix = `${id}-${idOf(`${address}:${port}`)}`;
    const set = `a-${suffix}`;
    const chain = `e-${suffix}`;
    parts.sets.set(
      set,
      `{ type ipv4_addr; flags dynamic,timeout; timeout ${fact.affinitySeconds}s; size 65535; }`,
    );
    parts.chains.set(chain, [
      `update @${set} { ip saddr }`,
      `meta l4proto ${protocol} dnat ip to ${address}:${port}`,
    ]);
    remembered.push(`ip saddr @${set} goto ${chain}`);
    verdicts.push(`${i} : goto ${chain}`);
  }
  parts.chains.set(name, [
    ...remembered,
    `numgen random mod ${backends.length} vmap { ${verdicts.join(", ")} }`,
  ]);
  return name;
}

export function renderHostPort(key: string, fact: HostPortFact): Rendered {
  const parts = new Parts();
  const { address, port } = fact.backend;
  if (!isIpv4(address)) return parts;
  const chain = `h-${idOf(key)}`;
  const protocol = fact.protocol.toLowerCase();
  parts.chains.set(chain, [
    "ip saddr 127.0.0.0/8 jump mark-masquerade",
    `meta l4proto ${protocol} dnat ip to ${address}:${port}`,
  ]);
  parts.elements.set(element("hairpin", `${address} . ${address}`), "");
  const everywhere = fact.hostAddress === "" || fact.hostAddress === "0.0.0.0";
  const at = everywhere
    ? element("node-ports", `${protocol} . ${fact.hostPort}`)
    : element("service-ips", `${fact.hostAddress} . ${protocol} . ${fact.hostPort}`);
  parts.elements.set(at, `goto ${chain}`);
  return parts;
}

export function renderMasquerade(key: string, fact: MasqueradeFact): Rendered {
  const parts = new Parts();
  const chain = `m-${idOf(key)}`;
  const except = [...fact.except.filter(isIpv4), "224.0.0.0/4"].join(", ");
  parts.hooks.set(chain, "{ type nat hook postrouting priority srcnat; policy accept; }");
  parts.chains.set(chain, [
    `ip saddr ${fact.source} ip daddr != { ${except} } masquerade fully-random`,
  ]);
  return parts;
}
