import { expect, test } from "vitest";
import { systemClock } from "./clock.ts";
import { eventLoopDelay } from "./event-loop.ts";

const pass = (ms: number): Promise<void> => new Promise((done) => systemClock.after(ms, done));

test("a blocked loop shows in the gauge", async () => {
  const gauge = eventLoopDelay();
  await pass(30);
  const until = systemClock.monotonicMs() + 60;
  while (systemClock.monotonicMs() < until);
  await pass(30);
  const blocked = gauge.read();
  expect(blocked.maxMs).toBeGreaterThanOrEqual(40);
  expect(blocked.p50Ms).toBeLessThanOrEqual(blocked.p99Ms);
  expect(blocked.p99Ms).toBeLessThanOrEqual(blocked.maxMs + 1);
  gauge.stop();
});
