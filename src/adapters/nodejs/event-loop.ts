/** How late the event loop of this thread runs what is due: a figure of every process and every benchmark. */
import { monitorEventLoopDelay } from "node:perf_hooks";

export interface EventLoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export interface EventLoopGauge {
  /** Delays seen since the gauge was made or last reset. */
  read(): EventLoopDelay;
  reset(): void;
  stop(): void;
}

const resolutionMs = 10;

/** Measures from now until stop(). The wait that the measurement itself asks for is taken off. */
export function eventLoopDelay(): EventLoopGauge {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  const delayMs = (nanoseconds: number): number =>
    Math.max(0, Math.round((nanoseconds / 1e6 - resolutionMs) * 1000) / 1000);
  return {
    read: () => ({
      p50Ms: delayMs(histogram.percentile(50)),
      p99Ms: delayMs(histogram.percentile(99)),
      p999Ms: delayMs(histogram.percentile(99.9)),
      maxMs: delayMs(histogram.max),
    }),
    reset: () => histogram.reset(),
    stop: () => {
      histogram.disable();
    },
  };
}
