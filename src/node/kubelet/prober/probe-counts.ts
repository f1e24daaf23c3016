/** How the probes of one container went and how long they took, for /metrics/probes. It is forgotten with its pod. */
import { HistogramSeries, Metrics } from "#machinery/metrics.ts";

/** Prometheus' usual ones, in seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface Probed {
  readonly probeType: "Liveness" | "Readiness" | "Startup";
  readonly container: string;
  readonly pod: string;
  readonly namespace: string;
  readonly podUid: string;
}
export type ProbeResult = "successful" | "failed" | "unknown";

export class ProbeCounts {
  readonly probed: Probed;
  readonly results = new Map<ProbeResult, number>();
  readonly durations = new HistogramSeries([], bounds);

  constructor(probed: Probed) {
    this.probed = probed;
  }

  count(result: ProbeResult, tookMs: number): void {
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
    // Upstream: what failed has no duration.
    if (result !== "failed") this.durations.observe(tookMs / 1000);
  }
}

/** In Prometheus' text form, under upstream's names. */
export function probeMetrics(all: Iterable<ProbeCounts>, startedAtMs: number): string {
  const metrics = new Metrics();
  metrics
    .gauge("process_start_time_seconds", "When this kubelet started, in seconds since the epoch.")
    .of([])
    .set(startedAtMs / 1000);
  const totals = metrics.counter("prober_probe_total", "Probes of a container by their result.", [
    "container",
    "namespace",
    "pod",
    "pod_uid",
    "probe_type",
    "result",
  ]);
  const durations = metrics.histogram(
    "prober_probe_duration_seconds",
    "How long the answer to a probe took.",
    ["container", "namespace", "pod", "probe_type"],
    bounds,
  );
  for (const { probed, results, durations: took } of all) {
    const { probeType, container, pod, namespace, podUid } = probed;
    for (const [result, count] of results)
      totals.of([container, namespace, pod, podUid, probeType, result]).add(count);
    if (took.count > 0) durations.of([container, namespace, pod, probeType]).include(took);
  }
  return metrics.write();
}
