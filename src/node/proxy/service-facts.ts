/**
 * What a Service means for packets on this node: pure, from the Service and its EndpointSlices to the facts of the dataplane.
 * Behaviour: "Virtual IPs and Service Proxies", KEP-1669 (terminating endpoints), KEP-2086 (internal traffic policy).
 */
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import type { Backend, Protocol, ServiceFact } from "#ports/dataplane.ts";

/** Upstream's default of service.spec.sessionAffinityConfig.clientIP.timeoutSeconds. */
const affinitySecondsDefault = 10_800;

type ServicePort = NonNullable<Service["spec"]["ports"]>[number];

/** The label by which a slice says whose it is. */
export const serviceNameLabel = "kubernetes.io/service-name";

/** Facts by key; empty for headless and ExternalName Services. */
export function serviceFacts(
  service: Stored<Service>,
  slices: readonly EndpointSlice[],
  nodeName: string,
): Map<string, ServiceFact> {
  const facts = new Map<string, ServiceFact>();
  const { spec, metadata, status } = service;
  if (spec.type === "ExternalName") return facts;
  const addresses = (spec.clusterIPs ?? [spec.clusterIP ?? ""]).filter(
    (address) => address !== "" && address !== "None",
  );
  if (addresses.length === 0) return facts;
  const balancerAddresses = (status.loadBalancer.ingress ?? []).flatMap((ingress) =>
    ingress.ip === undefined || ingress.ipMode === "Proxy" ? [] : [ingress.ip],
  );
  const externalLocal = spec.externalTrafficPolicy === "Local";
  const internalLocal = spec.internalTrafficPolicy === "Local";
  const affinitySeconds =
    spec.sessionAffinity === "ClientIP"
      ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? affinitySecondsDefault)
      : undefined;
  for (const port of spec.ports ?? []) {
    const key = `service/${metadata.namespace ?? ""}/${metadata.name}:${port.name ?? ""}/${port.protocol ?? "TCP"}/${port.port}`;
    facts.set(key, {
      type: "service",
      protocol: (port.protocol ?? "TCP") as Protocol,
      port: port.port,
      addresses,
      externalAddresses: spec.externalIPs ?? [],
      balancerAddresses,
      ...(port.nodePort === undefined ? {} : { nodePort: port.nodePort }),
      backends: backendsOf(port, slices, nodeName),
      externalLocal,
      internalLocal,
      ...(affinitySeconds === undefined ? {} : { affinitySeconds }),
      sourceRanges: spec.loadBalancerSourceRanges ?? [],
    });
  }
  return facts;
}

/**
 * Ready endpoints; where there is none, those that still serve while they end, so that a rollout of one replica
 * loses nothing. Sorted, so that equal input gives equal facts.
 */
function backendsOf(
  port: ServicePort,
  slices: readonly EndpointSlice[],
  nodeName: string,
): Backend[] {
  const ready = new Map<string, Backend>();
  const ending = new Map<string, Backend>();
  for (const slice of slices) {
    if (slice.addressType !== "IPv4") continue;
    const slicePort = slice.ports?.find(
      (one) =>
        (one.name ?? "") === (port.name ?? "") &&
        (one.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (slicePort?.port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const address = endpoint.addresses[0];
      if (address === undefined) continue;
      const { ready: isReady, serving, terminating } = endpoint.conditions;
      const backend = { address, port: slicePort.port, local: endpoint.nodeName === nodeName };
      if (isReady !== false) ready.set(`${address}:${slicePort.port}`, backend);
      else if (serving === true && terminating === true)
        ending.set(`${address}:${slicePort.port}`, backend);
    }
  }
  const chosen = ready.size > 0 ? ready : ending;
  return [...chosen.keys()].toSorted().map((key) => chosen.get(key) as Backend);
}
