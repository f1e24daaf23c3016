/** Which UDP flows that the kernel remembers lead nowhere after a change of the facts. Pure. */
import type { DataplaneFact, ServiceFact } from "#ports/dataplane.ts";

/** Flows to a Service whose backends are gone; `backends` undefined: all of them. */
export interface StaleFlows {
  readonly service: ServiceFact;
  readonly backends: readonly string[] | undefined;
}

const none: readonly string[] = [];

/** Of UDP Services that lost a backend, or had none (flows that began then know no backend) and have one now. */
export function staleFlows(
  before: ReadonlyMap<string, DataplaneFact>,
  changes: ReadonlyMap<string, DataplaneFact | undefined>,
): StaleFlows[] {
  return [...changes].flatMap(([key, now]): StaleFlows[] => {
    const service = before.get(key);
    if (service?.type === "service") {
      if (service.protocol !== "UDP") return [];
      const left = new Set(
        now?.type === "service" ? now.backends.map(({ address }) => address) : none,
      );
      const lost = service.backends.map(({ address }) => address).filter((one) => !left.has(one));
      if (lost.length > 0) return [{ service, backends: [...new Set(lost)] }];
      const revives = service.backends.length === 0 && left.size > 0;
      return revives ? [{ service, backends: undefined }] : [];
    }
    // A Service that is new: what was sent to its addresses before went where nobody answers.
    const isNew = now?.type === "service" && now.protocol === "UDP" && now.backends.length > 0;
    return isNew ? [{ service: now, backends: undefined }] : [];
  });
}

/** Arguments of conntrack -D -p udp, one list a run. */
export function conntrackDeletions({ service, backends }: StaleFlows): string[][] {
  const { addresses, externalAddresses, balancerAddresses, port, nodePort } = service;
  const places = [...addresses, ...externalAddresses, ...balancerAddresses]
    .filter((address) => !address.includes(":"))
    .map((address) => ["--orig-dst", address, "--orig-port-dst", String(port)]);
  if (nodePort !== undefined) places.push(["--orig-port-dst", String(nodePort)]);
  if (backends === undefined) return places;
  return places.flatMap((place) => backends.map((address) => [...place, "--dst-nat", address]));
}
