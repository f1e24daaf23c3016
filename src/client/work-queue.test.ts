import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { TokenBucket, WorkQueue } from "./work-queue.ts";

test("a key that is added while it is worked on comes again, once", async () => {
  const queue = new WorkQueue(new SteppedClock({ startMs: 0 }));
  queue.add("a");
  queue.add("a");
  expect(queue.length).toBe(1);
  expect(await queue.next()).toBe("a");
  queue.add("a");
  queue.add("a");
  expect(queue.length).toBe(0);
  queue.done("a");
  expect(queue.length).toBe(1);
  expect(await queue.next()).toBe("a");
  queue.done("a");
  expect(queue.idle).toBe(true);
});

test("a waiting worker gets the next key; stop sends it home", async () => {
  const queue = new WorkQueue(new SteppedClock({ startMs: 0 }));
  const first = queue.next();
  const second = queue.next();
  queue.add("a");
  expect(await first).toBe("a");
  queue.stop();
  expect(await second).toBeUndefined();
  expect(await queue.next()).toBeUndefined();
});

test("of several delays the earliest counts", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const queue = new WorkQueue(clock);
  queue.addAfter("a", 1000);
  queue.addAfter("a", 100);
  queue.addAfter("a", 5000);
  await clock.advance(99);
  expect(queue.length).toBe(0);
  await clock.advance(1);
  expect(queue.length).toBe(1);
});

test("failures back off from 5 ms, doubled, and success forgets them", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const queue = new WorkQueue(clock);
  const waits: number[] = [];
  for (let tries = 0; tries < 4; tries += 1) {
    const startMs = clock.monotonicMs();
    queue.addRateLimited("a");
    const next = queue.next();
    await clock.advance(10_000);
    expect(await next).toBe("a");
    queue.done("a");
    waits.push(queue.failures("a"));
    expect(clock.monotonicMs() - startMs).toBe(10_000);
  }
  expect(waits).toEqual([1, 2, 3, 4]);
  queue.addRateLimited("a");
  await clock.advance(79);
  expect(queue.length).toBe(0);
  await clock.advance(1);
  expect(queue.length).toBe(1);
  queue.forget("a");
  expect(queue.failures("a")).toBe(0);
});

test("a token bucket lends against the future", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const bucket = new TokenBucket(clock, 10, 2);
  expect([bucket.reserve(), bucket.reserve(), bucket.reserve(), bucket.reserve()]).toEqual([
    0, 0, 100, 200,
  ]);
  await clock.advance(1000);
  expect(bucket.full()).toBe(true);
  expect([bucket.take(), bucket.take(), bucket.take()]).toEqual([true, true, false]);
});
