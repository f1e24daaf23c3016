/**
 * gRPC over HTTP/2 on node:http2 and protobufjs: unary calls and server streams. A connection that breaks fails the calls in flight with
 * UNAVAILABLE (14); the next call makes a new one. Messages are plain objects in the camel case of the proto's fields.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { connect as connectSocket } from "node:net";
import protobuf from "protobufjs";
import type { Address } from "#ports/network.ts";
import { type Rpc, type RpcDialer, RpcError } from "#ports/rpc.ts";
import type { Source } from "#ports/stream.ts";

const unavailable = 14;
const deadlineExceeded = 4;
const cancelled = 1;
const internal = 13;
const messageBytesMax = 64 * 1024 * 1024;
/** Messages of a stream that wait to be read; beyond it the connection is held back. */
const waitingMessagesMax = 1024;

interface Method {
  readonly path: string;
  readonly encode: (request: object) => Buffer;
  readonly decode: (bytes: Uint8Array) => object;
}

/** One parsed .proto text; texts are few and fixed. */
const parsed = new Map<string, protobuf.Root>();

function rootOf(proto: string): protobuf.Root {
  let root = parsed.get(proto);
  if (root === undefined) {
    root = protobuf.parse(proto, { keepCase: false }).root;
    parsed.set(proto, root);
  }
  return root;
}

const toObject = { longs: Number, defaults: true, arrays: true, objects: true } as const;

function methodOf(root: protobuf.Root, name: string): Method {
  const slash = name.indexOf("/");
  const service = root.lookupService(name.slice(0, slash));
  const method = service.methods[name.slice(slash + 1)];
  if (method === undefined) throw new Error(`${name} is not declared`);
  method.resolve();
  const { resolvedRequestType: asked, resolvedResponseType: answered } = method;
  if (asked === null || answered === null) throw new Error(`${name} has unknown messages`);
  return {
    path: `/${name}`,
    encode: (request) => frame(asked.encode(asked.fromObject(request)).finish()),
    decode: (bytes) => answered.toObject(answered.decode(bytes), toObject),
  };
}

/** One uncompressed message with gRPC's five-byte prefix. */
function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 5);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
}

/** Bytes in, whole messages out. */
class Frames {
  #pending: Buffer = Buffer.alloc(0);
  take(chunk: Buffer): Buffer[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const messages: Buffer[] = [];
    while (this.#pending.length >= 5) {
      const size = this.#pending.readUInt32BE(1);
      if (this.#pending[0] !== 0) throw new RpcError(internal, "a compressed message came");
      if (size > messageBytesMax) throw new RpcError(8, `a message of ${size} bytes came`);
      if (this.#pending.length < 5 + size) break;
      messages.push(this.#pending.subarray(5, 5 + size));
      this.#pending = this.#pending.subarray(5 + size);
    }
    return messages;
  }
}

type Headers = Record<string, string | string[] | undefined>;

/** What the trailers (or headers, where there is nothing else) say; undefined: OK. */
function statusOf(headers: Headers): RpcError | undefined {
  const code = Number(headers["grpc-status"]);
  if (code === 0) return undefined;
  if (headers["grpc-status"] === undefined) {
    return new RpcError(unavailable, "the answer ended without a status");
  }
  return new RpcError(code, decodeURIComponent(String(headers["grpc-message"] ?? "")));
}

/** What a broken stream means to its caller. */
function brokenBy(error: Error): RpcError {
  return error instanceof RpcError ? error : new RpcError(unavailable, error.message);
}

class Connection implements Rpc {
  readonly #to: Address;
  readonly #root: protobuf.Root;
  readonly #methods = new Map<string, Method>();
  #session: ClientHttp2Session | undefined;
  #closed = false;

  constructor(to: Address, proto: string) {
    this.#to = to;
    this.#root = rootOf(proto);
  }

  #method(name: string): Method {
    const known = this.#methods.get(name) ?? methodOf(this.#root, name);
    this.#methods.set(name, known);
    return known;
  }
  #open(): ClientHttp2Session {
    if (this.#closed) throw new RpcError(cancelled, "the connection was closed");
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const to = this.#to;
    const authority = "unix" in to ? "localhost" : `${to.host}:${to.port}`;
    const session = connect(`http://${authority}`, {
      createConnection: () =>
        "unix" in to ? connectSocket(to.unix) : connectSocket(to.port, to.host),
    });
    // Calls in flight are told by their own streams.
    session.on("error", () => this.#forget(session));
    session.on("close", () => this.#forget(session));
    session.on("goaway", () => this.#forget(session));
    this.#session = session;
    return session;
  }
  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  #start(method: Method, request: object, timeoutMs: number | undefined): ClientHttp2Stream {
    const stream = this.#open().request({
      ":method": "POST",
      ":path": method.path,
      "content-type": "application/grpc",
      te: "trailers",
      ...(timeoutMs === undefined
        ? {}
        : { "grpc-timeout": `${Math.max(1, Math.ceil(timeoutMs))}m` }),
    });
    stream.end(method.encode(request));
    return stream;
  }

  call(
    name: string,
    request: object,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<object> {
    const method = this.#method(name);
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      const stream = this.#start(method, request, options.timeoutMs);
      const frames = new Frames();
      let answer: object | undefined;
      let status: RpcError | undefined = new RpcError(unavailable, `${name}: the connection broke`);
      let timer: NodeJS.Timeout | undefined;
      const abort = (): void => {
        status = new RpcError(cancelled, `${name} was cancelled`);
        stream.close(constants.NGHTTP2_CANCEL);
      };
      if (options.timeoutMs !== undefined) {
        timer = setTimeout(() => {
          status = new RpcError(
            deadlineExceeded,
            `${name} did not answer within ${options.timeoutMs} ms`,
          );
          stream.close(constants.NGHTTP2_CANCEL);
        }, options.timeoutMs);
      }
      options.signal?.addEventListener("abort", abort, { once: true });
      stream.on("response", (headers) => {
        if (headers["grpc-status"] !== undefined) status = statusOf(headers as Headers);
      });
      stream.on("data", (chunk: Buffer) => {
        try {
          for (const message of frames.take(chunk)) answer = method.decode(message);
        } catch (error) {
          stream.destroy(brokenBy(error as Error));
        }
      });
      stream.on("trailers", (trailers) => {
        status = statusOf(trailers as Headers);
      });
      stream.on("error", (error) => {
        if (status?.code === unavailable) status = brokenBy(error);
      });
      stream.on("close", () => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", abort);
        if (status !== undefined) reject(status);
        else if (answer === undefined) reject(new RpcError(internal, `${name} answered nothing`));
        else resolve(answer);
      });
    });
  }

  stream(name: string, request: object): Source<object> {
    const method = this.#method(name);
    return new Messages(this.#start(method, request, undefined), method);
  }

  close(): void {
    this.#closed = true;
    this.#session?.destroy();
  }
}

/** The messages of a server stream. */
class Messages implements Source<object> {
  readonly #stream: ClientHttp2Stream;
  readonly #waiting: object[] = [];
  #status: RpcError | "open" | "ended" = "open";
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(stream: ClientHttp2Stream, method: Method) {
    this.#stream = stream;
    const frames = new Frames();
    let status: RpcError | undefined = new RpcError(unavailable, "the connection broke");
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) status = statusOf(headers as Headers);
    });
    stream.on("trailers", (trailers) => {
      status = statusOf(trailers as Headers);
    });
    stream.on("error", (error) => {
      if (status?.code === unavailable) status = brokenBy(error);
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        for (const message of frames.take(chunk)) this.#waiting.push(method.decode(message));
      } catch (error) {
        stream.destroy(brokenBy(error as Error));
      }
      if (this.#waiting.length >= waitingMessagesMax) stream.pause();
      this.#wake?.();
    });
    stream.on("close", () => {
      this.#status = status ?? "ended";
      this.#wake?.();
    });
  }
  async next(): Promise<readonly object[] | undefined> {
    while (this.#waiting.length === 0 && this.#status === "open" && !this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#stopped) return undefined;
    const batch = this.#waiting.splice(0);
    if (batch.length > 0) {
      this.#stream.resume();
      return batch;
    }
    if (this.#status instanceof RpcError) throw this.#status;
    return undefined;
  }
  stop(): void {
    this.#stopped = true;
    this.#stream.close(constants.NGHTTP2_CANCEL);
    this.#wake?.();
  }
}

export const systemRpc: RpcDialer = {
  dial: (to, proto) => new Connection(to, proto),
};
