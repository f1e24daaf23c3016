/**
 * The server's side of a websocket (RFC 6455) over a raw duplex: whole messages in, frames out,
 * pings answered, masks verified. No extensions. The handshake's answer is computed here too.
 */
import { joinBytes } from "./byte-pipe.ts";
import { sha1 } from "./sha1.ts";

type Bytes = Uint8Array;
/** What a websocket needs below it, and a tunnel offers above (the ports' Duplex is one). */
interface Duplex {
  read(): Promise<Bytes | undefined>;
  write(bytes: Bytes): Promise<void>;
  end(): void;
  abort(error: Error): void;
}

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** What Go's websocket server takes, too. */
const messageBytesMax = 32 * 1024 * 1024;

export interface WebSocketMessage {
  readonly binary: boolean;
  readonly bytes: Bytes;
}

/** Close codes: 1000 normal, 1002 protocol error, 1009 too big. */
class WebSocketError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(`websocket: ${message}`);
    this.name = "WebSocketError";
    this.code = code;
  }
}

export function asksWebSocket(headers: Readonly<Record<string, string | undefined>>): boolean {
  return (
    headers.upgrade?.toLowerCase() === "websocket" &&
    (headers.connection ?? "").toLowerCase().includes("upgrade")
  );
}

/** The value of sec-websocket-accept for a request's sec-websocket-key. */
export function acceptKey(key: string): string {
  const text = `${key.trim()}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const digest = sha1(new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...digest));
}

interface WebSocketFrame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly bytes: Bytes;
}

/** One frame at the start of `bytes` and its length, or undefined if more bytes are needed. */
function decodeFrame(bytes: Bytes): { frame: WebSocketFrame; length: number } | undefined {
  if (bytes.length < 2) return undefined;
  const [first = 0, second = 0] = bytes;
  if ((first & 0x70) !== 0) throw new WebSocketError(1002, "reserved bits are set");
  if ((second & 0x80) === 0) throw new WebSocketError(1002, "a client's frame must be masked");
  let length = second & 127;
  let at = 2;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (length === 126) {
    if (bytes.length < 4) return undefined;
    length = view.getUint16(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return undefined;
    length = view.getUint32(2) * 4_294_967_296 + view.getUint32(6);
    at = 10;
  }
  if (length > messageBytesMax) throw new WebSocketError(1009, `frame of ${length} bytes`);
  const opcode = first & 15;
  if (opcode >= 8 && (length > 125 || (first & 0x80) === 0)) {
    throw new WebSocketError(1002, "a control frame is long or in pieces");
  }
  if (bytes.length < at + 4 + length) return undefined;
  const mask = bytes.subarray(at, at + 4);
  const data = bytes.slice(at + 4, at + 4 + length);
  for (let i = 0; i < length; i++) data[i] = (data[i] ?? 0) ^ (mask[i & 3] ?? 0);
  return { frame: { fin: (first & 0x80) !== 0, opcode, bytes: data }, length: at + 4 + length };
}

function encodeFrame(opcode: number, bytes: Bytes): Bytes {
  const { length } = bytes;
  const long = length > 65_535 ? 8 : length > 125 ? 2 : 0;
  const out = new Uint8Array(2 + long + length);
  const view = new DataView(out.buffer);
  out[0] = 0x80 | opcode;
  out[1] = long === 8 ? 127 : long === 2 ? 126 : length;
  if (long === 2) view.setUint16(2, length);
  if (long === 8) {
    view.setUint32(2, Math.floor(length / 4_294_967_296));
    view.setUint32(6, length % 4_294_967_296);
  }
  out.set(bytes, 2 + long);
  return out;
}

export class WebSocket {
  readonly #raw: Duplex;
  #chunks: Bytes[] = [];
  #buffered = 0;
  #needed = 2;
  #closed = false;

  constructor(raw: Duplex) {
    this.#raw = raw;
  }

  /** The next message; undefined when the peer closed. Rejects when the connection broke. */
  async read(): Promise<WebSocketMessage | undefined> {
    const parts: Bytes[] = [];
    let size = 0;
    let binary: boolean | undefined;
    try {
      for (;;) {
        const frame = await this.#readFrame();
        if (frame === undefined || frame.opcode === opcodes.close) {
          this.close();
          return undefined;
        }
        if (frame.opcode >= 8) {
          if (frame.opcode === opcodes.ping) await this.#send(opcodes.pong, frame.bytes);
          continue;
        }
        const starts = frame.opcode !== opcodes.continuation;
        if (starts !== (binary === undefined)) {
          throw new WebSocketError(1002, "the pieces of two messages are mixed");
        }
        binary ??= frame.opcode === opcodes.binary;
        parts.push(frame.bytes);
        size += frame.bytes.length;
        if (size > messageBytesMax) throw new WebSocketError(1009, "message too big");
        if (frame.fin) return { binary, bytes: joinBytes(parts) };
      }
    } catch (error) {
      if (error instanceof WebSocketError) this.close(error.code);
      throw error;
    }
  }

  sendBinary(bytes: Bytes): Promise<void> {
    return this.#send(opcodes.binary, bytes);
  }
  sendText(text: string): Promise<void> {
    return this.#send(opcodes.text, new TextEncoder().encode(text));
  }

  close(code = 1000): void {
    if (this.#closed) return;
    const goodbye = encodeFrame(opcodes.close, Uint8Array.of(code >> 8, code & 255));
    this.#closed = true;
    // The peer may be gone already; then there is nobody to say goodbye to.
    this.#raw.write(goodbye).catch(() => undefined);
    this.#raw.end();
  }

  abort(error: Error): void {
    this.#closed = true;
    this.#raw.abort(error);
  }

  #send(opcode: number, bytes: Bytes): Promise<void> {
    if (this.#closed) return Promise.reject(new WebSocketError(1000, "the connection is closed"));
    return this.#raw.write(encodeFrame(opcode, bytes));
  }

  async #readFrame(): Promise<WebSocketFrame | undefined> {
    for (;;) {
      if (this.#buffered >= this.#needed) {
        const bytes = joinBytes(this.#chunks);
        const decoded = decodeFrame(bytes);
        if (decoded !== undefined) {
          const rest = bytes.subarray(decoded.length);
          this.#chunks = rest.length > 0 ? [rest] : [];
          this.#buffered = rest.length;
          this.#needed = 2;
          return decoded.frame;
        }
        this.#chunks = [bytes];
        // Joining again only when the buffer has doubled keeps a long frame linear.
        this.#needed = Math.min(frameLength(bytes), Math.max(64, bytes.length * 2));
      }
      const more = await this.#raw.read();
      if (more === undefined) return undefined;
      this.#chunks.push(more);
      this.#buffered += more.length;
    }
  }
}

/** How many bytes the frame at the start of `bytes` has, as far as they tell. */
function frameLength(bytes: Bytes): number {
  if (bytes.length < 10) return bytes.length + 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const short = (bytes[1] ?? 0) & 127;
  if (short < 126) return 6 + short;
  return short === 126 ? 8 + view.getUint16(2) : 14 + view.getUint32(6);
}

/** A websocket whose binary messages are the bytes of a connection (SPDY tunnelled through it). */
export function tunnel(socket: WebSocket): Duplex {
  return {
    read: async () => {
      for (;;) {
        const message = await socket.read();
        if (message === undefined) return undefined;
        if (!message.binary) throw new WebSocketError(1002, "text in a tunnel of bytes");
        if (message.bytes.length > 0) return message.bytes;
      }
    },
    write: (bytes) => socket.sendBinary(bytes),
    end: () => socket.close(),
    abort: (error) => socket.abort(error),
  };
}
