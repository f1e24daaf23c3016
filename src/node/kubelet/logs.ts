/**
 * Container logs: reads CRI log files, the last lines first if asked, and follows them as they grow and are rotated. Reads
 * through the Host port; writes nothing.
 */
import { formatTime, parseTime } from "#machinery/time.ts";
import type { Host } from "#ports/host.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { LineSplitter, type LogLine, newline, parseLogLine } from "./log-format.ts";

export interface LogOptions {
  readonly follow: boolean;
  readonly timestamps: boolean;
  readonly tailLines?: number;
  readonly limitBytes?: number;
  readonly sinceMs?: number;
  readonly stream: "All" | "Stdout" | "Stderr";
}
export interface LogFile {
  readonly path: string;
  /** Nothing more will be written. */
  ended(): boolean;
  /** Calls when that becomes so; the result takes it back. */
  whenEnded(run: () => void): () => void;
}

const chunkBytes = 64 * 1024;

/** Where the last `lines` lines of the file begin. */
export async function tailOffset(
  host: Host,
  path: string,
  sizeBytes: number,
  lines: number,
): Promise<number> {
  if (lines <= 0) return sizeBytes;
  let left = lines;
  let at = sizeBytes;
  let isLast = true;
  while (at > 0) {
    const from = Math.max(0, at - chunkBytes);
    const chunk = await host.read(path, { offset: from, lengthMax: at - from });
    if (chunk === undefined) return 0;
    for (let index = chunk.length - 1; index >= 0; index -= 1) {
      if (chunk[index] !== newline) {
        isLast = false;
        continue;
      }
      // The newline at the very end closes the last line, it does not begin one.
      if (isLast) {
        isLast = false;
        continue;
      }
      left -= 1;
      if (left === 0) return from + index + 1;
    }
    at = from;
  }
  return 0;
}

/** "2026-01-01T00:00:00.5Z" sorts before "2026-01-01T00:00:00.45Z" as text: compared as times. */
function isBefore(line: LogLine, sinceMs: number): boolean {
  const at = parseTime(line.time);
  return at !== undefined && at < sinceMs;
}

class LogReader implements Source<Bytes> {
  readonly #host: Host;
  readonly #file: LogFile;
  readonly #options: LogOptions;
  #splitter = new LineSplitter();
  #offset = -1;
  /** Without following: what the file held when it was asked for. */
  #endOffset = Number.POSITIVE_INFINITY;
  #inode: number | undefined;
  #changes: Source<string> | undefined;
  #bytesLeft: number;
  #lineOpen = false;
  #stopped = false;

  constructor(host: Host, file: LogFile, options: LogOptions) {
    this.#host = host;
    this.#file = file;
    this.#options = options;
    this.#bytesLeft = options.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  stop(): void {
    this.#stopped = true;
    this.#changes?.stop();
  }

  async next(): Promise<readonly Bytes[] | undefined> {
    for (;;) {
      if (this.#stopped || this.#bytesLeft <= 0) return this.#end();
      if (this.#offset < 0) await this.#begin();
      // Asked before reading: what is written up to the end is read.
      const ended = this.#file.ended();
      const chunk = await this.#host.read(this.#file.path, {
        offset: this.#offset,
        lengthMax: Math.min(chunkBytes, this.#endOffset - this.#offset),
      });
      if (chunk !== undefined && chunk.length > 0) {
        this.#offset += chunk.length;
        const shown = this.#show(this.#splitter.push(chunk));
        if (shown.length > 0) return shown;
        continue;
      }
      const isWhole = this.#offset >= this.#endOffset;
      if (!isWhole && (await this.#rotated())) continue;
      if (!this.#options.follow || ended) {
        const shown = this.#show(this.#splitter.flush());
        this.#bytesLeft = 0;
        if (shown.length > 0) return shown;
        continue;
      }
      await this.#waitForMore();
    }
  }

  #end(): undefined {
    this.stop();
    return undefined;
  }

  async #begin(): Promise<void> {
    const { follow, tailLines } = this.#options;
    if (follow) this.#changes = this.#host.changes(this.#file.path);
    const facts = await this.#host.stat(this.#file.path);
    this.#inode = facts?.inode;
    if (!follow && facts !== undefined) this.#endOffset = facts.sizeBytes;
    this.#offset =
      tailLines === undefined || facts === undefined
        ? 0
        : await tailOffset(this.#host, this.#file.path, facts.sizeBytes, tailLines);
  }

  /** Whether a new file took the old one's place; then it is read from its beginning. */
  async #rotated(): Promise<boolean> {
    const facts = await this.#host.stat(this.#file.path);
    if (facts === undefined || facts.inode === this.#inode) return false;
    const fresh = this.#inode === undefined;
    this.#inode = facts.inode;
    if (fresh) return facts.sizeBytes > 0;
    this.#offset = 0;
    this.#splitter = new LineSplitter();
    return true;
  }

  async #waitForMore(): Promise<void> {
    const changes = this.#changes;
    if (changes === undefined) return;
    let restart = false;
    const cancel = this.#file.whenEnded(() => {
      restart = true;
      changes.stop();
    });
    try {
      await changes.next();
    } finally {
      cancel();
    }
    if (restart && !this.#stopped) this.#changes = this.#host.changes(this.#file.path);
  }

  #show(lines: readonly Uint8Array[]): Bytes[] {
    const shown: Bytes[] = [];
    for (const text of lines) {
      const line = parseLogLine(text);
      if (line === undefined || !this.#isWanted(line)) continue;
      for (const part of this.#format(line)) {
        if (this.#bytesLeft <= 0) return shown;
        const cut = part.length > this.#bytesLeft ? part.subarray(0, this.#bytesLeft) : part;
        this.#bytesLeft -= cut.length;
        if (cut.length > 0) shown.push(cut);
      }
    }
    return shown;
  }

  #isWanted(line: LogLine): boolean {
    const { stream, sinceMs } = this.#options;
    if (stream !== "All" && stream.toLowerCase() !== line.stream) return false;
    return sinceMs === undefined || !isBefore(line, sinceMs);
  }

  /** Pieces of one line come out as one line, with one time in front. */
  #format(line: LogLine): Uint8Array[] {
    const parts: Uint8Array[] = [];
    if (this.#options.timestamps && !this.#lineOpen) {
      parts.push(new TextEncoder().encode(`${line.time} `));
    }
    parts.push(line.content);
    this.#lineOpen = line.partial;
    if (!line.partial) parts.push(new Uint8Array([newline]));
    return parts;
  }
}

export const readLogs = (host: Host, file: LogFile, options: LogOptions): Source<Bytes> =>
  new LogReader(host, file, options);

/** The last of a dead container's output: its termination message where it left none itself. */
export async function lastOutput(
  host: Host,
  path: string,
  linesMax: number,
  bytesMax: number,
): Promise<string> {
  const file: LogFile = { path, ended: () => true, whenEnded: () => () => {} };
  const source = readLogs(host, file, {
    follow: false,
    timestamps: false,
    tailLines: linesMax,
    stream: "All",
  });
  const bytes: number[] = [];
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) break;
    for (const chunk of batch) bytes.push(...chunk);
  }
  return new TextDecoder().decode(new Uint8Array(bytes.slice(-bytesMax)));
}

/** The name of a rotated log: "0.log.20261122-154323". */
export const rotatedName = (path: string, nowMs: number): string => {
  const stamp = formatTime(nowMs).replaceAll(/[-:Z]/g, "").replace("T", "-");
  return `${path}.${stamp}`;
};
