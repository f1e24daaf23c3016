/** What only this process knows of itself: its time, its memory, how late its event loop is. Read when somebody asks for the metrics. */
import { readdirSync } from "node:fs";
import { type EventLoopGauge, eventLoopDelay } from "#adapters/nodejs/event-loop.ts";
import type { Metrics } from "#machinery/metrics.ts";

const startedAtSeconds = Date.now() / 1000 - process.uptime();

/** Undefined: this system does not say. */
function openFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

export function tellOfProcess(metrics: Metrics): EventLoopGauge {
  const delays = eventLoopDelay();
  const cpu = metrics.counter("process_cpu_seconds_total", "CPU time used, in seconds.").of([]);
  const resident = metrics.gauge("process_resident_memory_bytes", "Resident memory, in bytes.");
  const heap = metrics.gauge("nodejs_heap_size_used_bytes", "Heap in use, in bytes.");
  const files = metrics.gauge("process_open_fds", "Open files.");
  const start = metrics.gauge("process_start_time_seconds", "Start, in seconds since 1970.");
  const lag = metrics.gauge(
    "nodejs_eventloop_delay_seconds",
    "How late the event loop runs what is due, in seconds, since the last time somebody asked.",
    ["quantile"],
  );
  start.of([]).set(startedAtSeconds);
  metrics.gather(() => {
    const { user, system } = process.cpuUsage();
    cpu.value = (user + system) / 1e6;
    const { rss, heapUsed } = process.memoryUsage();
    resident.of([]).set(rss);
    heap.of([]).set(heapUsed);
    const open = openFiles();
    if (open !== undefined) files.of([]).set(open);
    const { p50Ms, p99Ms, p999Ms } = delays.read();
    for (const [quantile, ms] of [
      ["0.5", p50Ms],
      ["0.99", p99Ms],
      ["0.999", p999Ms],
    ] as const)
      lag.of([quantile]).set(ms / 1000);
    delays.reset();
  });
  return delays;
}
