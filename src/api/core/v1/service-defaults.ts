/** What a Service has when its author says nothing. Addresses and ports are the allocator's. */
import type { Service } from "../../generated/core/v1.ts";
import { isExternallyAccessible } from "./service-rules.ts";

const affinityTimeoutSeconds = 10_800;

function defaultSessionAffinity({ spec }: Service): void {
  if ((spec.sessionAffinity ?? "") === "") spec.sessionAffinity = "None";
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity !== "ClientIP") return;
  if (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined) {
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: affinityTimeoutSeconds } };
  }
}

export function setServiceDefaults(service: Service): void {
  const { spec, status } = service;
  defaultSessionAffinity(service);
  if ((spec.type ?? "") === "") spec.type = "ClusterIP";
  for (const port of spec.ports ?? []) {
    if ((port.protocol ?? "") === "") port.protocol = "TCP";
    const { targetPort = 0 } = port as Partial<typeof port>;
    if (targetPort === 0 || targetPort === "") port.targetPort = port.port;
  }
  if (isExternallyAccessible(service) && (spec.externalTrafficPolicy ?? "") === "") {
    spec.externalTrafficPolicy = "Cluster";
  }
  if (spec.type !== "ExternalName" && spec.internalTrafficPolicy === undefined) {
    const known = ["NodePort", "LoadBalancer", "ClusterIP"].includes(spec.type ?? "");
    if (known) spec.internalTrafficPolicy = "Cluster";
  }
  if (spec.type !== "LoadBalancer") return;
  spec.allocateLoadBalancerNodePorts ??= true;
  for (const ingress of status.loadBalancer.ingress ?? []) {
    if ((ingress.ip ?? "") !== "") ingress.ipMode ??= "VIP";
  }
}
