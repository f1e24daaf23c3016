/** What a pod's spec says, read once: lookups, restart decisions, namespaces. Pure. */
import type { Container, EphemeralContainer, Pod } from "#api/generated/core/v1.ts";
import { fnv1a32 } from "#machinery/hash.ts";

/** A Pod that has an identity: every pod that came from the API server. */
export interface NodePod extends Pod {
  readonly metadata: Pod["metadata"] & {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
  };
}

/** The pod as the kubelet knows it; undefined if the object lacks what every stored pod has. */
export function nodePod(pod: Pod): NodePod | undefined {
  const { name, namespace, uid } = pod.metadata;
  if (name === undefined || namespace === undefined || uid === undefined) return undefined;
  return { ...pod, metadata: { ...pod.metadata, name, namespace, uid } };
}

/** "name_namespace(uid)": how upstream's events and messages name a pod. */
export const formatPod = (pod: NodePod): string =>
  `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;

export const podKey = (pod: NodePod): string => `${pod.metadata.namespace}/${pod.metadata.name}`;

export const initContainersOf = (pod: NodePod): readonly Container[] =>
  pod.spec.initContainers ?? [];
export const ephemeralContainersOf = (pod: NodePod): readonly EphemeralContainer[] =>
  pod.spec.ephemeralContainers ?? [];

/** An ephemeral container in the shape of any other: its own fields beyond that are not looked at. */
export const asContainer = (ephemeral: EphemeralContainer): Container => ephemeral;

export function allContainersOf(pod: NodePod): readonly Container[] {
  return [
    ...initContainersOf(pod),
    ...pod.spec.containers,
    ...ephemeralContainersOf(pod).map(asContainer),
  ];
}
export const containerNamed = (pod: NodePod, name: string): Container | undefined =>
  allContainersOf(pod).find((container) => container.name === name);

export const isHostNetwork = (pod: NodePod): boolean => pod.spec.hostNetwork === true;

export const isPrivileged = (pod: NodePod): boolean =>
  allContainersOf(pod).some((container) => container.securityContext?.privileged === true);

/** Static pods are announced by mirror pods, which nobody runs from the API. */
export const isMirrorPod = (pod: NodePod): boolean =>
  pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;

/** The matching action of the container's restart rules, if any. */
function matchingRule(container: Container, exitCode: number): string | undefined {
  for (const rule of container.restartPolicyRules ?? []) {
    const codes = rule.exitCodes;
    if (codes === undefined) continue;
    const listed = (codes.values ?? []).includes(exitCode);
    if (codes.operator === "In" ? listed : codes.operator === "NotIn" && !listed) {
      return rule.action;
    }
  }
  return undefined;
}

/** Whether a container that ended with this code is started again. */
export function shouldRestartAfter(container: Container, pod: NodePod, exitCode: number): boolean {
  if (container.restartPolicy !== undefined) {
    if (matchingRule(container, exitCode) === "Restart") return true;
    if (container.restartPolicy === "Always") return true;
    if (container.restartPolicy === "OnFailure") return exitCode !== 0;
    if (container.restartPolicy === "Never") return false;
  }
  if (pod.spec.restartPolicy === "OnFailure") return exitCode !== 0;
  return pod.spec.restartPolicy !== "Never";
}

/** Whether a running container that failed a probe comes back (its exit code is not known yet). */
export function restartsWhileRunning(container: Container, pod: NodePod): boolean {
  if (container.restartPolicy !== undefined) return container.restartPolicy !== "Never";
  return pod.spec.restartPolicy !== "Never";
}

/** "spec.containers{web}": what an event about a container points at. */
export function containerFieldPath(pod: NodePod, name: string): string {
  const holds = (containers: readonly Container[]): boolean =>
    containers.some((container) => container.name === name);
  if (holds(pod.spec.containers)) return `spec.containers{${name}}`;
  if (holds(initContainersOf(pod))) return `spec.initContainers{${name}}`;
  return `spec.ephemeralContainers{${name}}`;
}

/**
 * Identifies what a container must be recreated for: its name and image (everything else is immutable, or changed in
 * place). FNV-1a, hexadecimal, kept in an annotation of the container.
 */
export function containerHash(container: Container): string {
  return fnv1a32(JSON.stringify({ image: container.image ?? "", name: container.name })).toString(
    16,
  );
}
