/**
 * The HttpProxy port on Node: one server for HTTP/1.1, one for HTTP/2, behind a plain listener and one with TLS that chooses certificates by
 * the name that is asked for. Runs in whatever thread makes it; see main/ingress-thread.ts.
 */
import type { Server as HttpServer } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type Server as TlsServer,
} from "node:tls";
import { compileRoutes, hostCandidates, hostName, type Router } from "#machinery/http-route.ts";
import type {
  HttpProxy,
  ProxyBackend,
  ProxyCertificate,
  ProxyPort,
  ProxyTable,
} from "#ports/http-proxy.ts";
import type { Log } from "#ports/log.ts";
import { Backends } from "./backends.ts";
import { type Front, http1Front } from "./http1-front.ts";
import { http2Front } from "./http2-front.ts";

export interface HttpProxyOptions {
  /** Where it listens: "0.0.0.0". */
  readonly host: string;
  /** The usual port, then those that stand in for it where another program has it. */
  readonly ports: readonly [usual: number, ...instead: number[]];
  readonly tlsPorts: readonly [usual: number, ...instead: number[]];
  readonly log: Log;
}

const connectionsMax = 20_000;

export const nodeHttpProxy = (options: HttpProxyOptions): HttpProxy => new NodeHttpProxy(options);

class NodeHttpProxy implements HttpProxy {
  readonly #options: HttpProxyOptions;
  #router: Router = () => undefined;
  #contexts = new Map<string, SecureContext>();
  #backends = new Backends();
  #listening: Promise<readonly ProxyPort[]> | undefined;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Socket>();
  /** Of HTTP/2: each ends once its streams have. */
  readonly #sessions = new Set<ServerHttp2Session>();
  #http1: HttpServer | undefined;
  #front: Front | undefined;
  #secure: TlsServer | undefined;
  /** For clients that name no host. */
  #unnamed: { readonly cert: string; readonly key: string } | undefined;

  constructor(options: HttpProxyOptions) {
    this.#options = options;
  }

  async setTable({ hosts, certificates }: ProxyTable): Promise<void> {
    this.#router = compileRoutes(hosts);
    this.#contexts = this.#secureContexts(certificates);
    const fallback = certificates.find((one) => one.hosts.length === 0);
    this.#unnamed = fallback && { cert: fallback.chain, key: fallback.key };
    if (this.#unnamed !== undefined) this.#secure?.setSecureContext(this.#unnamed);
  }
  async setBackends(changes: ReadonlyMap<string, ProxyBackend | undefined>): Promise<void> {
    this.#backends.change(changes);
  }

  listen(): Promise<readonly ProxyPort[]> {
    this.#listening ??= this.#listen();
    return this.#listening;
  }

  async close(graceMs: number): Promise<void> {
    if (this.#listening === undefined) return;
    await this.#listening;
    this.#listening = undefined;
    const closed = this.#servers.splice(0).map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    if (this.#front !== undefined) this.#front.isClosing = true;
    this.#http1?.closeIdleConnections();
    for (const session of this.#sessions) session.close();
    const cut = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy();
    }, graceMs);
    await Promise.all(closed);
    clearTimeout(cut);
    this.#backends.destroy();
    this.#backends = new Backends();
  }

  #secureContexts(certificates: readonly ProxyCertificate[]): Map<string, SecureContext> {
    const contexts = new Map<string, SecureContext>();
    for (const { hosts, chain, key } of certificates) {
      try {
        const context = createSecureContext({ cert: chain, key });
        for (const host of hosts.length === 0 ? [""] : hosts) {
          if (!contexts.has(host)) contexts.set(host, context);
        }
      } catch (error) {
        this.#options.log.write("warn", "a certificate and its key do not fit; it is left out", {
          hosts: hosts.join(", "),
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
    return contexts;
  }

  async #listen(): Promise<readonly ProxyPort[]> {
    const front: Front = {
      // The fronts outlive a change of backends.
      backends: this.#backends,
      route: (host, target) => this.#router(hostName(host), target),
      isClosing: false,
    };
    this.#front = front;
    const http1 = http1Front(front);
    const http2 = http2Front(front);
    http2.on("session", (session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
    });
    this.#http1 = http1;
    const keep = (socket: Socket): void => {
      this.#connections.add(socket);
      socket.once("close", () => this.#connections.delete(socket));
    };
    const plain = createTcpServer({ noDelay: true }, (socket) => {
      keep(socket);
      http1.emit("connection", socket);
    });
    const secure = createTlsServer(
      {
        ALPNProtocols: ["h2", "http/1.1"],
        noDelay: true,
        SNICallback: (name, done) => done(null, this.#contextFor(name)),
        ...this.#unnamed,
      },
      (socket) => {
        keep(socket);
        if (socket.alpnProtocol === "h2") http2.emit("connection", socket);
        else http1.emit("connection", socket);
      },
    );
    secure.on("tlsClientError", () => undefined);
    this.#secure = secure;
    const { ports, tlsPorts } = this.#options;
    return [await this.#bind(plain, ports, false), await this.#bind(secure, tlsPorts, true)];
  }

  #contextFor(name: string): SecureContext | undefined {
    for (const candidate of hostCandidates(hostName(name))) {
      const context = this.#contexts.get(candidate);
      if (context !== undefined) return context;
    }
    return undefined;
  }
  async #bind(
    server: Server,
    ports: readonly [number, ...number[]],
    tls: boolean,
  ): Promise<ProxyPort> {
    server.maxConnections = connectionsMax;
    const [usual] = ports;
    for (const port of ports) {
      const bound = await listenAt(server, this.#options.host, port);
      if (bound === undefined) continue;
      this.#servers.push(server);
      return { usual, port: bound, tls, protocol: "TCP" };
    }
    return { usual, port: undefined, tls, protocol: "TCP" };
  }
}

/** The port; undefined: it is not to be had. */
function listenAt(server: Server, host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(undefined);
      else reject(error);
    };
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
