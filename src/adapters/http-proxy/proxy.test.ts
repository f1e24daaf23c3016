import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { memoryLog } from "#adapters/memory/log.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { httpProxyContract } from "#ports/http-proxy.contract.ts";
import { AnswerReader } from "./http1-answer.ts";
import { nodeHttpProxy } from "./proxy.ts";

const dayMs = 86_400_000;
async function certificate(...names: readonly string[]) {
  const { privateKey, publicKey } = await systemCrypto.generateKey("ES256");
  const [fromMs, toMs] = [Date.now() - dayMs, Date.now() + dayMs];
  const facts = {
    user: "test",
    groups: [],
    names,
    uses: ["ca", "server auth"],
    fromMs,
    toMs,
  } as const;
  const chain = await systemCrypto.issue(facts, publicKey, { privateKey });
  return { chain, key: privateKey, roots: chain };
}

httpProxyContract("the proxy on Node", async () => ({
  proxy: nodeHttpProxy({ host: "127.0.0.1", ports: [0], tlsPorts: [0], log: memoryLog() }),
  network: systemNetwork(memoryLog()),
  host: "127.0.0.1",
  proxyHost: "127.0.0.1",
  certificate,
}));

/** A proxy in front of one program of node:http. */
async function before(program: RequestListener, protocol: "http" | "h2c" = "http") {
  const backend = createServer(program).listen(0, "127.0.0.1");
  await once(backend, "listening");
  const proxy = nodeHttpProxy({ host: "127.0.0.1", ports: [0], tlsPorts: [0], log: memoryLog() });
  const { port } = backend.address() as AddressInfo;
  const endpoints = [{ address: "127.0.0.1", port }];
  await proxy.setBackends(new Map([["one", { endpoints, protocol }]]));
  const routes = [{ match: "prefix", path: "/", backend: "one" }] as const;
  await proxy.setTable({ hosts: [{ host: "", routes }], certificates: [] });
  const [at] = await proxy.listen();
  ends.push(async () => {
    await proxy.close(0);
    backend.closeAllConnections();
    await new Promise((resolve) => backend.close(resolve));
  });
  return { port: at?.port ?? 0, backend };
}
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

test("a request streams to the backend while its answer streams back", async () => {
  const { port } = await before((incoming, outgoing) => {
    incoming.pipe(outgoing);
  });
  const client = request({ port, method: "POST", host: "127.0.0.1" });
  client.write("first");
  const [response] = (await once(client, "response")) as [IncomingMessage];
  response.setEncoding("utf8");
  expect((await once(response, "data"))[0]).toBe("first");
  client.write("second");
  expect((await once(response, "data"))[0]).toBe("second");
  client.end();
  await once(response, "end");
});

test("an answer without a body yet shows its head", async () => {
  const { port } = await before((_incoming, outgoing) => {
    outgoing.writeHead(200, { "content-type": "text/event-stream" });
    outgoing.flushHeaders();
  });
  const client = request({ port, host: "127.0.0.1" }).end();
  const [response] = (await once(client, "response")) as [IncomingMessage];
  expect(response.headers["content-type"]).toBe("text/event-stream");
  client.destroy();
});

test("who goes away takes his request along; a backend that breaks off is heard of", async () => {
  let gone: () => void = () => {};
  const left = new Promise<void>((resolve) => {
    gone = resolve;
  });
  const { port } = await before((incoming, outgoing) => {
    if (incoming.url === "/break") {
      outgoing.writeHead(200, { "content-length": "10" });
      outgoing.write("half");
      outgoing.socket?.destroySoon();
      return;
    }
    outgoing.once("close", gone);
    outgoing.write("begun");
  });
  const client = request({ port, host: "127.0.0.1" }).end();
  await once(client, "response");
  client.destroy();
  await left;
  const broken = request({ port, host: "127.0.0.1", path: "/break" }).end();
  const [response] = (await once(broken, "response")) as [IncomingMessage];
  await expect(once(response.resume(), "end")).rejects.toThrow("aborted");
});

test("what is sent on a kept connection that the backend closes is sent again, if it may be", async () => {
  let closes = 0;
  const { port } = await before((incoming, outgoing) => {
    // The second request of each connection finds it closed.
    const { socket } = incoming as { socket: Socket & { used?: boolean } };
    if (socket.used === true) {
      closes++;
      socket.destroy();
      return;
    }
    socket.used = true;
    incoming.resume();
    outgoing.end("fine");
  });
  const ask = async (method: string): Promise<number | undefined> => {
    const client = request({ port, host: "127.0.0.1", method, agent: false });
    client.end(method === "POST" ? "x" : undefined);
    const [response] = (await once(client, "response")) as [IncomingMessage];
    await once(response.resume(), "end");
    return response.statusCode;
  };
  expect(await ask("GET")).toBe(200);
  expect(await ask("GET")).toBe(200);
  expect(closes).toBe(1);
  expect(await ask("POST")).toBe(200);
  expect(await ask("POST")).toBe(502);
  expect(closes).toBe(2);
});

test("an answer is read strictly, whatever pieces it comes in", () => {
  const read = (...pieces: readonly string[]) => {
    const seen: string[] = [];
    const reader = new AnswerReader(
      {
        head: ({ status, headers }) => seen.push(`${status} ${headers.join("|")}`),
        piece: (bytes) => seen.push(bytes.toString()),
        end: (isReusable, trailers) => seen.push(`end ${isReusable} ${trailers.join("|")}`.trim()),
      },
      false,
    );
    try {
      for (const piece of pieces) reader.push(Buffer.from(piece));
    } catch (error) {
      seen.push((error as Error).message);
    }
    reader.close();
    return seen;
  };
  const ok = "HTTP/1.1 200 OK\r\n";
  expect(read(`${ok}Content-Length: 3\r\n\r\nabc`)).toEqual([
    "200 Content-Length|3",
    "abc",
    "end true",
  ]);
  expect(read(ok, "Content-Length: 3\r\n", "\r", "\na", "bc")).toEqual([
    "200 Content-Length|3",
    "a",
    "bc",
    "end true",
  ]);
  const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
  const chunks = "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-End: 1\r\n\r\n";
  expect(read(chunked + chunks).slice(1)).toEqual(["abc", "d", "end true X-End|1"]);
  expect(read(...Array.from(chunked + chunks)).slice(1)).toEqual([
    "a",
    "b",
    "c",
    "d",
    "end true X-End|1",
  ]);
  expect(read(`${ok}Connection: close\r\n\r\nall`).slice(1)).toEqual(["all", "end false"]);
  expect(read(`HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n`)).toEqual([
    "204 ",
    "end true",
  ]);
  for (const [bad, why] of [
    [`${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, "the length is not one number"],
    [`${ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, "in two ways"],
    [`${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`, "in two ways"],
    [`${ok}A: 1\r\n folded\r\n\r\n`, "a header has no name"],
    [`${chunked}zz\r\n`, "a chunk has no size"],
    [`${chunked}1\r\nabc\r\n`, "longer than it said"],
    [`${ok}Content-Length: 1\r\n\r\nab`, "more than one answer"],
    ["SSH-2.0\r\n\r\n", "no answer of HTTP/1"],
    ["HTTP/1.1 101 Switching\r\n\r\n", "nobody asked"],
  ] as const) {
    expect(read(bad).at(-1)).toContain(why);
  }
});

test("nobody smuggles: two lengths, or a length and chunks, are refused", async () => {
  const { port } = await before((_incoming, outgoing) => outgoing.end("fine"));
  const raw = async (...lines: readonly string[]): Promise<string> => {
    const socket = connect(port, "127.0.0.1");
    socket.end(["POST / HTTP/1.1", "Host: a", ...lines, "", "0", "", ""].join("\r\n"));
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    return text.split("\r\n")[0] ?? "";
  };
  expect(await raw("Content-Length: 1", "Content-Length: 2")).toContain("400");
  expect(await raw("Content-Length: 1", "Transfer-Encoding: chunked")).toContain("400");
  expect(await raw("Transfer-Encoding: chunked, x")).toContain("400");
});
