/** A lock file beside a file that several programs change: made exclusively, held for a moment. */
import { closeSync, openSync, rmSync, statSync } from "node:fs";

const retryMs = 20;

export interface LockOptions {
  /** How long to wait for whoever holds it. */
  readonly waitMs: number;
  /** One that is older belongs to a program that died, and is taken over. */
  readonly ageMsMax: number;
  /** What to say when it is not to be had. */
  readonly refusal: string;
}

export function withFileLock<T>(lock: string, options: LockOptions, work: () => T): T {
  for (let waitedMs = 0; !take(lock, options.ageMsMax); waitedMs += retryMs) {
    if (waitedMs >= options.waitMs) throw new Error(options.refusal);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function take(lock: string, ageMsMax: number): boolean {
  try {
    closeSync(openSync(lock, "wx", 0o600));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const facts = statSync(lock, { throwIfNoEntry: false });
    return facts !== undefined && Date.now() - facts.mtimeMs > ageMsMax;
  }
}
