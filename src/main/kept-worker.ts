/**
 * A worker thread that is kept running: when it dies (an uncaught error, its heap is full, it exits) it is started again, after a pause
 * that grows. Messages go both ways; what they say is the business of whoever made it.
 */
import { type ResourceLimits, Worker } from "node:worker_threads";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";

export interface KeptWorkerOptions {
  /** For people: "the node's thread". */
  readonly name: string;
  readonly program: URL;
  readonly resourceLimits: ResourceLimits;
  readonly clock: Clock;
}

/** Whoever talks to it. */
export interface Companion<In, Out> {
  readonly log: Log;
  /** A life has begun (or is met): what is sent now is the first thing that the thread hears. */
  readonly begun: (send: (message: In) => void) => void;
  /** `send` answers the life that spoke. */
  readonly receive: (message: Out, send: (message: In) => void) => void;
}

const pauseMsMin = 1000;
const pauseMsMax = 30_000;
/** A life that lasted so long forgives the deaths before it. */
const forgivingMs = 60_000;

/** The last thing that a thread says, when all is done that it was asked for at the end. */
export const threadOver = "over";

interface Life<In> {
  readonly worker: Worker;
  readonly send: (message: In) => void;
  /** Undefined: it ended in peace. */
  readonly ended: Promise<Error | undefined>;
}

/** How long a thread that has said its last word may take to go. */
const goingMsMax = 2000;
let lingering = false;

/**
 * Ends this process. A thread whose libuv loop never empties spins in Node's clean-up for ever (its request or handle count stays above
 * zero), and an ordinary exit waits for it: then the process ends by the signal for it, which service managers take for a clean end.
 */
export function endProcess(code: number): void {
  if (!lingering) process.exit(code);
  process.removeAllListeners("SIGTERM");
  process.kill(process.pid, "SIGTERM");
}

export class KeptWorker<In, Out> {
  /** Rejects if it ends before keep(): an end then is a failure to start, and is not tried again. */
  readonly failed: Promise<never>;
  readonly #options: KeptWorkerOptions;
  #companion: Companion<In, Out> | undefined;
  #fail: (why: Error) => void = () => {};
  #life: Life<In> | undefined;
  #isKept = false;
  #pauseMs = pauseMsMin;
  #cancelPause: () => void = () => {};
  #finishing: Promise<void> | undefined;

  /** Starts it: it loads its program, and says nothing before it is spoken to. */
  constructor(options: KeptWorkerOptions) {
    this.#options = options;
    this.failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    // Whoever waits for the start hears of it; before and after nobody needs to.
    this.failed.catch(() => undefined);
    this.#life = this.#begin();
  }

  /** Once: with it the talk begins. */
  attach(companion: Companion<In, Out>): void {
    this.#companion = companion;
    if (this.#life !== undefined) companion.begun(this.#life.send);
  }

  /** It has started well: from now on it is started again when it dies. */
  keep(): void {
    this.#isKept = true;
  }

  /** Not heard while it is dead; the next life hears what `begun` sends. */
  send(message: In): void {
    this.#life?.send(message);
  }

  /**
   * Asks it to end with `last`, waits until it has, and cuts it off after `msMax`. `evenIfDead`: what `last` asks for must be
   * done, so that a thread that is dead just now lives once more for it. Rejects if it did not end in peace. Idempotent.
   */
  finish(last: In, msMax: number, evenIfDead: boolean): Promise<void> {
    this.#finishing ??= this.#finish(last, msMax, evenIfDead);
    return this.#finishing;
  }

  async #finish(last: In, msMax: number, evenIfDead: boolean): Promise<void> {
    const { clock, name } = this.#options;
    this.#cancelPause();
    if (this.#life === undefined && !evenIfDead) return;
    const life = this.#life ?? this.#begin();
    life.send(last);
    let cancel: () => void = () => {};
    const late = new Promise<Error>((resolve) => {
      cancel = clock.after(msMax, () =>
        resolve(new Error(`${name} did not stop within ${msMax / 1000} s and was cut off`)),
      );
    });
    const failure = await Promise.race([life.ended, late]);
    cancel();
    await this.#terminate(life.worker);
    if (failure !== undefined) throw failure;
  }

  async #terminate(worker: Worker): Promise<void> {
    let cancel: () => void = () => {};
    const late = new Promise<"late">((resolve) => {
      cancel = this.#options.clock.after(goingMsMax, () => resolve("late"));
    });
    if ((await Promise.race([worker.terminate(), late])) === "late") lingering = true;
    cancel();
  }

  #begin(): Life<In> {
    const { name, program, resourceLimits, clock } = this.#options;
    const worker = new Worker(program, { resourceLimits, name });
    const beganMs = clock.monotonicMs();
    const send = (message: In): void => worker.postMessage(message, []);
    const ended = new Promise<Error | undefined>((resolve) => {
      worker.on("message", (message: Out | typeof threadOver) => {
        if (message === threadOver) resolve(undefined);
        else this.#companion?.receive(message, send);
      });
      let failure: Error | undefined;
      worker.once("error", (error: unknown) => {
        failure = error instanceof Error ? error : new Error(String(error));
      });
      worker.once("exit", (code) => {
        resolve(failure ?? (code === 0 ? undefined : new Error(`it ended with code ${code}`)));
        this.#over(beganMs, failure ?? new Error(`${name} ended with code ${code}`));
      });
    });
    this.#companion?.begun(send);
    return { worker, send, ended };
  }

  #over(beganMs: number, why: Error): void {
    const { clock, name } = this.#options;
    this.#life = undefined;
    if (this.#finishing !== undefined) {
      this.#fail(new Error(`${name} was stopped while it was starting`));
      return;
    }
    if (!this.#isKept) {
      this.#fail(why);
      return;
    }
    if (clock.monotonicMs() - beganMs > forgivingMs) this.#pauseMs = pauseMsMin;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMsMax, pauseMs * 2);
    this.#companion?.log.write("error", `${name} died; it is started again`, {
      pauseMs,
      error: why.stack ?? why.message,
    });
    this.#cancelPause = clock.after(pauseMs, () => {
      this.#life = this.#begin();
    });
  }
}
