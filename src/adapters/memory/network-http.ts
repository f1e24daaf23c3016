/** HTTP in memory: requests and responses are handed over as values, their bodies as copies; what a link does to them is real. */
import type { Log } from "#ports/log.ts";
import {
  type Address,
  type Headers,
  type HttpClient,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  NetworkError,
} from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import type { Way } from "./network.ts";
import type { Connection, Link } from "./network-link.ts";
import { duplexPair } from "./network-pipe.ts";

type Request = Parameters<HttpClient["send"]>[0];
type Answer = Awaited<ReturnType<HttpClient["send"]>>;
type Peer = NonNullable<HttpRequest["peer"]>;

const noBody: Source<Bytes> = { next: () => Promise.resolve(undefined), stop: () => {} };
const isSource = (body: HttpResponse["body"]): body is Source<Bytes> =>
  body !== undefined && !(body instanceof Uint8Array);

/** One end of an exchange: it ends well or fails, once. */
class Side {
  #failure: NetworkError | undefined;
  #isOver = false;
  readonly #failed = new Set<(error: NetworkError) => void>();
  readonly #over = new Set<() => void>();

  get isOver(): boolean {
    return this.#isOver;
  }

  onFail(run: (error: NetworkError) => void): void {
    if (this.#failure === undefined) this.#failed.add(run);
    else run(this.#failure);
  }

  onOver(run: () => void): void {
    if (this.#isOver) run();
    else this.#over.add(run);
  }

  fail(error: NetworkError): void {
    if (this.#isOver) return;
    this.#failure = error;
    this.finish();
    for (const run of this.#failed) run(error);
    this.#failed.clear();
  }

  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const run of this.#over) run();
    this.#over.clear();
  }

  /** What `work` gives once `link` has carried it here; rejects as soon as this end fails. */
  await<T>(work: Promise<T>, link: Link): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) reject(this.#failure);
      this.#failed.add(reject);
      const done = (run: () => void): void =>
        link.carry(() => {
          this.#failed.delete(reject);
          run();
        });
      work.then(
        (value) => done(() => resolve(value)),
        (error: Error) => done(() => reject(error)),
      );
    });
  }
}

/** One request on its way through a connection. */
class Exchange {
  readonly connection: Connection;
  readonly asking = new Side();
  readonly serving = new Side();

  constructor(connection: Connection) {
    this.connection = connection;
    const forget = connection.onBreak((error) => this.fail(error));
    this.serving.onOver(forget);
  }

  /** For both ends at once, as when the connection breaks. */
  fail(error: NetworkError): void {
    this.asking.fail(error);
    this.serving.fail(error);
  }

  finish(): void {
    this.asking.finish();
    this.serving.finish();
  }

  /** The asking end gives up now; the serving end hears of it when the link lets it. */
  cancel(error: NetworkError): void {
    this.asking.fail(error);
    this.connection.link.carry(() => this.serving.fail(error));
  }
}

/** Who answers at a port. */
export interface HttpServer {
  readonly handle: HttpHandler;
  readonly bodyBytesMax: number;
  /** The answer to a larger body. */
  readonly tooLarge: HttpResponse;
  readonly log: Log;
}

/** The serving side of one port. */
export class HttpEndpoint {
  readonly #server: HttpServer;
  /** Connections and how many exchanges run on each. */
  readonly #running = new Map<Connection, number>();
  #isClosing = false;

  constructor(server: HttpServer) {
    this.#server = server;
  }

  opened(connection: Connection): void {
    this.#running.set(connection, 0);
    connection.onOver(() => this.#running.delete(connection));
  }

  /** Ends the connections that carry nothing now, the others with their last exchange. */
  close(): void {
    this.#isClosing = true;
    for (const [connection, count] of this.#running) if (count === 0) connection.finish();
  }

  /** Answers a request; `respond` is called with what to carry back. */
  async take(
    exchange: Exchange,
    request: Request,
    peer: Peer | undefined,
    version: 1 | 2,
  ): Promise<Answer> {
    const { connection } = exchange;
    this.#count(connection, 1);
    exchange.serving.onOver(() => this.#count(connection, -1));
    const gone = new AbortController();
    exchange.serving.onFail(() => gone.abort());
    const body = await collect(exchange, request.body, this.#server.bodyBytesMax);
    const { method, target } = request;
    const headers = asReceived(request.headers ?? {});
    const response =
      body === "large"
        ? this.#server.tooLarge
        : await this.#ask({
            method,
            target,
            headers,
            gone: gone.signal,
            ...(body === undefined ? {} : { body }),
            ...(peer === undefined ? {} : { peer }),
          });
    const wrong = flawOf(response, headers, version);
    if (wrong !== undefined) {
      this.#server.log.write("error", "an HTTP handler failed", { method, target, error: wrong });
      if (isSource(response.body)) response.body.stop();
    }
    return answerOf(
      exchange,
      method,
      wrong === undefined ? response : plainText(500, "internal error"),
    );
  }

  async #ask(request: HttpRequest): Promise<HttpResponse> {
    const { handle, log } = this.#server;
    try {
      return await handle(request);
    } catch (error) {
      const { method, target } = request;
      log.write("error", "an HTTP handler failed", { method, target, error });
      return plainText(500, "internal error");
    }
  }

  #count(connection: Connection, change: 1 | -1): void {
    const count = this.#running.get(connection);
    if (count === undefined) return;
    this.#running.set(connection, count + change);
    if (this.#isClosing && count + change === 0) connection.finish();
  }
}

/** Lines of one name come joined. */
const asReceived = (headers: Headers): Headers =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name.startsWith("x-remote-") ? value.replaceAll("\n", ", ") : value,
    ]),
  );

const plainText = (status: number, text: string): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: new TextEncoder().encode(`${text}\n`),
});

export const plainTooLarge = (bytesMax: number): HttpResponse =>
  plainText(413, `the body of the request is too large: at most ${bytesMax} bytes are taken`);

/** What no adapter could put on a wire. */
function flawOf(response: HttpResponse, asked: Headers, version: 1 | 2): string | undefined {
  if (response.status === 101 && (version === 2 || asked["upgrade"] === undefined)) {
    return "a handler answered 101 to a request that asked for no upgrade";
  }
  return badHeader(response.headers) === undefined
    ? undefined
    : "a header of an answer is not valid";
}

const isControl = (character: string): boolean =>
  (character < " " && character !== "\t") || character === "\x7f";

const hasLines = (name: string): boolean => name === "set-cookie" || name.startsWith("x-remote-");

/** The name of a header that could not be sent. */
function badHeader(headers: Headers): string | undefined {
  const isBad = ([name, value]: readonly [string, string]): boolean =>
    !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) ||
    Array.from(value).some(
      (character) => isControl(character) && !(hasLines(name) && character === "\n"),
    );
  return Object.entries(headers).find(isBad)?.[0];
}

/** The whole body, "large", or undefined if there is none. */
async function collect(
  exchange: Exchange,
  body: Request["body"],
  bytesMax: number,
): Promise<Bytes | "large" | undefined> {
  if (body === undefined) return undefined;
  if (body instanceof Uint8Array) {
    if (body.length > bytesMax) return "large";
    return body.length === 0 ? undefined : body.slice();
  }
  exchange.asking.onOver(() => body.stop());
  const { link } = exchange.connection;
  const chunks: Bytes[] = [];
  let length = 0;
  for (;;) {
    const batch = await exchange.serving.await(body.next(), link).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : "it failed";
      const broken = new NetworkError("ECONNRESET", `the request's body broke off: ${why}`);
      exchange.fail(broken);
      throw error instanceof NetworkError ? error : broken;
    });
    if (batch === undefined) break;
    for (const chunk of batch) {
      length += chunk.length;
      chunks.push(chunk);
    }
    if (length > bytesMax) {
      body.stop();
      return "large";
    }
  }
  return length === 0 ? undefined : concat(chunks, length);
}

function concat(chunks: readonly Bytes[], length: number): Bytes {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The response as the asking side gets it. */
function answerOf(exchange: Exchange, method: string, response: HttpResponse): Answer {
  const { status, headers, body, upgrade } = response;
  if (exchange.serving.isOver) {
    if (isSource(body)) body.stop();
    return { status, headers, body: noBody, trailers: Promise.resolve({}) };
  }
  if (status === 101 && upgrade !== undefined) {
    const { connection } = exchange;
    const [ours, theirs] = duplexPair(connection);
    exchange.asking.finish();
    connection.onOver(() => exchange.serving.finish());
    upgrade(theirs);
    return {
      status,
      headers: { ...headers },
      body: noBody,
      trailers: Promise.resolve({}),
      raw: ours,
    };
  }
  const isBodiless = method === "HEAD" || status === 204 || status === 304;
  const length =
    !isSource(body) && response.trailers === undefined ? (body?.length ?? 0) : undefined;
  const sent: Record<string, string> = { ...headers };
  if (
    length !== undefined &&
    status !== 204 &&
    status !== 304 &&
    !(isBodiless && body === undefined)
  ) {
    sent["content-length"] = String(length);
  }
  if (isBodiless || body === undefined) {
    if (isSource(body)) body.stop();
    exchange.finish();
    const trailers = isBodiless ? undefined : response.trailers;
    return { status, headers: sent, body: noBody, trailers: trailers ?? Promise.resolve({}) };
  }
  const source = isSource(body) ? body : oneBatch(body.slice());
  const carried = new CarriedBody(exchange, source, response.trailers);
  // A whole body is on its way; nobody has to wait until it is read.
  if (!isSource(body)) exchange.finish();
  return { status, headers: sent, body: carried, trailers: carried.trailers };
}

function oneBatch(bytes: Bytes): Source<Bytes> {
  let left: readonly Bytes[] | undefined = bytes.length === 0 ? undefined : [bytes];
  return {
    next: () => {
      const batch = left;
      left = undefined;
      return Promise.resolve(batch);
    },
    stop: () => {
      left = undefined;
    },
  };
}

/** The body of a response, pulled across the link. */
class CarriedBody implements Source<Bytes> {
  readonly trailers: Promise<Headers>;
  readonly #exchange: Exchange;
  readonly #source: Source<Bytes>;
  readonly #trailers: Promise<Headers> | undefined;
  #settle: { resolve: (headers: Headers) => void; reject: (error: Error) => void };
  #state: "open" | "ended" | "stopped" | NetworkError = "open";
  #wake: () => void = () => {};

  constructor(exchange: Exchange, source: Source<Bytes>, trailers: Promise<Headers> | undefined) {
    this.#exchange = exchange;
    this.#source = source;
    this.#trailers = trailers;
    let resolve: (headers: Headers) => void = () => {};
    let reject: (error: Error) => void = () => {};
    this.trailers = new Promise((...both) => {
      [resolve, reject] = both;
    });
    this.#settle = { resolve, reject };
    // Whoever does not ask for the trailers hears of a broken body by next().
    this.trailers.catch(() => {});
    exchange.serving.onFail(() => source.stop());
    exchange.asking.onFail((error) => this.#fail(error));
  }

  async next(): Promise<readonly Bytes[] | undefined> {
    if (this.#state === "open") {
      const stopped = new Promise<undefined>((resolve) => {
        this.#wake = () => resolve(undefined);
      });
      const batch = await Promise.race([this.#pull(), stopped]);
      if (batch !== undefined) return batch;
    }
    if (this.#state instanceof NetworkError) throw this.#state;
    return undefined;
  }

  stop(): void {
    if (this.#state !== "open") return;
    this.#state = "stopped";
    this.#wake();
    this.#settle.resolve({});
    this.#exchange.asking.finish();
    this.#exchange.connection.link.carry(() => {
      this.#source.stop();
      this.#exchange.serving.fail(new NetworkError("ECANCELED", "the reader stopped"));
    });
  }

  async #pull(): Promise<readonly Bytes[] | undefined> {
    try {
      const { asking, connection } = this.#exchange;
      const next = this.#source.next();
      // A whole body has been carried over with its head.
      const batch = await (asking.isOver ? next : asking.await(next, connection.link));
      if (this.#state !== "open") return undefined;
      if (batch !== undefined) return batch.map((chunk) => chunk.slice());
      this.#state = "ended";
      this.#exchange.finish();
      this.#settle.resolve((await this.#trailers) ?? {});
    } catch (error) {
      const why = error instanceof Error ? error.message : "it failed";
      const broken = new NetworkError("ECONNRESET", `the answer broke off: ${why} (ECONNRESET)`);
      this.#fail(error instanceof NetworkError ? error : broken);
      this.#exchange.fail(broken);
    }
    return undefined;
  }

  #fail(error: NetworkError): void {
    if (this.#state !== "open") return;
    this.#state = error;
    this.#settle.reject(error);
  }
}

/** The asking side. `dial` makes a connection; one is enough, it carries any number of exchanges. */
export function httpClient(to: Address, version: 1 | 2, dial: () => Promise<Way>): HttpClient {
  const running = new Set<Exchange>();
  let way: Promise<Way> | undefined;
  let isClosed = false;
  const name = "unix" in to ? to.unix : `${to.host}:${to.port}`;
  const closed = (): NetworkError =>
    new NetworkError("ECANCELED", `the HTTP client of ${name} was closed (ECANCELED)`);
  const open = async (): Promise<Way> => {
    const fresh = await dial();
    if (fresh.endpoint.http === undefined) {
      fresh.connection.finish();
      throw new NetworkError("EBADHTTP", `${name} does not speak HTTP (EBADHTTP)`);
    }
    fresh.endpoint.http.opened(fresh.connection);
    return fresh;
  };
  /** The connection that all requests share, a new one if it broke or is closing. */
  const shared = async (): Promise<Way> => {
    const known = way;
    const found = await known?.catch(() => undefined);
    if (found !== undefined && !found.connection.isOver && !found.endpoint.isClosed) return found;
    if (way === known || way === undefined) way = open();
    return way;
  };
  return {
    async send(request) {
      if (isClosed) throw closed();
      const { signal } = request;
      const cancelled = new NetworkError(
        "ECANCELED",
        `${request.method} ${request.target} at ${name}: it was cancelled (ECANCELED)`,
      );
      if (signal?.aborted === true) throw cancelled;
      const headers = requestHeaders(to, request);
      const { endpoint, connection, from, certificates } =
        // An upgrade takes its connection away from the others.
        await (headers["upgrade"] === undefined ? shared() : open());
      const exchange = new Exchange(connection);
      running.add(exchange);
      const onAbort = (): void => exchange.cancel(cancelled);
      signal?.addEventListener("abort", onAbort);
      exchange.asking.onOver(() => {
        running.delete(exchange);
        signal?.removeEventListener("abort", onAbort);
      });
      const peer = "unix" in from ? undefined : peerOf(connection, from.host, certificates);
      const server = endpoint.http;
      if (server === undefined) throw new Error("an HTTP connection leads to an HTTP endpoint");
      if (isClosed) exchange.cancel(closed());
      if (request.signal?.aborted === true) exchange.cancel(cancelled);
      const answered = new Promise<Answer>((resolve, reject) =>
        connection.link.carry(() => {
          // Given up on the way: the server never hears of it.
          if (exchange.serving.isOver) return;
          server.take(exchange, { ...request, headers }, peer, version).then(resolve, reject);
        }),
      );
      return exchange.asking.await(answered, connection.link);
    },
    close() {
      isClosed = true;
      for (const exchange of running) exchange.cancel(closed());
      way?.then(
        ({ connection }) => connection.finish(),
        () => {},
      );
    },
  };
}

/** One value for all requests of a connection, so that what was judged of it can be kept with it. */
const peers = new WeakMap<Connection, Peer>();
function peerOf(connection: Connection, address: string, certificates: readonly Bytes[]): Peer {
  const known = peers.get(connection);
  if (known !== undefined) return known;
  const fresh = { address, certificates };
  peers.set(connection, fresh);
  return fresh;
}

function requestHeaders(
  to: Address,
  { method, headers = {}, body }: Request,
): Record<string, string> {
  const bad = badHeader(headers);
  if (bad !== undefined)
    throw new NetworkError("EINVAL", `the header ${bad} is not valid (EINVAL)`);
  const host = "unix" in to ? "localhost" : `${to.host}:${to.port}`;
  const sent: Record<string, string> = { host, ...headers };
  if (body instanceof Uint8Array) sent["content-length"] ??= String(body.length);
  else if (body === undefined && /^(POST|PUT|PATCH)$/.test(method)) sent["content-length"] ??= "0";
  return sent;
}
