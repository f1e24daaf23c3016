import type { Deflate, Inflate } from "node:zlib";
import { constants, createDeflate, createInflate } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { joinBytes, pipePair } from "../byte-pipe.ts";
import type { SpdyStream } from "./connection.ts";
import { SpdyConnection } from "./connection.ts";
import { headerDictionary } from "./dictionary.ts";
import { FrameDecoder, FrameEncoder } from "./frames.ts";
import { HeaderDeflater, HeaderInflater } from "./inflate.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (value: string) => new TextEncoder().encode(value);

/** Node's zlib, one sync-flushed block at a time, as the oracle. */
function flushed(stream: Deflate | Inflate, block: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    const collect = (part: Uint8Array) => parts.push(part);
    stream.on("data", collect);
    stream.once("error", reject);
    stream.write(block);
    stream.flush(constants.Z_SYNC_FLUSH, () => {
      stream.off("data", collect);
      resolve(joinBytes(parts));
    });
  });
}

test("inflates what zlib deflated, block after block", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 3000 }), fc.string({ maxLength: 3000 })), {
        maxLength: 6,
      }),
      fc.integer({ min: 0, max: 9 }),
      async (blocks, level) => {
        const deflate = createDeflate({ dictionary: headerDictionary, level });
        const inflater = new HeaderInflater();
        for (const block of blocks) {
          const plain = typeof block === "string" ? bytesOf(block.repeat(3)) : block;
          const packed = await flushed(deflate, plain);
          expect(inflater.inflate(packed, 100_000)).toEqual(new Uint8Array(plain));
        }
        deflate.close();
      },
    ),
    { numRuns: 60 },
  );
});

test("zlib inflates what is deflated here", async () => {
  const inflate = createInflate({ dictionary: headerDictionary });
  const deflater = new HeaderDeflater();
  for (const block of ["", "streamType error", "x".repeat(60_000)]) {
    expect(text(await flushed(inflate, deflater.deflate(bytesOf(block))))).toBe(block);
  }
  inflate.close();
});

test("refuses a header block that unpacks to more than is allowed, and damaged ones", async () => {
  const packed = await flushed(
    createDeflate({ dictionary: headerDictionary }),
    new Uint8Array(1_000_000),
  );
  expect(() => new HeaderInflater().inflate(packed, 65_536)).toThrow("too large");
  expect(() => new HeaderInflater().inflate(packed.subarray(0, 20), 65_536)).toThrow("cut short");
  expect(() => new HeaderInflater().inflate(bytesOf("nonsense"), 65_536)).toThrow("zlib header");
});

test("frames survive any cutting of the bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 80 }), (cuts) => {
      const encoder = new FrameEncoder();
      const decoder = new FrameDecoder();
      const wire = joinBytes([
        encoder.encode({
          type: "synStream",
          streamId: 1,
          headers: { streamType: "stdin", port: "80" },
          fin: false,
          unidirectional: false,
        }),
        encoder.encode({ type: "data", streamId: 1, bytes: bytesOf("hello"), fin: true }),
        encoder.encode({ type: "synReply", streamId: 1, headers: { a: "b" }, fin: true }),
        encoder.encode({ type: "ping", id: 7 }),
        encoder.encode({ type: "reset", streamId: 3, status: 5 }),
        encoder.encode({ type: "goAway", lastStreamId: 3, status: 0 }),
      ]);
      const frames = [];
      let at = 0;
      for (const cut of [...cuts, wire.length]) {
        frames.push(...decoder.push(wire.subarray(at, at + cut)));
        at += cut;
      }
      const data = frames.filter((frame) => frame.type === "data");
      expect(text(joinBytes(data.map((frame) => frame.bytes)))).toBe("hello");
      expect(data.map((frame) => frame.fin)).toEqual(data.map((_, i) => i === data.length - 1));
      expect(frames.filter((frame) => frame.type !== "data")).toEqual([
        {
          type: "synStream",
          streamId: 1,
          headers: { streamtype: "stdin", port: "80" },
          fin: false,
          unidirectional: false,
        },
        { type: "synReply", streamId: 1, headers: { a: "b" }, fin: true },
        { type: "ping", id: 7 },
        { type: "reset", streamId: 3, status: 5 },
        { type: "goAway", lastStreamId: 3, status: 0 },
      ]);
    }),
  );
});

const pipe = () => pipePair(64 * 1024);

async function readAll(stream: SpdyStream): Promise<string> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const bytes = await stream.read();
    if (bytes === undefined) return text(joinBytes(parts));
    parts.push(bytes);
  }
}
const refuseAll = () => "nothing is opened this way";

test("streams carry bytes both ways, half-close, and the connection ends", async () => {
  const [near, far] = pipe();
  const server = new SpdyConnection(far, "server", (stream) => () => {
    void (async () => {
      const got = await readAll(stream);
      await stream.write(bytesOf(`${stream.headers["streamtype"]}: ${got}`));
      stream.end();
    })();
  });
  const client = new SpdyConnection(near, "client", refuseAll);
  const streams = await Promise.all(
    ["one", "two", "three"].map((name) => client.open({ streamType: name })),
  );
  const answers = streams.map(async (stream, i) => {
    await stream.write(bytesOf("x".repeat(i * 100_000)));
    stream.end();
    return readAll(stream);
  });
  const [one, two, three] = await Promise.all(answers);
  expect(one).toBe("one: ");
  expect(two?.length).toBe("two: ".length + 100_000);
  expect(three?.length).toBe("three: ".length + 200_000);
  client.close();
  await server.closed;
  await expect(client.open({})).rejects.toThrow("closed");
});

test("a refused stream rejects, a reset one ends, a broken transport rejects reads", async () => {
  const [near, far] = pipe();
  const opened: SpdyStream[] = [];
  const server = new SpdyConnection(far, "server", (stream) =>
    stream.headers["refuse"] === "yes" ? "no" : () => opened.push(stream),
  );
  const client = new SpdyConnection(near, "client", refuseAll);
  await expect(client.open({ refuse: "yes" })).rejects.toThrow("reset the stream");
  const stream = await client.open({});
  opened[0]?.reset(5);
  expect(await stream.read()).toBeUndefined();
  const other = await client.open({});
  const read = other.read();
  client.abort(new Error("cable cut"));
  await expect(read).rejects.toThrow("cable cut");
  await server.closed;
});

test("a stream that nobody reads stops the connection at its bound", async () => {
  const [near, far] = pipe();
  const opened: SpdyStream[] = [];
  const server = new SpdyConnection(far, "server", (stream) => () => opened.push(stream));
  const client = new SpdyConnection(near, "client", refuseAll);
  const stream = await client.open({});
  let written = 0;
  const writing = (async () => {
    for (let i = 0; i < 40; i++) {
      await stream.write(new Uint8Array(64 * 1024));
      written += 64;
    }
    stream.end();
  })();
  for (let i = 0; i < 1000; i++) await Promise.resolve();
  expect(written).toBeLessThanOrEqual(6 * 64);
  const [reader] = opened;
  let got = 0;
  for (;;) {
    const bytes = await reader?.read();
    if (bytes === undefined) break;
    got += bytes.length;
  }
  await writing;
  expect(got).toBe(40 * 64 * 1024);
  client.close();
  await server.closed;
});
