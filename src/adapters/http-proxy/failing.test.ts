/** Endpoints that break off, leave, or fall silent: what becomes of the requests that are sent to them. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { memoryLog } from "#adapters/memory/log.ts";
import { nodeHttpProxy } from "./proxy.ts";

const ends: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function serve(program: RequestListener) {
  const server = createServer(program).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}
/** A proxy that leads everything to programs at those ports. */
async function before(...ports: readonly number[]) {
  const proxy = nodeHttpProxy({ host: "127.0.0.1", ports: [0], tlsPorts: [0], log: memoryLog() });
  ends.push(() => proxy.close(0));
  const lead = (to: readonly number[]) => {
    const endpoints = to.map((port) => ({ address: "127.0.0.1", port }));
    return proxy.setBackends(new Map([["one", { endpoints, protocol: "http" as const }]]));
  };
  await lead(ports);
  const routes = [{ match: "prefix", path: "/", backend: "one" }] as const;
  await proxy.setTable({ hosts: [{ host: "", routes }], certificates: [] });
  const [at] = await proxy.listen();
  const ask = async (method = "GET"): Promise<string> => {
    const client = request({ port: at?.port ?? 0, host: "127.0.0.1", method, agent: false });
    client.end(method === "POST" ? "x" : undefined);
    const [response] = (await once(client, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of response) text += String(chunk);
    return response.statusCode === 200 ? text : String(response.statusCode);
  };
  return { ask, lead };
}

test("what breaks off before an answer is asked elsewhere, unless it may not be repeated", async () => {
  let breaks = 0;
  const broken = await serve((incoming) => {
    breaks++;
    incoming.socket.destroy();
  });
  const fine = await serve((incoming, outgoing) => {
    incoming.resume();
    outgoing.end("fine");
  });
  const first = await before(broken.port, fine.port);
  expect(await first.ask()).toBe("fine");
  expect(breaks).toBe(1);
  // It is asked last for a while.
  for (let i = 0; i < 4; i++) expect(await first.ask()).toBe("fine");
  expect(breaks).toBe(1);
  const second = await before(broken.port, fine.port);
  expect(await second.ask("POST")).toBe("502");
  const third = await before(broken.port);
  expect(await third.ask()).toBe("502");
});

test("kept connections to an endpoint that leaves are closed; what is under way there ends", async () => {
  const sockets = new Set<Socket>();
  let answer: () => void = () => {};
  const { server, port } = await serve((incoming, outgoing) => {
    if (incoming.method !== "PUT") outgoing.end("fine");
    else answer = () => outgoing.end("ended");
  });
  server.on("connection", (socket) => sockets.add(socket));
  const { ask, lead } = await before(port);
  await Promise.all([ask(), ask()]);
  const slow = ask("PUT");
  await once(server, "request");
  expect(sockets.size).toBe(2);
  const closed = Promise.race([...sockets].map((socket) => once(socket, "close")));
  await lead([]);
  await closed;
  answer();
  expect(await slow).toBe("ended");
  expect(await ask()).toBe("503");
});

/** Answers one request, then is there no more: the kernel goes on to take connections until its queue is full. */
const frozen = `
  const { parentPort } = require("node:worker_threads");
  const server = require("node:http").createServer((_incoming, outgoing) => {
    outgoing.end("once", () => setImmediate(() => {
      parentPort.postMessage("frozen");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    }));
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => parentPort.postMessage(server.address().port));
`;

test("an endpoint that falls silent loses what waits there to others", async () => {
  const worker = new Worker(frozen, { eval: true });
  ends.push(() => worker.terminate());
  const [port] = (await once(worker, "message")) as [number];
  const { ask, lead } = await before(port);
  const isFrozen = once(worker, "message");
  expect(await ask()).toBe("once");
  await isFrozen;
  // Until nobody gets in any more.
  for (let i = 0; i < 8; i++) {
    const socket = connect(port, "127.0.0.1");
    ends.push(() => void socket.destroy());
    socket.on("error", () => undefined);
  }
  const fine = await serve((_incoming, outgoing) => outgoing.end("fine"));
  await lead([port, fine.port]);
  // One of them goes to the connection that was kept.
  expect(await Promise.all([ask(), ask()])).toEqual(["fine", "fine"]);
}, 30_000);
