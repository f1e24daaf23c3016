/** What only this process knows of itself: its time, its memory, how busy its event loop is. Read when somebody asks for the metrics. */
import { readdirSync } from "node:fs";
import { performance } from "node:perf_hooks";
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

export function tellOfProcess(metrics: Metrics): void {
  let before = performance.eventLoopUtilization();
  const cpu = metrics.counter("process_cpu_seconds_total", "CPU time used, in seconds.").of([]);
  const resident = metrics.gauge("process_resident_memory_bytes", "Resident memory, in bytes.");
  const heap = metrics.gauge("nodejs_heap_size_used_bytes", "Heap in use, in bytes.");
  const files = metrics.gauge("process_open_fds", "Open files.");
  const start = metrics.gauge("process_start_time_seconds", "Start, in seconds since 1970.");
  // How late it is could only be told by a timer that wakes an idle process a hundred times a second.
  const busy = metrics.gauge(
    "nodejs_eventloop_utilization_ratio",
    "Share of the time since somebody last asked in which the event loop ran, 0 to 1.",
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
    const now = performance.eventLoopUtilization();
    busy.of([]).set(performance.eventLoopUtilization(now, before).utilization);
    before = now;
  });
}
