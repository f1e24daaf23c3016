/** Where the kubelet keeps things on the host: upstream's layout, so that other tools find their way. Pure. */
import type { NodePod } from "./pod-spec.ts";

export interface Roots {
  /** /var/lib/kubelet */
  readonly root: string;
  /** /var/log/pods */
  readonly logs: string;
  /** /var/log/containers; undefined: no links for log collectors. */
  readonly logLinks?: string;
}

export const podsDirectory = (roots: Roots): string => `${roots.root}/pods`;
export const podDirectory = (roots: Roots, uid: string): string => `${podsDirectory(roots)}/${uid}`;
export const volumesDirectory = (roots: Roots, uid: string): string =>
  `${podDirectory(roots, uid)}/volumes`;
export const volumeDirectory = (
  roots: Roots,
  uid: string,
  plugin: string,
  volume: string,
): string => `${volumesDirectory(roots, uid)}/kubernetes.io~${plugin}/${volume}`;
/** One file system in memory for what must never be on disk: Secrets and tokens of all pods. */
export const memoryDirectory = (roots: Roots): string => `${roots.root}/memory`;
export const podMemoryDirectory = (roots: Roots, uid: string): string =>
  `${memoryDirectory(roots)}/${uid}`;
export const memoryVolumeDirectory = (
  roots: Roots,
  uid: string,
  plugin: string,
  volume: string,
): string => `${podMemoryDirectory(roots, uid)}/kubernetes.io~${plugin}/${volume}`;
export const hostsFilePath = (roots: Roots, uid: string): string =>
  `${podDirectory(roots, uid)}/etc-hosts`;
export const containerDirectory = (roots: Roots, uid: string, container: string): string =>
  `${podDirectory(roots, uid)}/containers/${container}`;

/** `attempt`: each run of a container has a file of its own. */
export const terminationLogPath = (
  roots: Roots,
  uid: string,
  container: string,
  attempt: number,
): string => `${containerDirectory(roots, uid, container)}/termination-${attempt}.log`;

export const podLogsDirectory = (roots: Roots, pod: NodePod): string => {
  const { namespace, name, uid } = pod.metadata;
  return `${roots.logs}/${namespace}_${name}_${uid}`;
};
/** Relative to the pod's log directory. */
export const containerLogPath = (container: string, attempt: number): string =>
  `${container}/${attempt}.log`;

/** The link that log collectors follow: pod_namespace_container-id.log. */
export const logLinkPath = (
  directory: string,
  pod: { readonly name: string; readonly namespace: string },
  container: string,
  containerId: string,
): string => `${directory}/${pod.name}_${pod.namespace}_${container}-${containerId}.log`;
