/** The kubelet's settings: fields of upstream's KubeletConfiguration under their own names, with upstream's defaults. Pure. */
import type { Taint } from "#api/generated/core/v1.ts";
import type { Roots } from "./paths.ts";

export interface KubeletConfig {
  readonly maxPods: number;
  readonly clusterDNS: readonly string[];
  readonly clusterDomain: string;
  /** The host's resolver configuration; "": none. */
  readonly resolvConf: string;
  /** Resource name to quantity: kept back from pods. */
  readonly systemReserved: Readonly<Record<string, string>>;
  readonly kubeReserved: Readonly<Record<string, string>>;
  /** How often to look whether the node's status changed. */
  readonly nodeStatusUpdateFrequencyMs: number;
  /** An unchanged status is written after this, for the heartbeat times in it. */
  readonly nodeStatusReportFrequencyMs: number;
  readonly nodeLeaseDurationSeconds: number;
  readonly nodeStatusMaxImages: number;
  /** Per pod; undefined: no limit. */
  readonly podPidsLimit: number | undefined;
  readonly containerLogMaxBytes: number;
  readonly containerLogMaxFiles: number;
  readonly containerLogMonitorIntervalMs: number;
  readonly parallelImagePullsMax: number;
  readonly crashLoopBackOffMsMax: number;
  /** Free memory below this is pressure (upstream's evictionHard memory.available). */
  readonly memoryAvailableBytesMin: number;
  /** Free shares of the root file system below these are pressure (nodefs.available, nodefs.inodesFree). */
  readonly diskAvailableShareMin: number;
  readonly inodesFreeShareMin: number;
  /** Looks at everything anew, in case an event was lost. */
  readonly relistPeriodMs: number;
}

export const defaultConfig: KubeletConfig = {
  maxPods: 110,
  clusterDNS: [],
  clusterDomain: "cluster.local",
  resolvConf: "/etc/resolv.conf",
  systemReserved: {},
  kubeReserved: {},
  nodeStatusUpdateFrequencyMs: 10_000,
  nodeStatusReportFrequencyMs: 300_000,
  nodeLeaseDurationSeconds: 40,
  nodeStatusMaxImages: 50,
  podPidsLimit: undefined,
  containerLogMaxBytes: 10 * 1024 * 1024,
  containerLogMaxFiles: 5,
  containerLogMonitorIntervalMs: 10_000,
  parallelImagePullsMax: 1,
  crashLoopBackOffMsMax: 300_000,
  memoryAvailableBytesMin: 100 * 1024 * 1024,
  diskAvailableShareMin: 0.1,
  inodesFreeShareMin: 0.05,
  relistPeriodMs: 300_000,
};

/** How the node shows itself to the cluster. */
export interface NodeIdentity {
  readonly nodeName: string;
  /** "v1.37.2": reported as kubeletVersion. */
  readonly version: string;
  readonly hostname?: string;
  /** Addresses to report; without them the host's. */
  readonly nodeIps?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly Taint[];
  readonly providerID?: string;
}

export interface NodePlaces extends Roots {
  /** "/kubepods", or another root for a second node on the same machine. */
  readonly cgroupRoot: string;
  /** Labels by which this kubelet knows its own sandboxes in a runtime that others share. */
  readonly runtimeLabels: Readonly<Record<string, string>>;
}

/** What the kubelet calls itself to containers it asks. */
export const userAgent = (purpose: "probe" | "lifecycle", version: string): string => {
  const [major = "1", minor = "0"] = version.replace(/^v/, "").split(".");
  return `kube-${purpose}/${major}.${minor}`;
};
