import { expect, test } from "vitest";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { KeptWorker } from "./kept-worker.ts";

/** Does what it is told; says that it lives when it is greeted. */
const obedient = `
import { parentPort } from "node:worker_threads";
const hoard = [];
parentPort.on("message", (order) => {
  if (order === "hello") parentPort.postMessage("alive");
  if (order === "throw") throw new Error("thrown by the thread");
  if (order === "exit") process.exit(7);
  if (order === "hoard") for (;;) hoard.push(new Array(1000).fill({}));
  if (order === "end") process.exit(0);
  if (order === "over") parentPort.postMessage("over");
});`;

type Order = "hello" | "throw" | "exit" | "hoard" | "end" | "over" | "sleep";

/** A clock whose timers run when the test says so. */
class HandClock implements Clock {
  ms = 0;
  timers: { readonly ms: number; readonly run: () => void }[] = [];
  #armed: (() => void)[] = [];
  now(): number {
    return this.ms;
  }
  monotonicMs(): number {
    return this.ms;
  }
  after(ms: number, run: () => void): () => void {
    const timer = { ms, run };
    this.timers.push(timer);
    for (const wake of this.#armed.splice(0)) wake();
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }
  offsetMs(): undefined {
    return undefined;
  }
  /** Waits until there is a timer, turns the clock to it and runs it; how far that was. */
  async ring(): Promise<number> {
    while (this.timers.length === 0) {
      await new Promise<void>((resolve) => this.#armed.push(resolve));
    }
    const { ms, run } = this.timers.shift() as (typeof this.timers)[number];
    this.ms += ms;
    run();
    return ms;
  }
}

function kept(program = obedient) {
  const clock = new HandClock();
  const lines: string[] = [];
  const log: Log = {
    write: (_level, message, facts) => lines.push(`${message} ${JSON.stringify(facts)}`),
    child: () => log,
  };
  const worker = new KeptWorker<Order, string>({
    name: "the thread",
    program: new URL(`data:text/javascript,${encodeURIComponent(program)}`),
    resourceLimits: { maxOldGenerationSizeMb: 16 },
    clock,
  });
  const greetings: string[] = [];
  let wake: () => void = () => {};
  worker.attach({
    log,
    begun: (send) => send("hello"),
    receive: (message) => {
      greetings.push(message);
      wake();
    },
  });
  const lives = async (count: number): Promise<void> => {
    while (greetings.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { worker, clock, lines, lives, greeted: () => greetings.length };
}

for (const [order, why] of [
  ["throw", "Error: thrown by the thread"],
  ["exit", "the thread ended with code 7"],
  ["hoard", "reaching memory limit"],
] as const) {
  test(`a thread that dies is started again, with the reason in the log: ${order}`, async () => {
    const { worker, clock, lines, lives } = kept();
    await lives(1);
    worker.keep();
    worker.send(order);
    expect(await clock.ring()).toBe(1000);
    await lives(2);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("the thread died; it is started again");
    expect(lines[0]).toContain(why);
    await worker.finish("end", 1000, true);
  });
}

test("the pause grows to half a minute; a life of over a minute forgives", async () => {
  const { worker, clock, lives } = kept();
  const pauses: number[] = [];
  for (let life = 1; life <= 7; life++) {
    await lives(life);
    worker.keep();
    worker.send("exit");
    pauses.push(await clock.ring());
  }
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  await lives(8);
  clock.ms += 60_001;
  worker.send("exit");
  expect(await clock.ring()).toBe(1000);
  await lives(9);
  await worker.finish("end", 1000, true);
});

test("dying before it is kept is a failure to start", async () => {
  const { worker, clock, lines, lives } = kept();
  await lives(1);
  worker.send("throw");
  await expect(worker.failed).rejects.toThrow("thrown by the thread");
  expect(clock.timers).toEqual([]);
  expect(lines).toEqual([]);
  await worker.finish("end", 1000, false);
});

test("a program that cannot be loaded is a failure to start", async () => {
  const { worker } = kept('import "node:nothing-of-that-name";');
  await expect(worker.failed).rejects.toThrow("nothing-of-that-name");
});

test("what was asked for at the end is done by one more life, if it must be", async () => {
  const { worker, clock, lives, greeted } = kept();
  await lives(1);
  worker.keep();
  worker.send("exit");
  while (clock.timers.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await worker.finish("end", 1000, true);
  expect(greeted()).toBe(2);
  expect(clock.timers).toEqual([]);
});

test("a dead thread is left dead when nothing needs to be done", async () => {
  const { worker, clock, lives, greeted } = kept();
  await lives(1);
  worker.keep();
  worker.send("exit");
  while (clock.timers.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await worker.finish("end", 1000, false);
  expect(clock.timers).toEqual([]);
  expect(greeted()).toBe(1);
});

test("one that has said its last word is not waited for", async () => {
  const { worker, clock, lines, lives } = kept();
  await lives(1);
  worker.keep();
  await worker.finish("over", 5000, true);
  expect(clock.timers).toEqual([]);
  expect(lines).toEqual([]);
});

test("one that does not end is cut off, and that is said", async () => {
  const { worker, clock, lives } = kept();
  await lives(1);
  worker.keep();
  const finished = worker.finish("sleep", 5000, true);
  const rejected = expect(finished).rejects.toThrow("the thread did not stop within 5 s");
  await clock.ring();
  await rejected;
  expect(worker.finish("end", 1, true)).toBe(finished);
});

test("a stop while it starts ends the wait for the start", async () => {
  const { worker, lives } = kept();
  await lives(1);
  await worker.finish("end", 1000, true);
  await expect(worker.failed).rejects.toThrow("the thread was stopped while it was starting");
});
