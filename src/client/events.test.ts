import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { EventCorrelator } from "./events.ts";

const occurrence = (message: string, atMs: number, name = "web.1") => ({
  reference: { kind: "Pod", namespace: "default", name: "web", uid: "u", apiVersion: "v1" },
  type: "Normal" as const,
  reason: "Pulled",
  message,
  atMs,
  name,
});

test("the same again counts up under the first name and time", () => {
  const correlator = new EventCorrelator(new SteppedClock({ startMs: 0 }));
  correlator.correlate(occurrence("m", 1000, "web.1"));
  const second = correlator.correlate(occurrence("m", 5000, "web.2"));
  expect(second).toMatchObject({ count: 2, firstMs: 1000, name: "web.1", message: "m" });
});

test("ten like events become a combined one, which then counts", () => {
  const correlator = new EventCorrelator(new SteppedClock({ startMs: 0 }));
  const results = Array.from({ length: 12 }, (_, at) =>
    correlator.correlate(occurrence(`message ${at}`, at, `web.${at}`)),
  );
  expect(results[8]).toMatchObject({ count: 1, message: "message 8" });
  expect(results[9]).toMatchObject({
    count: 1,
    message: "(combined from similar events): message 9",
  });
  expect(results[11]).toMatchObject({ count: 3, name: "web.9" });
});

test("beyond 25 about one object they are dropped until tokens are back", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const correlator = new EventCorrelator(clock);
  for (let at = 0; at < 25; at += 1)
    expect(correlator.correlate(occurrence("m", at))).toBeDefined();
  expect(correlator.correlate(occurrence("m", 26))).toBeUndefined();
  await clock.advance(300_000);
  expect(correlator.correlate(occurrence("m", 27))).toBeDefined();
});
