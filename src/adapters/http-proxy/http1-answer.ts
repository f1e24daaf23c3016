/**
 * Reads answers of HTTP/1.1 from the bytes of a connection, strictly: what could be understood in two ways is refused. Holds one head at
 * most; bodies are handed on as they come.
 */

export interface AnswerHead {
  readonly status: number;
  readonly statusText: string;
  /** Name, value, name, value. */
  readonly headers: readonly string[];
  readonly connection: string | undefined;
}
/** What the reader calls, in this order: head, any number of pieces, end. */
export interface AnswerEvents {
  readonly head: (head: AnswerHead) => void;
  readonly piece: (bytes: Buffer) => void;
  /** `isReusable`: the connection may carry a further request. */
  readonly end: (isReusable: boolean, trailers: readonly string[]) => void;
}

type Mode =
  | "head"
  | "length"
  | "size"
  | "chunk"
  | "after chunk"
  | "trailers"
  | "until close"
  | "over";

const headBytesMax = 64 * 1024;
const sizeLineBytesMax = 4096;
const headEnd = Buffer.from("\r\n\r\n");
const lineEnd = Buffer.from("\r\n");
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const none = Buffer.alloc(0);

export class AnswerReader {
  readonly #events: AnswerEvents;
  readonly #isHead: boolean;
  #mode: Mode = "head";
  #waiting: Buffer = none;
  #left = 0;
  #keeps = true;
  #trailers: string[] = [];
  hasBegun = false;

  /** `isHead`: the answer to a HEAD request has no body, whatever it says. */
  constructor(events: AnswerEvents, isHead: boolean) {
    this.#events = events;
    this.#isHead = isHead;
  }

  /** Throws at what is no answer. */
  push(bytes: Buffer): void {
    this.hasBegun = true;
    let rest = this.#waiting.length === 0 ? bytes : Buffer.concat([this.#waiting, bytes]);
    this.#waiting = none;
    for (;;) {
      const left = this.#step(rest);
      if (left === undefined) return;
      rest = left;
    }
  }

  /** The peer has ended; true: so has the answer. */
  close(): boolean {
    if (this.#mode === "until close") this.#end(false);
    return this.#mode === "over";
  }

  /** What is left to read; undefined: nothing, or not enough. */
  #step(bytes: Buffer): Buffer | undefined {
    switch (this.#mode) {
      case "head":
        return this.#readHead(bytes);
      case "length":
      case "chunk":
        return this.#readPiece(bytes);
      case "size":
        return this.#readSize(bytes);
      case "after chunk":
        return this.#line(bytes, 2, (text) => {
          if (text !== "") throw new Error("a chunk is longer than it said");
          this.#mode = "size";
        });
      case "trailers":
        return this.#line(bytes, headBytesMax, (text) => {
          if (text === "") this.#end(this.#keeps);
          else this.#trailers.push(...fieldOf(text));
        });
      case "until close":
        if (bytes.length > 0) this.#events.piece(bytes);
        return undefined;
      case "over":
        if (bytes.length > 0) throw new Error("there is more than one answer");
        return undefined;
      default:
        return undefined;
    }
  }

  #readHead(bytes: Buffer): Buffer | undefined {
    const end = bytes.indexOf(headEnd);
    if (end < 0) {
      if (bytes.length > headBytesMax) throw new Error("the head is too long");
      this.#waiting = bytes;
      return undefined;
    }
    const head = parseHead(bytes.toString("latin1", 0, end));
    const rest = bytes.subarray(end + headEnd.length);
    if (head.status === 101) throw new Error("nobody asked to change protocols");
    // Interim answers are between the two of us.
    if (head.status < 200) return rest;
    this.#keeps = head.keeps;
    const hasNone = this.#isHead || head.status === 204 || head.status === 304;
    this.#left = head.length ?? 0;
    this.#mode =
      hasNone || (head.length === 0 && !head.isChunked)
        ? "over"
        : head.isChunked
          ? "size"
          : head.length === undefined
            ? "until close"
            : "length";
    const isOver = this.#mode === "over";
    this.#events.head(head);
    if (isOver) this.#events.end(this.#keeps && rest.length === 0, this.#trailers);
    return rest.length === 0 ? undefined : rest;
  }

  #readPiece(bytes: Buffer): Buffer | undefined {
    if (bytes.length === 0) return undefined;
    const whole = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#left -= whole.length;
    this.#events.piece(whole);
    const rest = bytes.subarray(whole.length);
    if (this.#left > 0) return undefined;
    if (this.#mode === "chunk") this.#mode = "after chunk";
    else this.#end(this.#keeps && rest.length === 0);
    return rest.length === 0 ? undefined : rest;
  }

  #readSize(bytes: Buffer): Buffer | undefined {
    return this.#line(bytes, sizeLineBytesMax, (text) => {
      const [digits = ""] = text.split(";");
      if (!/^[0-9a-fA-F]{1,8}$/.test(digits.trim())) throw new Error("a chunk has no size");
      this.#left = Number.parseInt(digits, 16);
      this.#mode = this.#left === 0 ? "trailers" : "chunk";
    });
  }

  #line(bytes: Buffer, bytesMax: number, got: (text: string) => void): Buffer | undefined {
    const end = bytes.indexOf(lineEnd);
    if (end < 0) {
      if (bytes.length > bytesMax) throw new Error("a line is too long");
      this.#waiting = bytes;
      return undefined;
    }
    got(bytes.toString("latin1", 0, end));
    const rest = bytes.subarray(end + lineEnd.length);
    return rest.length === 0 ? undefined : rest;
  }

  #end(isReusable: boolean): void {
    this.#mode = "over";
    this.#events.end(isReusable, this.#trailers);
  }
}

function fieldOf(line: string): [string, string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, colon);
  if (colon <= 0 || !token.test(name)) throw new Error("a header has no name");
  return [name, line.slice(colon + 1).trim()];
}

interface ParsedHead extends AnswerHead {
  readonly keeps: boolean;
  readonly isChunked: boolean;
  readonly length: number | undefined;
}

function parseHead(text: string): ParsedHead {
  const lines = text.split("\r\n");
  const [first = ""] = lines;
  const match = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/.exec(first);
  if (match === null) throw new Error("this is no answer of HTTP/1");
  const headers: string[] = [];
  let connection: string | undefined;
  let length: number | undefined;
  let encoding: string | undefined;
  for (let i = 1; i < lines.length; i++) {
    const [name, value] = fieldOf(lines[i] as string);
    headers.push(name, value);
    // Few headers are about the message itself; most are told by their length.
    if (name.length !== 10 && name.length !== 14 && name.length !== 17) continue;
    const lower = name.toLowerCase();
    if (lower === "connection")
      connection = connection === undefined ? value : `${connection}, ${value}`;
    else if (lower === "transfer-encoding") {
      encoding = encoding === undefined ? value : `${encoding}, ${value}`;
    } else if (lower === "content-length") {
      if (!/^\d{1,15}$/.test(value) || (length !== undefined && length !== Number(value))) {
        throw new Error("the length is not one number");
      }
      length = Number(value);
    }
  }
  if (encoding !== undefined && (encoding.toLowerCase() !== "chunked" || length !== undefined)) {
    throw new Error("the length could be understood in two ways");
  }
  const words = (connection ?? "").toLowerCase();
  const keeps = match[1] === "1" ? !words.includes("close") : words.includes("keep-alive");
  return {
    status: Number(match[2]),
    statusText: match[3] ?? "",
    headers,
    connection,
    keeps,
    isChunked: encoding !== undefined,
    length,
  };
}
