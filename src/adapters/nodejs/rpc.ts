/**
 * gRPC on our own HTTP/2 client: unary calls and server streams. A connection that breaks fails the calls in flight with
 * UNAVAILABLE; the next call makes a new one. Messages are as rpc-messages.ts has them.
 */
import { type Address, type Headers, type HttpClient, NetworkError } from "#ports/network.ts";
import { type Rpc, type RpcDialer, RpcError } from "#ports/rpc.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { http2Client } from "./http2-client.ts";
import { type RpcMethod, rpcMethods } from "./rpc-messages.ts";

const code = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** What an HTTP status means where gRPC's own is missing (gRPC's http-grpc-status-mapping). */
const codeOfHttp: Readonly<Record<number, number>> = {
  400: code.internal,
  401: code.unauthenticated,
  403: code.permissionDenied,
  404: code.unimplemented,
  429: code.unavailable,
  502: code.unavailable,
  503: code.unavailable,
  504: code.unavailable,
};

const messageBytesMax = 64 * 1024 * 1024;
const prefixBytes = 5;
/** A node's engine and a store are one connection each, with room for many calls. */
const connectionsMax = 8;

export const systemRpc: RpcDialer = {
  dial: (to, proto) => new Dialled(to, proto),
};

class Dialled implements Rpc {
  readonly #client: HttpClient;
  readonly #methods: (name: string) => RpcMethod;

  constructor(to: Address, proto: string) {
    this.#methods = rpcMethods(proto);
    this.#client = http2Client(to, { connections: connectionsMax, pingsOnlyBusy: true });
  }

  async call(
    name: string,
    request: object,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<object> {
    const method = this.#methods(name);
    const { timeoutMs, signal } = options;
    const deadline = timeoutMs === undefined ? undefined : deadlineOf(timeoutMs, signal);
    const cancel = deadline?.signal ?? signal;
    try {
      const answer = this.#begin(method, request, timeoutMs, cancel);
      let message: object | undefined;
      for (let batch = await answer.next(); batch !== undefined; batch = await answer.next()) {
        if (message !== undefined || batch.length > 1) {
          throw new RpcError(code.internal, `${name} gave more than one answer`);
        }
        [message] = batch;
      }
      if (message === undefined) throw new RpcError(code.internal, `${name} gave no answer`);
      return message;
    } catch (error) {
      if (deadline?.hasPassed() === true && isCancelled(error)) {
        throw new RpcError(code.deadlineExceeded, `${name} gave no answer within ${timeoutMs} ms`);
      }
      throw error;
    } finally {
      deadline?.end();
    }
  }

  stream(name: string, request: object): Source<object> {
    const control = new AbortController();
    return this.#begin(this.#methods(name), request, undefined, control.signal, control);
  }

  close(): void {
    this.#client.close();
  }

  /** Sends at once; what goes wrong is told by the first next(). */
  #begin(
    method: RpcMethod,
    request: object,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
    control?: AbortController,
  ): Answer {
    const headers: Record<string, string> = {
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "wherry",
    };
    if (timeoutMs !== undefined) headers["grpc-timeout"] = timeoutHeader(timeoutMs);
    const response = this.#client.send({
      method: "POST",
      target: `/${method.name}`,
      headers,
      body: frame(method.encode(request)),
      ...(signal === undefined ? {} : { signal }),
    });
    return new Answer(method, response, control);
  }
}

const isCancelled = (error: unknown): boolean =>
  error instanceof RpcError && error.code === code.cancelled;

/** At most eight digits, as gRPC has it: milliseconds, beyond 27 hours seconds. */
function timeoutHeader(timeoutMs: number): string {
  const ms = Math.max(1, Math.ceil(timeoutMs));
  return ms < 1e8 ? `${ms}m` : `${Math.min(Math.ceil(ms / 1000), 99_999_999)}S`;
}

interface Deadline {
  readonly signal: AbortSignal;
  hasPassed(): boolean;
  end(): void;
}

/** A signal that fires when the time is over or the caller's own fires. */
function deadlineOf(timeoutMs: number, signal: AbortSignal | undefined): Deadline {
  const control = new AbortController();
  let hasPassed = false;
  const pass = (): void => {
    hasPassed = true;
    control.abort();
  };
  const timer = setTimeout(pass, Math.min(Math.max(0, timeoutMs), 2 ** 31 - 1));
  const abort = (): void => control.abort();
  if (signal?.aborted === true) abort();
  signal?.addEventListener("abort", abort);
  return {
    signal: control.signal,
    hasPassed: () => hasPassed,
    end() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}

/** One message behind gRPC's prefix: not compressed, so long. */
function frame(message: Uint8Array): Bytes {
  const framed = new Uint8Array(prefixBytes + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, prefixBytes);
  return framed;
}

type Response = Awaited<ReturnType<HttpClient["send"]>>;

/** The messages of an answer, then its status: OK is the end, everything else an RpcError. */
class Answer implements Source<object> {
  readonly #method: RpcMethod;
  readonly #pending: Promise<Response>;
  readonly #control: AbortController | undefined;
  readonly #frames = new Frames();
  #response: Response | undefined;
  #isStopped = false;
  #end: "open" | "ended" | RpcError = "open";

  constructor(method: RpcMethod, pending: Promise<Response>, control: AbortController | undefined) {
    this.#method = method;
    this.#pending = pending;
    this.#control = control;
    // Who stops before the first next() never asks how it went.
    pending.catch(() => {});
  }

  async next(): Promise<readonly object[] | undefined> {
    if (this.#isStopped || this.#end === "ended") return undefined;
    if (this.#end !== "open") throw this.#end;
    try {
      const messages = await this.#read();
      if (this.#isStopped) return undefined;
      if (messages === undefined) this.#end = "ended";
      return messages;
    } catch (error) {
      if (this.#isStopped) return undefined;
      this.#end = rpcError(this.#method.name, error);
      this.#response?.body.stop();
      throw this.#end;
    }
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#control?.abort();
    this.#response?.body.stop();
  }

  async #read(): Promise<readonly object[] | undefined> {
    const response = this.#response ?? (await this.#begin());
    for (;;) {
      const batch = await response.body.next();
      if (batch === undefined) {
        const trailers = await response.trailers;
        // An answer without messages has its status in the head.
        checkStatus(trailers["grpc-status"] === undefined ? response.headers : trailers);
        this.#frames.checkEnd();
        return undefined;
      }
      const messages = batch.flatMap((chunk) => this.#frames.take(chunk));
      if (messages.length > 0) return messages.map((bytes) => this.#decode(bytes));
    }
  }

  async #begin(): Promise<Response> {
    const response = await this.#pending;
    this.#response = response;
    if (response.status !== 200 && response.headers["grpc-status"] === undefined) {
      const status = codeOfHttp[response.status] ?? code.unknown;
      throw new RpcError(status, `${this.#method.name}: HTTP status ${response.status}`);
    }
    return response;
  }

  #decode(bytes: Bytes): object {
    try {
      return this.#method.decode(bytes);
    } catch (error) {
      const why = error instanceof Error ? error.message : "it is broken";
      throw new RpcError(code.internal, `${this.#method.name}: the message cannot be read: ${why}`);
    }
  }
}

function checkStatus(headers: Headers): void {
  const status = headers["grpc-status"];
  if (status === undefined) {
    throw new RpcError(code.internal, "server closed the stream without sending trailers");
  }
  if (status === "0") return;
  const number = /^\d+$/.test(status) ? Number(status) : code.unknown;
  throw new RpcError(number, unescapeMessage(headers["grpc-message"] ?? ""));
}

/** Percent-encoded UTF-8; what is not well-formed is shown as it came. */
function unescapeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function rpcError(name: string, error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (!(error instanceof NetworkError)) {
    return new RpcError(code.internal, error instanceof Error ? error.message : `${name} failed`);
  }
  if (error.code === "ECANCELED") return new RpcError(code.cancelled, `${name} was cancelled`);
  return new RpcError(code.unavailable, error.message);
}

/** Bytes in, whole messages out. */
class Frames {
  #chunks: Bytes[] = [];
  #length = 0;
  /** Bytes of the next message with its prefix, once the prefix is known. */
  #wanted = 0;

  take(chunk: Bytes): Bytes[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const messages: Bytes[] = [];
    for (;;) {
      if (this.#wanted === 0) {
        if (this.#length < prefixBytes) return messages;
        this.#wanted = prefixBytes + messageLength(this.#joined());
      }
      if (this.#length < this.#wanted) return messages;
      const all = this.#joined();
      messages.push(all.subarray(prefixBytes, this.#wanted));
      this.#chunks = [all.subarray(this.#wanted)];
      this.#length -= this.#wanted;
      this.#wanted = 0;
    }
  }

  checkEnd(): void {
    if (this.#length > 0) throw new RpcError(code.internal, "the answer ended within a message");
  }

  /** Joined only when a prefix or a message is complete, so that a large one is copied once. */
  #joined(): Bytes {
    const [first] = this.#chunks;
    if (this.#chunks.length === 1 && first !== undefined) return first;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks = [all];
    return all;
  }
}

function messageLength(bytes: Bytes): number {
  if (bytes[0] !== 0)
    throw new RpcError(code.unimplemented, "a compressed message was sent unasked");
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
  if (length > messageBytesMax) {
    const limit = `${length} vs. ${messageBytesMax}`;
    throw new RpcError(code.resourceExhausted, `received message larger than max (${limit})`);
  }
  return length;
}
