/** What is counted of a work queue, under upstream's names. */
import { exponentialBuckets, type Metrics } from "#machinery/metrics.ts";

const seconds = exponentialBuckets(1e-8, 10, 10);

export function workQueueMetrics(metrics: Metrics, name: string) {
  const of = [name];
  const counter = (rest: string, help: string) =>
    metrics.counter(`workqueue_${rest}`, help, ["name"]).of(of);
  const gauge = (rest: string, help: string) =>
    metrics.gauge(`workqueue_${rest}`, help, ["name"]).of(of);
  const histogram = (rest: string, help: string) =>
    metrics.histogram(`workqueue_${rest}`, help, ["name"], seconds).of(of);
  return {
    adds: counter("adds_total", "Keys added."),
    retries: counter("retries_total", "Keys added again after a failure."),
    depth: gauge("depth", "Keys that wait now."),
    waited: histogram("queue_duration_seconds", "How long keys waited, in seconds."),
    worked: histogram("work_duration_seconds", "How long keys were worked on, in seconds."),
  };
}
export type WorkQueueMetrics = ReturnType<typeof workQueueMetrics>;
