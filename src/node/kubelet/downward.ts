/** The downward API: a pod's own fields and resources as text, for environment variables and volumes. Pure. */
import type { Container, ResourceFieldSelector } from "#api/generated/core/v1.ts";
import { toMilli, toWhole } from "#machinery/quantity.ts";
import { containerNamed, type NodePod } from "./pod-spec.ts";

export interface NodeFigures {
  readonly hostIps: readonly string[];
  /** Allocatable amounts of the node: what a container without a limit may use. */
  readonly allocatable: Readonly<Record<string, string>>;
}

export type FieldValue = { readonly value: string } | { readonly problem: string };

/** A string as Go's %q prints it. */
export function quoteGo(text: string): string {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (char === '"' || char === "\\") out += `\\${char}`;
    else if (char === "\n") out += "\\n";
    else if (char === "\t") out += "\\t";
    else if (char === "\r") out += "\\r";
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, "0")}`;
    else out += char;
  }
  return `${out}"`;
}

/** A map as the downward API prints it: key="value", one a line, by key. */
export const formatMap = (map: Readonly<Record<string, string>> | undefined): string =>
  Object.keys(map ?? {})
    .toSorted()
    .map((key) => `${key}=${quoteGo(map?.[key] ?? "")}`)
    .join("\n");

const subscripted = /^(metadata\.(?:annotations|labels))\['([^']+)'\]$/;

/** `podIps`: of the sandbox that exists by now, which the status does not show yet. */
export function fieldValue(
  pod: NodePod,
  path: string,
  podIps: readonly string[],
  node: NodeFigures,
): FieldValue {
  const match = subscripted.exec(path);
  if (match !== null) {
    const map = match[1] === "metadata.labels" ? pod.metadata.labels : pod.metadata.annotations;
    return { value: map?.[match[2] ?? ""] ?? "" };
  }
  switch (path) {
    case "metadata.name":
      return { value: pod.metadata.name };
    case "metadata.namespace":
      return { value: pod.metadata.namespace };
    case "metadata.uid":
      return { value: pod.metadata.uid };
    case "metadata.labels":
      return { value: formatMap(pod.metadata.labels) };
    case "metadata.annotations":
      return { value: formatMap(pod.metadata.annotations) };
    case "spec.nodeName":
      return { value: pod.spec.nodeName ?? "" };
    case "spec.serviceAccountName":
      return { value: pod.spec.serviceAccountName ?? "" };
    case "status.hostIP":
      return { value: node.hostIps[0] ?? "" };
    case "status.hostIPs":
      return { value: node.hostIps.join(",") };
    case "status.podIP":
      return { value: podIps[0] ?? "" };
    case "status.podIPs":
      return { value: podIps.join(",") };
    default:
      return { problem: `unsupported fieldPath: ${path}` };
  }
}

/** requests.cpu, limits.memory, … divided by the divisor, rounded up. Missing limits are the node's allocatable. */
export function resourceFieldValue(
  selector: ResourceFieldSelector,
  container: Container,
  pod: NodePod,
  node: NodeFigures,
): FieldValue {
  const match = /^(requests|limits)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/.exec(
    selector.resource,
  );
  const kind = match?.[1];
  const name = match?.[2];
  if (kind === undefined || name === undefined) {
    return { problem: `unsupported container resource : ${selector.resource}` };
  }
  const ceiling = pod.spec.resources?.limits?.[name] ?? node.allocatable[name];
  const limit = container.resources?.limits?.[name] ?? ceiling;
  const quantity = kind === "limits" ? limit : container.resources?.requests?.[name];
  const divisor =
    selector.divisor === undefined || selector.divisor === "0" ? "1" : selector.divisor;
  const amount = (text: string): number => (name === "cpu" ? toMilli(text) : toWhole(text));
  const value = quantity === undefined ? 0 : Math.ceil(amount(quantity) / amount(divisor));
  return { value: String(value) };
}

/** For volumes, where the selector names its container. */
export function namedResourceFieldValue(
  selector: ResourceFieldSelector,
  pod: NodePod,
  node: NodeFigures,
): FieldValue {
  const container = containerNamed(pod, selector.containerName ?? "");
  if (container === undefined) {
    return { problem: `container ${selector.containerName ?? ""} not found` };
  }
  return resourceFieldValue(selector, container, pod, node);
}
