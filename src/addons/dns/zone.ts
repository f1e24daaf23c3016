/**
 * The cluster's zone: what names the Services and their endpoints have. Specification: github.com/kubernetes/dns,
 * "DNS-Based Service Discovery", version 1.1.0; pods by address as CoreDNS's `pods insecure`. Pure: caches in, records out.
 */
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import {
  type Answer,
  type RecordData,
  type ResourceRecord,
  recordTypes,
  responseCodes,
} from "./message.ts";

/** What the zone is made of. */
export interface ZoneData {
  service(namespace: string, name: string): Stored<Service> | undefined;
  slices(namespace: string, service: string): readonly Stored<EndpointSlice>[];
  namespaceExists(name: string): boolean;
  /** Services by one of their cluster IPs. */
  servicesAt(address: string): readonly Stored<Service>[];
  /** Slices that hold an endpoint of this address. */
  slicesAt(address: string): readonly Stored<EndpointSlice>[];
}

/** As CoreDNS answers in clusters set up by kubeadm. */
const ttlSeconds = 30;
const serviceLabel = "kubernetes.io/service-name";

interface Endpoint {
  readonly address: string;
  readonly hostname: string;
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: string;
    readonly port: number;
  }[];
}

/** An answer, or undefined: the name is none of ours. */
export function answerFromZone(
  data: ZoneData,
  domain: string,
  name: string,
  type: number,
): Answer | undefined {
  if (name.endsWith(".in-addr.arpa") || name.endsWith(".ip6.arpa"))
    return reverse(data, domain, name, type);
  if (name !== domain && !name.endsWith(`.${domain}`)) return undefined;
  const found = lookUp(data, domain, name);
  if (found === undefined) return negative(domain, responseCodes.NXDOMAIN);
  const alias = found.find((record) => record.type === "CNAME");
  const wanted =
    alias !== undefined
      ? [alias]
      : found.filter((record) => type === recordTypes.ANY || recordTypes[record.type] === type);
  if (wanted.length === 0) return negative(domain, responseCodes.NOERROR);
  const answers = wanted.map((record) => ({ name, ttlSeconds, ...record }));
  return {
    code: responseCodes.NOERROR,
    authoritative: true,
    answers,
    authority: [],
    additional: answers.flatMap((record) => addressesOfTarget(data, domain, record)),
  };
}

function negative(domain: string, code: number): Answer {
  const soa: ResourceRecord = {
    name: domain,
    ttlSeconds,
    type: "SOA",
    mname: `ns.dns.${domain}`,
    rname: `hostmaster.${domain}`,
    serial: 1,
    minimum: ttlSeconds,
  };
  return { code, authoritative: true, answers: [], authority: [soa], additional: [] };
}

/** SRV answers bring the addresses of their targets along. */
function addressesOfTarget(
  data: ZoneData,
  domain: string,
  record: ResourceRecord,
): ResourceRecord[] {
  if (record.type !== "SRV") return [];
  return (lookUp(data, domain, record.target) ?? [])
    .filter((one) => one.type === "A" || one.type === "AAAA")
    .map((one) => ({ name: record.target, ttlSeconds, ...one }));
}

/** Every record at a name of the zone; [] where the name exists without records; undefined where it does not exist. */
function lookUp(data: ZoneData, domain: string, name: string): RecordData[] | undefined {
  if (name === domain) return [];
  const labels = name.slice(0, -(domain.length + 1)).split(".");
  if (labels.length === 1 && labels[0] === "dns-version") return [{ type: "TXT", text: "1.1.0" }];
  const kind = labels.at(-1);
  const namespace = labels.at(-2);
  if (kind !== "svc" && kind !== "pod") return undefined;
  if (namespace === undefined) return [];
  if (kind === "pod") return podRecords(data, namespace, labels.slice(0, -2));
  const rest = labels.slice(0, -2);
  if (rest.length === 0) return data.namespaceExists(namespace) ? [] : undefined;
  const service = data.service(namespace, rest.at(-1) ?? "");
  if (service === undefined) return undefined;
  return serviceRecords(data, domain, service, rest.slice(0, -1));
}

/** 10-1-2-3.ns.pod: the address that the name spells, whether a pod has it or not. */
function podRecords(
  data: ZoneData,
  namespace: string,
  labels: readonly string[],
): RecordData[] | undefined {
  if (!data.namespaceExists(namespace)) return undefined;
  if (labels.length === 0) return [];
  const [spelled = ""] = labels;
  if (labels.length === 1 && /^\d{1,3}(-\d{1,3}){3}$/.test(spelled)) {
    return [{ type: "A", address: spelled.replaceAll("-", ".") }];
  }
  return undefined;
}

function serviceRecords(
  data: ZoneData,
  domain: string,
  service: Stored<Service>,
  labels: readonly string[],
): RecordData[] | undefined {
  const { spec, metadata } = service;
  const namespace = metadata.namespace ?? "";
  if (spec.type === "ExternalName") {
    return labels.length === 0
      ? [{ type: "CNAME", target: (spec.externalName ?? "").toLowerCase().replace(/\.$/, "") }]
      : undefined;
  }
  const own = `${metadata.name}.${namespace}.svc.${domain}`;
  const addresses = (spec.clusterIPs ?? []).filter(
    (address) => address !== "None" && address !== "",
  );
  if (addresses.length > 0) {
    if (labels.length === 0) return addresses.map(addressRecord);
    if (labels.length === 1 && labels[0]?.startsWith("_") !== true) {
      return undefined;
    }
    return portRecords(
      (spec.ports ?? []).map((port) => ({
        name: port.name ?? "",
        protocol: port.protocol ?? "TCP",
        port: port.port,
        target: own,
      })),
      labels,
    );
  }
  const endpoints = endpointsOf(data, service);
  if (labels.length === 0) return endpoints.map(({ address }) => addressRecord(address));
  const named = endpoints.filter(({ hostname }) => hostname === labels[0]);
  if (labels.length === 1 && named.length > 0)
    return named.map(({ address }) => addressRecord(address));
  return portRecords(
    endpoints.flatMap(({ hostname, ports }) =>
      ports.map((port) => ({ ...port, target: `${hostname}.${own}` })),
    ),
    labels,
  );
}

const addressRecord = (address: string): RecordData =>
  address.includes(":") ? { type: "AAAA", address } : { type: "A", address };

/** _port._protocol: SRV records; the label _protocol alone exists without records. */
function portRecords(
  ports: readonly { name: string; protocol: string; port: number; target: string }[],
  labels: readonly string[],
): RecordData[] | undefined {
  const protocol = labels.at(-1);
  const matching = ports.filter(
    (port) => `_${port.protocol.toLowerCase()}` === protocol && port.name !== "",
  );
  if (matching.length === 0) return undefined;
  if (labels.length === 1) return [];
  const chosen = matching.filter((port) => `_${port.name.toLowerCase()}` === labels[0]);
  if (labels.length !== 2 || chosen.length === 0) return undefined;
  const weight = Math.max(1, Math.floor(100 / chosen.length));
  return chosen.map(({ port, target }) => ({ type: "SRV", priority: 0, weight, port, target }));
}

/** Ready endpoints (all of them with publishNotReadyAddresses, which the slices' `ready` already tells). */
function endpointsOf(data: ZoneData, service: Stored<Service>): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const slice of data.slices(service.metadata.namespace ?? "", service.metadata.name)) {
    if (slice.addressType === "FQDN") continue;
    const ports = (slice.ports ?? []).flatMap(({ name, protocol, port }) =>
      port === undefined ? [] : [{ name: name ?? "", protocol: protocol ?? "TCP", port }],
    );
    for (const endpoint of slice.endpoints ?? []) {
      if (endpoint.conditions.ready === false) continue;
      for (const address of endpoint.addresses) {
        found.set(address, { address, hostname: hostnameOf(endpoint.hostname, address), ports });
      }
    }
  }
  return [...found.values()];
}

/** An endpoint without a hostname is called by its address, with dashes. */
const hostnameOf = (hostname: string | undefined, address: string): string =>
  hostname ?? address.replaceAll(/[.:]/g, "-");

function reverse(data: ZoneData, domain: string, name: string, type: number): Answer | undefined {
  const address = addressOfReverse(name);
  if (address === undefined) return undefined;
  const services = data
    .servicesAt(address)
    .map(({ metadata }) => `${metadata.name}.${metadata.namespace}.svc.${domain}`);
  const endpoints = data.slicesAt(address).flatMap((slice) => {
    const serviceName = slice.metadata.labels?.[serviceLabel] ?? "";
    const endpoint = slice.endpoints?.find((one) => one.addresses.includes(address));
    const headless =
      data.service(slice.metadata.namespace ?? "", serviceName)?.spec.clusterIP === "None";
    if (!headless) return [];
    const hostname = hostnameOf(endpoint?.hostname, address);
    return [`${hostname}.${serviceName}.${slice.metadata.namespace}.svc.${domain}`];
  });
  const targets = services.length > 0 ? services : endpoints;
  if (targets.length === 0) return undefined;
  const wanted = type === recordTypes.PTR || type === recordTypes.ANY ? targets : [];
  const answers = wanted.map(
    (target): ResourceRecord => ({ name, ttlSeconds, type: "PTR", target }),
  );
  return {
    code: responseCodes.NOERROR,
    authoritative: true,
    answers,
    authority: [],
    additional: [],
  };
}

/** 4.3.2.1.in-addr.arpa → 1.2.3.4. */
function addressOfReverse(name: string): string | undefined {
  const ipv4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(name)?.[1];
  return ipv4?.slice(0, -1).split(".").toReversed().join(".");
}
