/** What is accepted in a Service, but will not do what its author may think. */
import { cidrWarnings, ipWarnings } from "#machinery/ip-warnings.ts";
import type { Service } from "../../generated/core/v1.ts";
import { noClusterIp } from "./service-rules.ts";
import { topologyHintsAnnotation, topologyModeAnnotation } from "./service-validation.ts";

function headlessWarnings({ spec }: Service): string[] {
  const warnings: string[] = [];
  if ((spec.loadBalancerIP ?? "") !== "") {
    warnings.push("spec.loadBalancerIP is ignored for headless services");
  }
  if ((spec.externalIPs ?? []).length > 0) {
    warnings.push("spec.externalIPs is ignored for headless services");
  }
  if (spec.sessionAffinity !== "None") {
    warnings.push("spec.SessionAffinity is ignored for headless services");
  }
  return warnings;
}

/** Upstream: the path names the ingress, not its address. */
export const serviceStatusWarnings = ({ status }: Service): string[] =>
  (status.loadBalancer.ingress ?? []).flatMap(({ ip = "" }, index) =>
    ipWarnings(`status.loadBalancer.ingress[${index}]`, ip),
  );

export function serviceWarnings({ metadata, spec, ...rest }: Service): string[] {
  const { clusterIP = "", clusterIPs = [], externalIPs = [], loadBalancerIP = "" } = spec;
  const warnings: string[] = [];
  if (metadata.annotations?.[topologyHintsAnnotation] !== undefined) {
    warnings.push(
      `annotation ${topologyHintsAnnotation} is deprecated, please use ${topologyModeAnnotation} instead`,
    );
  }
  if (clusterIP !== "" && clusterIP !== noClusterIp) {
    const of = (ip: string, index: number) => ipWarnings(`spec.clusterIPs[${index}]`, ip);
    warnings.push(...clusterIPs.flatMap(of));
  }
  const headless = spec.type === "ClusterIP" && clusterIP === noClusterIp;
  if (headless) warnings.push(...headlessWarnings({ metadata, spec, ...rest }));
  warnings.push(
    ...externalIPs.flatMap((ip, index) => ipWarnings(`spec.externalIPs[${index}]`, ip)),
  );
  const isName = spec.type === "ExternalName";
  if (externalIPs.length > 0 && !headless && !isName) {
    warnings.push(
      "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    );
  }
  if (loadBalancerIP !== "") warnings.push(...ipWarnings("spec.loadBalancerIP", loadBalancerIP));
  for (const [index, range] of (spec.loadBalancerSourceRanges ?? []).entries()) {
    warnings.push(...cidrWarnings(`spec.loadBalancerSourceRanges[${index}]`, range));
  }
  if (isName && externalIPs.length > 0) {
    warnings.push('spec.externalIPs is ignored when spec.type is "ExternalName"');
  }
  if (!isName && (spec.externalName ?? "") !== "") {
    warnings.push('spec.externalName is ignored when spec.type is not "ExternalName"');
  }
  if (spec.trafficDistribution === "PreferClose") {
    warnings.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
  }
  return warnings;
}
