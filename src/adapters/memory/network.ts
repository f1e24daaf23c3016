/**
 * A network inside one process: hosts with addresses, connections, TLS, HTTP, datagrams, names, and the faults of real
 * networks. Promises only; what happens depends on nothing but the calls and the clock.
 *
 * It differs from a real one where nobody should rely on it: its HTTP clients hand over values, not text (who comes by a plain
 * connection speaks text: network-wire.ts); answers are not compressed; a streamed answer is pulled by its reader instead of
 * being sent ahead; and TLS is not encrypted (see network-tls.ts).
 */
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Direction } from "#ports/dataplane.ts";
import type { Log } from "#ports/log.ts";
import {
  type Address,
  type ClientTls,
  type HttpHandler,
  type Listener,
  type Network,
  NetworkError,
  type ServeOptions,
  type ServerTls,
  type UdpSocket,
} from "#ports/network.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import type { Translation } from "./dataplane.ts";
import { HttpEndpoint, type HttpServer, httpClient, plainTooLarge } from "./network-http.ts";
import { Connection, Link } from "./network-link.ts";
import { duplexPair } from "./network-pipe.ts";
import { isAddress, shakeHands } from "./network-tls.ts";
import { speakHttp } from "./network-wire.ts";

export interface MemoryNetworkOptions {
  /** For time-outs and graces. */
  readonly clock: Clock;
  /** Told of HTTP handlers that throw. */
  readonly log: Log;
  /** With it, TLS clients judge their servers' certificates. */
  readonly crypto?: Crypto;
}

/** What listens at an address. */
export interface Endpoint {
  readonly tls: ServerTls | undefined;
  readonly http: HttpEndpoint | undefined;
  /** Connections that are open. */
  readonly connections: Set<Connection>;
  isClosed: boolean;
  accept(connection: Duplex, from: Address): void;
}

/** A way to an endpoint that was found there: what both ends need to talk. */
export interface Way {
  readonly endpoint: Endpoint;
  readonly connection: Connection;
  readonly from: Address;
  readonly certificates: readonly Bytes[];
}

/** What a machine's dataplane does with the packets of that machine: where one to this place goes instead. */
export type Translate = (
  protocol: "TCP" | "UDP",
  address: string,
  port: number,
  from: string,
) => Translation;
export type Permits = (
  direction: Direction,
  protocol: "TCP" | "UDP",
  from: string,
  to: string,
  port: number,
) => boolean;

/** Where a packet ends up. `entry`: the machine it reached first, if that sent it on. */
interface Reached {
  readonly host: Host;
  readonly address: string;
  readonly port: number;
  readonly entry?: Host;
}

const connectMsMax = 30_000;
const firstPort = 32_768;
const portMax = 60_999;
/** Datagrams' translations that a host remembers, so that answers seem to come from where it asked. */
const flowsMax = 4096;

export const nameOf = (address: Address): string =>
  "unix" in address ? address.unix : `${address.host}:${address.port}`;

/** The hub that all hosts hang on. */
export class MemoryNetwork {
  readonly clock: Clock;
  readonly log: Log;
  readonly crypto: Crypto | undefined;
  readonly #hosts = new Map<string, Host>();
  readonly #names = new Map<string, readonly string[]>();
  readonly #links = new Map<string, Link>();

  constructor(options: MemoryNetworkOptions) {
    this.clock = options.clock;
    this.log = options.log;
    this.crypto = options.crypto;
  }

  /** The host with this address, made if there is none yet. Asked for again with `more`, it has those addresses, too. */
  host(address: string, ...more: readonly string[]): Network {
    const host = this.#hosts.get(address) ?? new Host(this, address);
    for (const one of [address, ...more]) this.#hosts.set(one, host);
    return host;
  }

  /** A pod: a host of its own that shares its machine's ways to others and its dataplane. */
  pod(address: string, machine: string): Network {
    const taken = this.#hosts.get(address);
    if (taken !== undefined) throw new Error(`the address ${address} is taken by a host`);
    const host = new Host(this, address, this.#hosts.get(machine));
    this.#hosts.set(address, host);
    return host;
  }

  /** The dataplane of that machine, asked about what it and its pods send, and about what reaches it. */
  translate(machine: string, translate: Translate): void {
    const host = this.#hosts.get(machine);
    if (host === undefined) throw new Error(`there is no host ${machine}`);
    host.translate = translate;
  }

  /** That machine's word on what its pods may send and get. */
  gates(machine: string, permits: Permits): void {
    const host = this.#hosts.get(machine);
    if (host === undefined) throw new Error(`there is no host ${machine}`);
    host.permits = permits;
  }

  /** The host goes away, its pods too: listeners and connections are gone, the addresses free. */
  remove(address: string): void {
    const host = this.#hosts.get(address);
    if (host === undefined) return;
    const gone = new Set<Host>();
    for (const [one, owner] of this.#hosts) {
      if (owner !== host && owner.machine !== host) continue;
      this.#hosts.delete(one);
      gone.add(owner);
    }
    for (const one of gone) one.stop();
    for (const [key, link] of this.#links) {
      if (!key.split(" ").includes(host.address)) continue;
      link.heal();
      link.reset();
      this.#links.delete(key);
    }
  }

  /** What a name resolves to on every host; none: it does not resolve any more. */
  name(name: string, addresses: readonly string[]): void {
    if (addresses.length === 0) this.#names.delete(name);
    else this.#names.set(name, addresses);
  }

  /** Nothing gets through between the two hosts until heal(): it waits, and connections break in time. Datagrams are lost. */
  cut(a: string, b: string): void {
    this.#linkOf(a, b).cut();
  }

  heal(a: string, b: string): void {
    this.#linkOf(a, b).heal();
  }

  /** Every connection between the two hosts breaks now. */
  reset(a: string, b: string): void {
    this.#linkOf(a, b).reset();
  }

  hostAt(address: string): Host | undefined {
    return this.#hosts.get(address);
  }

  reached({
    address,
    port,
  }: {
    readonly address: string;
    readonly port: number;
  }): Reached | undefined {
    const host = this.#hosts.get(address);
    return host === undefined ? undefined : { host, address, port };
  }

  resolve(name: string): readonly string[] {
    if (isAddress(name)) return [name];
    if (name === "localhost") return ["127.0.0.1"];
    return this.#names.get(name) ?? [];
  }

  linkBetween(a: Host, b: Host): Link {
    const [first = "", second = ""] = [a.machine.address, b.machine.address].toSorted();
    const key = `${first} ${second}`;
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const fresh = new Link(this.clock, `between ${first} and ${second}`);
    this.#links.set(key, fresh);
    return fresh;
  }

  #linkOf(a: string, b: string): Link {
    const [one, two] = [this.#hosts.get(a), this.#hosts.get(b)];
    if (one === undefined || two === undefined) {
      throw new Error(`there is no host ${one === undefined ? a : b}`);
    }
    if (one.machine === two.machine)
      throw new Error(`${a} and ${b} are on one host, which nothing can cut in two`);
    return this.linkBetween(one, two);
  }
}

const isLoopback = (address: string): boolean =>
  address.startsWith("127.") || address === "::1" || address === "localhost";
const isAny = (address: string): boolean =>
  address === "" || address === "0.0.0.0" || address === "::";

/** One host's view of the network. */
export class Host implements Network {
  readonly address: string;
  /** Itself, or for a pod the host that it runs on. */
  readonly machine: Host;
  /** A machine's own. */
  translate: Translate | undefined;
  permits: Permits | undefined;
  readonly #hub: MemoryNetwork;
  readonly #outgoing = new Set<Connection>();
  /** "own port, backend" → whom it asked. */
  readonly #flows = new Map<string, { readonly host: string; readonly port: number }>();
  /** "own port, asker": who may be answered whatever the gates say. */
  readonly #asked = new Set<string>();
  #isGone = false;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #sockets = new Map<
    string,
    (bytes: Bytes, from: { host: string; port: number }) => void
  >();
  #nextPort = firstPort;

  constructor(hub: MemoryNetwork, address: string, machine?: Host) {
    this.#hub = hub;
    this.address = address;
    this.machine = machine ?? this;
  }

  async connect(
    to: Address,
    options: { readonly tls?: ClientTls; readonly timeoutMs?: number } = {},
  ): Promise<Duplex> {
    const way = await this.dial(to, options.tls, options.timeoutMs);
    const [ours, theirs] = duplexPair(way.connection);
    way.endpoint.accept(theirs, way.from);
    return ours;
  }

  async listen(
    at: Address,
    { tls }: { readonly tls?: ServerTls },
    accept: (connection: Duplex, from: Address) => void,
  ): Promise<Listener> {
    return this.#bind(at, {
      tls,
      http: undefined,
      connections: new Set(),
      isClosed: false,
      accept,
    });
  }

  async serve(at: Address, options: ServeOptions, handle: HttpHandler): Promise<Listener> {
    const { tls, bodyBytesMax, tooLarge = plainTooLarge(bodyBytesMax) } = options;
    const server: HttpServer = { handle, bodyBytesMax, tooLarge, log: this.#hub.log };
    return this.#bind(at, {
      tls,
      http: new HttpEndpoint(server),
      connections: new Set(),
      isClosed: false,
      accept: (connection, from) => {
        void speakHttp(server, connection, "unix" in from ? "" : from.host);
      },
    });
  }

  http(to: Address, options: Parameters<Network["http"]>[1]): ReturnType<Network["http"]> {
    return httpClient(to, options.version, () => this.dial(to, options.tls));
  }

  async udp(
    at: { readonly host: string; readonly port: number },
    got: (bytes: Bytes, from: { readonly host: string; readonly port: number }) => void,
  ): Promise<UdpSocket> {
    const { key, port } = this.#place(at, this.#sockets);
    this.#sockets.set(key, got);
    return {
      address: { host: at.host, port },
      send: (bytes, to) => {
        if (this.#sockets.get(key) !== got) return;
        const copy = bytes.slice();
        queueMicrotask(() => this.#deliver(copy, port, to));
      },
      close: async () => {
        if (this.#sockets.get(key) === got) this.#sockets.delete(key);
      },
    };
  }

  async resolve(name: string): Promise<readonly string[]> {
    return this.#hub.resolve(name);
  }

  /** Connects and shakes hands; waits while the way is cut, for as long as `timeoutMs`. */
  async dial(to: Address, tls: ClientTls | undefined, timeoutMs = connectMsMax): Promise<Way> {
    const doing = `cannot connect to ${nameOf(to)}`;
    const reached = "unix" in to ? this.#ownSocket() : this.#find(to, doing);
    if (reached === "dropped") await this.#waitFor(undefined, doing, timeoutMs);
    if (typeof reached === "string") throw this.#refusal(doing);
    const { host, address, port, entry = host } = reached;
    const link = this.#hub.linkBetween(this, entry);
    for (const one of [link, this.#hub.linkBetween(entry, host)]) {
      if (one.isCut) await this.#waitFor(one, doing, timeoutMs);
    }
    const endpoint = host.endpointAt("unix" in to ? to : { host: address, port }, address);
    if (endpoint === undefined) throw this.#refusal(doing, "unix" in to ? "ENOENT" : undefined);
    const name = "unix" in to ? "localhost" : to.host;
    const certificates = shakeHands(name, tls, endpoint.tls, this.#hub);
    const own = isLoopback(address) ? "127.0.0.1" : this.address;
    const from = "unix" in to ? to : { host: own, port: this.#freePort() };
    const connection = new Connection(link);
    endpoint.connections.add(connection);
    this.#outgoing.add(connection);
    connection.onOver(() => {
      endpoint.connections.delete(connection);
      this.#outgoing.delete(connection);
    });
    return { endpoint, connection, from, certificates };
  }

  endpointAt(to: Address, address: string): Endpoint | undefined {
    if ("unix" in to) return this.#endpoints.get(`unix ${to.unix}`);
    return this.#endpoints.get(`${address} ${to.port}`) ?? this.#endpoints.get(`any ${to.port}`);
  }

  expectAnswer(port: number, { host, port: asker }: { host: string; port: number }): void {
    const flow = `${port} ${host} ${asker}`;
    this.#asked.delete(flow);
    this.#asked.add(flow);
    const [oldest = ""] = this.#asked;
    if (this.#asked.size > flowsMax) this.#asked.delete(oldest);
  }

  /** Takes a datagram, if somebody listens for it. */
  take(address: string, port: number, bytes: Bytes, from: { host: string; port: number }): void {
    const got = this.#sockets.get(`${address} ${port}`) ?? this.#sockets.get(`any ${port}`);
    got?.(bytes, this.#flows.get(`${port} ${from.host} ${from.port}`) ?? from);
  }

  stop(): void {
    const gone = new NetworkError("ECONNRESET", `the host ${this.address} is gone (ECONNRESET)`);
    for (const endpoint of this.#endpoints.values()) {
      endpoint.isClosed = true;
      for (const connection of endpoint.connections) connection.break(gone);
    }
    for (const connection of this.#outgoing) connection.break(gone);
    this.#isGone = true;
    this.#endpoints.clear();
    this.#sockets.clear();
  }

  #ownSocket(): Reached {
    return { host: this, address: "", port: 0 };
  }

  #refusal(doing: string, code = "ECONNREFUSED"): NetworkError {
    return new NetworkError(code, `${doing}: nobody listens there (${code})`);
  }

  #find(to: { readonly host: string; readonly port: number }, doing: string) {
    const [address] = this.#hub.resolve(to.host);
    if (address === undefined)
      throw new NetworkError("ENOTFOUND", `${doing}: no such name (ENOTFOUND)`);
    const reached = this.#reach("TCP", address, to.port);
    if (reached === undefined) {
      throw new NetworkError("EHOSTUNREACH", `${doing}: no host has this address (EHOSTUNREACH)`);
    }
    return reached;
  }

  /** Where a packet to that place goes, Services and gates considered. */
  #reach(
    protocol: "TCP" | "UDP",
    address: string,
    port: number,
  ): Reached | "refused" | "dropped" | undefined {
    const reached = this.#route(protocol, address, port);
    if (reached === undefined || typeof reached === "string") return reached;
    return this.#mayPass(protocol, reached) ? reached : "dropped";
  }

  #mayPass(protocol: "TCP" | "UDP", { host, address, port }: Reached): boolean {
    const isPod = (one: Host): boolean => one.machine !== one;
    const pass = (direction: Direction, at: Host): boolean =>
      at.machine.permits?.(direction, protocol, this.address, address, port) ?? true;
    if (host === this) return true;
    if (isPod(this) && !pass("egress", this)) return false;
    return !isPod(host) || host.machine === this || pass("ingress", host);
  }

  /** By our machine first, then by the one that it reaches. */
  #route(
    protocol: "TCP" | "UDP",
    address: string,
    port: number,
  ): Reached | "refused" | "dropped" | undefined {
    if (this.#isGone) return undefined;
    const isPod = this.machine !== this;
    if (isPod && isLoopback(address)) return { host: this, address, port };
    const source = isLoopback(address) ? "127.0.0.1" : this.address;
    const sent = this.machine.translate?.(protocol, address, port, source);
    if (typeof sent === "string") return sent;
    if (sent !== undefined) return this.#hub.reached(sent);
    if (isLoopback(address)) return { host: this, address, port };
    const host = this.#hub.hostAt(address);
    if (host === undefined) return undefined;
    const entering = host === this.machine ? undefined : host.translate;
    const sentOn = entering?.(protocol, address, port, source);
    if (sentOn === undefined) return { host, address, port };
    if (typeof sentOn === "string") return sentOn;
    const last = this.#hub.reached(sentOn);
    return last === undefined ? undefined : { ...last, entry: host };
  }

  /** Until the link is healed; without one, in vain. */
  #waitFor(link: Link | undefined, doing: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#hub.clock.after(timeoutMs, () => {
        const wait = `no answer within ${timeoutMs} ms`;
        reject(new NetworkError("ETIMEDOUT", `${doing}: ${wait} (ETIMEDOUT)`));
      });
      link?.carry(() => {
        cancel();
        resolve();
      });
    });
  }

  #bind(at: Address, endpoint: Endpoint): Listener {
    const { key, address } = "unix" in at ? this.#placeUnix(at.unix) : this.#placeTcp(at);
    this.#endpoints.set(key, endpoint);
    return {
      address,
      close: (graceMs) => {
        if (this.#endpoints.get(key) === endpoint) this.#endpoints.delete(key);
        return closeEndpoint(endpoint, this.#hub.clock, graceMs, nameOf(address));
      },
    };
  }

  #placeUnix(path: string): { readonly key: string; readonly address: Address } {
    const key = `unix ${path}`;
    if (this.#endpoints.has(key)) throw inUse(path);
    return { key, address: { unix: path } };
  }

  #placeTcp(at: { readonly host: string; readonly port: number }): {
    readonly key: string;
    readonly address: Address;
  } {
    const { key, port } = this.#place(at, this.#endpoints);
    return { key, address: { host: at.host, port } };
  }

  #place(
    at: { readonly host: string; readonly port: number },
    taken: ReadonlyMap<string, unknown>,
  ): { readonly key: string; readonly port: number } {
    const address = isAny(at.host) ? "any" : (this.#hub.resolve(at.host)[0] ?? at.host);
    const isOurs = address === "any" || isLoopback(address) || this.#hub.hostAt(address) === this;
    if (!isOurs) {
      const why = "it is no address of this host (EADDRNOTAVAIL)";
      throw new NetworkError("EADDRNOTAVAIL", `cannot listen on ${nameOf(at)}: ${why}`);
    }
    const port = at.port === 0 ? this.#freePort() : at.port;
    const isTaken = [...taken.keys()].some(
      (key) =>
        key === `${address} ${port}` ||
        key === `any ${port}` ||
        (address === "any" && key.endsWith(` ${port}`)),
    );
    if (isTaken) throw inUse(nameOf({ host: at.host, port }));
    return { key: `${address} ${port}`, port };
  }

  #freePort(): number {
    for (let tries = firstPort; tries <= portMax; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === portMax ? firstPort : port + 1;
      const isFree = (keys: Iterable<string>): boolean =>
        [...keys].every((key) => !key.endsWith(` ${port}`));
      if (isFree(this.#endpoints.keys()) && isFree(this.#sockets.keys())) return port;
    }
    throw new NetworkError("EADDRINUSE", `every port of ${this.address} is taken (EADDRINUSE)`);
  }

  #deliver(bytes: Bytes, port: number, to: { readonly host: string; readonly port: number }): void {
    const [address] = this.#hub.resolve(to.host);
    if (address === undefined) return;
    const isAnswer = this.#asked.has(`${port} ${address} ${to.port}`);
    const reached = isAnswer
      ? this.#route("UDP", address, to.port)
      : this.#reach("UDP", address, to.port);
    if (reached === undefined || typeof reached === "string") return;
    const { host, entry = host } = reached;
    if (this.#hub.linkBetween(this, entry).isCut || this.#hub.linkBetween(entry, host).isCut)
      return;
    if (reached.address !== address || reached.port !== to.port) {
      const flow = `${port} ${reached.address} ${reached.port}`;
      this.#flows.delete(flow);
      this.#flows.set(flow, to);
      const [oldest = ""] = this.#flows.keys();
      if (this.#flows.size > flowsMax) this.#flows.delete(oldest);
    }
    const from = isLoopback(reached.address) ? "127.0.0.1" : this.address;
    host.expectAnswer(reached.port, { host: from, port });
    host.take(reached.address, reached.port, bytes, { host: from, port });
  }
}

const inUse = (place: string): NetworkError =>
  new NetworkError("EADDRINUSE", `cannot listen on ${place}: it is taken (EADDRINUSE)`);

function closeEndpoint(
  endpoint: Endpoint,
  clock: Clock,
  graceMs: number,
  name: string,
): Promise<void> {
  endpoint.isClosed = true;
  endpoint.http?.close();
  const { connections } = endpoint;
  const cut = (): void => {
    const closed = new NetworkError("ECONNRESET", `${name}: the server was closed (ECONNRESET)`);
    for (const connection of connections) connection.break(closed);
  };
  if (graceMs <= 0) cut();
  if (connections.size === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.after(graceMs, cut);
    for (const connection of connections) {
      connection.onOver(() => {
        if (connections.size > 0) return;
        cancel();
        resolve();
      });
    }
  });
}
