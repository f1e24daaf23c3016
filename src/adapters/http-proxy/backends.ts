/**
 * The backends that requests go to: which endpoint is next, and the connections that are kept to each. An endpoint that is gone gets
 * nothing new; what is under way there ends. One that failed loses the connections that were kept, and one that is silent those whose
 * requests may be sent elsewhere.
 */
import { Agent as HttpAgent } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { Agent as HttpsAgent } from "node:https";
import type { ProxyBackend, ProxyEndpoint } from "#ports/http-proxy.ts";
import { ConnectionPool } from "./http1-upstream.ts";
import { Vigil } from "./vigil.ts";

const freeConnectionsMax = 64;
/** Shorter than most servers keep idle connections (Node's 5 s), so that we close before they do. */
const idleMs = 4000;
/** An endpoint that failed is asked last for so long; as nginx has it. */
const avoidMs = 10_000;

/** One place that answers. */
export class Endpoint {
  readonly address: string;
  readonly port: number;
  readonly protocol: ProxyBackend["protocol"];
  readonly agent: HttpAgent;
  readonly connections: ConnectionPool;
  readonly vigil: Vigil;
  /** Until then (by the monotonic clock) it is avoided. */
  avoidedUntilMs = 0;
  isGone = false;
  #session: ClientHttp2Session | undefined;

  constructor({ address, port }: ProxyEndpoint, protocol: ProxyBackend["protocol"]) {
    this.address = address;
    this.port = port;
    this.protocol = protocol;
    this.connections = new ConnectionPool(this);
    this.vigil = new Vigil(this, () => this.fellSilent());
    const options = {
      keepAlive: true,
      maxFreeSockets: freeConnectionsMax,
      scheduling: "lifo",
      timeout: idleMs,
    } as const;
    this.agent =
      protocol === "https"
        ? new HttpsAgent({ ...options, rejectUnauthorized: false })
        : new HttpAgent(options);
  }

  /** Kept connections are not to be trusted either. */
  failed(): void {
    this.avoidedUntilMs = performance.now() + avoidMs;
    this.connections.dropIdle();
    this.#dropFree();
  }
  /** There is no machine, or no way to it. */
  fellSilent(): void {
    this.failed();
    const session = this.#session;
    this.#session = undefined;
    // What streams there may go on if the silence was a short one.
    session?.close();
    this.vigil.giveUp();
  }
  #dropFree(): void {
    for (const sockets of Object.values(this.agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }

  /** The one connection of HTTP/2 that all requests share. */
  session(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connectHttp2(`http://${authority(this)}`);
    session.on("error", () => undefined);
    session.on("goaway", () => this.#forget(session));
    session.on("close", () => this.#forget(session));
    this.#session = session;
    return session;
  }
  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  leave(): void {
    this.isGone = true;
    this.agent.maxFreeSockets = 0;
    this.connections.close();
    this.#dropFree();
    this.#session?.close();
  }
  destroy(): void {
    this.leave();
    this.vigil.stop();
    this.agent.destroy();
    this.#session?.destroy();
  }
}

export const authority = ({ address, port }: ProxyEndpoint): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

class Backend {
  endpoints: readonly Endpoint[] = [];
  #next = 0;

  update({ endpoints, protocol }: ProxyBackend): void {
    const known = new Map(this.endpoints.map((one) => [`${one.protocol} ${authority(one)}`, one]));
    this.endpoints = endpoints.map((one) => {
      const key = `${protocol} ${authority(one)}`;
      const kept = known.get(key);
      known.delete(key);
      return kept ?? new Endpoint(one, protocol);
    });
    for (const gone of known.values()) gone.leave();
  }

  /** One after the other; those that failed lately only when nobody else is left. */
  choose(tried: ReadonlySet<Endpoint>): Endpoint | undefined {
    const { endpoints } = this;
    const nowMs = performance.now();
    let avoided: Endpoint | undefined;
    for (let step = 0; step < endpoints.length; step++) {
      const endpoint = endpoints[(this.#next + step) % endpoints.length];
      if (endpoint === undefined || tried.has(endpoint)) continue;
      if (endpoint.avoidedUntilMs > nowMs) {
        avoided ??= endpoint;
        continue;
      }
      this.#next = (this.#next + step + 1) % endpoints.length;
      return endpoint;
    }
    return avoided;
  }
}

export class Backends {
  readonly #backends = new Map<string, Backend>();

  change(changes: ReadonlyMap<string, ProxyBackend | undefined>): void {
    for (const [key, backend] of changes) {
      if (backend === undefined) {
        for (const endpoint of this.#backends.get(key)?.endpoints ?? []) endpoint.leave();
        this.#backends.delete(key);
        continue;
      }
      const known = this.#backends.get(key) ?? new Backend();
      this.#backends.set(key, known);
      known.update(backend);
    }
  }
  /** Undefined: there is no endpoint that was not tried. */
  choose(key: string, tried: ReadonlySet<Endpoint>): Endpoint | undefined {
    return this.#backends.get(key)?.choose(tried);
  }
  destroy(): void {
    for (const { endpoints } of this.#backends.values()) {
      for (const endpoint of endpoints) endpoint.destroy();
    }
    this.#backends.clear();
  }
}
