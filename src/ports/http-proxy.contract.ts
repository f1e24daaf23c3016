/** What every HttpProxy keeps to, with backends and clients on the Network port. */
import { afterEach, expect, test } from "vitest";
import type { HttpProxy, ProxyBackend, ProxyCertificate, ProxyTable } from "./http-proxy.ts";
import type { Address, ClientTls, HttpHandler, HttpRequest, Listener, Network } from "./network.ts";
import type { Bytes, Duplex, Source } from "./stream.ts";

export interface HttpProxyWorld {
  readonly proxy: HttpProxy;
  readonly network: Network;
  /** Where backends listen. */
  readonly host: string;
  /** Where clients find the proxy. */
  readonly proxyHost: string;
  readonly certificate: (
    ...names: readonly string[]
  ) => Promise<Pick<ProxyCertificate, "chain" | "key"> & { readonly roots: string }>;
}

const bytes = (text: string): Bytes => new TextEncoder().encode(text);
async function textOf(body: Source<Bytes> | Bytes | undefined): Promise<string> {
  if (body === undefined) return "";
  const decoder = new TextDecoder();
  if (body instanceof Uint8Array) return decoder.decode(body);
  let text = "";
  for (;;) {
    const batch = await body.next();
    if (batch === undefined) return text;
    for (const one of batch) text += decoder.decode(one, { stream: true });
  }
}
/** A stream that is fed by hand. */
function fed(): Source<Bytes> & { readonly feed: (text: string | undefined) => void } {
  const waiting: (string | undefined)[] = [];
  let wake: () => void = () => {};
  return {
    feed(text) {
      waiting.push(text);
      wake();
    },
    async next() {
      while (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const text = waiting.shift();
      return text === undefined ? undefined : [bytes(text)];
    },
    stop: () => {},
  };
}
const plain = (body: string) => ({
  status: 200,
  headers: { "content-type": "text/plain" },
  body: bytes(body),
});

export function httpProxyContract(name: string, world: () => Promise<HttpProxyWorld>): void {
  const ends: (() => Promise<unknown> | void)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  });
  const setUp = async () => {
    const given = await world();
    const { proxy, network, host } = given;
    ends.push(() => proxy.close(0));
    const serve = async (handle: HttpHandler, port = 0): Promise<Listener & { port: number }> => {
      const options = { bodyBytesMax: 1 << 20 };
      const listener = await network.serve({ host, port }, options, handle);
      ends.push(() => listener.close(0));
      const at = listener.address as { port: number };
      return { ...listener, port: at.port, close: (ms) => listener.close(ms) };
    };
    const endpoint = (port: number) => ({ address: host, port });
    const backend = (...ports: readonly number[]): ProxyBackend => ({
      endpoints: ports.map(endpoint),
      protocol: "http",
    });
    const set = async (
      hosts: ProxyTable["hosts"],
      backends: Readonly<Record<string, ProxyBackend | undefined>>,
      certificates: readonly ProxyCertificate[] = [],
    ) => {
      await proxy.setBackends(new Map(Object.entries(backends)));
      await proxy.setTable({ hosts, certificates });
      const ports = await proxy.listen();
      const at = (tls: boolean): Address => {
        const port = ports.find((one) => one.tls === tls)?.port;
        if (port === undefined) throw new Error("the proxy does not listen");
        return { host: given.proxyHost, port };
      };
      return { plain: at(false), secure: at(true) };
    };
    const ask = async (
      to: Address,
      target: string,
      more: {
        host?: string;
        method?: string;
        headers?: Record<string, string>;
        body?: Bytes | Source<Bytes>;
        tls?: ClientTls;
        version?: 1 | 2;
      } = {},
    ) => {
      const { version = 1, tls, host: name = "a.example", headers, method = "GET", body } = more;
      const client = network.http(to, { version, ...(tls === undefined ? {} : { tls }) });
      ends.push(() => client.close());
      const answer = await client.send({
        method,
        target,
        headers: { host: name, ...headers },
        ...(body === undefined ? {} : { body }),
      });
      return { status: answer.status, headers: answer.headers, body: answer.body, raw: answer.raw };
    };
    const get = async (...all: Parameters<typeof ask>): Promise<string> => {
      const { status, body } = await ask(...all);
      const text = await textOf(body);
      return status === 200 ? text : String(status);
    };
    return { ...given, serve, backend, set, ask, get };
  };
  const all = (backend: string) => [{ match: "prefix", path: "/", backend }] as const;

  test(`${name}: hosts and paths lead to their backends; nothing else to any`, async () => {
    const { serve, backend, set, get } = await setUp();
    const [one, two] = [await serve(async () => plain("1")), await serve(async () => plain("2"))];
    const { plain: at } = await set(
      [
        {
          host: "a.example",
          routes: [
            { match: "prefix", path: "/one", backend: "one" },
            { match: "exact", path: "/two", backend: "two" },
            { match: "prefix", path: "/none", backend: "none" },
          ],
        },
        { host: "*.wild.example", routes: all("two") },
      ],
      { one: backend(one.port), two: backend(two.port), none: backend() },
    );
    expect(await get(at, "/one")).toBe("1");
    expect(await get(at, "/one/deep?x=1")).toBe("1");
    expect(await get(at, "/onemore")).toBe("404");
    expect(await get(at, "/two")).toBe("2");
    expect(await get(at, "/two/deep")).toBe("404");
    expect(await get(at, "/none")).toBe("503");
    expect(await get(at, "/one", { host: "b.example" })).toBe("404");
    expect(await get(at, "/", { host: "x.wild.example" })).toBe("2");
    expect(await get(at, "/", { host: "X.Wild.Example:8080" })).toBe("2");
    expect(await get(at, "/", { host: "y.x.wild.example" })).toBe("404");
    await set([{ host: "", routes: all("one") }], { two: undefined });
    expect(await get(at, "/two", { host: "b.example" })).toBe("1");
  });

  test(`${name}: the backend hears what was asked, and who asked`, async () => {
    const { serve, backend, set, ask, get } = await setUp();
    let seen: HttpRequest | undefined;
    const one = await serve(async (request) => {
      seen = request;
      return {
        status: 201,
        headers: { "x-own": "yes", "set-cookie": "a=1\nb=2" },
        body: bytes(await textOf(request.body)),
      };
    });
    const { plain: at } = await set([{ host: "", routes: all("one") }], { one: backend(one.port) });
    const answer = await ask(at, "/a%20b?c=d", {
      method: "POST",
      body: bytes("hello"),
      headers: {
        "x-own": "mine",
        "x-forwarded-for": "1.2.3.4",
        connection: "x-secret",
        "x-secret": "of this connection",
      },
    });
    expect(answer.status).toBe(201);
    expect(await textOf(answer.body)).toBe("hello");
    expect(answer.headers).toMatchObject({ "x-own": "yes", "set-cookie": "a=1\nb=2" });
    expect(seen).toMatchObject({
      method: "POST",
      target: "/a%20b?c=d",
      headers: {
        host: "a.example",
        "x-own": "mine",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "a.example",
      },
    });
    expect(seen?.headers["x-secret"]).toBeUndefined();
    expect(seen?.headers["x-forwarded-for"]).not.toContain("1.2.3.4");
    expect(seen?.headers["x-real-ip"]).toBe(seen?.headers["x-forwarded-for"]);
    expect(await get(at, "/")).toBe("201");
  });

  test(`${name}: an answer comes piece by piece, a large request whole`, async () => {
    const { serve, backend, set, ask, get } = await setUp();
    const body = fed();
    const one = await serve(async (request) =>
      request.method === "GET"
        ? { status: 200, headers: {}, body }
        : plain(String((await textOf(request.body)).length)),
    );
    const { plain: at } = await set([{ host: "", routes: all("one") }], { one: backend(one.port) });
    body.feed("first");
    const answer = await ask(at, "/");
    expect(await textOf((await answer.body.next())?.[0])).toBe("first");
    body.feed("second");
    expect(await textOf((await answer.body.next())?.[0])).toBe("second");
    body.feed(undefined);
    expect(await answer.body.next()).toBeUndefined();
    const large = bytes("x".repeat(900_000));
    expect(await get(at, "/", { method: "PUT", body: large })).toBe("900000");
  });

  test(`${name}: an endpoint that takes no connection is passed over; with none left it says so`, async () => {
    const { serve, backend, set, get } = await setUp();
    const one = await serve(async () => plain("1"));
    const dead = await serve(async () => plain("dead"));
    await dead.close(0);
    const { plain: at } = await set([{ host: "", routes: all("one") }], {
      one: backend(dead.port, one.port),
    });
    for (let i = 0; i < 6; i++) expect(await get(at, "/")).toBe("1");
    expect(await get(at, "/", { method: "POST", body: bytes("x") })).toBe("1");
    await set([{ host: "", routes: all("one") }], { one: backend(dead.port) });
    expect(await get(at, "/")).toBe("502");
  });

  test(`${name}: load is spread; who leaves gets nothing new and ends what it has`, async () => {
    const { serve, backend, set, get, ask } = await setUp();
    const [one, two] = [await serve(async () => plain("1")), await serve(async () => plain("2"))];
    const slow = fed();
    const three = await serve(async () => ({ status: 200, headers: {}, body: slow }));
    const hosts = [{ host: "", routes: all("web") }];
    const { plain: at } = await set(hosts, { web: backend(one.port, two.port) });
    const seen = new Set<string>();
    for (let i = 0; i < 8; i++) seen.add(await get(at, "/"));
    expect(seen).toEqual(new Set(["1", "2"]));
    await set(hosts, { web: backend(three.port) });
    slow.feed("first ");
    const answer = await ask(at, "/");
    await set(hosts, { web: backend(two.port) });
    for (let i = 0; i < 4; i++) expect(await get(at, "/")).toBe("2");
    slow.feed("late");
    slow.feed(undefined);
    expect(await textOf(answer.body)).toBe("first late");
  });

  test(`${name}: TLS shows the certificate of the name that is asked for`, async () => {
    const { serve, backend, set, get, certificate, ask } = await setUp();
    const one = await serve(async ({ headers }) => plain(headers["x-forwarded-proto"] ?? ""));
    const [a, wild, rest] = [
      await certificate("a.example"),
      await certificate("*.wild.example"),
      await certificate("ingress.local"),
    ];
    const { secure } = await set([{ host: "", routes: all("one") }], { one: backend(one.port) }, [
      { hosts: ["a.example"], ...a },
      { hosts: ["*.wild.example"], ...wild },
      { hosts: [], ...rest },
    ]);
    const by = (host: string, roots: string, version: 1 | 2 = 1) =>
      get(secure, "/", { host, version, tls: { roots, serverName: host } });
    expect(await by("a.example", a.roots)).toBe("https");
    expect(await by("a.example", a.roots, 2)).toBe("https");
    expect(await by("x.wild.example", wild.roots)).toBe("https");
    await expect(by("b.example", a.roots)).rejects.toThrow();
    const open = { serverName: "b.example", insecure: true };
    expect((await ask(secure, "/", { tls: open })).status).toBe(200);
  });

  test(`${name}: a connection may change its protocol`, async () => {
    const { serve, backend, set, network } = await setUp();
    const one = await serve(async ({ headers }) => {
      if (headers.upgrade !== "echo") return { status: 400, headers: {}, body: bytes("no") };
      return {
        status: 101,
        headers: { upgrade: "echo", connection: "upgrade" },
        upgrade: (raw) => void echo(raw).catch(() => undefined),
      };
    });
    const { plain: at } = await set([{ host: "", routes: all("one") }], { one: backend(one.port) });
    const upgrade = async (protocol: string) => {
      const client = network.http(at, { version: 1 });
      ends.push(() => client.close());
      const headers = { host: "a.example", connection: "upgrade", upgrade: protocol };
      return client.send({ method: "GET", target: "/", headers });
    };
    const { status, raw } = await upgrade("echo");
    expect(status).toBe(101);
    await raw?.write(bytes("hello"));
    expect(await textOf(await raw?.read())).toBe("hello");
    raw?.end();
    const refused = await upgrade("other");
    expect([refused.status, await textOf(refused.body)]).toEqual([400, "no"]);
  });

  test(`${name}: closing lets end what is under way, and it may listen again`, async () => {
    const { serve, backend, set, ask, get, proxy } = await setUp();
    const slow = fed();
    const one = await serve(async ({ target }) =>
      target === "/slow" ? { status: 200, headers: {}, body: slow } : plain("1"),
    );
    const hosts = [{ host: "", routes: all("one") }];
    const { plain: at } = await set(hosts, { one: backend(one.port) });
    slow.feed("begun");
    const answer = await ask(at, "/slow");
    await answer.body.next();
    const closed = proxy.close(30_000);
    await expect(ask(at, "/")).rejects.toThrow();
    slow.feed("ended");
    slow.feed(undefined);
    expect(await textOf(answer.body)).toBe("ended");
    await closed;
    const { plain: then } = await set(hosts, { one: backend(one.port) });
    expect(await get(then, "/")).toBe("1");
  });
}

async function echo(raw: Duplex): Promise<void> {
  for (;;) {
    const read = await raw.read();
    if (read === undefined) break;
    await raw.write(read);
  }
  raw.end();
}
