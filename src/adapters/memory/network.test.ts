import { expect, test } from "vitest";
import { unarmour } from "#machinery/pem.ts";
import { type NetworkWorld, networkContract } from "#ports/network.contract.ts";
import type { Network } from "#ports/network.ts";
import { httpContract } from "#ports/network-http.contract.ts";
import { SteppedClock } from "./clock.ts";
import { memoryCrypto } from "./crypto.ts";
import { memoryLog } from "./log.ts";
import { MemoryNetwork } from "./network.ts";
import { seededRandom } from "./random.ts";

const startMs = Date.UTC(2026, 0, 1);
let sockets = 0;

const world = async (): Promise<NetworkWorld> => {
  const clock = new SteppedClock({ startMs });
  const crypto = memoryCrypto(seededRandom(1));
  const hub = new MemoryNetwork({ clock, log: memoryLog(), crypto });
  return {
    network: hub.host("10.0.0.1"),
    crypto,
    nowMs: startMs,
    der: (pem) => unarmour("CERTIFICATE", pem)[0] ?? new Uint8Array(),
    unixPath: () => `/run/${sockets++}.sock`,
    pass: (ms) => clock.advance(ms),
    compresses: false,
  };
};

networkContract("MemoryNetwork", world);
httpContract("MemoryNetwork", world);

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Hosts {
  readonly clock: SteppedClock;
  readonly hub: MemoryNetwork;
  readonly a: Network;
  readonly b: Network;
}
const hosts = (): Hosts => {
  const clock = new SteppedClock({ startMs });
  const hub = new MemoryNetwork({ clock, log: memoryLog() });
  return { clock, hub, a: hub.host("10.0.0.1"), b: hub.host("10.0.0.2") };
};
const serveOn = (network: Network): ReturnType<Network["serve"]> =>
  network.serve({ host: "", port: 80 }, { bodyBytesMax: 1000 }, async ({ peer }) => ({
    status: 200,
    headers: { "x-from": peer?.address ?? "unix" },
  }));
const to = { host: "10.0.0.2", port: 80 };

test("hosts reach each other by address and by name, and see who asks", async () => {
  const { hub, a, b } = hosts();
  await serveOn(b);
  hub.name("web.example", ["10.0.0.2"]);
  for (const host of ["10.0.0.2", "web.example"]) {
    const response = await a
      .http({ host, port: 80 }, { version: 1 })
      .send({ method: "GET", target: "/" });
    expect(response.headers["x-from"]).toBe("10.0.0.1");
  }
  const local = await b
    .http({ host: "127.0.0.1", port: 80 }, { version: 2 })
    .send({ method: "GET", target: "/" });
  expect(local.headers["x-from"]).toBe("127.0.0.1");
  expect(await a.resolve("web.example")).toEqual(["10.0.0.2"]);
  expect(await a.resolve("nowhere.example")).toEqual([]);
  hub.name("web.example", []);
  await expect(a.connect({ host: "web.example", port: 80 })).rejects.toMatchObject({
    code: "ENOTFOUND",
  });
});

test("loopback, unix sockets and foreign addresses stay what they are", async () => {
  const { a, b } = hosts();
  await b.listen({ host: "127.0.0.1", port: 80 }, {}, () => {});
  await b.listen({ unix: "/run/x.sock" }, {}, () => {});
  await expect(a.connect({ host: "127.0.0.1", port: 80 })).rejects.toMatchObject({
    code: "ECONNREFUSED",
  });
  await expect(a.connect(to)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await expect(a.connect({ unix: "/run/x.sock" })).rejects.toMatchObject({ code: "ENOENT" });
  await expect(a.connect({ host: "10.9.9.9", port: 1 })).rejects.toMatchObject({
    code: "EHOSTUNREACH",
  });
  await expect(a.listen(to, {}, () => {})).rejects.toMatchObject({ code: "EADDRNOTAVAIL" });
  await expect(b.listen({ host: "", port: 80 }, {}, () => {})).rejects.toMatchObject({
    code: "EADDRINUSE",
  });
});

test("what is sent across a cut waits and arrives in order once it is healed", async () => {
  const { hub, a, b } = hosts();
  const got: string[] = [];
  await b.listen({ host: "", port: 80 }, {}, (connection) => {
    const run = async (): Promise<void> => {
      for (let part = await connection.read(); part !== undefined; part = await connection.read()) {
        got.push(new TextDecoder().decode(part));
      }
      got.push("end");
    };
    void run();
  });
  const connection = await a.connect(to);
  hub.cut("10.0.0.1", "10.0.0.2");
  await connection.write(bytes("one"));
  await connection.write(bytes("two"));
  connection.end();
  expect(got).toEqual([]);
  hub.heal("10.0.0.1", "10.0.0.2");
  await new Promise(setImmediate);
  expect(got).toEqual(["one", "two", "end"]);
});

test("connecting across a cut times out, or comes through when it is healed in time", async () => {
  const { clock, hub, a, b } = hosts();
  await b.listen({ host: "", port: 80 }, {}, () => {});
  hub.cut("10.0.0.2", "10.0.0.1");
  const early = a.connect(to, { timeoutMs: 1_000 });
  const late = a.connect(to, { timeoutMs: 5_000 });
  const refused = expect(early).rejects.toMatchObject({ code: "ETIMEDOUT" });
  await clock.advance(1_000);
  await refused;
  hub.heal("10.0.0.1", "10.0.0.2");
  await late;
});

test("a request across a long cut breaks for both sides, and its handler hears of it", async () => {
  const { clock, hub, a, b } = hosts();
  let gone: AbortSignal | undefined;
  await b.serve({ host: "", port: 80 }, { bodyBytesMax: 1000 }, (request) => {
    gone = request.gone;
    return new Promise(() => {});
  });
  const client = a.http(to, { version: 2 });
  const asked = client.send({ method: "GET", target: "/" });
  const broken = expect(asked).rejects.toMatchObject({ code: "ETIMEDOUT" });
  await clock.settle();
  hub.cut("10.0.0.1", "10.0.0.2");
  await clock.advance(44_000);
  expect(gone?.aborted).toBe(false);
  await clock.advance(1_000);
  await broken;
  expect(gone?.aborted).toBe(true);
});

test("who gives up across a cut is free at once; the other side learns of it when it is healed", async () => {
  const { clock, hub, a, b } = hosts();
  let gone: AbortSignal | undefined;
  await b.serve({ host: "", port: 80 }, { bodyBytesMax: 1000 }, (request) => {
    gone = request.gone;
    return new Promise(() => {});
  });
  const control = new AbortController();
  const asked = a
    .http(to, { version: 1 })
    .send({ method: "GET", target: "/", signal: control.signal });
  const broken = expect(asked).rejects.toMatchObject({ code: "ECANCELED" });
  await clock.settle();
  hub.cut("10.0.0.1", "10.0.0.2");
  control.abort();
  await broken;
  expect(gone?.aborted).toBe(false);
  hub.heal("10.0.0.1", "10.0.0.2");
  expect(gone?.aborted).toBe(true);
});

test("a reset breaks what is open, and the next request goes through", async () => {
  const { hub, a, b } = hosts();
  await serveOn(b);
  await b.listen({ host: "", port: 81 }, {}, () => {});
  const connection = await a.connect({ host: "10.0.0.2", port: 81 });
  const client = a.http(to, { version: 2 });
  await client.send({ method: "GET", target: "/" });
  hub.reset("10.0.0.1", "10.0.0.2");
  await expect(connection.read()).rejects.toMatchObject({ code: "ECONNRESET" });
  expect((await client.send({ method: "GET", target: "/" })).status).toBe(200);
});

test("a host that goes away takes its listeners and connections along", async () => {
  const { hub, a, b } = hosts();
  await serveOn(b);
  await b.listen({ host: "", port: 81 }, {}, () => {});
  const connection = await a.connect({ host: "10.0.0.2", port: 81 });
  hub.remove("10.0.0.2");
  await expect(connection.read()).rejects.toMatchObject({ code: "ECONNRESET" });
  await expect(a.connect(to)).rejects.toMatchObject({ code: "EHOSTUNREACH" });
  await serveOn(hub.host("10.0.0.2"));
  expect((await a.http(to, { version: 1 }).send({ method: "GET", target: "/" })).status).toBe(200);
});

test("datagrams across a cut are lost", async () => {
  const { clock, hub, a, b } = hosts();
  const got: string[] = [];
  await b.udp({ host: "", port: 53 }, (datagram) => got.push(new TextDecoder().decode(datagram)));
  const socket = await a.udp({ host: "", port: 0 }, () => {});
  hub.cut("10.0.0.1", "10.0.0.2");
  socket.send(bytes("lost"), { host: "10.0.0.2", port: 53 });
  await clock.settle();
  hub.heal("10.0.0.1", "10.0.0.2");
  socket.send(bytes("kept"), { host: "10.0.0.2", port: 53 });
  await clock.settle();
  expect(got).toEqual(["kept"]);
});

test("a probe finds an HTTP port open, and HTTP to anything else says so", async () => {
  const { a, b } = hosts();
  await serveOn(b);
  const probe = await a.connect(to);
  probe.end();
  expect(await probe.read()).toBeUndefined();
  await b.listen({ host: "", port: 81 }, {}, () => {});
  const client = a.http({ host: "10.0.0.2", port: 81 }, { version: 1 });
  await expect(client.send({ method: "GET", target: "/" })).rejects.toMatchObject({
    code: "EBADHTTP",
  });
});

test("bodies are copies: nobody changes what another holds", async () => {
  const { a, b } = hosts();
  const kept: Uint8Array[] = [];
  const answer = bytes("answer");
  await b.serve({ host: "", port: 80 }, { bodyBytesMax: 1000 }, async ({ body }) => {
    if (body instanceof Uint8Array) kept.push(body);
    return { status: 200, headers: {}, body: answer };
  });
  const question = bytes("question");
  const response = await a
    .http(to, { version: 1 })
    .send({ method: "POST", target: "/", body: question });
  question.fill(0);
  const got = (await response.body.next())?.[0];
  got?.fill(0);
  expect(new TextDecoder().decode(kept[0])).toBe("question");
  expect(new TextDecoder().decode(answer)).toBe("answer");
});
