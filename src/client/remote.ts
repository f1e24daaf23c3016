/**
 * The remote transport: a Handler that speaks HTTP with an API server: JSON both ways, watches as
 * lines of JSON, upgrades handed through. Reads nothing but the answers; objects come frozen, as
 * the direct transport gives them.
 */
import type { ApiRequest, ApiResponse, Content, Handler, WatchEvent } from "#api/request.ts";
import { deepFreeze } from "#machinery/object.ts";
import { StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Address, ClientTls, HttpClient, Network } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";

export interface RemoteOptions {
  readonly tls?: ClientTls;
  /** 2 multiplexes over one connection; upgrades always go over 1. */
  readonly version: 1 | 2;
  readonly connections?: number;
  /** The Host header, where the address does not say it (unix sockets). */
  readonly authority?: string;
  /** Asked for each request, so that tokens may rotate. */
  readonly bearerToken?: () => string | undefined;
  /** A request that is no watch and no stream fails after this. */
  readonly timeoutMs: number;
}

export interface RemoteHandler {
  readonly handler: Handler;
  close(): void;
}

/** What a whole answer may hold at most; lists of a large cluster fit, a runaway does not. */
const answerBytesMax = 1024 * 1024 * 1024;

async function whole(body: Source<Bytes>): Promise<Bytes> {
  const parts: Bytes[] = [];
  let total = 0;
  for (;;) {
    const batch = await body.next();
    if (batch === undefined) break;
    for (const part of batch) {
      parts.push(part);
      total += part.length;
    }
    if (total > answerBytesMax) {
      body.stop();
      throw new StatusError(500, "InternalError", `the answer exceeds ${answerBytesMax} bytes`);
    }
  }
  if (parts.length === 1) return parts[0] as Bytes;
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Lines of JSON to events. A line may arrive in any number of pieces; a cut last line is dropped.
 */
export function decodeWatch(body: Source<Bytes>): Source<WatchEvent> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  return {
    async next() {
      for (;;) {
        const batch = await body.next();
        if (batch === undefined) return undefined;
        const events: WatchEvent[] = [];
        for (const part of batch) {
          const lines = decoder.decode(part, { stream: true }).split("\n");
          const last = lines.pop() as string;
          for (const line of lines) {
            pieces.push(line);
            const text = pieces.join("");
            pieces = [];
            if (text !== "") events.push(deepFreeze(JSON.parse(text) as WatchEvent));
          }
          if (last !== "") pieces.push(last);
        }
        if (events.length > 0) return events;
      }
    },
    stop: () => body.stop(),
  };
}

const isStream = (request: ApiRequest): boolean =>
  request.query.some(
    ([name, value]) =>
      (name === "watch" || name === "follow") && (value === "true" || value === "1"),
  );

const isWatch = (request: ApiRequest): boolean =>
  request.query.some(([name, value]) => name === "watch" && (value === "true" || value === "1"));

function targetOf(request: ApiRequest): string {
  if (request.query.length === 0) return request.path;
  const query = request.query.map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  );
  return `${request.path}?${query.join("&")}`;
}

async function contentOf(
  request: ApiRequest,
  answer: Awaited<ReturnType<HttpClient["send"]>>,
): Promise<Content> {
  if (answer.status === 101 && answer.raw !== undefined) {
    const { raw } = answer;
    return {
      type: "upgrade",
      run: (peer) => {
        void join(raw, peer);
        void join(peer, raw);
      },
    };
  }
  const mediaType = answer.headers["content-type"] ?? "";
  const json = mediaType.startsWith("application/json");
  if (answer.status < 300 && json && isWatch(request)) {
    return { type: "watch", events: decodeWatch(answer.body) };
  }
  if (answer.status < 300 && !json) return { type: "stream", mediaType, bytes: answer.body };
  const bytes = await whole(answer.body);
  if (!json) return { type: "bytes", mediaType, bytes };
  return { type: "object", object: deepFreeze(JSON.parse(new TextDecoder().decode(bytes))) };
}

/** Everything that one side says goes to the other; a broken side breaks the other. */
async function join(
  from: { read(): Promise<Bytes | undefined>; abort(error: Error): void },
  to: { write(bytes: Bytes): Promise<void>; end(): void; abort(error: Error): void },
): Promise<void> {
  try {
    for (;;) {
      const bytes = await from.read();
      if (bytes === undefined) break;
      await to.write(bytes);
    }
    to.end();
  } catch (error) {
    const broken = error instanceof Error ? error : new Error(String(error));
    from.abort(broken);
    to.abort(broken);
  }
}

/** A transport to one API server. Rejects with StatusError 503 when it cannot be reached. */
export function remoteHandler(
  network: Network,
  clock: Clock,
  address: Address,
  options: RemoteOptions,
): RemoteHandler {
  const tls = options.tls === undefined ? {} : { tls: options.tls };
  const pool = options.connections === undefined ? {} : { connections: options.connections };
  const http = network.http(address, { ...tls, version: options.version, ...pool });
  let upgrades: HttpClient | undefined;
  const host =
    options.authority ??
    ("host" in address
      ? `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`
      : "localhost");

  const handler: Handler = async (request) => {
    const { body } = request;
    const bytes =
      body === undefined
        ? undefined
        : "bytes" in body
          ? body.bytes
          : new TextEncoder().encode(JSON.stringify(body.object));
    const token = options.bearerToken?.();
    const upgrade = request.headers["upgrade"] !== undefined;
    if (upgrade && options.version === 2)
      upgrades ??= network.http(address, { ...tls, version: 1 });
    const abort = new AbortController();
    const give = () => abort.abort(request.gone.reason);
    request.gone.addEventListener("abort", give, { once: true });
    if (request.gone.aborted) give();
    let late = false;
    const cancelTimer =
      isStream(request) || upgrade
        ? () => {}
        : clock.after(options.timeoutMs, () => {
            late = true;
            abort.abort(new Error("the request took too long"));
          });
    try {
      const answer = await (upgrade ? (upgrades ?? http) : http).send({
        method: request.method,
        target: targetOf(request),
        headers: {
          host,
          ...request.headers,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(bytes === undefined ? {} : { body: bytes }),
        signal: abort.signal,
      });
      const content = await contentOf(request, answer);
      const response: ApiResponse = { status: answer.status, headers: answer.headers, content };
      return response;
    } catch (error) {
      throw unreachable(error, late, host, options.timeoutMs);
    } finally {
      cancelTimer();
      if (!isStream(request)) request.gone.removeEventListener("abort", give);
    }
  };
  return {
    handler,
    close() {
      http.close();
      upgrades?.close();
    },
  };
}

function unreachable(error: unknown, late: boolean, host: string, timeoutMs: number): StatusError {
  if (error instanceof StatusError) return error;
  const why = error instanceof Error ? error.message : String(error);
  if (late) {
    return new StatusError(
      504,
      "Timeout",
      `the API server at ${host} did not answer within ${timeoutMs} ms; is it overloaded or cut off?`,
    );
  }
  return new StatusError(
    503,
    "ServiceUnavailable",
    `the API server at ${host} cannot be reached: ${why}; is it running?`,
  );
}
