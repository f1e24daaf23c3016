/**
 * The log as lines on a stream (standard error, a file): `time level component message key=value …`, or one JSON object
 * a line. Logging never throws and never grows without bound: when the stream does not keep up, lines are dropped and counted.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";

export type LogLevel = Parameters<Log["write"]>[0];
type Facts = Readonly<Record<string, unknown>>;

export interface LogOptions {
  readonly stream: NodeJS.WritableStream;
  readonly clock: Clock;
  /** Lines below this level are not written. */
  readonly level: LogLevel;
  readonly format: "text" | "json";
}

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const waitingBytesMax = 4 * 1024 * 1024;
const valueLengthMax = 16 * 1024;

export function lineLog(options: LogOptions): Log {
  // A reader that went away (EPIPE) must not bring the process down; nobody is left to be told.
  options.stream.on("error", () => {});
  const state = { dropped: 0 };
  return logOf(options, state, "");
}

function logOf(options: LogOptions, state: { dropped: number }, component: string): Log {
  const least = ranks[options.level];
  const line = (level: LogLevel, message: string, facts: Facts): string =>
    (options.format === "json" ? jsonLine : textLine)(
      timeOf(options.clock),
      level,
      component,
      message,
      facts,
    );
  const put = (text: string): void => {
    try {
      options.stream.write(text);
    } catch {
      state.dropped++;
    }
  };
  return {
    write(level, message, facts = {}) {
      if (ranks[level] < least) return;
      if (waitingBytes(options.stream) > waitingBytesMax) {
        state.dropped++;
        return;
      }
      if (state.dropped > 0) {
        const lines = state.dropped;
        state.dropped = 0;
        put(line("warn", "log lines were dropped: whoever reads the log is too slow", { lines }));
      }
      put(line(level, message, facts));
    },
    child: (name) => logOf(options, state, component === "" ? name : `${component}/${name}`),
  };
}

function waitingBytes(stream: NodeJS.WritableStream): number {
  const length: unknown = Reflect.get(stream, "writableLength");
  return typeof length === "number" ? length : 0;
}

const timeOf = (clock: Clock): string => new Date(clock.now()).toISOString();

function textLine(
  time: string,
  level: LogLevel,
  component: string,
  message: string,
  facts: Facts,
): string {
  const parts = [time, level.padEnd(5), component === "" ? "-" : component, flat(message)];
  for (const key of keysOf(facts)) {
    const value = factOf(facts, key);
    if (value !== undefined) parts.push(`${key}=${textOf(value)}`);
  }
  return `${parts.join(" ")}\n`;
}

function jsonLine(
  time: string,
  level: LogLevel,
  component: string,
  message: string,
  facts: Facts,
): string {
  const entry: Record<string, unknown> = { time, level, component, message };
  // A fact must not replace what every line has.
  for (const key of keysOf(facts))
    entry[key in entry ? `${key}_` : key] = jsonOf(factOf(facts, key));
  return `${JSON.stringify(entry)}\n`;
}

function keysOf(facts: Facts): string[] {
  try {
    return Object.keys(facts);
  } catch {
    return [];
  }
}

/** A fact may be a getter, and a getter may throw. */
function factOf(facts: Facts, key: string): unknown {
  try {
    return facts[key];
  } catch {
    return "(unreadable)";
  }
}

const flat = (text: string): string => text.replaceAll(/[\r\n]+/g, "\\n");

function textOf(value: unknown): string {
  const json = jsonOf(value);
  if (typeof json !== "string") return clip(JSON.stringify(json));
  return /^[^\s"=]+$/.test(json) ? clip(json) : clip(JSON.stringify(json));
}

const clip = (text: string): string =>
  text.length <= valueLengthMax
    ? text
    : `${text.slice(0, valueLengthMax)}… (${text.length} characters)`;

/** What JSON can say of a value; errors as their message with their causes, the rest as text. */
function jsonOf(value: unknown): unknown {
  if (value instanceof Error) return errorText(value);
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") return value;
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return `(${typeof value})`;
  try {
    const text = JSON.stringify(value, (_key, inner: unknown) =>
      typeof inner === "bigint" ? String(inner) : inner instanceof Error ? errorText(inner) : inner,
    );
    return text.length > valueLengthMax ? clip(text) : JSON.parse(text);
  } catch {
    return "(not representable)";
  }
}

function errorText(error: Error, depth = 0): string {
  const own = `${error.name}: ${error.message}`;
  return error.cause instanceof Error && depth < 4
    ? `${own}: ${errorText(error.cause, depth + 1)}`
    : own;
}
