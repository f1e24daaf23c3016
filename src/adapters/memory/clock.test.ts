import { expect, test, vi } from "vitest";
import { clockContract } from "#ports/clock.contract.ts";
import { SteppedClock } from "./clock.ts";

clockContract("SteppedClock", () => {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 0, 1) });
  return { clock, pass: (ms) => clock.advance(ms) };
});

const start = Date.UTC(2026, 0, 1);

test("time stands still unless it is advanced", async () => {
  const clock = new SteppedClock({ startMs: start });
  let ran = false;
  clock.after(1, () => {
    ran = true;
  });
  await clock.settle();
  expect([clock.now(), clock.monotonicMs(), ran, clock.waiting]).toEqual([start, 0, false, 1]);
  expect(clock.nextMs()).toBe(1);
  await clock.advance(500);
  expect([clock.now(), clock.monotonicMs(), ran, clock.waiting]).toEqual([
    start + 500,
    500,
    true,
    0,
  ]);
  expect(clock.nextMs()).toBeUndefined();
});

test("between two timers everything that promises set off settles, however long the chain", async () => {
  const clock = new SteppedClock({ startMs: start });
  const seen: string[] = [];
  clock.after(10, async () => {
    for (let i = 0; i < 10_000; i++) await Promise.resolve();
    seen.push(`chain at ${clock.monotonicMs()}`);
    clock.after(0, () => seen.push(`armed by it at ${clock.monotonicMs()}`));
  });
  clock.after(11, () => seen.push(`next at ${clock.monotonicMs()}`));
  await clock.advance(100);
  expect(seen).toEqual(["chain at 10", "armed by it at 10", "next at 11"]);
});

test("settle waits for chains of promises", async () => {
  const clock = new SteppedClock({ startMs: start });
  let steps = 0;
  const work = async (): Promise<void> => {
    for (; steps < 1_000; steps++) await Promise.resolve();
  };
  const done = work();
  await clock.settle();
  expect(steps).toBe(1_000);
  await done;
});

test("timers made by timers run within the same advance, at their own moment", async () => {
  const clock = new SteppedClock({ startMs: start });
  const at: number[] = [];
  const tick = (): void => {
    at.push(clock.monotonicMs());
    clock.after(30, tick);
  };
  clock.after(30, tick);
  await clock.advance(100);
  expect(at).toEqual([30, 60, 90]);
});

test("calls of advance queue up and add up", async () => {
  const clock = new SteppedClock({ startMs: start });
  await Promise.all([clock.advance(10), clock.advance(5)]);
  expect(clock.monotonicMs()).toBe(15);
});

test("what a timer throws reaches whoever advances; the clock goes on", async () => {
  const clock = new SteppedClock({ startMs: start });
  clock.after(1, () => {
    throw new Error("broken");
  });
  let ran = false;
  clock.after(2, () => {
    ran = true;
  });
  await expect(clock.advance(10)).rejects.toThrow("broken");
  await clock.advance(10);
  expect(ran).toBe(true);
});

test("many cancelled timers leave no trace, and order holds among many", async () => {
  const clock = new SteppedClock({ startMs: start });
  const ran: number[] = [];
  for (let i = 0; i < 2_000; i++) {
    const cancel = clock.after((i * 7919) % 1009, () => ran.push(i));
    if (i % 3 !== 0) cancel();
  }
  expect(clock.waiting).toBe(667);
  await clock.advance(2_000);
  const due = (i: number): number => (i * 7919) % 1009;
  const expected = Array.from({ length: 667 }, (_, i) => 3 * i).toSorted(
    (a, b) => due(a) - due(b) || a - b,
  );
  expect(ran).toEqual(expected);
});

test("the wall clock may jump; timers do not notice", async () => {
  const clock = new SteppedClock({ startMs: start });
  let ran = false;
  clock.after(10, () => {
    ran = true;
  });
  clock.jump(-3_600_000);
  expect(clock.now()).toBe(start - 3_600_000);
  expect(ran).toBe(false);
  await clock.advance(10);
  expect(ran).toBe(true);
});

test("where there is no setImmediate, as in browsers, everything settles all the same", async () => {
  vi.stubGlobal("setImmediate", undefined);
  try {
    const clock = new SteppedClock({ startMs: start });
    const seen: string[] = [];
    clock.after(10, async () => {
      for (let i = 0; i < 1_000; i++) await Promise.resolve();
      seen.push("chain");
    });
    clock.after(10, () => seen.push("next"));
    await clock.advance(10);
    expect(seen).toEqual(["chain", "next"]);
  } finally {
    vi.unstubAllGlobals();
  }
});
