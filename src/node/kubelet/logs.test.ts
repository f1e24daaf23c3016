import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { MemoryHost } from "#adapters/memory/host.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { type LogOptions, lastOutput, readLogs } from "./logs.ts";

const path = "/var/log/pods/p/a/0.log";
const plain: LogOptions = { follow: false, timestamps: false, stream: "All" };

async function world() {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 10, 22) });
  const host = new MemoryHost({
    clock,
    random: seededRandom(1),
    hostname: "n1",
    addresses: ["192.0.2.1"],
    cpus: 2,
    memoryBytes: 2 ** 30,
    diskBytes: 2 ** 34,
  });
  await host.makeDirectory("/var/log/pods/p/a", 0o755);
  const append = host.openAppend(path, 0o640);
  let over = true;
  const ends = new Set<() => void>();
  return {
    host,
    clock,
    file: {
      path,
      ended: () => over,
      whenEnded: (run: () => void) => {
        ends.add(run);
        return () => ends.delete(run);
      },
    },
    write: (more: string) => append(new TextEncoder().encode(more)),
    rotate: async () => {
      await host.rename(path, `${path}.1`);
      return host.openAppend(path, 0o640);
    },
    running: () => {
      over = false;
    },
    end: () => {
      over = true;
      for (const run of ends) run();
    },
  };
}
const line = (second: number, stream: string, text: string, tag = "F"): string =>
  `2026-11-22T00:00:0${second}.5Z ${stream} ${tag} ${text}\n`;

async function all(source: Source<Bytes>): Promise<string> {
  let text = "";
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) return text;
    for (const bytes of batch) text += new TextDecoder().decode(bytes);
  }
}
const three = line(1, "stdout", "one") + line(2, "stderr", "two") + line(3, "stdout", "three");

test("lines, with and without their times, of one stream or all", async () => {
  const { host, file, write } = await world();
  write(three);
  expect(await all(readLogs(host, file, plain))).toBe("one\ntwo\nthree\n");
  expect(await all(readLogs(host, file, { ...plain, timestamps: true, stream: "Stderr" }))).toBe(
    "2026-11-22T00:00:02.5Z two\n",
  );
});

test("the last ones, those since, and no more than so many bytes", async () => {
  const { host, file, write } = await world();
  write(three);
  expect(await all(readLogs(host, file, { ...plain, tailLines: 2 }))).toBe("two\nthree\n");
  expect(await all(readLogs(host, file, { ...plain, tailLines: 0 }))).toBe("");
  expect(await all(readLogs(host, file, { ...plain, tailLines: 9 }))).toBe("one\ntwo\nthree\n");
  const sinceMs = Date.UTC(2026, 10, 22, 0, 0, 2);
  expect(await all(readLogs(host, file, { ...plain, sinceMs }))).toBe("two\nthree\n");
  expect(await all(readLogs(host, file, { ...plain, limitBytes: 6 }))).toBe("one\ntw");
});

test("pieces of one line come out as one", async () => {
  const { host, file, write } = await world();
  write(line(1, "stdout", "half ", "P") + line(1, "stdout", "whole"));
  expect(await all(readLogs(host, file, { ...plain, timestamps: true }))).toBe(
    "2026-11-22T00:00:01.5Z half whole\n",
  );
});

test("following shows what is written until the container ends", async () => {
  const { host, file, write, running, end, clock } = await world();
  running();
  write(line(1, "stdout", "one"));
  const text = all(readLogs(host, file, { ...plain, follow: true }));
  await clock.advance(10);
  write(line(2, "stdout", "two"));
  await clock.advance(10);
  end();
  await clock.advance(10);
  expect(await text).toBe("one\ntwo\n");
});

test("following goes on in the new file after a rotation", async () => {
  const { host, file, write, rotate, running, end, clock } = await world();
  running();
  write(line(1, "stdout", "one"));
  const text = all(readLogs(host, file, { ...plain, follow: true }));
  await clock.advance(10);
  const append = await rotate();
  append(new TextEncoder().encode(line(2, "stdout", "two")));
  await clock.advance(10);
  end();
  await clock.advance(10);
  expect(await text).toBe("one\ntwo\n");
});

test("the end of a failed container's output is its message", async () => {
  const { host, write } = await world();
  write(three);
  expect(await lastOutput(host, path, 2, 1000)).toBe("two\nthree\n");
  expect(await lastOutput(host, path, 2, 6)).toBe("three\n");
});
