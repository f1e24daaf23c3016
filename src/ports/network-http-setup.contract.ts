/** What the HTTP contracts share: the kinds of connection that they run on, servers and clients for them, sources to push to. */
import { afterAll, beforeAll } from "vitest";
import {
  anyPort,
  bytes,
  type Certificates,
  makeCertificates,
  type NetworkWorld,
} from "./network.contract.ts";
import type {
  Address,
  ClientTls,
  HttpClient,
  HttpHandler,
  HttpRequest,
  HttpResponse,
  Listener,
  ServeOptions,
  ServerTls,
} from "./network.ts";
import type { Bytes, Source } from "./stream.ts";

export const bodyBytesMax = 1024 * 1024;
export const ignore = (): void => {};

/** A source that gives what is pushed, and remembers whether it was stopped. */
export class PushedSource implements Source<Bytes> {
  #waiting: (readonly Bytes[] | undefined | Error)[] = [];
  #wake: () => void = ignore;
  isStopped = false;
  readonly stopped: Promise<void>;
  #tellStopped: () => void = ignore;

  constructor() {
    this.stopped = new Promise((resolve) => {
      this.#tellStopped = resolve;
    });
  }

  push(batch: readonly Bytes[] | undefined | Error): void {
    this.#waiting.push(batch);
    this.#wake();
  }

  async next(): Promise<readonly Bytes[] | undefined> {
    while (this.#waiting.length === 0 && !this.isStopped) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const batch = this.#waiting.shift();
    if (batch instanceof Error) throw batch;
    return batch;
  }

  stop(): void {
    this.isStopped = true;
    this.#tellStopped();
    this.#wake();
  }
}

export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

export const describeRequest = (request: HttpRequest): HttpResponse => {
  const { body } = request;
  const { method, target, headers, peer } = request;
  const length = body instanceof Uint8Array ? body.length : body;
  return {
    status: 200,
    headers: { "content-type": "application/json" },
    body: bytes(JSON.stringify({ method, target, headers, length, address: peer?.address })),
  };
};

export interface Server {
  readonly client: HttpClient;
  readonly address: Address;
  readonly listener: Listener;
  readonly another: (tls?: Partial<ClientTls>) => HttpClient;
}

export const variants = [
  { kind: "h1 tcp", version: 1, isTls: false, isUnix: false },
  { kind: "h1 unix", version: 1, isTls: false, isUnix: true },
  { kind: "h1 tls", version: 1, isTls: true, isUnix: false },
  { kind: "h2 tls", version: 2, isTls: true, isUnix: false },
  { kind: "h2 unix", version: 2, isTls: false, isUnix: true },
  { kind: "h2 tcp", version: 2, isTls: false, isUnix: false },
] as const;
export type Variant = (typeof variants)[number];

export interface HttpSetup {
  /** Known once the tests run. */
  readonly world: () => NetworkWorld;
  readonly certificates: () => Certificates;
  readonly serve: (
    variant: Variant,
    handle: HttpHandler,
    at?: Address,
    serverTls?: Partial<ServerTls>,
    more?: Partial<ServeOptions>,
  ) => Promise<Server>;
  readonly get: (client: HttpClient, target?: string) => ReturnType<HttpClient["send"]>;
}

export function httpSetup(make: () => Promise<NetworkWorld>): HttpSetup {
  let world: NetworkWorld;
  let certificates: Certificates;
  const open: (() => unknown)[] = [];
  beforeAll(async () => {
    world = await make();
    certificates = await makeCertificates(world);
  });
  afterAll(() => Promise.all(open.map((close) => close())));
  const serve = async (
    variant: Variant,
    handle: HttpHandler,
    at: Address = variant.isUnix ? { unix: world.unixPath() } : anyPort,
    serverTls: Partial<ServerTls> = {},
    more: Partial<ServeOptions> = {},
  ): Promise<Server> => {
    const { isTls, version } = variant;
    const tls = { identity: () => certificates.server, ...serverTls };
    const options = { bodyBytesMax, ...(isTls ? { tls } : {}), ...more };
    const listener = await world.network.serve(at, options, handle);
    open.push(() => listener.close(0));
    const another = (change: Partial<ClientTls> = {}): HttpClient => {
      const tlsOf = { roots: certificates.roots, ...change };
      const client = world.network.http(listener.address, {
        version,
        ...(isTls ? { tls: tlsOf } : {}),
      });
      open.push(() => client.close());
      return client;
    };
    return { client: another(), address: listener.address, listener, another };
  };
  return {
    world: () => world,
    certificates: () => certificates,
    serve,
    get: (client, target = "/") => client.send({ method: "GET", target }),
  };
}
