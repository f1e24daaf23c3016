/** What every network keeps to: connections, listeners, TLS, datagrams and names. HTTP has a contract of its own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CertificateFacts, Crypto } from "./crypto.ts";
import type { Address, ClientTls, Listener, Network, ServerTls } from "./network.ts";
import type { Bytes, Duplex, Source } from "./stream.ts";

export interface NetworkWorld {
  readonly network: Network;
  readonly crypto: Crypto;
  readonly nowMs: number;
  /** The bytes of a PEM certificate as a connection hands them over. */
  readonly der: (pem: string) => Bytes;
  /** A path for a unix socket, new each time. */
  readonly unixPath: () => string;
  /** Lets a grace or a timeout of `ms` pass; nothing to do where time passes by itself. */
  readonly pass: (ms: number) => Promise<void>;
  /** Whether `gzip` compresses. */
  readonly compresses: boolean;
}

export interface Identity {
  readonly chain: string;
  readonly key: string;
}
/** A CA with an intermediate, a server for localhost and 127.0.0.1, and a client. */
export interface Certificates {
  readonly roots: string;
  readonly intermediate: string;
  readonly server: Identity;
  readonly client: Identity;
  issue(change: Partial<CertificateFacts>): Promise<Identity>;
}

const day = 86_400_000;
export const anyPort: Address = { host: "127.0.0.1", port: 0 };
export const bytes = (text: string): Bytes => new TextEncoder().encode(text);
export const text = (...parts: readonly Bytes[]): string => {
  const decoder = new TextDecoder();
  return parts.map((part) => decoder.decode(part, { stream: true })).join("");
};

export async function makeCertificates(world: NetworkWorld): Promise<Certificates> {
  const { crypto, nowMs } = world;
  const facts = (change: Partial<CertificateFacts>): CertificateFacts => ({
    user: "root",
    groups: [],
    names: [],
    uses: ["ca"],
    fromMs: nowMs - day,
    toMs: nowMs + day,
    ...change,
  });
  const rootKey = await crypto.generateKey("ES256");
  const roots = await crypto.issue(facts({}), rootKey.publicKey, rootKey);
  const root = { certificate: roots, privateKey: rootKey.privateKey };
  const middleKey = await crypto.generateKey("ES256");
  const intermediate = await crypto.issue(facts({ user: "middle" }), middleKey.publicKey, root);
  const middle = { certificate: intermediate, privateKey: middleKey.privateKey };
  const issue = async (change: Partial<CertificateFacts>): Promise<Identity> => {
    const key = await crypto.generateKey("ES256");
    const leaf = await crypto.issue(facts(change), key.publicKey, middle);
    return { chain: leaf + intermediate, key: key.privateKey };
  };
  return {
    roots,
    intermediate,
    server: await issue({
      user: "server",
      names: ["localhost", "127.0.0.1"],
      uses: ["server auth"],
    }),
    client: await issue({ user: "alice", groups: ["dev"], uses: ["client auth"] }),
    issue,
  };
}

export async function readAll(source: Source<Bytes>): Promise<string> {
  const parts: Bytes[] = [];
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) return text(...parts);
    parts.push(...batch);
  }
}

async function readToEnd(connection: Duplex): Promise<string> {
  const parts: Bytes[] = [];
  for (;;) {
    const part = await connection.read();
    if (part === undefined) return text(...parts);
    parts.push(part);
  }
}

/** Reads until as many bytes are there. */
export async function readText(connection: Duplex, length: number): Promise<string> {
  let got = "";
  while (got.length < length) {
    const part = await connection.read();
    if (part === undefined) throw new Error(`the connection ended after ${JSON.stringify(got)}`);
    got += text(part);
  }
  return got;
}

async function echo(connection: Duplex): Promise<void> {
  for (;;) {
    const part = await connection.read();
    if (part === undefined) break;
    await connection.write(part);
  }
  connection.end();
}

const ignore = (): void => {};

export function networkContract(name: string, make: () => Promise<NetworkWorld>): void {
  let world: NetworkWorld;
  let certificates: Certificates;
  beforeAll(async () => {
    world = await make();
    certificates = await makeCertificates(world);
  });
  const listeners: Listener[] = [];
  afterAll(() => Promise.all(listeners.map((listener) => listener.close(0))));
  const listen = async (
    at: Address,
    options: { readonly tls?: ServerTls },
    accept: (connection: Duplex, from: Address) => void,
  ): Promise<Listener> => {
    const listener = await world.network.listen(at, options, accept);
    listeners.push(listener);
    return listener;
  };
  const echoing = (connection: Duplex): void => {
    echo(connection).catch(ignore);
  };

  for (const kind of ["tcp", "unix", "tls"] as const) {
    const start = async (
      accept: (connection: Duplex, from: Address) => void,
    ): Promise<{ readonly listener: Listener; readonly connect: () => Promise<Duplex> }> => {
      const tls: ServerTls | undefined =
        kind === "tls" ? { identity: () => certificates.server } : undefined;
      const at = kind === "unix" ? { unix: world.unixPath() } : anyPort;
      const listener = await listen(at, tls === undefined ? {} : { tls }, accept);
      const options = kind === "tls" ? { tls: { roots: certificates.roots } } : {};
      return { listener, connect: () => world.network.connect(listener.address, options) };
    };

    test(`${name} ${kind}: bytes go both ways, and each side ends on its own`, async () => {
      const { connect } = await start(echoing);
      const connection = await connect();
      await connection.write(bytes("one "));
      expect(await readText(connection, 4)).toBe("one ");
      await connection.write(bytes("two "));
      await connection.write(bytes("three"));
      connection.end();
      expect(await readToEnd(connection)).toBe("two three");
      expect(await connection.read()).toBeUndefined();
      await expect(connection.write(bytes("late"))).rejects.toThrow();
    });

    test(`${name} ${kind}: the peer may go on sending after we have ended`, async () => {
      const { connect } = await start((connection) => {
        const serve = async (): Promise<void> => {
          const all = await readToEnd(connection);
          await connection.write(bytes(`${all.length}`));
          await connection.write(bytes(" bytes"));
          connection.end();
        };
        serve().catch(ignore);
      });
      const connection = await connect();
      await connection.write(new Uint8Array(200_000));
      connection.end();
      expect(await readToEnd(connection)).toBe("200000 bytes");
    });

    test(`${name} ${kind}: whoever reads slowly slows the writer down; nothing is lost`, async () => {
      let arrived: (connection: Duplex) => void = ignore;
      const server = new Promise<Duplex>((resolve) => {
        arrived = resolve;
      });
      const { connect } = await start((connection) => arrived(connection));
      const writer = await connect();
      const reader = await server;
      const block = new Uint8Array(1024 * 1024).fill(7);
      let written = 0;
      const blocks = 64;
      const writing = (async () => {
        for (; written < blocks; written++) await writer.write(block);
        writer.end();
      })();
      await reader.read().then((first) => expect(first?.length).toBeGreaterThan(0));
      expect(written).toBeLessThan(blocks);
      let length = 0;
      for (;;) {
        const part = await reader.read();
        if (part === undefined) break;
        length += part.length;
      }
      await writing;
      // The very first read is not counted.
      expect(length).toBeLessThan(blocks * block.length);
      expect(length).toBeGreaterThan((blocks - 2) * block.length);
      reader.end();
    });

    test(`${name} ${kind}: abort rejects what waits on our side and ends the peer's`, async () => {
      let arrived: (connection: Duplex) => void = ignore;
      const server = new Promise<Duplex>((resolve) => {
        arrived = resolve;
      });
      const { connect } = await start((connection) => arrived(connection));
      const ours = await connect();
      const theirs = await server;
      const waiting = ours.read();
      const theirRead = theirs.read().catch((error: unknown) => error);
      ours.abort(new Error("enough"));
      await expect(waiting).rejects.toThrow("enough");
      await expect(ours.read()).rejects.toThrow("enough");
      await expect(ours.write(bytes("x"))).rejects.toThrow("enough");
      const end = await theirRead;
      expect(end === undefined || end instanceof Error).toBe(true);
      theirs.abort(new Error("done"));
    });

    test(`${name} ${kind}: what outlasts the grace of a closing listener is cut`, async () => {
      const { listener, connect } = await start(echoing);
      const connection = await connect();
      await connection.write(bytes("x"));
      await readText(connection, 1);
      const end = connection.read().catch((error: unknown) => error);
      const closing = listener.close(20);
      await world.pass(20);
      await closing;
      const result = await end;
      expect(result === undefined || result instanceof Error).toBe(true);
      connection.abort(new Error("done"));
    });

    test(`${name} ${kind}: a closing listener refuses, and is closed once the last connection has ended`, async () => {
      const { listener, connect } = await start(echoing);
      const connection = await connect();
      await connection.write(bytes("x"));
      await readText(connection, 1);
      const closing = listener.close(600_000);
      await expect(connect()).rejects.toMatchObject({ name: "NetworkError" });
      await connection.write(bytes("y"));
      expect(await readText(connection, 1)).toBe("y");
      connection.end();
      expect(await connection.read()).toBeUndefined();
      await closing;
    });
  }

  test(`${name}: who connects is named, and so is the port that was found`, async () => {
    let from: Address | undefined;
    const listener = await listen(anyPort, {}, (connection, address) => {
      from = address;
      connection.end();
    });
    const connection = await world.network.connect(listener.address);
    expect(await connection.read()).toBeUndefined();
    connection.end();
    expect(listener.address).toMatchObject({ host: "127.0.0.1", port: expect.any(Number) });
    expect(from).toMatchObject({ host: "127.0.0.1", port: expect.any(Number) });
  });

  test(`${name}: nobody listening is ECONNREFUSED, a taken address EADDRINUSE`, async () => {
    const listener = await listen(anyPort, {}, echoing);
    await expect(listen(listener.address, {}, echoing)).rejects.toMatchObject({
      name: "NetworkError",
      code: "EADDRINUSE",
    });
    await listener.close(0);
    await expect(world.network.connect(listener.address)).rejects.toMatchObject({
      name: "NetworkError",
      code: "ECONNREFUSED",
    });
    const unix = { unix: world.unixPath() };
    await expect(world.network.connect(unix)).rejects.toMatchObject({ code: "ENOENT" });
    await listen(unix, {}, echoing);
    await expect(listen(unix, {}, echoing)).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  test(`${name}: an address is free again once its listener has closed`, async () => {
    const first = await listen({ unix: world.unixPath() }, {}, echoing);
    await first.close(0);
    const second = await listen(first.address, {}, echoing);
    const connection = await world.network.connect(second.address);
    connection.end();
    expect(await connection.read()).toBeUndefined();
  });

  test(`${name}: a client trusts only its roots and only the name it meant`, async () => {
    const tls: ServerTls = { identity: () => certificates.server };
    const { address } = await listen(anyPort, { tls }, echoing);
    const others = await makeCertificates(world);
    const connect = (change: ClientTls): Promise<Duplex> =>
      world.network.connect(address, { tls: { roots: certificates.roots, ...change } });
    for (const bad of [{ roots: others.roots }, { serverName: "elsewhere" }]) {
      await expect(connect(bad)).rejects.toMatchObject({ name: "NetworkError", code: "ETLS" });
    }
    for (const good of [{}, { serverName: "localhost" }, { roots: others.roots, insecure: true }]) {
      const connection = await connect(good);
      await connection.write(bytes("hi"));
      expect(await readText(connection, 2)).toBe("hi");
      connection.end();
      await connection.read();
    }
  });

  test(`${name}: the server's certificate is asked for at each handshake, with the name the client gave`, async () => {
    const asked: (string | undefined)[] = [];
    let identity = certificates.server;
    const tls: ServerTls = {
      identity: (serverName) => {
        asked.push(serverName);
        return identity;
      },
    };
    const { address } = await listen(anyPort, { tls }, echoing);
    const connect = (): Promise<Duplex> =>
      world.network.connect(address, {
        tls: { roots: certificates.roots, serverName: "localhost" },
      });
    (await connect()).end();
    expect(asked).toContain("localhost");
    identity = await certificates.issue({ names: ["renamed"], uses: ["server auth"] });
    await expect(connect()).rejects.toMatchObject({ code: "ETLS" });
  });

  test(`${name}: TLS and plain do not mix`, async () => {
    const { address } = await listen(anyPort, {}, (connection) => {
      echo(connection).catch(ignore);
    });
    const tls = { roots: certificates.roots };
    await expect(world.network.connect(address, { tls })).rejects.toMatchObject({ code: "ETLS" });
  });

  test(`${name}: datagrams arrive whole, from whom, and those to nobody are lost`, async () => {
    const got: string[] = [];
    let more: () => void = ignore;
    const receive = (who: string) => (datagram: Bytes, from: object) => {
      got.push(`${who} ${text(datagram)} ${"port" in from && from.port === aPort}`);
      more();
    };
    let aPort: unknown;
    const a = await world.network.udp({ host: "127.0.0.1", port: 0 }, receive("a"));
    const b = await world.network.udp({ host: "127.0.0.1", port: 0 }, receive("b"));
    aPort = "port" in a.address ? a.address.port : 0;
    if (!("port" in a.address) || !("port" in b.address)) throw new Error("no port");
    a.send(bytes("nobody"), { host: "127.0.0.1", port: 1 });
    const arrived = new Promise<void>((resolve) => {
      more = () => got.length === 2 && resolve();
    });
    a.send(bytes("one"), b.address);
    b.send(bytes("two"), a.address);
    await arrived;
    expect(got.toSorted()).toEqual(["a two false", "b one true"]);
    await expect(world.network.udp(a.address, ignore)).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
    await Promise.all([a.close(0), b.close(0)]);
    a.send(bytes("late"), b.address);
    const again = await world.network.udp(a.address, ignore);
    await again.close(0);
  });

  test(`${name}: names resolve to addresses, addresses to themselves, the unknown to nothing`, async () => {
    expect(await world.network.resolve("localhost")).toContain("127.0.0.1");
    expect(await world.network.resolve("10.1.2.3")).toEqual(["10.1.2.3"]);
    expect(await world.network.resolve("::1")).toEqual(["::1"]);
  });
}
