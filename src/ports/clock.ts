/** Clock: the only source of time. Real, or turned by hand in tests and simulation. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump; never use it to measure an interval. */
  now(): number;
  /** Milliseconds from an arbitrary origin; never goes back. For intervals. */
  monotonicMs(): number;
  /** Runs `run` once after `ms` (0 and less: as soon as possible, never at once). The result cancels it. */
  after(ms: number, run: () => void): () => void;
  /** Offset of an IANA time zone from UTC at a moment, in milliseconds; undefined if there is no such zone. */
  offsetMs(zone: string, at: number): number | undefined;
}
