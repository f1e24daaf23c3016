import { expect, test } from "vitest";
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { overWebSocket, withoutUpgrade } from "./websocket-answer.ts";

const request = (protocol: string | undefined): ApiRequest => ({
  method: "GET",
  path: "/",
  query: [],
  headers: {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...(protocol === undefined ? {} : { "sec-websocket-protocol": protocol }),
  },
  gone: new AbortController().signal,
  direct: false,
});
function logOf(...lines: string[]): ApiResponse {
  const batches = lines.map((line) => [new TextEncoder().encode(line)]);
  const bytes = { next: async () => batches.shift(), stop: () => {} };
  const content = { type: "stream", mediaType: "text/plain", bytes } as const;
  return { status: 200, headers: {}, content };
}

/** What the server writes until it has said goodbye. */
async function written(answer: ApiResponse): Promise<Bytes[]> {
  const { content } = answer;
  if (content.type !== "upgrade") throw new Error(`it is of type ${content.type}`);
  const frames: Bytes[] = [];
  await new Promise<void>((resolve) => {
    const raw: Duplex = {
      read: () => new Promise(() => {}),
      write: async (bytes) => {
        frames.push(bytes);
      },
      end: () => resolve(),
      abort: () => resolve(),
    };
    content.run(raw);
  });
  return frames;
}

test("a log comes as binary messages after an empty one, then goodbye", async () => {
  const answer = overWebSocket(request("v9,binary.k8s.io"), logOf("hi\n", "you\n"));
  expect(answer).toMatchObject({
    status: 101,
    headers: {
      "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      "sec-websocket-protocol": "binary.k8s.io",
    },
  });
  const frames = await written(answer);
  const heads = frames.map(([opcode, length]) => [opcode, length]);
  expect(heads).toEqual([
    [0x82, 0],
    [0x82, 3],
    [0x82, 4],
    [0x88, 2],
  ]);
  expect(new TextDecoder().decode(frames[1]?.subarray(2))).toBe("hi\n");
});

test("base64 comes as text, and no protocol is one, too", async () => {
  const frames = await written(overWebSocket(request("base64.binary.k8s.io"), logOf("hi\n")));
  expect(frames[1]?.[0]).toBe(0x81);
  expect(new TextDecoder().decode(frames[1]?.subarray(2))).toBe("aGkK");
  expect(overWebSocket(request(undefined), logOf()).headers).not.toHaveProperty(
    "sec-websocket-protocol",
  );
});

test("unknown protocols are refused; who asks for no websocket gets the stream", () => {
  expect(() => overWebSocket(request("v9"), logOf())).toThrow("not supported");
  const plain = logOf("hi");
  const asked = withoutUpgrade(request("binary.k8s.io"));
  expect(asked.headers).not.toHaveProperty("upgrade");
  expect(overWebSocket(asked, plain)).toBe(plain);
});
