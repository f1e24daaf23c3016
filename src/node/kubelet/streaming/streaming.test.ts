import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { BytePipe, joinBytes, pipePair } from "#machinery/byte-pipe.ts";
import { sha1 } from "#machinery/sha1.ts";
import { SpdyConnection } from "#machinery/spdy/connection.ts";
import { acceptKey } from "#machinery/websocket.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { HttpRequest } from "#ports/network.ts";
import type { Session, StreamOptions } from "#ports/runtime.ts";
import type { Bytes, Duplex } from "#ports/stream.ts";
import { servePortForward } from "./port-forward.ts";
import { readStreamOptions, SizeReader, serveRemoteCommand } from "./remote-command.ts";

const bytesOf = (text: string): Bytes => new TextEncoder().encode(text);
const textOf = (bytes: Bytes): string => new TextDecoder().decode(bytes);

const log: Log = { write: () => undefined, child: () => log };
const timers: (() => void)[] = [];
const clock: Clock = {
  now: () => 0,
  monotonicMs: () => 0,
  after: (_ms, run) => {
    timers.push(run);
    return () => {
      const at = timers.indexOf(run);
      if (at >= 0) timers.splice(at, 1);
    };
  },
  offsetMs: () => undefined,
};
const context = { clock, log };

function request(target: string, headers: Record<string, string>): HttpRequest {
  return { method: "POST", target, headers, gone: new AbortController().signal };
}
const spdyHeaders = (protocols: string) => ({
  connection: "Upgrade",
  upgrade: "SPDY/3.1",
  "x-stream-protocol-version": protocols,
});
const webSocketHeaders = (protocols: string) => ({
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol": protocols,
});

/** A session that sends its standard input back, tells its sizes, and ends with the last one's rows. */
function echoSession(options: StreamOptions) {
  const out = new BytePipe(1 << 20);
  const sizes: string[] = [];
  let finish: (code: number) => void = () => undefined;
  let aborted = false;
  const exit = new Promise<number>((resolve) => {
    finish = resolve;
  });
  const session: Session = {
    stdin: options.stdin
      ? {
          write: async (bytes) => {
            await out.push(bytes);
          },
          end: () => {
            out.end();
            finish(sizes.length);
          },
        }
      : undefined,
    stdout: {
      next: async () => {
        const bytes = await out.read();
        return bytes === undefined ? undefined : [bytes];
      },
      stop: () => undefined,
    },
    stderr: undefined,
    resize: (columns, rows) => sizes.push(`${columns}x${rows}`),
    exit,
    abort: () => {
      aborted = true;
      out.end();
      finish(137);
    },
  };
  return { session, sizes, wasAborted: () => aborted, finish };
}

const all = { stdin: true, stdout: true, stderr: false, tty: false };

function upgrade(response: ReturnType<typeof serveRemoteCommand>): Duplex {
  expect(response.status).toBe(101);
  const [near, far] = pipePair(1 << 16);
  response.upgrade?.(far);
  return near;
}
const refuseAll = () => "the kubelet opens nothing";

async function readAll(from: { read(): Promise<Bytes | undefined> }): Promise<string> {
  const parts: Bytes[] = [];
  for (;;) {
    const bytes = await from.read();
    if (bytes === undefined) return textOf(joinBytes(parts));
    parts.push(bytes);
  }
}

test("sha1 and the accept key are what everyone computes", () => {
  expect(acceptKey("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const expected = createHash("sha1").update(bytes).digest();
      expect(sha1(bytes)).toEqual(new Uint8Array(expected));
    }),
  );
});

test("exec over SPDY: input, output, end of input, exit code as JSON", async () => {
  const echo = echoSession(all);
  const response = serveRemoteCommand(
    request("/exec/ns/pod/main?command=cat&input=1&output=1", spdyHeaders("v4.channel.k8s.io")),
    { kind: "exec", command: ["cat"], options: all, open: async () => echo.session },
    context,
  );
  expect(response.headers["x-stream-protocol-version"]).toBe("v4.channel.k8s.io");
  const client = new SpdyConnection(upgrade(response), "client", refuseAll);
  const error = await client.open({ streamType: "error" });
  const stdin = await client.open({ streamType: "stdin" });
  const stdout = await client.open({ streamType: "stdout" });
  const output = readAll(stdout);
  await stdin.write(bytesOf("x".repeat(500_000)));
  echo.session.resize(1, 1);
  stdin.end();
  expect((await output).length).toBe(500_000);
  expect(JSON.parse(await readAll(error))).toMatchObject({
    status: "Failure",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "1" }] },
  });
  await client.closed;
});

test("a session that cannot start is told in the status; v1 clients get the bare text", async () => {
  const open = () => Promise.reject(new Error("container is not running"));
  for (const protocol of ["v4.channel.k8s.io", "channel.k8s.io"]) {
    const response = serveRemoteCommand(
      request("/exec/x", spdyHeaders(protocol)),
      { kind: "exec", command: ["true"], options: { ...all, stdin: false }, open },
      context,
    );
    const client = new SpdyConnection(upgrade(response), "client", refuseAll);
    const error = await client.open({ streamType: "error" });
    await client.open({ streamType: "stdout" });
    const text = await readAll(error);
    expect(text).toContain("error executing command in container: container is not running");
    expect(text.startsWith("{")).toBe(protocol.startsWith("v4"));
    await client.closed;
  }
});

test("a client that opens no streams is let go, one that goes away ends the session", async () => {
  const echo = echoSession(all);
  const remote = {
    kind: "exec" as const,
    command: ["cat"],
    options: all,
    open: async () => echo.session,
  };
  const idle = serveRemoteCommand(request("/x", spdyHeaders("v4.channel.k8s.io")), remote, context);
  const quiet = new SpdyConnection(upgrade(idle), "client", refuseAll);
  timers.splice(0).forEach((run) => run());
  await quiet.closed;

  const again = serveRemoteCommand(
    request("/x", spdyHeaders("v4.channel.k8s.io")),
    remote,
    context,
  );
  const client = new SpdyConnection(upgrade(again), "client", refuseAll);
  for (const streamType of ["error", "stdin", "stdout"]) await client.open({ streamType });
  client.abort(new Error("gone"));
  await echo.session.exit;
  expect(echo.wasAborted()).toBe(true);
});

/** A client's masked frame; long ones in two pieces. */
function masked(opcode: number, payload: Bytes): Bytes {
  const half = payload.length > 10 ? 10 : payload.length;
  const frame = (op: number, fin: boolean, data: Bytes) => {
    const mask = [1, 2, 3, 4];
    const head =
      data.length > 65_535
        ? [127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((by) => (data.length >>> by) & 255)]
        : data.length > 125
          ? [126, data.length >> 8, data.length & 255]
          : [data.length];
    head[0] = (head[0] ?? 0) | 0x80;
    const body = data.map((byte, i) => byte ^ (mask[i % 4] ?? 0));
    return joinBytes([Uint8Array.from([(fin ? 0x80 : 0) | op, ...head, ...mask]), body]);
  };
  if (half === payload.length) return frame(opcode, true, payload);
  return joinBytes([
    frame(opcode, false, payload.subarray(0, half)),
    frame(0, true, payload.subarray(half)),
  ]);
}

/** The server's frames, as [opcode, payload]. */
async function serverFrames(raw: Duplex): Promise<[number, Bytes][]> {
  const parts: Bytes[] = [];
  for (;;) {
    const bytes = await raw.read();
    if (bytes === undefined) break;
    parts.push(bytes);
  }
  const bytes = joinBytes(parts);
  const frames: [number, Bytes][] = [];
  for (let at = 0; at < bytes.length; ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const short = (bytes[at + 1] ?? 0) & 127;
    const [head, length] =
      short === 126
        ? [4, view.getUint16(at + 2)]
        : short === 127
          ? [10, view.getUint32(at + 6)]
          : [2, short];
    frames.push([(bytes[at] ?? 0) & 15, bytes.slice(at + head, at + head + length)]);
    at += head + length;
  }
  return frames;
}

test("exec over websocket v5: channels, sizes, half-close, ping, status", async () => {
  const options = { stdin: true, stdout: true, stderr: false, tty: true };
  const echo = echoSession(options);
  const response = serveRemoteCommand(
    request("/x", webSocketHeaders("v5.channel.k8s.io")),
    { kind: "exec", command: ["cat"], options, open: async () => echo.session },
    context,
  );
  expect(response.headers["sec-websocket-protocol"]).toBe("v5.channel.k8s.io");
  const raw = upgrade(response);
  const frames = serverFrames(raw);
  const size = bytesOf('{"Width":120,"Height":40}');
  await raw.write(masked(9, bytesOf("ping")));
  await raw.write(masked(2, joinBytes([Uint8Array.of(4), size])));
  await raw.write(masked(2, joinBytes([Uint8Array.of(0), bytesOf("y".repeat(70_000))])));
  await raw.write(masked(2, Uint8Array.of(255, 0)));
  const got = await frames;
  const channel = (number: number) =>
    textOf(
      joinBytes(got.filter(([op, p]) => op === 2 && p[0] === number).map(([, p]) => p.slice(1))),
    );
  expect(got[0]).toEqual([2, Uint8Array.of(1)]);
  expect(got.find(([op]) => op === 10)?.[1]).toEqual(bytesOf("ping"));
  expect(channel(1)).toBe("y".repeat(70_000));
  expect(echo.sizes).toEqual(["120x40"]);
  expect(JSON.parse(channel(3))).toMatchObject({ reason: "NonZeroExitCode" });
  expect(got.at(-1)).toEqual([8, Uint8Array.of(3, 232)]);
});

test("the base64 channels of websockets carry the same", async () => {
  const options = { ...all, stdin: false };
  const echo = echoSession(options);
  const response = serveRemoteCommand(
    request("/x", webSocketHeaders("v4.base64.channel.k8s.io")),
    { kind: "attach", command: [], options, open: async () => echo.session },
    context,
  );
  const raw = upgrade(response);
  const frames = serverFrames(raw);
  echo.session.abort();
  const got = (await frames).map(([op, payload]) => [op, textOf(payload)] as const);
  expect(got[0]).toEqual([1, "1"]);
  const status = got.find(([, text]) => text.startsWith("3"))?.[1].slice(1) ?? "";
  expect(JSON.parse(atob(status))).toEqual({ metadata: {}, status: "Success" });
});

test("unmasked frames and unknown protocols are refused as upstream does", async () => {
  const echo = echoSession(all);
  const remote = {
    kind: "exec" as const,
    command: [],
    options: all,
    open: async () => echo.session,
  };
  const raw = upgrade(
    serveRemoteCommand(request("/x", webSocketHeaders("v5.channel.k8s.io")), remote, context),
  );
  const frames = serverFrames(raw);
  await raw.write(Uint8Array.of(0x82, 1, 0));
  expect((await frames).some(([op, p]) => op === 8 && p[1] === 234)).toBe(true);

  const status = (headers: Record<string, string>) =>
    serveRemoteCommand(request("/x", headers), remote, context).status;
  expect(status(webSocketHeaders("v9.channel.k8s.io"))).toBe(403);
  expect(status(spdyHeaders("v9.channel.k8s.io"))).toBe(403);
  expect(status({ connection: "Upgrade", upgrade: "SPDY/3.1" })).toBe(400);
  expect(status({ "x-stream-protocol-version": "v4.channel.k8s.io" })).toBe(400);
});

test("options are read in the kubelet's and the API's words", () => {
  expect(readStreamOptions("/x?input=1&output=1&tty=1&error=1")).toEqual({
    stdin: true,
    stdout: true,
    stderr: false,
    tty: true,
  });
  expect(readStreamOptions("/x?stdin=true&stderr=true")).toMatchObject({
    stdin: true,
    stderr: true,
  });
  expect(readStreamOptions("/x")).toBe("you must specify at least 1 of stdin, stdout, stderr");
});

test("sizes may be cut anywhere", () => {
  const reader = new SizeReader();
  const text = bytesOf('{"Width":80,"Height":24}\n{"Width":100,"Height":30}');
  const sizes = [...text].flatMap((byte) => reader.push(Uint8Array.of(byte)));
  expect(sizes).toEqual([
    { columns: 80, rows: 24 },
    { columns: 100, rows: 30 },
  ]);
});

/** A pod whose port 80 sends back in capitals and whose port 81 refuses. */
const pod = {
  podName: "web",
  podUid: "u1",
  connect: async (port: number): Promise<Duplex> => {
    if (port !== 80) throw new Error("connection refused");
    const [near, far] = pipePair(1 << 16);
    void (async () => {
      for (;;) {
        const bytes = await far.read();
        if (bytes === undefined) break;
        await far.write(bytesOf(textOf(bytes).toUpperCase()));
      }
      far.end();
    })();
    return near;
  },
};

async function forwardSome(client: SpdyConnection): Promise<void> {
  const connection = async (id: string, port: string, text: string) => {
    const error = await client.open({ streamType: "error", port, requestID: id });
    error.end();
    const data = await client.open({ streamType: "data", port, requestID: id });
    const answer = readAll(data);
    await data.write(bytesOf(text)).catch(() => undefined);
    data.end();
    return [await answer, await readAll(error)];
  };
  const answers = await Promise.all([
    ...Array.from({ length: 20 }, (_, i) => connection(String(i), "80", `hello ${i}`)),
    connection("bad", "81", "x"),
  ]);
  expect(answers.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => [`HELLO ${i}`, ""]));
  expect(answers[20]?.[1]).toBe("error forwarding port 81 to pod web, uid u1: connection refused");
  await expect(client.open({ streamType: "data", port: "no" })).rejects.toThrow("reset");
}

test("port-forward over SPDY: parallel connections, refusals on the error stream", async () => {
  const response = servePortForward(
    request("/portForward/ns/web", spdyHeaders("portforward.k8s.io")),
    pod,
    context,
  );
  const client = new SpdyConnection(upgrade(response), "client", refuseAll);
  await forwardSome(client);
  client.close();
});

test("port-forward with SPDY tunnelled in a websocket", async () => {
  const response = servePortForward(
    request("/portForward/ns/web", webSocketHeaders("SPDY/3.1+portforward.k8s.io")),
    pod,
    context,
  );
  expect(response.headers["sec-websocket-protocol"]).toBe("SPDY/3.1+portforward.k8s.io");
  const raw = upgrade(response);
  const incoming = new BytePipe(1 << 20);
  void (async () => {
    let rest: Bytes = new Uint8Array(0);
    for (;;) {
      const bytes = await raw.read();
      if (bytes === undefined) break;
      rest = joinBytes([rest, bytes]);
      for (;;) {
        const length =
          (rest[1] ?? 0) === 126 ? 4 + (rest[2] ?? 0) * 256 + (rest[3] ?? 0) : 2 + (rest[1] ?? 0);
        if (rest.length < 2 || rest.length < length) break;
        void incoming.push(rest.slice((rest[1] ?? 0) === 126 ? 4 : 2, length));
        rest = rest.slice(length);
      }
    }
    incoming.end();
  })();
  const client = new SpdyConnection(
    {
      read: () => incoming.read(),
      write: (bytes) => raw.write(masked(2, bytes)),
      end: () => raw.end(),
      abort: (error) => raw.abort(error),
    },
    "client",
    refuseAll,
  );
  await forwardSome(client);
  client.close();
});

test("port-forward over websocket channels starts with the port on both channels", async () => {
  const response = servePortForward(
    request("/portForward/ns/web?port=80,81", webSocketHeaders("v4.channel.k8s.io")),
    pod,
    context,
  );
  const raw = upgrade(response);
  const frames = serverFrames(raw);
  await raw.write(masked(2, joinBytes([Uint8Array.of(0), bytesOf("abc")])));
  for (let i = 0; i < 50; i++) await Promise.resolve();
  await raw.write(masked(8, new Uint8Array(0)));
  const got = (await frames).filter(([op]) => op === 2).map(([, p]) => [p[0], p.slice(1)] as const);
  const of = (channel: number) => joinBytes(got.filter(([c]) => c === channel).map(([, p]) => p));
  expect(of(0)).toEqual(joinBytes([Uint8Array.of(80, 0), bytesOf("ABC")]));
  expect(of(2)).toEqual(Uint8Array.of(81, 0));
  expect(textOf(of(3)).slice(2)).toContain("connection refused");
  const bad = request("/portForward/ns/web", webSocketHeaders("v4.channel.k8s.io"));
  expect(servePortForward(bad, pod, context).status).toBe(400);
});
