/** A pod's host name and its /etc/hosts. Pure. */
import type { HostAlias } from "#api/generated/core/v1.ts";
import type { NodePod } from "./pod-spec.ts";

/** The kernel's limit, without the terminating zero. */
const hostnameLengthMax = 63;
const fqdnLengthMax = 64;

export interface PodName {
  readonly hostname: string;
  /** "" without a subdomain. */
  readonly domain: string;
}

export function podHostname(pod: NodePod, clusterDomain: string): PodName {
  const { hostnameOverride, hostname, subdomain } = pod.spec;
  const wanted = hostnameOverride ?? (hostname || pod.metadata.name);
  const short =
    wanted.length <= hostnameLengthMax
      ? wanted
      : wanted.slice(0, hostnameLengthMax).replace(/[-.]+$/, "");
  const hasDomain = hostnameOverride === undefined && (subdomain ?? "") !== "";
  const domain = hasDomain ? `${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}` : "";
  return { hostname: short, domain };
}

/** What the kernel is told: with setHostnameAsFQDN the whole name, if it is short enough. */
export function kernelHostname(
  pod: NodePod,
  name: PodName,
): { readonly hostname: string } | { readonly problem: string } {
  if (pod.spec.setHostnameAsFQDN !== true || name.domain === "") return { hostname: name.hostname };
  const fqdn = `${name.hostname}.${name.domain}`;
  if (fqdn.length > fqdnLengthMax) {
    return {
      problem:
        `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long ` +
        `(${fqdnLengthMax} characters is the max, ${fqdn.length} characters requested)`,
    };
  }
  return { hostname: fqdn };
}

function aliasLines(aliases: readonly HostAlias[] | undefined): string {
  if (aliases === undefined || aliases.length === 0) return "";
  const lines = aliases.map((alias) => `${alias.ip}\t${(alias.hostnames ?? []).join("\t")}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join("")}`;
}

const header = "# Kubernetes-managed hosts file.\n";
const hostNetworkHeader = "# Kubernetes-managed hosts file (host network).\n";

export function podHostsFile(
  name: PodName,
  ips: readonly string[],
  aliases: readonly HostAlias[] | undefined,
): string {
  const names =
    name.domain === "" ? name.hostname : `${name.hostname}.${name.domain}\t${name.hostname}`;
  return [
    header,
    "127.0.0.1\tlocalhost\n",
    "::1\tlocalhost ip6-localhost ip6-loopback\n",
    "fe00::0\tip6-localnet\n",
    "fe00::0\tip6-mcastprefix\n",
    "fe00::1\tip6-allnodes\n",
    "fe00::2\tip6-allrouters\n",
    ...ips.map((ip) => `${ip}\t${names}\n`),
    aliasLines(aliases),
  ].join("");
}

export const hostNetworkHostsFile = (
  hostsFile: string,
  aliases: readonly HostAlias[] | undefined,
): string => `${hostNetworkHeader}${hostsFile}${aliasLines(aliases)}`;
