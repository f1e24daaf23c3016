/** The real clock: wall time, monotonic time and timers of the process, time zones from its ICU data. */
import { performance } from "node:perf_hooks";
import type { Clock } from "#ports/clock.ts";

/** setTimeout holds its delay in 31 bits; longer waits are cut into pieces. */
const delayMsMax = 2 ** 31 - 1;
const zonesMax = 1_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after,
  offsetMs,
};

function after(ms: number, run: () => void): () => void {
  if (Number.isNaN(ms)) throw new Error("a timer was asked for after NaN milliseconds");
  const due = performance.now() + Math.max(0, ms);
  let timer: NodeJS.Timeout;
  // The event loop counts whole milliseconds and may call up to one too early: never run before the time.
  const arm = (): void => {
    const delay = Math.min(Math.ceil(Math.max(0, due - performance.now())), delayMsMax);
    timer = setTimeout(() => (performance.now() < due ? arm() : run()), delay);
  };
  arm();
  return () => clearTimeout(timer);
}

const formats = new Map<string, Intl.DateTimeFormat | undefined>();

function offsetMs(zone: string, at: number): number | undefined {
  const format = formatOf(zone);
  if (format === undefined) return undefined;
  const name = format.formatToParts(at).find((part) => part.type === "timeZoneName")?.value ?? "";
  const match = /^GMT(?:([+-])(\d{1,2}):?(\d{2})?(?::(\d{2}))?)?$/.exec(name);
  if (match === null) throw new Error(`cannot read the offset ${name} of time zone ${zone}`);
  const [hours, minutes, seconds] = [match[2], match[3], match[4]].map((part) => Number(part ?? 0));
  const offset = ((hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0)) * 1000;
  return match[1] === "-" ? -offset : offset;
}

function formatOf(zone: string): Intl.DateTimeFormat | undefined {
  if (formats.has(zone)) return formats.get(zone);
  if (formats.size >= zonesMax) formats.clear();
  const format = makeFormat(zone);
  formats.set(zone, format);
  return format;
}

function makeFormat(zone: string): Intl.DateTimeFormat | undefined {
  // Newer engines also take bare offsets such as +01:00, which are no IANA zones.
  if (!/^[A-Za-z]/.test(zone)) return undefined;
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
