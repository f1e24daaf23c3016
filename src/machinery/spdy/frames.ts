/**
 * SPDY/3.1 frames: bytes to frames and back. Knows nothing of streams' lives (connection.ts does).
 * Reads and writes byte arrays only.
 */
import { joinBytes } from "../byte-pipe.ts";
import { HeaderDeflater, HeaderInflater } from "./inflate.ts";

export type SpdyHeaders = Readonly<Record<string, string>>;

export type Frame =
  | {
      readonly type: "synStream";
      readonly streamId: number;
      readonly headers: SpdyHeaders;
      readonly fin: boolean;
      readonly unidirectional: boolean;
    }
  | {
      readonly type: "synReply" | "headers";
      readonly streamId: number;
      readonly headers: SpdyHeaders;
      readonly fin: boolean;
    }
  | { readonly type: "reset"; readonly streamId: number; readonly status: number }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "goAway"; readonly lastStreamId: number; readonly status: number }
  | {
      readonly type: "data";
      readonly streamId: number;
      readonly bytes: Uint8Array;
      readonly fin: boolean;
    }
  /** SETTINGS, WINDOW_UPDATE and what a later version may bring. */
  | { readonly type: "other"; readonly number: number };

export const resetStatus = { protocolError: 1, refusedStream: 3, cancel: 5 } as const;

/** The peer's bytes are no SPDY/3.1; the connection cannot go on. */
export class SpdyError extends Error {
  constructor(message: string) {
    super(`SPDY protocol error: ${message}`);
    this.name = "SpdyError";
  }
}

const numbers = {
  synStream: 1,
  synReply: 2,
  reset: 3,
  ping: 6,
  goAway: 7,
  headers: 8,
} as const;
const finFlag = 1;
const unidirectionalFlag = 2;
const controlBytesMax = 65_536;
const headerBytesMax = 65_536;
const headersMax = 256;

const read32 = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>>
  0;
const write32 = (value: number): number[] => [
  (value >>> 24) & 255,
  (value >>> 16) & 255,
  (value >>> 8) & 255,
  value & 255,
];

function decodeHeaders(block: Uint8Array): SpdyHeaders {
  const decoder = new TextDecoder();
  const headers: Record<string, string> = {};
  let at = 4;
  const text = (): string => {
    if (at + 4 > block.length) throw new SpdyError("header block cut short");
    const length = read32(block, at);
    if (at + 4 + length > block.length) throw new SpdyError("header block cut short");
    const value = decoder.decode(block.subarray(at + 4, at + 4 + length));
    at += 4 + length;
    return value;
  };
  const count = read32(block, 0);
  if (count > headersMax) throw new SpdyError(`${count} headers, at most ${headersMax}`);
  for (let i = 0; i < count; i++) {
    // Upstream: clients send "streamType" and "requestID" capitalised or not; read both alike.
    const name = text().toLowerCase();
    const [value = ""] = text().split("\0");
    if (name !== "__proto__") headers[name] = value;
  }
  return headers;
}

function encodeHeaders(headers: SpdyHeaders): Uint8Array {
  const encoder = new TextEncoder();
  const entries = Object.entries(headers);
  const parts: Uint8Array[] = [Uint8Array.from(write32(entries.length))];
  for (const pair of entries) {
    const [name, value] = [encoder.encode(pair[0].toLowerCase()), encoder.encode(pair[1])];
    parts.push(Uint8Array.from(write32(name.length)), name);
    parts.push(Uint8Array.from(write32(value.length)), value);
  }
  return joinBytes(parts);
}

/** Encodes in the order of the calls: the header compression has a memory. */
export class FrameEncoder {
  readonly #deflater = new HeaderDeflater();

  encode(frame: Exclude<Frame, { type: "other" }>): Uint8Array {
    switch (frame.type) {
      case "synStream": {
        const flags = (frame.fin ? finFlag : 0) | (frame.unidirectional ? unidirectionalFlag : 0);
        const fixed = [...write32(frame.streamId), 0, 0, 0, 0, 0, 0];
        return this.#withHeaders(numbers.synStream, flags, fixed, frame.headers);
      }
      case "synReply":
      case "headers": {
        const fixed = write32(frame.streamId);
        const flags = frame.fin ? finFlag : 0;
        return this.#withHeaders(numbers[frame.type], flags, fixed, frame.headers);
      }
      case "reset":
        return control(numbers.reset, 0, [...write32(frame.streamId), ...write32(frame.status)]);
      case "ping":
        return control(numbers.ping, 0, write32(frame.id));
      case "goAway":
        return control(numbers.goAway, 0, [
          ...write32(frame.lastStreamId),
          ...write32(frame.status),
        ]);
      case "data":
        return dataFrame(frame.streamId, frame.bytes, frame.fin);
      default:
        throw new Error("every frame that can be sent is encoded above");
    }
  }

  #withHeaders(number: number, flags: number, fixed: number[], headers: SpdyHeaders): Uint8Array {
    const block = this.#deflater.deflate(encodeHeaders(headers));
    return joinBytes([control(number, flags, fixed, fixed.length + block.length), block]);
  }
}

function dataFrame(streamId: number, bytes: Uint8Array, fin: boolean): Uint8Array {
  const out = new Uint8Array(8 + bytes.length);
  out.set(write32(streamId));
  out.set(write32(bytes.length), 4);
  out[4] = fin ? finFlag : 0;
  out.set(bytes, 8);
  return out;
}

function control(number: number, flags: number, body: number[], length = body.length): Uint8Array {
  const head = [0x80, 3, number >> 8, number & 255, flags];
  return Uint8Array.from([
    ...head,
    (length >> 16) & 255,
    (length >> 8) & 255,
    length & 255,
    ...body,
  ]);
}

/** Takes bytes as they come; control frames are given whole, data frames in the pieces they came in. */
export class FrameDecoder {
  readonly #inflater = new HeaderInflater();
  #pending: Uint8Array = new Uint8Array(0);
  #data: { readonly streamId: number; readonly fin: boolean; left: number } | undefined;

  push(bytes: Uint8Array): readonly Frame[] {
    const frames: Frame[] = [];
    let rest = this.#pending.length === 0 ? bytes : joinBytes([this.#pending, bytes]);
    for (;;) {
      const used = this.#data === undefined ? this.#head(rest, frames) : this.#body(rest, frames);
      if (used === 0) break;
      rest = rest.subarray(used);
    }
    this.#pending = rest.slice();
    return frames;
  }

  #body(rest: Uint8Array, frames: Frame[]): number {
    const data = this.#data;
    if (data === undefined || rest.length === 0) return 0;
    const taken = Math.min(rest.length, data.left);
    data.left -= taken;
    if (data.left === 0) this.#data = undefined;
    const bytes = rest.subarray(0, taken);
    frames.push({
      type: "data",
      streamId: data.streamId,
      bytes,
      fin: data.fin && data.left === 0,
    });
    return taken;
  }

  #head(rest: Uint8Array, frames: Frame[]): number {
    if (rest.length < 8) return 0;
    const first = read32(rest, 0);
    const flags = rest[4] ?? 0;
    const length = read32(rest, 4) & 0xff_ff_ff;
    if (first < 0x80_00_00_00) {
      const fin = (flags & finFlag) !== 0;
      if (first === 0) throw new SpdyError("data for stream 0");
      if (length > 0) this.#data = { streamId: first, fin, left: length };
      else frames.push({ type: "data", streamId: first, bytes: new Uint8Array(0), fin });
      return 8;
    }
    const version = (first >>> 16) & 0x7f_ff;
    if (version !== 3) throw new SpdyError(`version ${version}, only 3 is spoken here`);
    if (length > controlBytesMax) throw new SpdyError(`control frame of ${length} bytes`);
    if (rest.length < 8 + length) return 0;
    frames.push(this.#control(first & 0xff_ff, flags, rest.subarray(8, 8 + length)));
    return 8 + length;
  }

  #headers(block: Uint8Array): SpdyHeaders {
    return decodeHeaders(this.#inflater.inflate(block, headerBytesMax));
  }

  #control(number: number, flags: number, body: Uint8Array): Frame {
    const fin = (flags & finFlag) !== 0;
    const streamId = read32(body, 0) & 0x7f_ff_ff_ff;
    switch (number) {
      case numbers.synStream: {
        const unidirectional = (flags & unidirectionalFlag) !== 0;
        const headers = this.#headers(body.subarray(10));
        if (streamId === 0) throw new SpdyError("stream 0");
        return { type: "synStream", streamId, headers, fin, unidirectional };
      }
      case numbers.synReply:
        return { type: "synReply", streamId, headers: this.#headers(body.subarray(4)), fin };
      case numbers.headers:
        return { type: "headers", streamId, headers: this.#headers(body.subarray(4)), fin };
      case numbers.reset:
        return { type: "reset", streamId, status: read32(body, 4) };
      case numbers.ping:
        return { type: "ping", id: read32(body, 0) };
      case numbers.goAway:
        return { type: "goAway", lastStreamId: streamId, status: read32(body, 4) };
      default:
        return { type: "other", number };
    }
  }
}
