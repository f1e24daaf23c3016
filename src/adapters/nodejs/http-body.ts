/** Bodies: collected whole, pulled as a Source, or pumped from a Source into a stream at the pace of whoever reads it. */
import type { Readable } from "node:stream";
import { type Headers, NetworkError } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { networkError, plainBytes } from "./network-error.ts";

const pieceBytesMax = 16 * 1024;
const joinedBytesMax = 64 * 1024;
/** Bytes that wait for whoever pulls before the sender is held back. */
const waitingBytesMax = 256 * 1024;

/**
 * The whole body; "large" as soon as it exceeds `bytesMax`; undefined if the sender went away before its end. `isWhole` is
 * asked at the end: a stream that was reset ends like any other.
 */
export function collect(
  stream: Readable,
  bytesMax: number,
  isWhole: () => boolean,
): Promise<Bytes | "large" | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const finish = (result: Bytes | "large" | undefined): void => {
      stream.off("data", onData);
      resolve(result);
    };
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > bytesMax) finish("large");
      else chunks.push(chunk);
    };
    stream.on("data", onData);
    stream.once("end", () => {
      const [first] = chunks;
      const whole = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
      finish(isWhole() ? plainBytes(whole) : undefined);
    });
    stream.once("error", () => finish(undefined));
    stream.once("close", () => finish(undefined));
  });
}

/** What may be written to: responses, requests and HTTP/2 streams are all of this shape. */
export interface Sink {
  readonly destroyed: boolean;
  write(bytes: Uint8Array): boolean;
  once(event: "drain" | "close", run: () => void): unknown;
  off(event: "drain" | "close", run: () => void): unknown;
}

/**
 * Writes what the source gives, each batch at once, and waits where the sink asks for it. True when the source has ended,
 * false when the sink was closed before (the source is stopped then). Rejects if the source broke.
 */
export async function pump(source: Source<Bytes>, sink: Sink): Promise<boolean> {
  let isClosed = sink.destroyed;
  const onClose = (): void => {
    isClosed = true;
    source.stop();
  };
  sink.once("close", onClose);
  if (isClosed) onClose();
  try {
    for (;;) {
      const batch = await source.next();
      // A source that always has more must not keep the event that tells of the end from being heard.
      if (!isClosed && sink.destroyed) onClose();
      if (isClosed) return false;
      if (batch === undefined) return true;
      let mayGoOn = true;
      for (const bytes of joinSmall(batch)) mayGoOn = sink.write(bytes);
      if (!mayGoOn) await drained(sink);
    }
  } finally {
    sink.off("close", onClose);
  }
}

/**
 * Small pieces together, as one chunk or frame: a batch of events costs one write. (Corking would do it, but corked writes
 * of HTTP/1.1 in Node 24 lose the drain event.)
 */
function joinSmall(batch: readonly Bytes[]): readonly Bytes[] {
  if (batch.length === 1) return batch;
  const joined: Bytes[] = [];
  let small: Bytes[] = [];
  let smallBytes = 0;
  const flush = (): void => {
    if (small.length > 0)
      joined.push(small.length === 1 && small[0] ? small[0] : Buffer.concat(small));
    small = [];
    smallBytes = 0;
  };
  for (const bytes of batch) {
    if (bytes.length > pieceBytesMax || smallBytes + bytes.length > joinedBytesMax) flush();
    small.push(bytes);
    smallBytes += bytes.length;
  }
  flush();
  return joined;
}

function drained(sink: Sink): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sink.off("drain", done);
      sink.off("close", done);
      resolve();
    };
    sink.once("drain", done);
    sink.once("close", done);
    if (sink.destroyed) done();
  });
}

interface Settle {
  readonly resolve: (trailers: Headers) => void;
  readonly reject: (error: Error) => void;
}

export interface PulledBody {
  readonly source: Source<Bytes>;
  readonly trailers: Promise<Headers>;
  /** The body cannot come to its end: whoever waits for it is told. */
  fail(error: NetworkError): void;
}

/** A message whose body comes in. */
export interface Incoming {
  readonly stream: Readable;
  /** Says in errors what it was. */
  readonly name: string;
  /** Asked at the end: a stream that was reset ends like any other. */
  readonly isWhole: () => boolean;
  /** Asked at the end. */
  readonly trailers: () => Headers;
  /** Gives up the exchange that it belongs to. */
  readonly drop: () => void;
  /** Told once when nothing more will come. */
  readonly over: () => void;
}

export const pullBody = (incoming: Incoming): PulledBody => new PullingBody(incoming);

class PullingBody implements PulledBody, Source<Bytes> {
  readonly trailers: Promise<Headers>;
  readonly #incoming: Incoming;
  readonly #settle: Settle;
  #waiting: Bytes[] = [];
  #waitingBytes = 0;
  #state: "open" | "ended" | "stopped" | NetworkError = "open";
  #reader:
    | { resolve: (batch: readonly Bytes[] | undefined) => void; reject: (error: Error) => void }
    | undefined;

  constructor(incoming: Incoming) {
    this.#incoming = incoming;
    const { stream, name } = incoming;
    let resolve: Settle["resolve"] = () => {};
    let reject: Settle["reject"] = () => {};
    this.trailers = new Promise((...both) => {
      [resolve, reject] = both;
    });
    this.#settle = { resolve, reject };
    // Whoever does not ask for the trailers hears of a broken body by next().
    this.trailers.catch(() => {});
    const broken = (): void => {
      // Every stream closes: an error with its stack is made only for those that were not done.
      if (this.#state !== "open") return;
      this.fail(new NetworkError("ECONNRESET", `${name}: the answer broke off (ECONNRESET)`));
    };
    stream.on("data", (chunk: Buffer) => this.#take(plainBytes(chunk)));
    stream.on("end", () => {
      if (incoming.isWhole()) this.#finish("ended", incoming.trailers);
      else broken();
    });
    stream.on("error", (error) => this.fail(networkError(error, name)));
    stream.on("close", broken);
  }

  get source(): Source<Bytes> {
    return this;
  }

  next(): Promise<readonly Bytes[] | undefined> {
    if (this.#reader !== undefined) throw new Error("one next() at a time");
    if (this.#state === "stopped") return Promise.resolve(undefined);
    if (this.#waiting.length > 0) return Promise.resolve(this.#all());
    if (this.#state === "ended") return Promise.resolve(undefined);
    if (this.#state instanceof NetworkError) return Promise.reject(this.#state);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  stop(): void {
    const wasOpen = this.#state === "open";
    this.#finish("stopped", () => ({}));
    this.#state = "stopped";
    this.#waiting = [];
    if (wasOpen) this.#incoming.drop();
  }

  fail(error: NetworkError): void {
    if (this.#state !== "open") return;
    this.#state = error;
    this.#settle.reject(error);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.reject(error);
    this.#incoming.over();
  }

  #take(bytes: Bytes): void {
    if (this.#state !== "open" || bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      reader.resolve(this.#all());
    } else if (this.#waitingBytes >= waitingBytesMax) this.#incoming.stream.pause();
  }

  #all(): readonly Bytes[] {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (this.#incoming.stream.isPaused()) this.#incoming.stream.resume();
    return batch;
  }

  #finish(state: "ended" | "stopped", trailers: () => Headers): void {
    if (this.#state !== "open") return;
    this.#state = state;
    this.#settle.resolve(trailers());
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(undefined);
    this.#incoming.over();
  }
}

/** An empty body. */
export const noBody: Source<Bytes> = { next: () => Promise.resolve(undefined), stop: () => {} };
