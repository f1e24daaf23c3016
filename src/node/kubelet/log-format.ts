/** The CRI log format: "2026-11-22T15:43:23.391605316Z stdout F hello". Pure. */

export interface LogLine {
  /** As written, with nanoseconds: it sorts and prints as text. */
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** A piece of a longer line: the rest follows. */
  readonly partial: boolean;
  readonly content: Uint8Array;
}

const space = 0x20;
const decoder = new TextDecoder();

/** One line without its newline; undefined: it is none of ours. */
export function parseLogLine(line: Uint8Array): LogLine | undefined {
  const timeEnd = line.indexOf(space);
  const streamEnd = timeEnd < 0 ? -1 : line.indexOf(space, timeEnd + 1);
  if (streamEnd < 0) return undefined;
  const tagFound = line.indexOf(space, streamEnd + 1);
  const tagEnd = tagFound < 0 ? line.length : tagFound;
  const stream = decoder.decode(line.subarray(timeEnd + 1, streamEnd));
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const tags = decoder.decode(line.subarray(streamEnd + 1, tagEnd)).split(":");
  return {
    time: decoder.decode(line.subarray(0, timeEnd)),
    stream,
    partial: tags[0] === "P",
    content: line.subarray(Math.min(tagEnd + 1, line.length)),
  };
}

export const newline = 0x0a;

/** Cuts bytes into whole lines; what is left waits for more. */
export class LineSplitter {
  #rest: Uint8Array = new Uint8Array();

  push(bytes: Uint8Array): Uint8Array[] {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const lines: Uint8Array[] = [];
    let from = 0;
    for (;;) {
      const end = all.indexOf(newline, from);
      if (end < 0) break;
      lines.push(all.subarray(from, end));
      from = end + 1;
    }
    this.#rest = all.subarray(from);
    return lines;
  }
  /** A last line without newline. */
  flush(): Uint8Array[] {
    const rest = this.#rest;
    this.#rest = new Uint8Array();
    return rest.length === 0 ? [] : [rest];
  }
}
