/** What the parts of a Service mean for each other: what its type needs, and what is dropped when the type no longer has a use for it. */
import { equalObjects } from "#machinery/object.ts";
import type { Service } from "../../generated/core/v1.ts";

export const noClusterIp = "None";

export const needsClusterIp = ({ spec }: Service): boolean => spec.type !== "ExternalName";
export const mayHaveNodePorts = ({ spec }: Service): boolean =>
  spec.type === "NodePort" || spec.type === "LoadBalancer";
export const needsHealthCheckNodePort = ({ spec }: Service): boolean =>
  spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
export const isHeadless = ({ spec }: Service): boolean =>
  spec.clusterIPs?.length === 1 && spec.clusterIPs[0] === noClusterIp;
export const isExternallyAccessible = ({ spec }: Service): boolean =>
  spec.type === "LoadBalancer" ||
  spec.type === "NodePort" ||
  (spec.type === "ClusterIP" && (spec.externalIPs ?? []).length > 0);

const sameList = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  equalObjects(a ?? [], b ?? []);

export const sameClusterIps = (a: Service, b: Service): boolean =>
  sameList(a.spec.clusterIPs, b.spec.clusterIPs);
export const sameIpFamilies = (a: Service, b: Service): boolean =>
  sameList(a.spec.ipFamilies, b.spec.ipFamilies);

const nodePortsOf = ({ spec }: Service): number[] =>
  (spec.ports ?? []).map(({ nodePort }) => nodePort ?? 0).filter((port) => port !== 0);

function dropClusterIps(service: Service, old: Service): void {
  const { spec } = service;
  const sameIp = (spec.clusterIP ?? "") === (old.spec.clusterIP ?? "");
  if (sameIp && sameClusterIps(service, old)) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
  }
  if (sameIpFamilies(service, old)) delete spec.ipFamilies;
  if ((spec.ipFamilyPolicy ?? "") === (old.spec.ipFamilyPolicy ?? "")) delete spec.ipFamilyPolicy;
}

/**
 * On a change of type, takes away what the server may have filled in for the old one. What the client changed in the same
 * request stays, for validation to refuse.
 */
export function dropTypeDependentFields(service: Service, old: Service): void {
  const { spec } = service;
  if (needsClusterIp(old) && !needsClusterIp(service)) dropClusterIps(service, old);
  if (mayHaveNodePorts(old) && !mayHaveNodePorts(service)) {
    const known = nodePortsOf(old);
    if (nodePortsOf(service).every((port) => known.includes(port))) {
      for (const port of spec.ports ?? []) delete port.nodePort;
    }
  }
  const sameHealthPort = (spec.healthCheckNodePort ?? 0) === (old.spec.healthCheckNodePort ?? 0);
  if (needsHealthCheckNodePort(old) && !needsHealthCheckNodePort(service) && sameHealthPort) {
    delete spec.healthCheckNodePort;
  }
  if (old.spec.type === "LoadBalancer" && spec.type !== "LoadBalancer") {
    if (spec.allocateLoadBalancerNodePorts === old.spec.allocateLoadBalancerNodePorts) {
      delete spec.allocateLoadBalancerNodePorts;
    }
    if (spec.loadBalancerClass === old.spec.loadBalancerClass) delete spec.loadBalancerClass;
  }
  const samePolicy = (spec.externalTrafficPolicy ?? "") === (old.spec.externalTrafficPolicy ?? "");
  if (isExternallyAccessible(old) && !isExternallyAccessible(service) && samePolicy) {
    delete spec.externalTrafficPolicy;
  }
  if (spec.type !== "LoadBalancer") service.status.loadBalancer = {};
}
