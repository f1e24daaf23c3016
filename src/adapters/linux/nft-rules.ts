/**
 * From a fact of the dataplane to nftables: pure text. A fact becomes chains, sets and map elements whose names derive from its key, so
 * that a change of one fact touches nothing else. The table's frame (hooks, maps) is fixed.
 */
import type {
  Backend,
  HostPortFact,
  MasqueradeFact,
  ServiceFact,
  TunnelFact,
} from "#ports/dataplane.ts";
import { element, idOf, isIpv4, Parts, type Rendered } from "./nft-parts.ts";
import { policyFrame } from "./nft-policy.ts";

/** Bit of the packet mark that asks for masquerading, as kube-proxy uses it. */
const masqueradeMark = "0x4000";

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
  set pods { type ipv4_addr; flags interval; }
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
${policyFrame}}
`;
}

export function renderService(key: string, fact: ServiceFact): Rendered {
  const parts = new Parts();
  const id = idOf(key);
  const protocol = fact.protocol.toLowerCase();
  const at = (address: string): string => `${address} . ${protocol} . ${fact.port}`;
  const backends = fact.backends.filter(({ address }) => isIpv4(address));
  const internal = fact.internalLocal ? backends.filter(({ local }) => local) : backends;
  const addresses = fact.addresses.filter(isIpv4);

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
  renderExternal(parts, id, fact, backends);
  return parts;
}

/** What comes in by node port, external address or load balancer. */
function renderExternal(
  parts: Parts,
  id: string,
  fact: ServiceFact,
  backends: readonly Backend[],
): void {
  const protocol = fact.protocol.toLowerCase();
  const at = (address: string): string => `${address} . ${protocol} . ${fact.port}`;
  const nodePort = fact.nodePort === undefined ? undefined : `${protocol} . ${fact.nodePort}`;
  const balancer = fact.balancerAddresses.filter(isIpv4);
  const plain = fact.externalAddresses.filter((one) => isIpv4(one) && !balancer.includes(one));
  const external = [...plain, ...balancer];
  if (nodePort === undefined && external.length === 0) return;
  const usable = fact.externalLocal ? backends.filter(({ local }) => local) : backends;
  if (usable.length === 0) {
    const verdict = backends.length === 0 ? "goto refuse" : "drop";
    if (nodePort !== undefined) parts.elements.set(element("refused-ports", nodePort), verdict);
    for (const address of external)
      parts.elements.set(element("refused-ips", at(address)), verdict);
  }
  if (backends.length === 0) return;
  const chain = externalChain(parts, id, fact, backends, usable);
  if (nodePort !== undefined) parts.elements.set(element("node-ports", nodePort), `goto ${chain}`);
  for (const address of plain) {
    parts.elements.set(element("service-ips", at(address)), `goto ${chain}`);
  }
  const sources = fact.sourceRanges.filter(isIpv4);
  const guard = sources.length === 0 || balancer.length === 0 ? chain : `f-${id}`;
  if (guard !== chain) {
    parts.chains.set(guard, [`ip saddr != { ${sources.join(", ")} } drop`, `goto ${chain}`]);
  }
  for (const address of balancer) {
    parts.elements.set(element("service-ips", at(address)), `goto ${guard}`);
  }
}

/**
 * Traffic from outside: masqueraded, so that the answer comes back here, unless only local backends may serve. What this machine and its
 * pods send is not from outside.
 */
function externalChain(
  parts: Parts,
  id: string,
  fact: ServiceFact,
  backends: readonly Backend[],
  usable: readonly Backend[],
): string {
  const name = `x-${id}`;
  if (!fact.externalLocal) {
    const target = balance(parts, `t-${id}`, `${id}x`, fact, usable);
    parts.chains.set(name, ["jump mark-masquerade", `goto ${target}`]);
    return name;
  }
  const all = balance(parts, `c-${id}`, `${id}c`, fact, backends);
  const rules = [
    "fib saddr type local jump mark-masquerade",
    `fib saddr type local goto ${all}`,
    `ip saddr @pods goto ${all}`,
  ];
  if (usable.length > 0) rules.push(`goto ${balance(parts, `t-${id}`, `${id}x`, fact, usable)}`);
  parts.chains.set(name, rules);
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
    // The timeout is in the name: a set's definition never changes.
    const set = `a-${suffix}-${fact.affinitySeconds}`;
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
  if (isIpv4(fact.source)) parts.elements.set(element("pods", fact.source), "");
  parts.hooks.set(chain, "{ type nat hook postrouting priority srcnat; policy accept; }");
  parts.chains.set(chain, [
    `ip saddr ${fact.source} ip daddr != { ${except} } masquerade fully-random`,
  ]);
  return parts;
}

/** What leaves by the tunnel carries an address that answers find by the tunnel. */
export function renderTunnel(key: string, fact: TunnelFact, device: string): Rendered {
  const parts = new Parts();
  const chain = `m-${idOf(key)}`;
  parts.hooks.set(chain, "{ type nat hook postrouting priority srcnat; policy accept; }");
  parts.chains.set(chain, [
    `oifname "${device}" ip saddr != { ${fact.source}, ${fact.address} } masquerade fully-random`,
  ]);
  return parts;
}
