/** What every network keeps to when it serves and asks by HTTP, the same for both versions and every kind of connection. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type {
  Address,
  ClientTls,
  HttpClient,
  HttpHandler,
  HttpRequest,
  HttpResponse,
  Listener,
  ServerTls,
} from "./network.ts";
import {
  anyPort,
  bytes,
  type Certificates,
  makeCertificates,
  type NetworkWorld,
  readAll,
  readText,
  text,
} from "./network.contract.ts";
import type { Bytes, Source } from "./stream.ts";

const bodyBytesMax = 1024 * 1024;
const ignore = (): void => {};

/** A source that gives what is pushed, and remembers whether it was stopped. */
class PushedSource implements Source<Bytes> {
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

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

const describeRequest = (request: HttpRequest): HttpResponse => {
  const { body } = request;
  const { method, target, headers, peer } = request;
  const length = body instanceof Uint8Array ? body.length : body;
  return {
    status: 200,
    headers: { "content-type": "application/json" },
    body: bytes(JSON.stringify({ method, target, headers, length, address: peer?.address })),
  };
};

interface Server {
  readonly client: HttpClient;
  readonly address: Address;
  readonly listener: Listener;
  readonly another: (tls?: Partial<ClientTls>) => HttpClient;
}

export function httpContract(name: string, make: () => Promise<NetworkWorld>): void {
  let world: NetworkWorld;
  let certificates: Certificates;
  const open: (() => unknown)[] = [];
  beforeAll(async () => {
    world = await make();
    certificates = await makeCertificates(world);
  });
  afterAll(() => Promise.all(open.map((close) => close())));

  const variants = [
    { kind: "h1 tcp", version: 1, isTls: false, isUnix: false },
    { kind: "h1 unix", version: 1, isTls: false, isUnix: true },
    { kind: "h1 tls", version: 1, isTls: true, isUnix: false },
    { kind: "h2 tls", version: 2, isTls: true, isUnix: false },
    { kind: "h2 unix", version: 2, isTls: false, isUnix: true },
    { kind: "h2 tcp", version: 2, isTls: false, isUnix: false },
  ] as const;
  type Variant = (typeof variants)[number];

  const serve = async (
    variant: Variant,
    handle: HttpHandler,
    at: Address = variant.isUnix ? { unix: world.unixPath() } : anyPort,
    serverTls: Partial<ServerTls> = {},
  ): Promise<Server> => {
    const { isTls, version } = variant;
    const tls = { identity: () => certificates.server, ...serverTls };
    const options = { bodyBytesMax, ...(isTls ? { tls } : {}) };
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
  const get = (client: HttpClient, target = "/"): ReturnType<HttpClient["send"]> =>
    client.send({ method: "GET", target });

  for (const variant of variants) {
    const full = `${name} ${variant.kind}`;
    exchangeContract(full, variant);
    streamContract(full, variant);
    lifeContract(full, variant);
  }
  for (const variant of variants.filter((one) => one.version === 1)) {
    upgradeContract(`${name} ${variant.kind}`, variant);
  }
  for (const variant of variants.filter((one) => one.isTls)) {
    certificateContract(`${name} ${variant.kind}`, variant);
  }

  function exchangeContract(full: string, variant: Variant): void {
    test(`${full}: a request arrives as it was sent`, async () => {
      const { client } = await serve(variant, async (request) => describeRequest(request));
      const response = await client.send({
        method: "PATCH",
        target: "/api/v1/a%2Fb/%E4?x=1&x=%20+2&watch=",
        headers: { "x-words": "grüße, 世界", accept: "a, b", "x-empty": "" },
        body: bytes("body"),
      });
      expect(response.status).toBe(200);
      expect(response.headers["content-type"]).toBe("application/json");
      const got = JSON.parse(await readAll(response.body)) as Record<string, unknown>;
      expect(got).toMatchObject({
        method: "PATCH",
        target: "/api/v1/a%2Fb/%E4?x=1&x=%20+2&watch=",
        headers: { "x-words": "grüße, 世界", accept: "a, b", "x-empty": "", "content-length": "4" },
        length: 4,
      });
      expect(got["address"]).toBe(variant.isUnix ? undefined : "127.0.0.1");
      expect(await response.trailers).toEqual({});
    });

    test(`${full}: the host is what was dialled, or what the request says`, async () => {
      const { client, address } = await serve(variant, async (request) => ({
        status: 200,
        headers: { "x-host": request.headers["host"] ?? "none" },
      }));
      const dialled = "port" in address ? `127.0.0.1:${address.port}` : "localhost";
      expect((await get(client)).headers["x-host"]).toBe(dialled);
      const other = await client.send({ method: "GET", target: "/", headers: { host: "other" } });
      expect(other.headers["x-host"]).toBe("other");
    });

    test(`${full}: a body is whole bytes, and undefined where there is none`, async () => {
      const seen: unknown[] = [];
      const { client } = await serve(variant, async ({ body }) => {
        seen.push(body instanceof Uint8Array ? body.length : body);
        return { status: 204, headers: {} };
      });
      const source = (...parts: readonly number[]): Source<Bytes> => {
        const left = [...parts];
        return {
          next: async () => {
            const length = left.shift();
            return length === undefined ? undefined : [new Uint8Array(length), bytes("!")];
          },
          stop: ignore,
        };
      };
      const send = (method: string, body?: Bytes | Source<Bytes>): Promise<unknown> =>
        client.send({ method, target: "/", ...(body === undefined ? {} : { body }) });
      await send("GET");
      await send("DELETE");
      await send("POST");
      await send("POST", bytes("12345"));
      await send("PUT", new Uint8Array(bodyBytesMax));
      await send("POST", source(10, 100_000, 10));
      await send("DELETE", bytes("{}"));
      expect(seen).toEqual([undefined, undefined, undefined, 5, bodyBytesMax, 100_023, 2]);
    });

    test(`${full}: too large a body is refused before the handler, and the client goes on`, async () => {
      let calls = 0;
      const { client } = await serve(variant, async () => {
        calls++;
        return { status: 200, headers: {} };
      });
      const large = new Uint8Array(3 * bodyBytesMax);
      const refused = await client.send({ method: "POST", target: "/", body: large });
      expect(refused.status).toBe(413);
      expect(await readAll(refused.body)).toContain(`${bodyBytesMax}`);
      let left = 30;
      const streamed = await client.send({
        method: "POST",
        target: "/",
        body: {
          next: async () => (left-- > 0 ? [new Uint8Array(100_000)] : undefined),
          stop: ignore,
        },
      });
      expect(streamed.status).toBe(413);
      await readAll(streamed.body);
      expect(calls).toBe(0);
      expect((await get(client)).status).toBe(200);
    });

    test(`${full}: statuses, headers and bodies arrive as the handler gave them`, async () => {
      const large = new Uint8Array(3_000_000).map((_, i) => i % 251);
      const responses: Readonly<Record<string, HttpResponse>> = {
        "/empty": { status: 200, headers: { "x-a": "1, 2", "set-cookie": "a=1\nb=2" } },
        "/none": { status: 204, headers: {} },
        "/same": { status: 304, headers: { etag: '"1"' } },
        "/teapot": { status: 418, headers: { warning: '299 - "größer"' }, body: bytes("short") },
        "/large": { status: 200, headers: {}, body: large },
      };
      const { client } = await serve(
        variant,
        async ({ target }) => responses[target] ?? { status: 404, headers: {} },
      );
      const empty = await get(client, "/empty");
      expect(empty.headers).toMatchObject({ "x-a": "1, 2", "set-cookie": "a=1\nb=2" });
      expect(await empty.body.next()).toBeUndefined();
      expect(await readAll((await get(client, "/none")).body)).toBe("");
      const same = await get(client, "/same");
      expect([same.status, same.headers["etag"], await readAll(same.body)]).toEqual([
        304,
        '"1"',
        "",
      ]);
      const teapot = await get(client, "/teapot");
      expect(teapot.headers).toMatchObject({ warning: '299 - "größer"', "content-length": "5" });
      expect([teapot.status, await readAll(teapot.body)]).toEqual([418, "short"]);
      const parts: Bytes[] = [];
      const { body } = await get(client, "/large");
      for (let batch = await body.next(); batch !== undefined; batch = await body.next()) {
        parts.push(...batch);
      }
      const joined = new Uint8Array(large.length);
      let at = 0;
      for (const part of parts) {
        joined.set(part, at);
        at += part.length;
      }
      expect(at).toBe(large.length);
      expect(world.crypto.digest(joined)).toEqual(world.crypto.digest(large));
    });

    test(`${full}: HEAD has the headers and no body`, async () => {
      const source = new PushedSource();
      const { client } = await serve(variant, async ({ target }) => ({
        status: 200,
        headers: { "x-a": "b" },
        body: target === "/stream" ? source : bytes("body"),
      }));
      for (const target of ["/", "/stream"]) {
        const response = await client.send({ method: "HEAD", target });
        expect([response.status, response.headers["x-a"]]).toEqual([200, "b"]);
        expect(await response.body.next()).toBeUndefined();
        if (target === "/") expect(response.headers["content-length"]).toBe("4");
      }
      await source.stopped;
    });

    test(`${full}: a handler that throws is answered 500, and nothing of it is told`, async () => {
      const { client } = await serve(variant, async () => {
        throw new Error("secret detail");
      });
      const response = await get(client);
      expect(response.status).toBe(500);
      expect(await readAll(response.body)).not.toContain("secret");
    });

    test(`${full}: trailers come behind the body`, async () => {
      const { client } = await serve(variant, async ({ target }) => ({
        status: 200,
        headers: {},
        ...(target === "/none" ? {} : { body: bytes("body") }),
        trailers: Promise.resolve({ "grpc-status": "0", "x-note": "fin" }),
      }));
      for (const [target, body] of [
        ["/", "body"],
        ["/none", ""],
      ] as const) {
        const response = await get(client, target);
        expect(await readAll(response.body)).toBe(body);
        expect(await response.trailers).toEqual({ "grpc-status": "0", "x-note": "fin" });
      }
    });

    test(`${full}: large whole bodies are compressed for who asks`, async () => {
      const large = bytes("compressible ".repeat(20_000));
      const { client } = await serve(variant, async ({ target }) => ({
        status: 200,
        headers: { vary: "Accept" },
        body: target === "/large" ? large : bytes("small"),
        gzip: true,
      }));
      const ask = async (target: string, accept: string): Promise<string | undefined> => {
        const headers = { "accept-encoding": accept };
        const response = await client.send({ method: "GET", target, headers });
        await readAll(response.body);
        return response.headers["content-encoding"];
      };
      expect(await ask("/small", "gzip")).toBeUndefined();
      expect(await ask("/large", "identity")).toBeUndefined();
      expect(await ask("/large", "gzip;q=0, br")).toBeUndefined();
      expect(await ask("/large", "br, gzip;q=0.5")).toBe(world.compresses ? "gzip" : undefined);
    });

    test(`${full}: many at a time`, async () => {
      const { client } = await serve(variant, async ({ target, body }) => ({
        status: 200,
        headers: { "x-target": target },
        body: body instanceof Uint8Array ? body : bytes("none"),
      }));
      const ask = async (i: number): Promise<string> => {
        const body = bytes(`body ${i}`);
        const response = await client.send({ method: "POST", target: `/${i}`, body });
        return `${response.headers["x-target"]} ${await readAll(response.body)}`;
      };
      const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(i)));
      expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => `/${i} body ${i}`));
    });
  }

  function streamContract(full: string, variant: Variant): void {
    test(`${full}: each batch of a stream arrives before the next is there`, async () => {
      const source = new PushedSource();
      const { client } = await serve(variant, async () => ({
        status: 200,
        headers: {},
        body: source,
      }));
      const { body, status } = await get(client);
      expect(status).toBe(200);
      for (const word of ["first", "second", "third"]) {
        source.push([bytes(word), bytes("\n")]);
        let line = "";
        while (!line.endsWith("\n")) line += text(...((await body.next()) ?? []));
        expect(line).toBe(`${word}\n`);
      }
      source.push(undefined);
      expect(await body.next()).toBeUndefined();
    });

    test(`${full}: who stops reading stops the source, and the handler hears of it`, async () => {
      const source = new PushedSource();
      let gone: AbortSignal | undefined;
      const { client } = await serve(variant, async (request) => {
        gone = request.gone;
        return { status: 200, headers: {}, body: source };
      });
      const { body } = await get(client);
      source.push([bytes("x")]);
      await body.next();
      const waiting = body.next();
      body.stop();
      body.stop();
      expect(await waiting).toBeUndefined();
      expect(await body.next()).toBeUndefined();
      await source.stopped;
      if (gone === undefined) throw new Error("the handler was not asked");
      await aborted(gone);
    });

    test(`${full}: a signal cancels before the answer and after it`, async () => {
      const source = new PushedSource();
      const gone: Promise<void>[] = [];
      let asked: () => void = ignore;
      const { client } = await serve(variant, (request) => {
        gone.push(aborted(request.gone));
        asked();
        if (request.target === "/stream") {
          return Promise.resolve({ status: 200, headers: {}, body: source });
        }
        return new Promise(ignore);
      });
      const never = new AbortController();
      const arrived = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const first = client.send({ method: "GET", target: "/", signal: never.signal });
      await arrived;
      never.abort();
      await expect(first).rejects.toMatchObject({ name: "NetworkError", code: "ECANCELED" });
      const stream = new AbortController();
      const { body } = await client.send({
        method: "GET",
        target: "/stream",
        signal: stream.signal,
      });
      stream.abort();
      await expect(body.next()).rejects.toMatchObject({ code: "ECANCELED" });
      await source.stopped;
      const over = client.send({ method: "GET", target: "/", signal: never.signal });
      await expect(over).rejects.toMatchObject({ code: "ECANCELED" });
      await Promise.all(gone);
      expect(gone).toHaveLength(2);
    });

    test(`${full}: a signal that fires after the end does nothing, and gone stays silent`, async () => {
      let gone: AbortSignal | undefined;
      const { client } = await serve(variant, async (request) => {
        gone = request.gone;
        return { status: 200, headers: {}, body: bytes("done") };
      });
      const control = new AbortController();
      const response = await client.send({ method: "GET", target: "/", signal: control.signal });
      expect(await readAll(response.body)).toBe("done");
      control.abort();
      expect(await response.body.next()).toBeUndefined();
      await readAll((await get(client)).body);
      expect(gone?.aborted).toBe(false);
    });

    test(`${full}: a request whose body breaks off never reaches the handler`, async () => {
      const seen: string[] = [];
      const { client } = await serve(variant, async ({ target }) => {
        seen.push(target);
        return { status: 204, headers: {} };
      });
      const broken = new PushedSource();
      const first = client.send({ method: "POST", target: "/broken", body: broken });
      broken.push([bytes("half")]);
      broken.push(new Error("disk gone"));
      await expect(first).rejects.toMatchObject({ name: "NetworkError" });
      const control = new AbortController();
      const cancelled = new PushedSource();
      const second = client.send({
        method: "POST",
        target: "/cancelled",
        body: cancelled,
        signal: control.signal,
      });
      cancelled.push([bytes("half")]);
      await get(client, "/between");
      control.abort();
      await expect(second).rejects.toMatchObject({ code: "ECANCELED" });
      await cancelled.stopped;
      await get(client, "/after");
      expect(seen).toEqual(["/between", "/after"]);
    });

    test(`${full}: a source that breaks breaks the reader`, async () => {
      const source = new PushedSource();
      const { client } = await serve(variant, async () => ({
        status: 200,
        headers: {},
        body: source,
      }));
      const { body, trailers } = await get(client);
      source.push([bytes("half")]);
      expect(text(...((await body.next()) ?? []))).toBe("half");
      source.push(new Error("disk gone"));
      await expect(body.next()).rejects.toMatchObject({ name: "NetworkError" });
      await expect(trailers).rejects.toMatchObject({ name: "NetworkError" });
    });

    test(`${full}: a client that does not read holds the source back, not the others`, async () => {
      let given = 0;
      const block = new Uint8Array(64 * 1024);
      const { client } = await serve(variant, async ({ target }) => ({
        status: 200,
        headers: {},
        body:
          target === "/endless"
            ? { next: async () => (given++ < 1e6 ? [block] : undefined), stop: ignore }
            : bytes("small"),
      }));
      const { body } = await get(client, "/endless");
      for (let i = 0; i < 100; i++)
        expect(await readAll((await get(client, "/")).body)).toBe("small");
      expect(given * block.length).toBeLessThan(64 * 1024 * 1024);
      body.stop();
    });

    test(`${full}: long streams by the hundred leave room for more`, async () => {
      const sources = new Set<PushedSource>();
      const { client } = await serve(variant, async ({ target }) => {
        if (target !== "/watch") return { status: 200, headers: {}, body: bytes("small") };
        const body = new PushedSource();
        sources.add(body);
        return { status: 200, headers: {}, body };
      });
      const watches = await Promise.all(Array.from({ length: 150 }, () => get(client, "/watch")));
      expect(await readAll((await get(client)).body)).toBe("small");
      for (const source of sources) {
        source.push([bytes("event")]);
        source.push(undefined);
      }
      const events = await Promise.all(watches.map(({ body }) => readAll(body)));
      expect(events).toEqual(Array<string>(150).fill("event"));
    });
  }

  function lifeContract(full: string, variant: Variant): void {
    test(`${full}: nobody listening is an error with its code`, async () => {
      const { client, listener } = await serve(variant, async (request) =>
        describeRequest(request),
      );
      await listener.close(0);
      const code = variant.isUnix ? "ENOENT" : "ECONNREFUSED";
      await expect(get(client)).rejects.toMatchObject({ name: "NetworkError", code });
    });

    test(`${full}: a client finds a server that came back`, async () => {
      const handle: HttpHandler = async (request) => describeRequest(request);
      const first = await serve(variant, handle);
      expect((await get(first.client)).status).toBe(200);
      await first.listener.close(0);
      await expect(get(first.client)).rejects.toMatchObject({ name: "NetworkError" });
      await serve(variant, handle, first.address);
      expect((await get(first.client)).status).toBe(200);
    });

    test(`${full}: closing waits for what runs and refuses what is new`, async () => {
      let finish: () => void = ignore;
      let asked: () => void = ignore;
      const arrived = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const { client, listener, another } = await serve(variant, async () => {
        asked();
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return { status: 200, headers: {}, body: bytes("finished") };
      });
      const running = get(client);
      await arrived;
      const closing = listener.close(600_000);
      await expect(get(another())).rejects.toMatchObject({ name: "NetworkError" });
      finish();
      expect(await readAll((await running).body)).toBe("finished");
      await closing;
    });

    test(`${full}: what outlasts the grace is cut, on both sides`, async () => {
      const source = new PushedSource();
      let gone: AbortSignal | undefined;
      const { client, listener } = await serve(variant, async (request) => {
        gone = request.gone;
        return { status: 200, headers: {}, body: source };
      });
      const { body } = await get(client);
      source.push([bytes("x")]);
      await body.next();
      const broken = expect(body.next()).rejects.toMatchObject({ name: "NetworkError" });
      const closing = listener.close(20);
      await world.pass(20);
      await closing;
      await broken;
      await source.stopped;
      if (gone === undefined) throw new Error("the handler was not asked");
      await aborted(gone);
    });

    test(`${full}: closing a client ends what it was doing`, async () => {
      const source = new PushedSource();
      const { client } = await serve(variant, (request) =>
        request.target === "/stream"
          ? Promise.resolve({ status: 200, headers: {}, body: source })
          : new Promise(ignore),
      );
      const { body } = await get(client, "/stream");
      const never = get(client, "/never");
      const ended = [
        expect(never).rejects.toMatchObject({ name: "NetworkError" }),
        expect(body.next()).rejects.toMatchObject({ name: "NetworkError" }),
      ];
      client.close();
      await Promise.all(ended);
      await source.stopped;
      await expect(get(client)).rejects.toMatchObject({ code: "ECANCELED" });
    });
  }

  function upgradeContract(full: string, variant: Variant): void {
    const upgrade = { connection: "Upgrade", upgrade: "echo/1" };
    const echoing: HttpHandler = async (request) => {
      if (request.target !== "/echo") {
        return { status: 403, headers: { "x-why": "no" }, body: bytes("forbidden") };
      }
      return {
        status: 101,
        headers: { connection: "Upgrade", upgrade: request.headers["upgrade"] ?? "" },
        upgrade: (raw) => {
          const run = async (): Promise<void> => {
            await raw.write(bytes("hello;"));
            for (let part = await raw.read(); part !== undefined; part = await raw.read()) {
              await raw.write(part);
            }
            await raw.write(bytes(";bye"));
            raw.end();
          };
          run().catch(ignore);
        },
      };
    };

    test(`${full}: an upgrade hands over the raw connection, both ways, half-closing included`, async () => {
      const { client } = await serve(variant, echoing);
      const { status, headers, raw, body } = await client.send({
        method: "POST",
        target: "/echo",
        headers: upgrade,
      });
      expect([status, headers["upgrade"]]).toEqual([101, "echo/1"]);
      expect(await body.next()).toBeUndefined();
      if (raw === undefined) throw new Error("no raw connection");
      // What the server said at once must not be lost with the head.
      expect(await readText(raw, 6)).toBe("hello;");
      await raw.write(bytes("ping"));
      expect(await readText(raw, 4)).toBe("ping");
      raw.end();
      expect(await readText(raw, 4)).toBe(";bye");
      expect(await raw.read()).toBeUndefined();
      expect((await get(client, "/other")).status).toBe(403);
    });

    test(`${full}: a request for an upgrade may be answered like any other`, async () => {
      const { client } = await serve(variant, echoing);
      for (let i = 0; i < 3; i++) {
        const response = await client.send({ method: "GET", target: "/no", headers: upgrade });
        expect([response.status, response.headers["x-why"]]).toEqual([403, "no"]);
        expect(response.raw).toBeUndefined();
        expect(await readAll(response.body)).toBe("forbidden");
      }
    });

    test(`${full}: a request for an upgrade may have a body`, async () => {
      const { client } = await serve(variant, async ({ body }) => ({
        status: 200,
        headers: {},
        body: bytes(`${body instanceof Uint8Array ? text(body).length : "none"}`),
      }));
      const send = async (body: Bytes): Promise<string> => {
        const response = await client.send({ method: "POST", target: "/", headers: upgrade, body });
        return `${response.status} ${await readAll(response.body)}`;
      };
      expect(await send(new Uint8Array(300_000))).toBe("200 300000");
      expect(await send(new Uint8Array(2 * bodyBytesMax))).toContain("413");
    });

    test(`${full}: an upgraded connection is cut with its server`, async () => {
      const { client, listener } = await serve(variant, echoing);
      const { raw } = await client.send({ method: "GET", target: "/echo", headers: upgrade });
      if (raw === undefined) throw new Error("no raw connection");
      await readText(raw, 6);
      const end = raw.read().catch((error: unknown) => error);
      await listener.close(0);
      const result = await end;
      expect(result === undefined || result instanceof Error).toBe(true);
      raw.abort(new Error("done"));
    });
  }

  function certificateContract(full: string, variant: Variant): void {
    test(`${full}: the handler sees the client's whole chain, and none where none was sent`, async () => {
      const seen: (readonly Bytes[] | undefined)[] = [];
      const handle: HttpHandler = async ({ peer }) => {
        seen.push(peer?.certificates);
        return { status: 204, headers: {} };
      };
      const server = await serve(variant, handle, anyPort, { askClient: true });
      await get(server.client);
      await get(server.another({ identity: () => certificates.client }));
      // A second connection of the same client: nothing may be lost to a resumed session.
      await get(server.another({ identity: () => certificates.client }));
      const [none, ...chains] = seen;
      expect(none).toEqual([]);
      for (const chain of chains) {
        expect(chain?.[0]).toEqual(world.der(certificates.client.chain));
        expect(chain?.[1]).toEqual(world.der(certificates.intermediate));
        expect(world.crypto.judge(chain ?? [], certificates.roots, world.nowMs)).toMatchObject({
          user: "alice",
          groups: ["dev"],
        });
      }
      expect(chains).toHaveLength(2);
    });

    test(`${full}: requests of one connection share what was proved`, async () => {
      const seen: unknown[] = [];
      const handle: HttpHandler = async ({ peer }) => {
        seen.push(peer?.certificates);
        return { status: 204, headers: {} };
      };
      const { client } = await serve(variant, handle);
      await get(client);
      await get(client);
      expect(seen[0]).toBe(seen[1]);
    });

    test(`${full}: an untrusted server is ETLS, and asking again does not hang`, async () => {
      const { another } = await serve(variant, async () => ({ status: 204, headers: {} }));
      const others = await makeCertificates(world);
      const client = another({ roots: others.roots });
      for (let i = 0; i < 2; i++) {
        await expect(get(client)).rejects.toMatchObject({ name: "NetworkError", code: "ETLS" });
      }
    });
  }
}
