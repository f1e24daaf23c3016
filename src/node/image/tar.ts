/** Tar archives (POSIX ustar, with GNU long names on reading and pax records on writing): headers in, headers out. */

const blockBytes = 512;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface TarEntry {
  /** Without a leading slash; directories end with one. */
  readonly path: string;
  readonly type: "file" | "directory" | "link" | "hardlink";
  readonly mode: number;
  readonly sizeBytes: number;
  readonly linkTo?: string;
  readonly uid?: number;
  readonly gid?: number;
}

const typeFlags: Record<TarEntry["type"], string> = {
  file: "0",
  hardlink: "1",
  link: "2",
  directory: "5",
};

/** Bytes that fill `sizeBytes` up to a whole block. */
export const tarPadding = (sizeBytes: number): Uint8Array =>
  new Uint8Array((blockBytes - (sizeBytes % blockBytes)) % blockBytes);

/** Two empty blocks end an archive. */
export const tarEnd = (): Uint8Array => new Uint8Array(2 * blockBytes);

/** The header block (with a pax header before it where a name is long). Times are zero, so equal content gives equal bytes. */
export function tarHeader(entry: TarEntry): Uint8Array {
  const path = encoder.encode(entry.path);
  const link = encoder.encode(entry.linkTo ?? "");
  if (path.length <= 100 && link.length <= 100) return plainHeader(entry, path, link, undefined);
  const records = [
    ...(path.length > 100 ? [paxRecord("path", entry.path)] : []),
    ...(link.length > 100 ? [paxRecord("linkpath", entry.linkTo ?? "")] : []),
  ];
  const body = encoder.encode(records.join(""));
  const paxEntry: TarEntry = { path: "pax", type: "file", mode: 0o644, sizeBytes: body.length };
  const pax = plainHeader(paxEntry, encoder.encode("pax"), new Uint8Array(), "x");
  const plain = plainHeader(entry, path.subarray(0, 100), link.subarray(0, 100), undefined);
  return concatBytes([pax, body, tarPadding(body.length), plain]);
}

/** "LENGTH key=value\n", where LENGTH counts itself. */
function paxRecord(key: string, value: string): string {
  const restBytes = encoder.encode(` ${key}=${value}\n`).length;
  let total = restBytes + 1;
  while (String(total).length + restBytes !== total) total = String(total).length + restBytes;
  return `${total} ${key}=${value}\n`;
}

function plainHeader(
  entry: TarEntry,
  path: Uint8Array,
  link: Uint8Array,
  flag: string | undefined,
): Uint8Array {
  const block = new Uint8Array(blockBytes);
  const text = (at: number, value: string): void => block.set(encoder.encode(value), at);
  const octal = (at: number, width: number, value: number): void =>
    text(at, `${value.toString(8).padStart(width - 1, "0")}\0`);
  block.set(path, 0);
  octal(100, 8, entry.mode);
  octal(108, 8, entry.uid ?? 0);
  octal(116, 8, entry.gid ?? 0);
  octal(124, 12, entry.sizeBytes);
  octal(136, 12, 0);
  text(148, "        ");
  text(156, flag ?? typeFlags[entry.type]);
  block.set(link, 157);
  text(257, "ustar\0");
  text(263, "00");
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export interface TarFile extends TarEntry {
  readonly content: Uint8Array;
}

/** Every entry of an archive that is in memory. Throws with a sentence if it is not a tar archive. */
export function* readTar(archive: Uint8Array): Generator<TarFile> {
  let at = 0;
  let longPath: string | undefined;
  let longLink: string | undefined;
  while (at + blockBytes <= archive.length) {
    const block = archive.subarray(at, at + blockBytes);
    at += blockBytes;
    if (block.every((byte) => byte === 0)) return;
    if (!checksumHolds(block)) throw new Error("this is not a tar archive, or it is damaged");
    const sizeBytes = numberAt(block, 124, 12);
    const content = archive.subarray(at, at + sizeBytes);
    if (content.length < sizeBytes) throw new Error("the tar archive ends in the middle of a file");
    at += sizeBytes + tarPadding(sizeBytes).length;
    const flag = String.fromCharCode(block[156] ?? 0);
    if (flag === "L" || flag === "K") {
      const text = decoder.decode(content).replace(/\0.*$/s, "");
      if (flag === "L") longPath = text;
      else longLink = text;
      continue;
    }
    if (flag === "x") {
      const records = paxRecords(content);
      longPath = records.get("path") ?? longPath;
      longLink = records.get("linkpath") ?? longLink;
      continue;
    }
    const entry = entryOf(block, flag, sizeBytes, longPath, longLink);
    longPath = undefined;
    longLink = undefined;
    if (entry !== undefined) yield { ...entry, content };
  }
}

function entryOf(
  block: Uint8Array,
  flag: string,
  sizeBytes: number,
  longPath: string | undefined,
  longLink: string | undefined,
): TarEntry | undefined {
  const type = (
    { "0": "file", "\0": "file", "1": "hardlink", "2": "link", "5": "directory" } as const
  )[flag as "0"];
  if (type === undefined) return undefined;
  const prefix = textAt(block, 345, 155);
  const short = textAt(block, 0, 100);
  const path = longPath ?? (prefix === "" ? short : `${prefix}/${short}`);
  const linkTo = longLink ?? textAt(block, 157, 100);
  return {
    path: path.replace(/^(\.?\/)+/, ""),
    type,
    mode: numberAt(block, 100, 8),
    sizeBytes,
    uid: numberAt(block, 108, 8),
    gid: numberAt(block, 116, 8),
    ...(linkTo === "" ? {} : { linkTo }),
  };
}

const textAt = (block: Uint8Array, at: number, width: number): string =>
  decoder.decode(block.subarray(at, at + width)).replace(/\0.*$/s, "");

/** Octal text, or GNU's base-256 for large values. */
function numberAt(block: Uint8Array, at: number, width: number): number {
  if (((block[at] ?? 0) & 0x80) !== 0) {
    let value = (block[at] ?? 0) & 0x7f;
    for (let i = at + 1; i < at + width; i++) value = value * 256 + (block[i] ?? 0);
    return value;
  }
  const text = textAt(block, at, width).trim();
  return text === "" ? 0 : Number.parseInt(text, 8);
}

function checksumHolds(block: Uint8Array): boolean {
  let sum = 0;
  for (let i = 0; i < blockBytes; i++) sum += i >= 148 && i < 156 ? 32 : (block[i] ?? 0);
  return sum === numberAt(block, 148, 8);
}

function paxRecords(content: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < content.length) {
    const space = content.indexOf(32, at);
    const length = Number.parseInt(decoder.decode(content.subarray(at, Math.max(space, at))), 10);
    if (space < 0 || !(length > 0)) break;
    const record = decoder.decode(content.subarray(space + 1, at + length - 1));
    const equals = record.indexOf("=");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}
