/** The HTTP servers and clients against raw bytes and against Node's own counterparts: what a contract between our two ends cannot see. */
import { createServer as createHttpServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { Agent, request as httpsRequest } from "node:https";
import { connect, createServer as createRawServer, type Server, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Certificates, makeCertificates, readAll, text } from "#ports/network.contract.ts";
import type { Address, HttpHandler, Listener, ServerTls } from "#ports/network.ts";
import { splitPem } from "./certificate.ts";
import { systemCrypto } from "./crypto.ts";
import { serveHttp } from "./http-serve.ts";
import { systemNetwork } from "./network.ts";

const quiet = { write: () => {}, child: () => quiet };
const network = systemNetwork(quiet);
const anyPort: Address = { host: "127.0.0.1", port: 0 };
const open: (() => unknown)[] = [];
let certificates: Certificates;
beforeAll(async () => {
  certificates = await makeCertificates({
    network,
    crypto: systemCrypto,
    nowMs: Date.now(),
    der: (pem) => splitPem(pem)[0] ?? new Uint8Array(),
    unixPath: () => "",
    pass: () => Promise.resolve(),
    compresses: true,
  });
});
afterAll(() => Promise.all(open.map((close) => close())));

const bodyBytesMax = 1000;
const echo: HttpHandler = async ({ method, target, body, headers }) => {
  const length = body instanceof Uint8Array ? body.length : 0;
  const answer = `${method} ${target} ${length} ${headers["x-note"] ?? "-"}`;
  return { status: 200, headers: {}, body: new TextEncoder().encode(answer) };
};

async function serve(
  handle: HttpHandler,
  options: { readonly tls?: Partial<ServerTls>; readonly headMsMax?: number } = {},
): Promise<{ readonly port: number; readonly listener: Listener }> {
  const tls = options.tls && { identity: () => certificates.server, ...options.tls };
  const listener = await serveHttp(
    anyPort,
    { bodyBytesMax, ...(tls === undefined ? {} : { tls }) },
    handle,
    quiet,
    options.headMsMax,
  );
  open.push(() => listener.close(0));
  if (!("port" in listener.address)) throw new Error("no port");
  return { port: listener.address.port, listener };
}

/** Sends the pieces one after the other, each when what came so far contains what the piece waits for; gives all that came. */
function talk(
  port: number,
  ...pieces: readonly { readonly after?: string; readonly send: string }[]
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const left = [...pieces];
    let got = "";
    const next = (): void => {
      while (left[0] !== undefined && got.includes(left[0].after ?? "")) {
        socket.write(left.shift()?.send ?? "");
      }
    };
    socket.on("connect", next);
    socket.on("data", (chunk: Buffer) => {
      got += chunk.toString("latin1");
      next();
    });
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(got));
    socket.on("error", reject);
  });
}

const listenOn = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => {
    open.push(() => server.close());
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") reject(new Error("no address"));
      else resolve(address.port);
    });
  });

test("requests sent without waiting are answered in order on one connection", async () => {
  const { port } = await serve(echo);
  const got = await talk(port, {
    send:
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" +
      "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-Note: a\r\nX-Note: b\r\n\r\nabc" +
      "POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" +
      "GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
  });
  const bodies = [...got.matchAll(/(?:GET|POST) \/\d .*?(?=HTTP|$)/g)].map((match) => match[0]);
  expect(bodies).toEqual(["GET /1 0 -", "POST /2 3 a, b", "POST /3 2 -", "GET /4 0 -"]);
});

test("Expect: 100-continue is told to go on, or refused before the body is sent", async () => {
  const { port } = await serve(echo);
  const head = (length: number): string =>
    `PUT /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
  const taken = await talk(port, { send: head(5) }, { after: "100 Continue", send: "12345" });
  expect(taken).toContain("PUT /x 5");
  const refused = await talk(port, { send: head(5000) });
  expect(refused).toMatch(/^HTTP\/1\.1 413 /);
  expect(refused).not.toContain("100 Continue");
});

test("a head that comes too slowly is cut off, whether it began or not", async () => {
  const { port } = await serve(echo, { headMsMax: 40 });
  expect(await talk(port, { send: "" })).toBe("");
  expect(await talk(port, { send: "GET / HT" })).toMatch(/^HTTP\/1\.1 408 |^$/);
});

test("a head beyond a mebibyte is refused, a large one below is fine", async () => {
  const { port } = await serve(echo);
  const ask = (length: number): Promise<string> =>
    talk(port, {
      send: `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: ${"a".repeat(length)}\r\n\r\n`,
    });
  expect(await ask(1_000_000)).toMatch(/^HTTP\/1\.1 200 /);
  expect(await ask(1_100_000)).toMatch(/^HTTP\/1\.1 431 /);
});

test("what is no HTTP is refused; HTTP/1.0 is answered and closed", async () => {
  const { port } = await serve(echo);
  expect(await talk(port, { send: "\x16\x03\x01 hello\r\n\r\n" })).toMatch(/^HTTP\/1\.1 400 /);
  expect(await talk(port, { send: "P" }, { send: "OST / HTTP/1.0\r\n\r\n" })).toContain("POST / 0");
  expect(await talk(port, { send: "PRO / HTTP/1.1\r\nHost: x\r\n\r\n" })).toMatch(
    /^HTTP\/1\.1 400 /,
  );
});

test("a stream is sent in chunks, and its trailers behind them", async () => {
  const batches = [["one", "two"], ["three"]];
  const { port } = await serve(async () => ({
    status: 200,
    headers: {},
    body: {
      next: async () => batches.shift()?.map((word) => new TextEncoder().encode(word)),
      stop: () => {},
    },
    trailers: Promise.resolve({ "x-end": "yes" }),
  }));
  const got = await talk(port, { send: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" });
  expect(got.replace(/^.*?\r\n\r\n/s, "")).toBe(
    "6\r\nonetwo\r\n5\r\nthree\r\n0\r\nx-end: yes\r\n\r\n",
  );
  expect(got.toLowerCase()).toContain("transfer-encoding: chunked");
});

test("what follows the head of an upgrade in the same packet is not lost", async () => {
  const { port } = await serve(async ({ headers }) => ({
    status: 101,
    headers: { upgrade: headers["upgrade"] ?? "", connection: "Upgrade", "x-extra": "1" },
    upgrade: (raw) => {
      const run = async (): Promise<void> => {
        for (let part = await raw.read(); part !== undefined; part = await raw.read()) {
          await raw.write(new TextEncoder().encode(text(part).toUpperCase()));
        }
        raw.end();
      };
      run().catch(() => {});
    },
  }));
  const head = "POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
  const got = await new Promise<string>((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    let all = "";
    socket.write(`${head}Content-Length: 0\r\n\r\nearly `);
    socket.on("data", (chunk: Buffer) => {
      all += chunk.toString();
      if (all.endsWith("EARLY ")) socket.end("late");
    });
    socket.on("end", () => resolve(all));
  });
  expect(got).toBe(
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\nconnection: Upgrade\r\nx-extra: 1\r\n\r\nEARLY LATE",
  );
  const chunked = await talk(port, { send: `${head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n` });
  expect(chunked).toMatch(/^HTTP\/1\.1 400 /);
});

test("the client, too, gets what follows the head of a 101 in the same packet", async () => {
  const server = createRawServer((socket) => {
    socket.once("data", () =>
      socket.end(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly",
      ),
    );
  });
  const port = await listenOn(server);
  const client = network.http({ host: "127.0.0.1", port }, { version: 1 });
  const headers = { connection: "Upgrade", upgrade: "x" };
  const { raw } = await client.send({ method: "GET", target: "/", headers });
  const got = await raw?.read();
  expect(got && text(got)).toBe("early");
  expect(await raw?.read()).toBeUndefined();
  raw?.end();
});

test("a kept connection that the server has closed is not held against a harmless request", async () => {
  const sockets: Socket[] = [];
  const server = createRawServer((socket) => {
    sockets.push(socket);
    let requests = 0;
    socket.on("error", () => {});
    socket.on("data", () => {
      // The second request on a connection meets a server that has just given it up.
      if (requests++ > 0) socket.resetAndDestroy();
      else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  const port = await listenOn(server);
  const client = network.http({ host: "127.0.0.1", port }, { version: 1, connections: 1 });
  const ask = async (method: string): Promise<string> =>
    readAll((await client.send({ method, target: "/" })).body);
  expect(await ask("GET")).toBe("ok");
  expect(await ask("GET")).toBe("ok");
  expect(sockets).toHaveLength(2);
  await expect(ask("POST")).rejects.toMatchObject({ code: "ECONNRESET" });
  client.close();
});

test("an answer that is cut short is broken, not short", async () => {
  const answers = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 20",
    "SSH-2.0-OpenSSH\r\n\r\n",
  ];
  const server = createRawServer((socket) => {
    socket.once("data", () => socket.end(answers.shift() ?? ""));
    socket.on("error", () => {});
  });
  const port = await listenOn(server);
  const client = network.http({ host: "127.0.0.1", port }, { version: 1 });
  const failures: unknown[] = [];
  for (let i = 0; i < 4; i++) {
    const ask = async (): Promise<string> =>
      readAll((await client.send({ method: "POST", target: "/" })).body);
    const error: unknown = await ask().catch((failure: unknown) => failure);
    failures.push(error instanceof Error ? Reflect.get(error, "code") : error);
  }
  expect(failures).toEqual(["ECONNRESET", "ECONNRESET", "ECONNRESET", "EBADHTTP"]);
  client.close();
});

test("Node's own clients get along with the server over both versions, on one port", async () => {
  const large = new TextEncoder().encode("text ".repeat(100_000));
  const { port } = await serve(
    async () => ({
      status: 200,
      headers: { "content-type": "text/plain" },
      body: large,
      gzip: true,
    }),
    { tls: {} },
  );
  const one = await new Promise<Buffer>((resolve, reject) => {
    const headers = { "accept-encoding": "gzip" };
    const request = httpsRequest(
      { port, host: "localhost", ca: certificates.roots, headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve(gunzipSync(Buffer.concat(chunks))));
      },
    );
    request.on("error", reject);
    request.end();
  });
  expect(one.equals(large)).toBe(true);
  const session = connectHttp2(`https://localhost:${port}`, { ca: certificates.roots });
  const two = await new Promise<number>((resolve) => {
    let length = 0;
    const stream = session.request({ ":path": "/" });
    stream.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    stream.on("end", () => resolve(length));
  });
  expect(two).toBe(large.length);
  expect(session.remoteSettings.maxConcurrentStreams).toBe(100);
  session.close();
});

test("our clients get along with Node's own servers over both versions", async () => {
  const one = createHttpServer((req, res) => {
    let length = 0;
    req.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    req.on("end", () =>
      res.end(`${req.method} ${req.url} ${length} ${String(req.headers["x-a"])}`),
    );
  });
  const two = createHttp2Server((req, res) => {
    let length = 0;
    req.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    req.on("end", () =>
      res.end(`${req.method} ${req.url} ${length} ${String(req.headers["x-a"])}`),
    );
  });
  for (const [server, version] of [
    [one, 1],
    [two, 2],
  ] as const) {
    const port = await listenOn(server);
    const client = network.http({ host: "127.0.0.1", port }, { version });
    let left = 3;
    const body = {
      next: async () => (left-- > 0 ? [new Uint8Array(1000)] : undefined),
      stop: () => {},
    };
    const headers = { "x-a": "b" };
    const response = await client.send({ method: "PUT", target: "/p?q", headers, body });
    expect(await readAll(response.body)).toBe("PUT /p?q 3000 b");
    client.close();
  }
});

test("a client that resumes its TLS session still shows its whole chain", async () => {
  const seen: number[] = [];
  const { port } = await serve(
    async ({ peer }) => {
      seen.push(peer?.certificates.length ?? 0);
      return { status: 200, headers: {}, body: new Uint8Array(1) };
    },
    { tls: { askClient: true } },
  );
  const { chain, key } = certificates.client;
  const agent = new Agent({ ca: certificates.roots, cert: chain, key, keepAlive: false });
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve, reject) => {
      const request = httpsRequest({ port, host: "localhost", agent }, (response) => {
        response.resume();
        response.on("end", resolve);
      });
      request.on("error", reject);
      request.end();
    });
  }
  agent.destroy();
  expect(seen).toEqual([seen[0], seen[0], seen[0]]);
  expect(seen[0]).toBeGreaterThanOrEqual(2);
});

test("clients are asked for a certificate of any authority, and old TLS is refused", async () => {
  const { port } = await serve(echo, { tls: { askClient: true } });
  const shake = (options: object): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connectTls(
        { port, host: "localhost", ca: certificates.roots, ...options },
        () => resolve(socket),
      );
      socket.on("error", reject);
    });
  const socket = await shake({ ALPNProtocols: ["h2", "http/1.1"] });
  expect([socket.alpnProtocol, socket.getProtocol()]).toEqual(["h2", "TLSv1.3"]);
  socket.destroy();
  await expect(shake({ maxVersion: "TLSv1.1", minVersion: "TLSv1" })).rejects.toThrow();
});

test("a server whose certificate is missing for a moment serves again when it is back", async () => {
  let isThere = true;
  const { port } = await serve(echo, {
    tls: {
      identity: () => {
        if (!isThere) throw new Error("being replaced");
        return certificates.server;
      },
    },
  });
  const ask = async (serverName: string): Promise<number> => {
    const tls = { roots: certificates.roots, serverName };
    const client = network.http({ host: "127.0.0.1", port }, { version: 1, tls });
    try {
      return (await client.send({ method: "GET", target: "/" })).status;
    } finally {
      client.close();
    }
  };
  isThere = false;
  for (const name of ["localhost", "127.0.0.1"]) {
    await expect(ask(name)).rejects.toMatchObject({ name: "NetworkError" });
  }
  isThere = true;
  expect(await ask("localhost")).toBe(200);
});

test("a server without a usable certificate does not start", async () => {
  const identity = (): never => {
    throw new Error("no certificate");
  };
  await expect(serve(echo, { tls: { identity } })).rejects.toThrow("no certificate");
});
