/** A pod's resolver configuration, from its dnsPolicy, its dnsConfig and the host's resolv.conf. Pure. */
import type { PodDNSConfig } from "#api/generated/core/v1.ts";
import { isHostNetwork, type NodePod } from "./pod-spec.ts";

export interface DnsSettings {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}
export interface DnsInput {
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** The host's resolv.conf. */
  readonly host: DnsSettings;
}
export interface PodDns {
  readonly settings: DnsSettings;
  /** Events about what had to be left out. */
  readonly warnings: readonly { readonly reason: string; readonly message: string }[];
}

const searchesMax = 32;
const searchCharsMax = 2048;
const searchLengthMax = 253;
const serversMax = 3;

const distinct = (list: readonly string[]): string[] => [...new Set(list)];

export function parseResolvConf(text: string): DnsSettings {
  const servers: string[] = [];
  let searches: string[] = [];
  const options = new Map<string, string>();
  for (const line of text.split("\n")) {
    const trimmed = line.trim();
    if (trimmed.startsWith("#") || trimmed.startsWith(";")) continue;
    const [word, ...rest] = trimmed.split(/\s+/);
    if (word === "nameserver" && rest[0] !== undefined) servers.push(rest[0]);
    if (word === "search") {
      searches = rest.filter((one) => one !== ".").map((one) => one.replace(/\.$/, ""));
    }
    if (word === "options") {
      for (const option of rest) options.set(option.split(":")[0] ?? option, option);
    }
  }
  return { servers, searches, options: [...options.values()] };
}

function baseSettings(pod: NodePod, input: DnsInput): DnsSettings {
  const policy = pod.spec.dnsPolicy ?? "ClusterFirst";
  if (policy === "None") return { servers: [], searches: [], options: [] };
  const cluster =
    policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && !isHostNetwork(pod));
  if (!cluster || input.clusterDns.length === 0) return input.host;
  const domain = input.clusterDomain;
  const own =
    domain === "" ? [] : [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain];
  return {
    servers: input.clusterDns,
    searches: distinct([...own, ...input.host.searches]),
    options: ["ndots:5"],
  };
}

function withConfig(base: DnsSettings, config: PodDNSConfig): DnsSettings {
  const options = new Map<string, string>();
  for (const option of base.options) {
    const colon = option.indexOf(":");
    if (colon < 0) options.set(option, "");
    else options.set(option.slice(0, colon), option.slice(colon + 1));
  }
  for (const { name = "", value = "" } of config.options ?? []) options.set(name, value);
  return {
    servers: distinct([...base.servers, ...(config.nameservers ?? [])]),
    searches: distinct([...base.searches, ...(config.searches ?? [])]),
    options: [...options].map(([name, value]) => (value === "" ? name : `${name}:${value}`)),
  };
}

export function podDns(pod: NodePod, input: DnsInput): PodDns {
  const base = baseSettings(pod, input);
  const config = pod.spec.dnsConfig;
  const settings = config === undefined ? base : withConfig(base, config);
  const warnings: { reason: string; message: string }[] = [];
  const warn = (message: string): void => {
    warnings.push({ reason: "DNSConfigForming", message });
  };
  let servers = settings.servers;
  if (servers.length > serversMax) {
    servers = servers.slice(0, serversMax);
    warn(
      "Nameserver limits were exceeded, some nameservers have been omitted, " +
        `the applied nameserver line is: ${servers.join(" ")}`,
    );
  }
  let searches = settings.searches
    .slice(0, searchesMax)
    .filter((search) => search.length <= searchLengthMax);
  while (searches.join(" ").length > searchCharsMax) searches = searches.slice(0, -1);
  if (searches.length < settings.searches.length) {
    warn(
      "Search Line limits were exceeded, some search paths have been omitted, " +
        `the applied search line is: ${searches.join(" ")}`,
    );
  }
  return { settings: { servers, searches, options: settings.options }, warnings };
}
