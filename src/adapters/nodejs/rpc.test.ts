/** The dialer against a small gRPC server written on node:http2 alone, with protobufjs's own codecs: no code is shared. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import protobuf from "protobufjs";
import { expect, test } from "vitest";
import type { Address } from "#ports/network.ts";
import { type RpcWorld, rpcContract, testProto } from "#ports/rpc.contract.ts";
import { systemRpc } from "./rpc.ts";

const { root } = protobuf.parse(testProto);
root.addJSON(protobuf.common.get("google/protobuf/timestamp.proto")?.nested ?? {});
const type = (name: string): protobuf.Type => root.lookupType(`test.v1.${name}`);

const frame = (name: string, message: object): Buffer => {
  const body = type(name).encode(type(name).fromObject(message)).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
};

const trailersOf = (code: number, message: string): Record<string, string> => ({
  "grpc-status": String(code),
  "grpc-message": encodeURIComponent(message),
});

function finish(
  stream: ServerHttp2Stream,
  payload: readonly Buffer[],
  code: number,
  message = "",
): void {
  stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailersOf(code, message)));
  // In odd pieces, so that messages and prefixes are cut anywhere.
  const all = Buffer.concat(payload);
  for (let at = 0; at < all.length; at += 50_021) stream.write(all.subarray(at, at + 50_021));
  stream.end();
}

function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body: Buffer): void {
  const method = headers[":path"]?.split("/")[2];
  const message = body.subarray(5);
  if (method === "Say") {
    const asked = type("Everything").toObject(type("Everything").decode(message));
    finish(stream, [frame("Everything", asked)], 0);
  } else if (method === "Count") {
    const {
      to = 0,
      size = 0,
      thenHang = false,
      thenFail = 0,
    } = type("CountRequest").toObject(type("CountRequest").decode(message));
    const replies = Array.from({ length: to }, (_, i) =>
      frame("CountReply", { n: i + 1, padding: new Uint8Array(size) }),
    );
    if (!thenHang) finish(stream, replies, thenFail);
    else {
      stream.respond({ "content-type": "application/grpc" });
      stream.write(Buffer.concat(replies));
    }
  } else if (method === "Fail") {
    const asked = type("FailRequest").toObject(type("FailRequest").decode(message));
    const { code = 0, inHead = false, httpStatus = 0 } = asked;
    const why = trailersOf(code, asked["message"] ?? "");
    if (httpStatus !== 0) stream.respond({ ":status": httpStatus }, { endStream: true });
    else if (inHead)
      stream.respond({ "content-type": "application/grpc", ...why }, { endStream: true });
    else finish(stream, [], code, asked["message"]);
  } else if (method !== "Hang") finish(stream, [], 12, "unknown method");
}

async function world(at: Address): Promise<RpcWorld> {
  const server = createServer();
  const sockets = new Set<Socket>();
  const streams = new Set<ServerHttp2Stream>();
  const deadlines: string[] = [];
  let whenIdle: () => void = () => {};
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("stream", (stream, headers) => {
    streams.add(stream);
    if (headers["grpc-timeout"] !== undefined) deadlines.push(String(headers["grpc-timeout"]));
    stream.on("error", () => {});
    stream.on("close", () => {
      streams.delete(stream);
      if (streams.size === 0) whenIdle();
    });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      if (!stream.destroyed) serve(stream, headers, Buffer.concat(chunks));
    });
  });
  await new Promise<void>((resolve) => {
    if ("unix" in at) server.listen(at.unix, resolve);
    else server.listen(at.port, at.host, resolve);
  });
  const bound = server.address();
  const isTcp = bound !== null && typeof bound === "object";
  return {
    dialer: systemRpc,
    address: isTcp ? { host: "127.0.0.1", port: bound.port } : at,
    breakConnections: () => {
      for (const socket of sockets) socket.destroy();
    },
    running: () => streams.size,
    idle: () =>
      new Promise((resolve) => {
        whenIdle = resolve;
        if (streams.size === 0) resolve();
      }),
    deadlines: () => deadlines,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

const folder = mkdtempSync(join(tmpdir(), "wherry-rpc-"));
rpcContract("systemRpc unix", async () => {
  const made = await world({ unix: join(folder, "rpc.sock") });
  return {
    ...made,
    close: async () => {
      await made.close();
      rmSync(folder, { recursive: true });
    },
  };
});
rpcContract("systemRpc tcp", () => world({ host: "127.0.0.1", port: 0 }));

test("a message beyond the limit, a compressed one and a cut one are refused", async () => {
  const answers = new Map<string, Buffer>([
    ["large", Buffer.from([0, 0x7f, 0xff, 0xff, 0xff])],
    ["compressed", Buffer.from([1, 0, 0, 0, 0])],
    ["cut", Buffer.from([0, 0, 0, 0, 9, 1])],
    ["garbled", Buffer.from([0, 0, 0, 0, 1, 0xff])],
  ]);
  let next = "large";
  const server = createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(trailersOf(0, "")));
    stream.end(answers.get(next));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  const rpc = systemRpc.dial({ host: "127.0.0.1", port: address.port }, testProto);
  const codes: unknown[] = [];
  for (const kind of answers.keys()) {
    next = kind;
    const error: unknown = await rpc
      .call("test.v1.Echo/Say", {})
      .catch((failure: unknown) => failure);
    codes.push(error instanceof Error ? Reflect.get(error, "code") : error);
  }
  expect(codes).toEqual([8, 12, 13, 13]);
  rpc.close();
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
});
