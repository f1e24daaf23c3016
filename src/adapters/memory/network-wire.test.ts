import { expect, test } from "vitest";
import type { HttpHandler } from "#ports/network.ts";
import { SteppedClock } from "./clock.ts";
import { memoryLog } from "./log.ts";
import { MemoryNetwork } from "./network.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const text = (body: unknown): string => (body instanceof Uint8Array ? decoder.decode(body) : "");

/** What comes back for these words, in pieces of `size`. */
async function talk(words: string, handle: HttpHandler, size = 1000): Promise<string> {
  const clock = new SteppedClock({ startMs: 0 });
  const host = new MemoryNetwork({ clock, log: memoryLog() }).host("192.0.2.1");
  await host.serve({ host: "192.0.2.1", port: 80 }, { bodyBytesMax: 100 }, handle);
  const connection = await host.connect({ host: "192.0.2.1", port: 80 });
  const bytes = encoder.encode(words);
  for (let at = 0; at < bytes.length; at += size) {
    await connection.write(bytes.subarray(at, at + size));
  }
  connection.end();
  let answer = "";
  for (;;) {
    const piece = await connection.read();
    if (piece === undefined) return answer;
    answer += decoder.decode(piece);
  }
}
const echo: HttpHandler = async ({ method, target, headers, body }) => ({
  status: 200,
  headers: { "x-host": headers["host"] ?? "" },
  body: encoder.encode(`${method} ${target} ${text(body)}`),
});

test.each([1, 7, 1000])("several requests on one connection, in pieces of %i", async (size) => {
  const words =
    "GET /a HTTP/1.1\r\nHost: web\r\n\r\n" +
    "POST /b HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc" +
    "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n" +
    "HEAD /d HTTP/1.1\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n";
  expect(await talk(words, echo, size)).toBe(
    "HTTP/1.1 200 \r\nx-host: web\r\ncontent-length: 7\r\n\r\nGET /a " +
      "HTTP/1.1 200 \r\nx-host: web\r\ncontent-length: 11\r\n\r\nPOST /b abc" +
      "HTTP/1.1 200 \r\nx-host: \r\ncontent-length: 11\r\n\r\nPOST /c def" +
      "HTTP/1.1 200 \r\nx-host: \r\ncontent-length: 8\r\nconnection: close\r\n\r\n",
  );
});

test("streams come in chunks, or to the end of the connection", async () => {
  const streaming: HttpHandler = async () => {
    const left = [encoder.encode("one"), encoder.encode("two")];
    const body = {
      next: async () => (left.length > 0 ? [left.shift() as Uint8Array] : undefined),
      stop: () => {},
    };
    return { status: 200, headers: {}, body };
  };
  expect(await talk("GET / HTTP/1.1\r\n\r\n", streaming)).toBe(
    "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
  );
  expect(await talk("GET / HTTP/1.0\r\n\r\n", streaming)).toBe(
    "HTTP/1.1 200 \r\nconnection: close\r\n\r\nonetwo",
  );
});

test("an upgrade gets the connection, with what was sent behind the head", async () => {
  const upgrading: HttpHandler = async () => ({
    status: 101,
    headers: { upgrade: "echo", connection: "Upgrade" },
    upgrade: (raw) => {
      void raw.read().then(async (bytes) => {
        await raw.write(bytes ?? new Uint8Array(0));
        raw.end();
      });
    },
  });
  const words = "GET / HTTP/1.1\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello";
  expect(await talk(words, upgrading)).toBe(
    "HTTP/1.1 101 \r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\nhello",
  );
});

test.each([
  ["SSH-2.0-OpenSSH_9\r\n", 400],
  ["GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400],
  ["POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413],
  ["POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", 400],
  [`GET / HTTP/1.1\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, 431],
])("what is no request is refused: %#", async (words, status) => {
  const answer = await talk(words, echo);
  expect(answer.split(" ")[1]).toBe(String(status));
  expect(answer).toContain("connection: close");
});

test("who only looks whether the port is open is let go", async () => {
  expect(await talk("", echo)).toBe("");
});
