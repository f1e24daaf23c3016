/** What every network keeps to when it serves and asks by HTTP, the same for both versions and every kind of connection. */
import { expect, test } from "vitest";
import { bytes, type NetworkWorld, readAll } from "./network.contract.ts";
import type { HttpResponse } from "./network.ts";
import {
  certificateContract,
  lifeContract,
  upgradeContract,
} from "./network-http-life.contract.ts";
import {
  bodyBytesMax,
  describeRequest,
  type HttpSetup,
  httpSetup,
  ignore,
  PushedSource,
  type Variant,
  variants,
} from "./network-http-setup.contract.ts";
import { streamContract } from "./network-http-streams.contract.ts";
import type { Bytes, Source } from "./stream.ts";

export function httpContract(name: string, make: () => Promise<NetworkWorld>): void {
  const setup = httpSetup(make);
  for (const variant of variants) {
    const full = `${name} ${variant.kind}`;
    exchangeContract(setup, full, variant);
    streamContract(setup, full, variant);
    lifeContract(setup, full, variant);
    if (variant.version === 1) upgradeContract(setup, full, variant);
    if (variant.isTls) certificateContract(setup, full, variant);
  }
}

function exchangeContract(setup: HttpSetup, full: string, variant: Variant): void {
  const { serve, get } = setup;
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

  test(`${full}: too large a body is answered as the server wishes`, async () => {
    const tooLarge: HttpResponse = {
      status: 413,
      headers: { "content-type": "application/json" },
      body: bytes('{"code":413}'),
    };
    const handle = async (): Promise<HttpResponse> => ({ status: 200, headers: {} });
    const { client } = await serve(variant, handle, undefined, {}, { tooLarge });
    for (const _ of [1, 2]) {
      const body = new Uint8Array(bodyBytesMax + 1);
      const refused = await client.send({ method: "POST", target: "/", body });
      expect([refused.status, refused.headers["content-type"]]).toEqual([413, "application/json"]);
      expect(await readAll(refused.body)).toBe('{"code":413}');
    }
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
    expect([same.status, same.headers["etag"], await readAll(same.body)]).toEqual([304, '"1"', ""]);
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
    expect(setup.world().crypto.digest(joined)).toEqual(setup.world().crypto.digest(large));
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

  test(`${full}: an answer that cannot be sent is a 500`, async () => {
    const source = new PushedSource();
    const wrong: Readonly<Record<string, HttpResponse>> = {
      "/line": { status: 200, headers: { "x-a": "one\r\ntwo: three" }, body: source },
      "/name": { status: 200, headers: { "x a": "b" } },
      "/switch": { status: 101, headers: {}, upgrade: ignore },
    };
    const { client } = await serve(
      variant,
      async ({ target }) => wrong[target] ?? { status: 404, headers: {} },
    );
    for (const target of Object.keys(wrong)) {
      const response = await get(client, target);
      expect([target, response.status]).toEqual([target, 500]);
      await readAll(response.body);
    }
    await source.stopped;
    const bad = client.send({ method: "GET", target: "/", headers: { "x-a": "one\ntwo" } });
    await expect(bad).rejects.toMatchObject({ name: "NetworkError", code: "EINVAL" });
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
    expect(await ask("/large", "br, gzip;q=0.5")).toBe(
      setup.world().compresses ? "gzip" : undefined,
    );
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
