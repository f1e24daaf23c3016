/** What every clock keeps to. `pass(ms)` lets at least that much time pass for its timers. */
import { expect, test } from "vitest";
import type { Clock } from "./clock.ts";

export interface ClockWorld {
  readonly clock: Clock;
  readonly pass: (ms: number) => Promise<void>;
}

export function clockContract(name: string, make: () => ClockWorld): void {
  test(`${name}: monotonic time never goes back, whatever passes`, async () => {
    const { clock, pass } = make();
    const first = clock.monotonicMs();
    await pass(2);
    const second = clock.monotonicMs();
    expect(second - first).toBeGreaterThanOrEqual(2);
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(second);
  });

  test(`${name}: a timer runs once, never at once, never before its time`, async () => {
    const { clock, pass } = make();
    const from = clock.monotonicMs();
    const ran: number[] = [];
    clock.after(3, () => ran.push(clock.monotonicMs() - from));
    clock.after(0, () => ran.push(clock.monotonicMs() - from));
    clock.after(-5, () => ran.push(clock.monotonicMs() - from));
    expect(ran).toEqual([]);
    await pass(8);
    expect(ran).toHaveLength(3);
    expect(Math.max(...ran)).toBeGreaterThanOrEqual(3);
    await pass(8);
    expect(ran).toHaveLength(3);
  });

  test(`${name}: timers run in the order in which they are due, equal ones as they were made`, async () => {
    const { clock, pass } = make();
    const ran: string[] = [];
    clock.after(20, () => ran.push("late"));
    clock.after(1, () => ran.push("first"));
    clock.after(1, () => ran.push("second"));
    await pass(30);
    expect(ran).toEqual(["first", "second", "late"]);
  });

  test(`${name}: a cancelled timer never runs; cancelling twice or too late does nothing`, async () => {
    const { clock, pass } = make();
    const ran: string[] = [];
    const cancel = clock.after(2, () => ran.push("cancelled"));
    const late = clock.after(1, () => ran.push("kept"));
    cancel();
    cancel();
    await pass(6);
    late();
    expect(ran).toEqual(["kept"]);
  });

  test(`${name}: a timer beyond 24 days does not run now`, async () => {
    const { clock, pass } = make();
    let ran = false;
    const cancel = clock.after(2 ** 33, () => {
      ran = true;
    });
    await pass(5);
    cancel();
    expect(ran).toBe(false);
  });

  test(`${name}: time zones have the offset of the moment, with daylight saving`, () => {
    const { clock } = make();
    const hour = 3_600_000;
    const january = Date.UTC(2026, 0, 15, 12);
    const july = Date.UTC(2026, 6, 15, 12);
    expect(clock.offsetMs("UTC", january)).toBe(0);
    expect(clock.offsetMs("Etc/UTC", january)).toBe(0);
    expect(clock.offsetMs("Europe/Berlin", january)).toBe(hour);
    expect(clock.offsetMs("Europe/Berlin", july)).toBe(2 * hour);
    expect(clock.offsetMs("America/New_York", july)).toBe(-4 * hour);
    expect(clock.offsetMs("Asia/Kolkata", july)).toBe(5.5 * hour);
    expect(clock.offsetMs("Pacific/Chatham", july)).toBe(12.75 * hour);
    expect(clock.offsetMs("America/St_Johns", january)).toBe(-3.5 * hour);
    // New York, 8 March 2026: 2:00 becomes 3:00 at 7:00 UTC.
    expect(clock.offsetMs("America/New_York", Date.UTC(2026, 2, 8, 6, 59))).toBe(-5 * hour);
    expect(clock.offsetMs("America/New_York", Date.UTC(2026, 2, 8, 7))).toBe(-4 * hour);
  });

  test(`${name}: what is no IANA zone has no offset`, () => {
    const { clock } = make();
    for (const zone of ["Nowhere/City", "", "+01:00", "Mars"]) {
      expect(clock.offsetMs(zone, 0)).toBeUndefined();
    }
  });
}
