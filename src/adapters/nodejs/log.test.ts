import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Clock } from "#ports/clock.ts";
import { type LogOptions, lineLog } from "./log.ts";

const clock: Clock = {
  now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  monotonicMs: () => 0,
  after: () => () => {},
  offsetMs: () => 0,
};

function logTo(options: Partial<LogOptions> = {}): {
  log: ReturnType<typeof lineLog>;
  text: () => string;
} {
  const parts: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      parts.push(chunk.toString());
      done();
    },
  });
  return {
    log: lineLog({ stream, clock, level: "info", format: "text", ...options }),
    text: () => parts.join(""),
  };
}

test("a line says when, how bad, who, what and the facts", () => {
  const { log, text } = logTo();
  log.write("info", "started");
  log
    .child("kubelet")
    .child("pleg")
    .write("warn", "pod is slow", {
      pod: "default/web-1",
      note: 'said "no"\nand left',
      ms: 12,
      skipped: undefined,
      list: ["a", 1n],
      error: new Error("outer", { cause: new TypeError("inner") }),
    });
  log.write("debug", "hidden");
  expect(text()).toBe(
    "2026-01-02T03:04:05.006Z info  - started\n" +
      '2026-01-02T03:04:05.006Z warn  kubelet/pleg pod is slow pod=default/web-1 note="said \\"no\\"\\nand left" ms=12 list=["a","1"] error="Error: outer: TypeError: inner"\n',
  );
});

test("one JSON object a line when asked for; facts never replace what each line has", () => {
  const { log, text } = logTo({ format: "json", level: "debug" });
  log.child("api").write("debug", "two\nlines", { level: "mine", code: 200 });
  expect(text().trimEnd().split("\n")).toHaveLength(1);
  expect(JSON.parse(text())).toEqual({
    time: "2026-01-02T03:04:05.006Z",
    level: "debug",
    component: "api",
    message: "two\nlines",
    level_: "mine",
    code: 200,
  });
});

test("nothing that is logged can make it throw", () => {
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  const thrower = {
    get bad(): string {
      throw new Error("no");
    },
  };
  const { log, text } = logTo();
  log.write("info", "odd", { circular, fn: () => 1, symbol: Symbol("s") });
  log.write("info", "getter", thrower);
  log.write("info", "nested", { thrower });
  expect(text().trimEnd().split("\n")).toHaveLength(3);
});

test("a stream that stands still costs lines, not memory, and says how many", () => {
  let release: (() => void) | undefined;
  const parts: string[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      parts.push(chunk.toString());
      release = done;
    },
  });
  const log = lineLog({ stream, clock, level: "info", format: "text" });
  for (let i = 0; i < 2_000; i++) log.write("info", "x".repeat(10_000));
  expect(stream.writableLength).toBeLessThan(5 * 1024 * 1024);
  while (stream.writableLength > 0) {
    const next = release;
    release = undefined;
    next?.();
  }
  log.write("info", "again");
  expect(parts.join("")).toMatch(/log lines were dropped.* lines=\d+\n/);
});

test("a broken stream is survived", () => {
  const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error("EPIPE")) });
  const log = lineLog({ stream, clock, level: "info", format: "text" });
  expect(() => {
    log.write("info", "a");
    log.write("info", "b");
  }).not.toThrow();
});
