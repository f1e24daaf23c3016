/** CPU time per second of what was counted twice: since whoever asked last, if that is not too short ago to tell. */

const intervalMsMin = 1000;
interface Reading {
  readonly atMs: number;
  readonly nanosTotal: number;
  readonly nanoCores: number | undefined;
}

export class CpuRates {
  /** By what was measured; of as many as there were the last time. */
  #readings = new Map<string, Reading>();
  #fresh = new Map<string, Reading>();

  /** Undefined: this is the first reading of it. */
  nanoCores(what: string, atMs: number, nanosTotal: number): number | undefined {
    const before = this.#readings.get(what);
    const passedMs = atMs - (before?.atMs ?? atMs);
    const isNew = before === undefined || nanosTotal < before.nanosTotal;
    const reading: Reading =
      isNew || passedMs >= intervalMsMin
        ? {
            atMs,
            nanosTotal,
            nanoCores: isNew
              ? undefined
              : Math.round(((nanosTotal - before.nanosTotal) * 1000) / passedMs),
          }
        : before;
    this.#fresh.set(what, reading);
    return reading.nanoCores;
  }

  /** Everything has been read: what was not is gone. */
  settle(): void {
    this.#readings = this.#fresh;
    this.#fresh = new Map();
  }
}
