import fc from "fast-check";
import { expect, test } from "vitest";
import { dateOf, dayOf } from "./civil-date.ts";

test("days and dates lead to each other, before the epoch, too", () => {
  expect(dayOf(1970, 1, 1)).toBe(0);
  expect(dayOf(2000, 2, 29)).toBe(11_016);
  expect(dateOf(-1)).toEqual({ year: 1969, month: 12, day: 31 });
  fc.assert(
    fc.property(fc.integer({ min: -1_000_000, max: 3_000_000 }), (days) => {
      const { year, month, day } = dateOf(days);
      expect(dayOf(year, month, day)).toBe(days);
      expect(dayOf(year + 1, 1, 1) - dayOf(year, 1, 1)).toBeGreaterThanOrEqual(365);
    }),
  );
});
