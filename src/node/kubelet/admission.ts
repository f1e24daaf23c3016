/** Whether a pod may run on this node: what the scheduler promised is checked once more, where it counts. Pure. */
import type { Node, NodeSelectorRequirement, NodeSelectorTerm } from "#api/generated/core/v1.ts";
import type { NodePod } from "./pod-spec.ts";
import { amountOf, podRequests } from "./resources.ts";

export type Admission =
  | { readonly admitted: true }
  | { readonly admitted: false; readonly reason: string; readonly message: string };

const refused = (reason: string, message: string): Admission => ({
  admitted: false,
  reason,
  message,
});

/** Extended resources that a node does not have are somebody else's to judge. */
const checkedAlways = new Set(["cpu", "memory", "ephemeral-storage"]);

export function admitPod(pod: NodePod, node: Node, others: readonly NodePod[]): Admission {
  const os = pod.spec.os?.name;
  if (os !== undefined && os !== "linux") {
    return refused(
      "PodOSNotSupported",
      "Failed to admit pod as the OS field doesn't match node OS",
    );
  }
  if (pod.spec.securityContext?.supplementalGroupsPolicy === "Strict") {
    return refused(
      "SupplementalGroupsPolicyNotSupported",
      "SupplementalGroupsPolicy=Strict is not supported in this node",
    );
  }
  const short = lacking(pod, node, others);
  if (short !== undefined) return short;
  if (!selectorFits(pod, node) || !affinityFits(pod, node)) {
    return refused(
      "NodeAffinity",
      "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    );
  }
  if (!portsFit(pod, others)) {
    const why = "node(s) didn't have free ports for the requested pod ports";
    return refused("NodePorts", `Predicate NodePorts failed: ${why}`);
  }
  const noExecute = (node.spec.taints ?? []).find(
    (taint) =>
      taint.effect === "NoExecute" &&
      !(pod.spec.tolerations ?? []).some((one) => tolerates(one, taint)),
  );
  if (noExecute !== undefined) {
    const why = "node(s) had taints that the pod didn't tolerate";
    return refused("TaintToleration", `Predicate TaintToleration failed: ${why}`);
  }
  return { admitted: true };
}

function lacking(pod: NodePod, node: Node, others: readonly NodePod[]): Admission | undefined {
  const allocatable = node.status.allocatable ?? {};
  const short = (name: string, requested: number, used: number, capacity: number): Admission =>
    refused(
      `OutOf${name}`,
      `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
    );
  const podsMax = amountOf("pods", allocatable["pods"]);
  if (others.length + 1 > podsMax) return short("pods", 1, others.length, podsMax);
  const taken = others.map(podRequests);
  for (const [name, requested] of podRequests(pod)) {
    if (requested === 0) continue;
    if (!(name in allocatable) && !checkedAlways.has(name)) continue;
    const used = taken.reduce((sum, other) => sum + (other.get(name) ?? 0), 0);
    const capacity = amountOf(name, allocatable[name]);
    if (used + requested > capacity) return short(name, requested, used, capacity);
  }
  return undefined;
}

function selectorFits(pod: NodePod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  return Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
}

function affinityFits(pod: NodePod, node: Node): boolean {
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined) return true;
  return required.nodeSelectorTerms.some((term) => termFits(term, node));
}

interface HostPort {
  readonly port: number;
  readonly protocol: string;
  readonly address: string;
}
const everyAddress = "0.0.0.0";

function hostPorts({ spec }: NodePod): readonly HostPort[] {
  const sidecars = (spec.initContainers ?? []).filter((one) => one.restartPolicy === "Always");
  return [...spec.containers, ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .flatMap(({ hostPort = 0, protocol = "TCP", hostIP = "" }) =>
      hostPort > 0 ? [{ port: hostPort, protocol, address: hostIP || everyAddress }] : [],
    );
}

/** Two pods share a port of the host only where protocols or addresses differ. */
function portsFit(pod: NodePod, others: readonly NodePod[]): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return true;
  const taken = others.flatMap(hostPorts);
  const clash = (a: HostPort, b: HostPort): boolean =>
    a.port === b.port &&
    a.protocol === b.protocol &&
    (a.address === b.address || a.address === everyAddress || b.address === everyAddress);
  return !wanted.some((one) => taken.some((other) => clash(one, other)));
}

function termFits(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  const labels = node.metadata.labels ?? {};
  const known = (key: string): string | undefined =>
    key === "metadata.name" ? node.metadata.name : undefined;
  return (
    expressions.every((one) => requirementFits(one, labels[one.key])) &&
    fields.every((one) => requirementFits(one, known(one.key)))
  );
}

function requirementFits(requirement: NodeSelectorRequirement, value: string | undefined): boolean {
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}
interface Tainted {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

function tolerates(toleration: Toleration, taint: Tainted): boolean {
  const { key = "", operator = "Equal", value = "", effect = "" } = toleration;
  if (effect !== "" && effect !== taint.effect) return false;
  if (key !== "" && key !== taint.key) return false;
  return operator === "Exists" || (operator === "Equal" && value === (taint.value ?? ""));
}
