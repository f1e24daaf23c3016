/**
 * Asks the machine's resolvers for names outside the cluster. Queries go out under ids of our own, from one socket per resolver;
 * the first that answers in time wins, and a resolver that failed is asked last for a while.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Network, UdpSocket } from "#ports/network.ts";
import type { Bytes } from "#ports/stream.ts";

const timeoutMs = 2000;
const waitingMax = 1000;
const messageBytesMax = 65_535;

export interface Forwarder {
  /** The reply with the asker's id, or undefined: no resolver answered. */
  ask(query: Bytes, by: "udp" | "tcp"): Promise<Bytes | undefined>;
  stop(): void;
}
export interface ForwarderOptions {
  readonly upstreams: readonly { readonly host: string; readonly port: number }[];
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
}

export function createForwarder(options: ForwarderOptions): Forwarder {
  const resolvers = options.upstreams.map((upstream) => new Resolver(upstream, options));
  let stopped = false;
  return {
    async ask(query, by) {
      // Those that answered last time come first.
      for (const resolver of resolvers.toSorted((a, b) => Number(a.failed) - Number(b.failed))) {
        if (stopped) return undefined;
        const reply = await (by === "udp" ? resolver.askUdp(query) : resolver.askTcp(query));
        if (reply !== undefined) return reply;
      }
      return undefined;
    },
    stop() {
      stopped = true;
      for (const resolver of resolvers) resolver.stop();
    },
  };
}

class Resolver {
  failed = false;
  readonly #to: { readonly host: string; readonly port: number };
  readonly #options: ForwarderOptions;
  readonly #waiting = new Map<number, (reply: Bytes | undefined) => void>();
  #socket: Promise<UdpSocket> | undefined;
  #nextId = 1;

  constructor(to: { readonly host: string; readonly port: number }, options: ForwarderOptions) {
    this.#to = to;
    this.#options = options;
  }

  stop(): void {
    for (const done of this.#waiting.values()) done(undefined);
    this.#waiting.clear();
    this.#socket?.then((socket) => socket.close(0)).catch(() => undefined);
  }

  async askUdp(query: Bytes): Promise<Bytes | undefined> {
    if (this.#waiting.size >= waitingMax) return undefined;
    let socket: UdpSocket;
    try {
      this.#socket ??= this.#options.network.udp(
        { host: this.#to.host.includes(":") ? "::" : "0.0.0.0", port: 0 },
        (bytes, from) => this.#got(bytes, from),
      );
      socket = await this.#socket;
    } catch (error) {
      this.#socket = undefined;
      this.#fail(error);
      return undefined;
    }
    const id = this.#freeId();
    const asked = query.slice();
    asked[0] = id >> 8;
    asked[1] = id & 255;
    const reply = await new Promise<Bytes | undefined>((resolve) => {
      const cancel = this.#options.clock.after(timeoutMs, () => {
        this.#waiting.delete(id);
        resolve(undefined);
      });
      this.#waiting.set(id, (bytes) => {
        cancel();
        resolve(bytes);
      });
      socket.send(asked, this.#to);
    });
    this.failed = reply === undefined;
    return reply === undefined ? undefined : withId(reply, query);
  }
  #freeId(): number {
    while (this.#waiting.has(this.#nextId)) this.#nextId = (this.#nextId + 1) & 0xffff;
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) & 0xffff;
    return id;
  }
  #got(bytes: Bytes, from: { readonly host: string; readonly port: number }): void {
    if (bytes.length < 12 || from.port !== this.#to.port || from.host !== this.#to.host) return;
    const id = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
    const done = this.#waiting.get(id);
    this.#waiting.delete(id);
    done?.(bytes);
  }

  async askTcp(query: Bytes): Promise<Bytes | undefined> {
    try {
      const connection = await this.#options.network.connect(this.#to, { timeoutMs });
      const cancel = this.#options.clock.after(timeoutMs, () =>
        connection.abort(new Error("the resolver did not answer in time")),
      );
      try {
        const framed = new Uint8Array(query.length + 2);
        framed.set([query.length >> 8, query.length & 255]);
        framed.set(query, 2);
        await connection.write(framed);
        return await readFramed(() => connection.read());
      } finally {
        cancel();
        connection.end();
      }
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }
  #fail(error: unknown): void {
    this.failed = true;
    this.#options.log.write("debug", "a resolver failed", {
      resolver: this.#to.host,
      error: error instanceof Error ? error.message : String(error),
    });
  }
}

async function readFramed(read: () => Promise<Bytes | undefined>): Promise<Bytes | undefined> {
  let got: Bytes = new Uint8Array();
  for (;;) {
    const size = got.length < 2 ? Number.POSITIVE_INFINITY : ((got[0] ?? 0) << 8) | (got[1] ?? 0);
    if (got.length >= 2 + size) return got.subarray(2, 2 + size);
    const chunk = await read();
    if (chunk === undefined || got.length + chunk.length > messageBytesMax + 2) return undefined;
    const more = new Uint8Array(got.length + chunk.length);
    more.set(got);
    more.set(chunk, got.length);
    got = more;
  }
}

function withId(reply: Bytes, query: Bytes): Bytes {
  const own = reply.slice();
  own[0] = query[0] ?? 0;
  own[1] = query[1] ?? 0;
  return own;
}
