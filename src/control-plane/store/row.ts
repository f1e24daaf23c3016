/**
 * What the store keeps in Storage, by the first byte of the row's key:
 *
 *   !format, !compacted, !lease   decimal text: the format number, the compacted revision, the highest lease ever granted
 *   l + lease                     decimal text: seconds to live
 *   r + revision + flags [+ created] [+ lease] + key   the log: one row a write, its value as it was put, empty for a delete
 *
 * Numbers are 8 bytes, big-endian, so the log lies in the order of its revisions. What is known of a value stands in the
 * row's key: so the value is stored as the very array that was put, never copied.
 */
import type { Bytes } from "#ports/stream.ts";

/** One version of a key. `created` 0: the key was deleted at `revision`. `lease` 0: none. */
export interface Version {
  readonly revision: number;
  readonly created: number;
  readonly lease: number;
}
export interface LogRow extends Version {
  readonly key: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const text = (word: string): Bytes => encoder.encode(word);

export const formatKey = text("!format");
export const compactedKey = text("!compacted");
export const leaseCounterKey = text("!lease");
export const everything: readonly [from: Bytes, to: Bytes] = [text("!"), text("~")];

const leaseFamily = 0x6c;
const logFamily = 0x72;
const deletedFlag = 1;
const leaseFlag = 2;

/** Storage takes keys of 1,024 bytes; the head of a log row takes up to 26. */
export const keyBytesMax = 998;
const rowKeyBytesMax = 26 + keyBytesMax;

/**
 * Keys of rows are cut from common chunks: an array buffer for each would double the work of the garbage collector under
 * load. No byte is written twice. They live as long as a batch; nobody keeps them.
 */
const chunkBytes = 16 * 1024;
let chunk = new Uint8Array(chunkBytes);
let chunkUsed = 0;

function writeNumber(bytes: Bytes, at: number, number: number): number {
  let high = Math.floor(number / 0x1_0000_0000);
  let low = number >>> 0;
  for (let byte = 3; byte >= 0; byte -= 1) {
    bytes[at + byte] = high & 0xff;
    bytes[at + 4 + byte] = low & 0xff;
    high >>>= 8;
    low >>>= 8;
  }
  return at + 8;
}

function readNumber(bytes: Bytes, at: number): number {
  let number = 0;
  for (let byte = 0; byte < 8; byte += 1) number = number * 256 + (bytes[at + byte] ?? 0);
  return number;
}

/** The key of a log row; undefined if `key` is longer than `keyBytesMax` bytes. */
export function encodeLogKey(version: Version, key: string): Bytes | undefined {
  if (chunkUsed + rowKeyBytesMax > chunkBytes) {
    chunk = new Uint8Array(chunkBytes);
    chunkUsed = 0;
  }
  const start = chunkUsed;
  chunk[start] = logFamily;
  let at = writeNumber(chunk, start + 1, version.revision);
  chunk[at] = (version.created === 0 ? deletedFlag : 0) | (version.lease === 0 ? 0 : leaseFlag);
  at += 1;
  if (version.created !== 0) at = writeNumber(chunk, at, version.created);
  if (version.lease !== 0) at = writeNumber(chunk, at, version.lease);
  const { read, written } = encoder.encodeInto(key, chunk.subarray(at, at + keyBytesMax));
  if (read !== key.length) return undefined;
  chunkUsed = at + written;
  return chunk.subarray(start, chunkUsed);
}

export const isLogKey = (bytes: Bytes): boolean => bytes[0] === logFamily;

export function decodeLogKey(bytes: Bytes): LogRow {
  const revision = readNumber(bytes, 1);
  const flags = bytes[9] ?? 0;
  let at = 10;
  let created = 0;
  let lease = 0;
  if ((flags & deletedFlag) === 0) {
    created = readNumber(bytes, at);
    at += 8;
  }
  if ((flags & leaseFlag) !== 0) {
    lease = readNumber(bytes, at);
    at += 8;
  }
  return { revision, created, lease, key: decoder.decode(bytes.subarray(at)) };
}

export function encodeLeaseKey(lease: number): Bytes {
  const bytes = new Uint8Array(9);
  bytes[0] = leaseFamily;
  writeNumber(bytes, 1, lease);
  return bytes;
}

/** The lease that a row is about; undefined if it is another kind of row. */
export const decodeLeaseKey = (bytes: Bytes): number | undefined =>
  bytes[0] === leaseFamily ? readNumber(bytes, 1) : undefined;

export const encodeCount = (count: number): Bytes => text(String(count));

/** Rejects what is no decimal number: the directory holds something else, or it is damaged. */
export function decodeCount(bytes: Bytes, what: string): number {
  const written = decoder.decode(bytes);
  if (!/^\d{1,16}$/.test(written))
    throw new Error(
      `the store's ${what} is not a number: the data is damaged; restore it from a backup`,
    );
  return Number(written);
}
