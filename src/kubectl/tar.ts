/** Tar archives as `kubectl cp` exchanges them: written in the ustar format with GNU long names, read in those and in pax. */

export interface TarEntry {
  readonly name: string;
  readonly kind: "file" | "folder" | "link" | "other";
  readonly mode: number;
  readonly modifiedMs: number;
  readonly linkTarget: string;
  readonly bytes: Uint8Array;
}

const blockBytes = 512;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function header(
  name: string,
  type: string,
  sizeBytes: number,
  mode: number,
  modifiedMs: number,
  link: string,
): Uint8Array {
  const block = new Uint8Array(blockBytes);
  const put = (at: number, length: number, text: string): void => {
    block.set(encoder.encode(text).subarray(0, length), at);
  };
  const octal = (at: number, length: number, value: number): void => {
    put(at, length, `${value.toString(8).padStart(length - 1, "0")}\0`);
  };
  put(0, 100, name);
  octal(100, 8, mode);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, sizeBytes);
  octal(136, 12, Math.floor(modifiedMs / 1000));
  put(148, 8, "        ");
  put(156, 1, type);
  put(157, 100, link);
  put(257, 8, "ustar\x0000");
  let sum = 0;
  for (const byte of block) sum += byte;
  put(148, 8, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}
const padded = (length: number): number => Math.ceil(length / blockBytes) * blockBytes;
function blocks(bytes: Uint8Array): Uint8Array {
  if (bytes.length % blockBytes === 0) return bytes;
  const whole = new Uint8Array(padded(bytes.length));
  whole.set(bytes);
  return whole;
}

/** One entry, long names before it where they are needed. */
export function writeEntry(entry: TarEntry): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const name = entry.kind === "folder" && !entry.name.endsWith("/") ? `${entry.name}/` : entry.name;
  for (const [type, text] of [
    ["L", name],
    ["K", entry.linkTarget],
  ] as const) {
    const long = encoder.encode(`${text}\0`);
    if (long.length > 100)
      parts.push(header("././@LongLink", type, long.length, 0, 0, ""), blocks(long));
  }
  const type = entry.kind === "folder" ? "5" : entry.kind === "link" ? "2" : "0";
  const size = entry.kind === "file" ? entry.bytes.length : 0;
  parts.push(header(name, type, size, entry.mode, entry.modifiedMs, entry.linkTarget));
  if (size > 0) parts.push(blocks(entry.bytes));
  return parts;
}
export const archiveEnd = (): Uint8Array => new Uint8Array(2 * blockBytes);

const textIn = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
};
/** Octal, or binary where the first bit says so. */
function numberIn(bytes: Uint8Array): number {
  if (((bytes[0] ?? 0) & 0x80) === 0) return Number.parseInt(textIn(bytes).trim() || "0", 8);
  return bytes.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}
function paxRecords(bytes: Uint8Array): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = Number(decoder.decode(bytes.subarray(at, space)));
    if (space < 0 || !(length > 0)) break;
    const line = decoder.decode(bytes.subarray(space + 1, at + length - 1));
    const equals = line.indexOf("=");
    records[line.slice(0, equals)] = line.slice(equals + 1);
    at += length;
  }
  return records;
}

/** Takes bytes as they come and gives whole entries; what is left at the end is an error of the archive. */
export class TarReader {
  #bytes = new Uint8Array(0);
  #name: string | undefined;
  #link: string | undefined;
  #size: number | undefined;
  ended = false;

  push(more: Uint8Array): TarEntry[] {
    const joined = new Uint8Array(this.#bytes.length + more.length);
    joined.set(this.#bytes);
    joined.set(more, this.#bytes.length);
    this.#bytes = joined;
    const entries: TarEntry[] = [];
    for (;;) {
      const entry = this.#next();
      if (entry === undefined) return entries;
      if (entry !== "more") entries.push(entry);
    }
  }
  get isEmpty(): boolean {
    return this.#bytes.length === 0 || this.ended;
  }

  #next(): TarEntry | "more" | undefined {
    if (this.ended || this.#bytes.length < blockBytes) return undefined;
    const head = this.#bytes.subarray(0, blockBytes);
    if (head.every((byte) => byte === 0)) {
      this.ended = true;
      return undefined;
    }
    const type = String.fromCharCode(head[156] ?? 48);
    const size = this.#size ?? numberIn(head.subarray(124, 136));
    const total = blockBytes + padded(size);
    if (this.#bytes.length < total) return undefined;
    const bytes = this.#bytes.slice(blockBytes, blockBytes + size);
    this.#bytes = this.#bytes.slice(total);
    if (type === "L") this.#name = textIn(bytes);
    else if (type === "K") this.#link = textIn(bytes);
    else if (type === "x") {
      const records = paxRecords(bytes);
      this.#name = records["path"] ?? this.#name;
      this.#link = records["linkpath"] ?? this.#link;
      if (records["size"] !== undefined) this.#size = Number(records["size"]);
    } else if (type !== "g") return this.#entry(head, type, bytes);
    return "more";
  }
  #entry(head: Uint8Array, type: string, bytes: Uint8Array): TarEntry {
    const prefix = textIn(head.subarray(345, 500));
    const short = textIn(head.subarray(0, 100));
    const isUstar = textIn(head.subarray(257, 263)).startsWith("ustar");
    const plain = isUstar && prefix !== "" ? `${prefix}/${short}` : short;
    const kind =
      type === "5"
        ? "folder"
        : type === "2"
          ? "link"
          : type === "0" || type === "\0" || type === "7"
            ? "file"
            : "other";
    const entry: TarEntry = {
      name: this.#name ?? plain,
      kind,
      mode: numberIn(head.subarray(100, 108)) & 0o7777,
      modifiedMs: numberIn(head.subarray(136, 148)) * 1000,
      linkTarget: this.#link ?? textIn(head.subarray(157, 257)),
      bytes,
    };
    this.#name = undefined;
    this.#link = undefined;
    this.#size = undefined;
    return entry;
  }
}
