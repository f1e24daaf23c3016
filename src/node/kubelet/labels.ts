/**
 * Labels and annotations that the kubelet puts on sandboxes and containers: its memory across restarts. The keys are
 * upstream's, so that other tools find their way.
 */
import type { Container } from "#api/generated/core/v1.ts";
import { containerHash, type NodePod } from "./pod-spec.ts";

/** Labels that mark everything this node's kubelet owns in a runtime that others may share. */
export type RuntimeLabels = Readonly<Record<string, string>>;

export const labels = {
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  containerName: "io.kubernetes.container.name",
} as const;

export const annotations = {
  hash: "io.kubernetes.container.hash",
  restartCount: "io.kubernetes.container.restartCount",
  terminationMessagePath: "io.kubernetes.container.terminationMessagePath",
  terminationMessagePolicy: "io.kubernetes.container.terminationMessagePolicy",
  preStopHandler: "io.kubernetes.container.preStopHandler",
  ports: "io.kubernetes.container.ports",
  deletionGracePeriod: "io.kubernetes.pod.deletionGracePeriod",
  terminationGracePeriod: "io.kubernetes.pod.terminationGracePeriod",
} as const;

const identityOf = (pod: NodePod): Record<string, string> => ({
  [labels.podName]: pod.metadata.name,
  [labels.podNamespace]: pod.metadata.namespace,
  [labels.podUid]: pod.metadata.uid,
});

export const sandboxLabels = (pod: NodePod, owned: RuntimeLabels): Record<string, string> => ({
  ...pod.metadata.labels,
  ...owned,
  ...identityOf(pod),
});

export const containerLabels = (
  pod: NodePod,
  name: string,
  owned: RuntimeLabels,
): Record<string, string> => ({
  ...owned,
  ...identityOf(pod),
  [labels.containerName]: name,
});

export function containerAnnotations(
  pod: NodePod,
  container: Container,
  restartCount: number,
): Record<string, string> {
  const deletionGrace = pod.metadata.deletionGracePeriodSeconds;
  const grace = pod.spec.terminationGracePeriodSeconds;
  const preStop = container.lifecycle?.preStop;
  return {
    [annotations.hash]: containerHash(container),
    [annotations.restartCount]: String(restartCount),
    [annotations.terminationMessagePath]: container.terminationMessagePath ?? "",
    [annotations.terminationMessagePolicy]: container.terminationMessagePolicy ?? "",
    ...(deletionGrace === undefined
      ? {}
      : { [annotations.deletionGracePeriod]: String(deletionGrace) }),
    ...(grace === undefined ? {} : { [annotations.terminationGracePeriod]: String(grace) }),
    ...(preStop === undefined ? {} : { [annotations.preStopHandler]: JSON.stringify(preStop) }),
    ...((container.ports ?? []).length === 0
      ? {}
      : { [annotations.ports]: JSON.stringify(container.ports) }),
  };
}
