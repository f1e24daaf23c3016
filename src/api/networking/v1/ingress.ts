/** Ingress: which Service answers for which host and path of the outside world. */
import { ipWarnings } from "#machinery/ip-warnings.ts";
import { compareUtf8 } from "#machinery/object.ts";
import type * as g from "../../generated/networking/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  ingressClassAnnotation,
  validateIngress,
  validateIngressCreate,
  validateIngressStatus,
} from "./ingress-validation.ts";

export type Ingress = g.Ingress;

const hostsShownMax = 3;

function hostsCell({ spec }: Ingress): string {
  const shown: string[] = [];
  let more = false;
  for (const { host = "" } of spec.rules ?? []) {
    if (shown.length === hostsShownMax) more = true;
    if (!more && host !== "") shown.push(host);
  }
  if (shown.length === 0) return "*";
  const hidden = (spec.rules ?? []).length - hostsShownMax;
  return more ? `${shown.join(",")} + ${hidden} more...` : shown.join(",");
}

function addressCell({ status }: Ingress): string {
  const names = (status.loadBalancer.ingress ?? []).map(({ ip, hostname }) => ip || hostname || "");
  return [...new Set(names)]
    .filter((name) => name !== "")
    .sort(compareUtf8)
    .join(",");
}

export const Ingress = defineResource<Ingress>({
  group: "networking.k8s.io",
  version: "v1",
  plural: "ingresses",
  storagePrefix: "/registry/ingress",
  printerColumns: [
    { name: "Class", value: ({ spec }) => spec.ingressClassName ?? "<none>" },
    { name: "Hosts", value: hostsCell },
    { name: "Address", value: addressCell },
    { name: "Ports", value: ({ spec }) => ((spec.tls ?? []).length > 0 ? "80, 443" : "80") },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    validate: validateIngressCreate,
    validateUpdate: validateIngress,
    validateStatusUpdate: validateIngressStatus,
    warnings({ metadata, spec }, old) {
      const annotation = metadata.annotations?.[ingressClassAnnotation];
      if (old !== undefined || annotation === undefined) return [];
      if (spec.ingressClassName !== undefined) return [];
      return [
        `annotation "${ingressClassAnnotation}" is deprecated, please use 'spec.ingressClassName' instead`,
      ];
    },
    // Upstream: the path names the ingress, not its address.
    statusWarnings: ({ status }) =>
      (status.loadBalancer.ingress ?? []).flatMap(({ ip = "" }, i) =>
        ipWarnings(`status.loadBalancer.ingress[${i}]`, ip),
      ),
  },
});
