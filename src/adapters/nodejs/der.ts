/** DER, the encoding of certificates: a writer and a strict reader for the few types that X.509 uses. */
import type { Bytes } from "#ports/stream.ts";

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** A context-specific tag: [number], constructed or primitive. */
export const context = (number: number, constructed: boolean): number =>
  (constructed ? 0xa0 : 0x80) | number;

export function der(kind: number, ...content: readonly Bytes[]): Bytes {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const head = length < 0x80 ? [kind, length] : [kind, ...longLength(length)];
  const out = new Uint8Array(head.length + length);
  out.set(head);
  let at = head.length;
  for (const part of content) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function longLength(length: number): number[] {
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return [0x80 | digits.length, ...digits];
}

export const sequence = (...content: readonly Bytes[]): Bytes => der(tag.sequence, ...content);
export const truth = Uint8Array.of(tag.boolean, 1, 0xff);
export const utf8 = (text: string): Bytes => der(tag.utf8, new TextEncoder().encode(text));
export const octets = (bytes: Bytes): Bytes => der(tag.octetString, bytes);

/** A non-negative integer, big-endian. */
export function integer(magnitude: Bytes): Bytes {
  let from = 0;
  while (from < magnitude.length - 1 && magnitude[from] === 0) from++;
  const digits = magnitude.subarray(from);
  const sign = (digits[0] ?? 0) >= 0x80 || digits.length === 0 ? [0] : [];
  return der(tag.integer, Uint8Array.from(sign), digits);
}

export const bits = (bytes: Bytes, unused = 0): Bytes =>
  der(tag.bitString, Uint8Array.of(unused), bytes);

export function oid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const content = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | (left & 0x7f));
    return digits;
  });
  return der(tag.oid, Uint8Array.from(content));
}

/** UTCTime up to 2049, GeneralizedTime from 2050 on, in whole seconds (RFC 5280). */
export function time(ms: number): Bytes {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  const text = new TextEncoder();
  return Number(digits.slice(0, 4)) < 2050
    ? der(tag.utcTime, text.encode(digits.slice(2)))
    : der(tag.generalizedTime, text.encode(digits));
}

/** One value as read: its tag, its content, and all its bytes. */
export interface Der {
  readonly tag: number;
  readonly content: Bytes;
  readonly whole: Bytes;
}

/** Reads the values that stand one after the other in `bytes`. Throws if they are not DER. */
export function readAll(bytes: Bytes): Der[] {
  const values: Der[] = [];
  let at = 0;
  while (at < bytes.length) {
    const value = readAt(bytes, at);
    values.push(value);
    at += value.whole.length;
  }
  return values;
}

/** Reads the one value that `bytes` is. */
export function readOne(bytes: Bytes): Der {
  const value = readAt(bytes, 0);
  if (value.whole.length !== bytes.length) throw new Error("bytes follow behind the DER value");
  return value;
}

function readAt(bytes: Bytes, at: number): Der {
  const kind = bytes[at] ?? 0;
  if ((kind & 0x1f) === 0x1f) throw new Error("a DER tag of several bytes is not expected here");
  let length = bytes[at + 1] ?? 0;
  let from = at + 2;
  if (length >= 0x80) {
    const digits = length & 0x7f;
    if (digits === 0 || digits > 4) throw new Error("the length of a DER value is not valid");
    length = 0;
    for (const digit of bytes.subarray(from, from + digits)) length = length * 256 + digit;
    from += digits;
  }
  if (from + length > bytes.length) throw new Error("a DER value is cut off");
  return {
    tag: kind,
    content: bytes.subarray(from, from + length),
    whole: bytes.subarray(at, from + length),
  };
}

export function readOid(content: Bytes): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length > 0) arcs.push(arc);
    else arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
    arc = 0;
  }
  return arcs.join(".");
}

/** A string of any of the types that occur in names. */
export function readText(value: Der): string {
  if (value.tag === 0x1e) return new TextDecoder("utf-16be").decode(value.content);
  if (value.tag === 0x14) return new TextDecoder("latin1").decode(value.content);
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value.content);
}

export function readTime(value: Der): number {
  const text = new TextDecoder().decode(value.content);
  const match = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  const isLong = value.tag === tag.generalizedTime;
  if (match === null || (match[1]?.length === 4) !== isLong) {
    throw new Error(`not a time as certificates write it: ${text}`);
  }
  const [year = 0, month = 0, ...rest] = match.slice(1).map(Number);
  const [day, hour, minute, second] = rest;
  // Two digits mean 1950 to 2049.
  const full = isLong ? year : year + (year < 50 ? 2000 : 1900);
  return Date.UTC(full, month - 1, day, hour, minute, second);
}
