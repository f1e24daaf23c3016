/** A log that keeps its lines, for tests and simulations to read. */
import type { Log } from "#ports/log.ts";

export interface LogLine {
  readonly level: Parameters<Log["write"]>[0];
  readonly component: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface MemoryLog extends Log {
  /** The newest lines, oldest first. */
  readonly lines: readonly LogLine[];
}

/** Keeps the newest `linesMax` lines. */
export function memoryLog(linesMax = 10_000): MemoryLog {
  const lines: LogLine[] = [];
  const keep = (line: LogLine): void => {
    lines.push(line);
    // In slices, so that a full log does not move all its lines for each new one.
    if (lines.length >= linesMax * 1.5) lines.splice(0, lines.length - linesMax);
  };
  const logOf = (component: string): MemoryLog => ({
    lines,
    write: (level, message, facts = {}) => keep({ level, component, message, facts }),
    child: (name) => logOf(component === "" ? name : `${component}/${name}`),
  });
  return logOf("");
}
