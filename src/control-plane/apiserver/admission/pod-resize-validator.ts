/** PodResizeValidator: a pod that runs can't be made larger than its node. */
import { effectiveRequests } from "#api/core/v1/pod-resources.ts";
import type { Node, Pod } from "#api/generated/core/v1.ts";
import { compareQuantities, quantityOf, toMilli, toWhole } from "#machinery/quantity.ts";
import type { StatusError } from "#machinery/status-error.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";

const nodes = { group: "", plural: "nodes" };
const osLabel = "kubernetes.io/os";

function refuseBecause(request: AdmissionRequest, why: string, reason: string): StatusError {
  const error = refuse(request, why);
  error.status.details = {
    ...error.status.details,
    causes: [...(error.status.details?.causes ?? []), { reason }],
  };
  return error;
}

function shortages(pod: Pod, { status }: Node): string[] {
  const requests = effectiveRequests(pod);
  const shown = { cpu: toMilli, memory: toWhole };
  return (["cpu", "memory"] as const).flatMap((name) => {
    const requested = quantityOf(requests[name] ?? "0");
    const allocatable = quantityOf(status.allocatable?.[name] ?? "0");
    if (compareQuantities(requested, allocatable) <= 0) return [];
    const number = shown[name];
    return [`${name}, requested: ${number(requested)}, allocatable: ${number(allocatable)}`];
  });
}

export const podResizeValidator: AdmissionPlugin = {
  name: "PodResizeValidator",
  handles: (request) => request.operation === "UPDATE" && isAbout(request, "", "pods", "resize"),
  validate(request, { reader }) {
    const pod = request.object as Pod;
    const { nodeName = "" } = pod.spec;
    if (nodeName === "" || pod.metadata.generation === request.oldObject?.metadata.generation)
      return;
    const node = reader.get(nodes, "", nodeName) as Node | undefined;
    if (node === undefined) throw refuse(request, `node ${JSON.stringify(nodeName)} not found`);
    const os = node.metadata.labels?.[osLabel] ?? "linux";
    if (os !== "linux") {
      const why = `pod resize is only supported on linux nodes, node ${JSON.stringify(nodeName)} is ${JSON.stringify(os)}`;
      throw refuseBecause(request, why, "UnsupportedPlatform");
    }
    const short = shortages(pod, node);
    if (short.length === 0) return;
    const why = `node didn't have enough allocatable resources: ${short.join("; ")}`;
    throw refuseBecause(request, why, "NodeCapacity");
  },
};
