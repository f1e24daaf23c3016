/** The HTTP/1.1 client: a pool of kept connections to one address. */
import { Agent, type ClientRequest, type IncomingMessage, request as sendRequest } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Address, type ClientTls, type HttpClient, NetworkError } from "#ports/network.ts";
import { noBody, type PulledBody, pullBody, pump } from "./http-body.ts";
import { http1Headers, incomingHeaders, trailerHeaders } from "./http-headers.ts";
import { headBytesMax, headerCountMax } from "./http-request.ts";
import { socketDuplex } from "./network-duplex.ts";
import { nameOf, networkError } from "./network-error.ts";
import { connectMsMax, dial } from "./network-listen.ts";

export type Request = Parameters<HttpClient["send"]>[0];
export type Answer = Awaited<ReturnType<HttpClient["send"]>>;

/** Less than servers keep an idle connection (upstream: 90 s), so that they do not close it under a request. */
const idleMs = 60_000;
const connectionsDefault = 256;

/** A pool whose connections come from dial(). */
class DialingAgent extends Agent {
  readonly #dial: () => Socket;

  constructor(connections: number, dialOne: () => Socket) {
    super({ keepAlive: true, maxSockets: connections, scheduling: "lifo", timeout: idleMs });
    this.#dial = dialOne;
  }

  override createConnection(
    _options: unknown,
    done?: (error: Error | null, socket: Socket) => void,
  ): Socket | undefined {
    try {
      return this.#dial();
    } catch (error) {
      // Thrown, it would hit whoever freed a place in the pool. A missing client certificate, for example.
      const failure = error instanceof Error ? error : new Error("cannot connect");
      Reflect.apply(done ?? (() => {}), undefined, [failure]);
      return undefined;
    }
  }
}

export function http1Client(
  to: Address,
  options: { readonly tls?: ClientTls; readonly connections?: number },
): HttpClient {
  const { tls, connections = connectionsDefault } = options;
  // A certificate could be for HTTP/2 as well: without this offer some servers would speak it.
  const protocols = ["http/1.1"];
  const agent = new DialingAgent(connections, () =>
    dial(to, tls, { timeoutMs: connectMsMax, protocols }),
  );
  const running = new Set<Exchange>();
  let isClosed = false;
  return {
    async send(request) {
      if (isClosed)
        throw new NetworkError("ECANCELED", `the HTTP client of ${nameOf(to)} was closed`);
      return new Exchange(to, agent, request, running).answer;
    },
    close() {
      isClosed = true;
      for (const exchange of running) exchange.cancel(`the HTTP client was closed`);
      agent.destroy();
    },
  };
}

/** One request and its answer. */
class Exchange {
  readonly answer: Promise<Answer>;
  readonly #name: string;
  readonly #request: Request;
  readonly #running: Set<Exchange>;
  readonly #onAbort = (): void => this.cancel("it was cancelled");
  #outgoing: ClientRequest | undefined;
  #body: PulledBody | undefined;
  #resolve: (answer: Answer) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #isOver = false;

  constructor(to: Address, agent: Agent, request: Request, running: Set<Exchange>) {
    this.#name = `${request.method} ${request.target.split("?")[0]} at ${nameOf(to)}`;
    this.#request = request;
    this.#running = running;
    running.add(this);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { signal } = request;
    if (signal?.aborted === true) {
      this.cancel("it was cancelled");
      return;
    }
    signal?.addEventListener("abort", this.#onAbort);
    this.#attempt(to, agent, true);
  }

  cancel(why: string): void {
    this.#fail(new NetworkError("ECANCELED", `${this.#name}: ${why} (ECANCELED)`));
  }

  #attempt(to: Address, agent: Agent, mayRepeat: boolean): void {
    const { method, target, headers = {}, body } = this.#request;
    const lines = http1Headers(headers);
    if (headers["host"] === undefined) lines.push("host", authorityOf(to));
    if (body instanceof Uint8Array && headers["content-length"] === undefined) {
      lines.push("content-length", String(body.length));
    } else if (body === undefined && /^(POST|PUT|PATCH)$/.test(method)) {
      lines.push("content-length", "0");
    } else if (body !== undefined && headers["content-length"] === undefined) {
      lines.push("transfer-encoding", "chunked");
    }
    let outgoing: ClientRequest;
    try {
      outgoing = sendRequest({
        agent,
        method,
        path: target,
        headers: lines,
        setHost: false,
        maxHeaderSize: headBytesMax,
      });
    } catch (error) {
      this.#fail(networkError(error, this.#name));
      return;
    }
    outgoing.maxHeadersCount = headerCountMax;
    this.#outgoing = outgoing;
    outgoing.once("response", (incoming) => this.#respond(incoming));
    outgoing.once("upgrade", (incoming, socket, head) => this.#upgrade(incoming, socket, head));
    outgoing.on("error", (error) => {
      // The server closed a kept connection just as the request went out. What changes nothing may go out again.
      const isStale = outgoing.reusedSocket && Reflect.get(error, "code") === "ECONNRESET";
      const isHarmless =
        /^(GET|HEAD|OPTIONS)$/.test(method) && (body === undefined || body instanceof Uint8Array);
      if (isStale && isHarmless && mayRepeat && this.#body === undefined && !this.#isOver) {
        this.#attempt(to, agent, false);
      } else this.#fail(networkError(error, this.#name));
    });
    if (body === undefined || body instanceof Uint8Array) {
      outgoing.end(body);
      return;
    }
    outgoing.flushHeaders();
    pump(body, outgoing).then(
      (isWhole) => isWhole && outgoing.end(),
      (error: unknown) =>
        this.#fail(networkError(error, `${this.#name}: the request's body broke off`)),
    );
  }

  #respond(incoming: IncomingMessage): void {
    const body = pullBody({
      stream: incoming,
      name: this.#name,
      isWhole: () => incoming.complete,
      trailers: () => trailerHeaders(incoming.trailers),
      drop: () => incoming.destroy(),
      over: () => this.#finish(),
    });
    this.#body = body;
    this.#resolve({
      status: incoming.statusCode ?? 0,
      headers: incomingHeaders(incoming.headers),
      body: body.source,
      trailers: body.trailers,
    });
  }

  #upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#finish();
    if (head.length > 0) socket.unshift(head);
    this.#resolve({
      status: incoming.statusCode ?? 0,
      headers: incomingHeaders(incoming.headers),
      body: noBody,
      trailers: Promise.resolve({}),
      raw: socketDuplex(socket as Socket, this.#name),
    });
  }

  #fail(error: NetworkError): void {
    if (this.#isOver) return;
    this.#finish();
    this.#reject(error);
    this.#body?.fail(error);
    this.#outgoing?.destroy();
  }

  #finish(): void {
    this.#isOver = true;
    this.#running.delete(this);
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** What the host header says. */
export const authorityOf = (to: Address): string => ("unix" in to ? "localhost" : nameOf(to));
