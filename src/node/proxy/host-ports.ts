/** What the host ports of this node's Pods mean for packets: pure. Pods on the host's own network need no help. */
import type { Pod } from "#api/core/v1/pod.ts";
import type { Stored } from "#machinery/meta.ts";
import type { HostPortFact, Protocol } from "#ports/dataplane.ts";

const hasEnded = (pod: Pod): boolean =>
  pod.status.phase === "Succeeded" || pod.status.phase === "Failed";

/** Facts by key; empty until the Pod has its address, and once it has ended. */
export function hostPortFacts(pod: Stored<Pod>): Map<string, HostPortFact> {
  const facts = new Map<string, HostPortFact>();
  const address = pod.status.podIP;
  if (address === undefined || pod.spec.hostNetwork === true || hasEnded(pod)) return facts;
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  for (const { hostPort, hostIP, protocol, containerPort } of containers.flatMap(
    ({ ports }) => ports ?? [],
  )) {
    if (hostPort === undefined) continue;
    const key = `hostPort/${pod.metadata.uid}/${hostIP ?? ""}/${protocol}/${hostPort}`;
    facts.set(key, {
      type: "hostPort",
      protocol: (protocol ?? "TCP") as Protocol,
      hostAddress: hostIP ?? "",
      hostPort,
      backend: { address, port: containerPort },
    });
  }
  return facts;
}
