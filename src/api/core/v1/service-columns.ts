/** The cells of `kubectl get services`. */
import { compareUtf8, sortedKeys } from "#machinery/object.ts";
import type { Service } from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import type { PrinterColumn } from "../../resource.ts";

function clusterIpCell({ spec }: Service): string {
  return spec.clusterIPs?.[0] ?? "<none>";
}

function loadBalancerNames({ status }: Service): string[] {
  const names = (status.loadBalancer.ingress ?? []).map(({ ip, hostname }) => ip || hostname || "");
  return [...new Set(names)].filter((name) => name !== "").sort(compareUtf8);
}

function externalIpCell(service: Service): string {
  const { spec } = service;
  const own = spec.externalIPs ?? [];
  switch (spec.type) {
    case "ClusterIP":
    case "NodePort":
      return own.length > 0 ? own.join(",") : "<none>";
    case "LoadBalancer": {
      const all = [...loadBalancerNames(service), ...own];
      return all.length > 0 ? all.join(",") : "<pending>";
    }
    case "ExternalName":
      return spec.externalName ?? "";
    default:
      return "<unknown>";
  }
}

function portsCell({ spec }: Service): string {
  const texts = (spec.ports ?? []).map(({ port, nodePort = 0, protocol = "" }) =>
    nodePort > 0 ? `${port}:${nodePort}/${protocol}` : `${port}/${protocol}`,
  );
  return texts.length > 0 ? texts.join(",") : "<none>";
}

function selectorCell({ spec }: Service): string {
  const { selector = {} } = spec;
  const texts = sortedKeys(selector).map((key) => `${key}=${selector[key] ?? ""}`);
  return texts.length > 0 ? texts.join(",") : "<none>";
}

export const serviceColumns: readonly PrinterColumn<Service>[] = [
  { name: "Type", value: ({ spec }) => spec.type ?? "" },
  { name: "Cluster-IP", value: clusterIpCell },
  { name: "External-IP", value: externalIpCell },
  { name: "Port(s)", value: portsCell },
  ageColumn,
  { name: "Selector", priority: 1, value: selectorCell },
];
