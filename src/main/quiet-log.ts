/** The log of commands that run in a terminal: errors only, on standard error. */
import { systemClock } from "#adapters/nodejs/clock.ts";
import { lineLog } from "#adapters/nodejs/log.ts";
import type { Log } from "#ports/log.ts";

export const quietLog = (): Log =>
  lineLog({ stream: process.stderr, clock: systemClock, level: "error", format: "text" });
