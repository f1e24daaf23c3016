/** /metrics of the kubelet: what it runs, and what its claims' volumes hold, under upstream's names. Pure. */
import { Metrics } from "#machinery/metrics.ts";
import type { Summary, VolumeStats } from "./summary-form.ts";

export interface KubeletFigures {
  readonly nodeName: string;
  /** "v1.37.2" */
  readonly version: string;
  readonly startedAtMs: number;
  readonly runningPods: number;
  /** By state: "created", "running", "exited", "unknown". */
  readonly containers: ReadonlyMap<string, number>;
  readonly summary: Summary;
}

const volumeFigures: readonly (readonly [name: string, help: string, of: keyof VolumeStats])[] = [
  ["available_bytes", "What is free on the volume, in bytes.", "availableBytes"],
  ["capacity_bytes", "What the volume holds, in bytes.", "capacityBytes"],
  ["inodes", "How many inodes the volume has.", "inodes"],
  ["inodes_free", "How many inodes of the volume are free.", "inodesFree"],
  ["inodes_used", "How many inodes of the volume are used.", "inodesUsed"],
  ["used_bytes", "What is used of the volume, in bytes.", "usedBytes"],
];

export function kubeletMetrics(figures: KubeletFigures): string {
  const { nodeName, version, startedAtMs, runningPods, containers, summary } = figures;
  const metrics = new Metrics();
  const [, major = "", minor = ""] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  metrics
    .gauge("kubernetes_build_info", "Always 1: the version is in the labels.", [
      "git_version",
      "major",
      "minor",
    ])
    .of([version, major, minor])
    .set(1);
  metrics
    .gauge("process_start_time_seconds", "When this kubelet started, in seconds since the epoch.")
    .of([])
    .set(startedAtMs / 1000);
  metrics
    .gauge("kubelet_node_name", "Always 1: the name is in the label.", ["node"])
    .of([nodeName])
    .set(1);
  metrics.gauge("kubelet_running_pods", "Pods with a running sandbox.").of([]).set(runningPods);
  const states = metrics.gauge("kubelet_running_containers", "Containers by state.", [
    "container_state",
  ]);
  for (const [state, count] of containers) states.of([state]).set(count);
  for (const [name, help, of] of volumeFigures) {
    const family = metrics.gauge(`kubelet_volume_stats_${name}`, help, [
      "namespace",
      "persistentvolumeclaim",
    ]);
    for (const { pvcRef, ...use } of summary.pods.flatMap(({ volume }) => volume ?? [])) {
      const value = (use as VolumeStats)[of];
      if (pvcRef !== undefined && typeof value === "number")
        family.of([pvcRef.namespace, pvcRef.name]).set(value);
    }
  }
  return metrics.write();
}
