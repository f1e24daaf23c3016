/**
 * /metrics/resource: the stats summary in Prometheus' text form, with the names, labels and timestamps of upstream's kubelet: what
 * metrics servers read. Pure.
 */
import { metricFamily, type Sample } from "#machinery/metrics.ts";
import type { ContainerSummary, PodSummary, Summary } from "./summary-form.ts";

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly labels: readonly string[];
  readonly samples: (summary: Summary) => readonly (Sample | undefined)[];
}

const containerLabels = ["container", "namespace", "pod"];
const podLabels = ["namespace", "pod"];

const sample = (
  values: readonly string[],
  value: number | undefined,
  atMs: number | undefined,
): Sample | undefined =>
  value === undefined ? undefined : { values, value, ...(atMs === undefined ? {} : { atMs }) };
const seconds = (nanos: number | undefined): number | undefined =>
  nanos === undefined ? undefined : nanos / 1e9;

const ofContainers =
  (
    read: (one: ContainerSummary) => readonly [value: number | undefined, atMs: number | undefined],
  ) =>
  ({ pods }: Summary) =>
    pods.flatMap(({ podRef, containers }) =>
      containers.map((one) => sample([one.name, podRef.namespace, podRef.name], ...read(one))),
    );
const ofPods =
  (read: (one: PodSummary) => readonly [value: number | undefined, atMs: number | undefined]) =>
  ({ pods }: Summary) =>
    pods.map((one) => sample([one.podRef.namespace, one.podRef.name], ...read(one)));

const families: readonly Family[] = [
  {
    name: "container_cpu_usage_seconds_total",
    help: "[STABLE] CPU time that the container has used, in seconds of one core",
    type: "counter",
    labels: containerLabels,
    samples: ofContainers(({ cpu }) => [seconds(cpu?.usageCoreNanoSeconds), cpu?.time]),
  },
  {
    name: "container_memory_working_set_bytes",
    help: "[STABLE] Working set of the container in bytes",
    type: "gauge",
    labels: containerLabels,
    samples: ofContainers(({ memory }) => [memory?.workingSetBytes, memory?.time]),
  },
  {
    name: "container_start_time_seconds",
    help: "[STABLE] When the container started, in seconds since the epoch",
    type: "gauge",
    labels: containerLabels,
    samples: ofContainers(({ startTime }) => [startTime / 1000, undefined]),
  },
  {
    name: "node_cpu_usage_seconds_total",
    help: "[STABLE] CPU time that the node has used, in seconds of one core",
    type: "counter",
    labels: [],
    samples: ({ node: { cpu } }) => [sample([], seconds(cpu.usageCoreNanoSeconds), cpu.time)],
  },
  {
    name: "node_memory_working_set_bytes",
    help: "[STABLE] Working set of the node in bytes",
    type: "gauge",
    labels: [],
    samples: ({ node: { memory } }) => [sample([], memory.workingSetBytes, memory.time)],
  },
  {
    name: "node_swap_usage_bytes",
    help: "[ALPHA] Swap that the node uses, in bytes",
    type: "gauge",
    labels: [],
    samples: ({ node: { swap } }) => [sample([], swap.swapUsageBytes, swap.time)],
  },
  {
    name: "pod_cpu_usage_seconds_total",
    help: "[STABLE] CPU time that the pod has used, in seconds of one core",
    type: "counter",
    labels: podLabels,
    samples: ofPods(({ cpu }) => [seconds(cpu?.usageCoreNanoSeconds), cpu?.time]),
  },
  {
    name: "pod_memory_working_set_bytes",
    help: "[STABLE] Working set of the pod in bytes",
    type: "gauge",
    labels: podLabels,
    samples: ofPods(({ memory }) => [memory?.workingSetBytes, memory?.time]),
  },
];

/** Undefined: the figures could not be had, which is a figure itself. */
export function resourceMetrics(summary: Summary | undefined): string {
  const text = families.map(({ name, help, type, labels, samples }) =>
    metricFamily(
      { name, help, type, labels },
      summary === undefined ? [] : samples(summary).filter((one) => one !== undefined),
    ),
  );
  const failed: readonly Sample[] = [{ values: [], value: summary === undefined ? 1 : 0 }];
  const error = (name: string, level: string): string =>
    metricFamily(
      {
        name,
        help: `[${level}] 1 if the figures could not be had, else 0`,
        type: "gauge",
        labels: [],
      },
      failed,
    );
  return [...text, error("resource_scrape_error", "STABLE"), error("scrape_error", "ALPHA")].join(
    "",
  );
}
