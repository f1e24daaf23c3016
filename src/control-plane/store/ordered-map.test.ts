import fc from "fast-check";
import { expect, test } from "vitest";
import { OrderedMap } from "./ordered-map.ts";

const key = fc.string({ maxLength: 3, unit: fc.constantFrom("a", "b", "c", "/", "0") });
const byKey = ([a]: [string, number], [b]: [string, number]): number => (a < b ? -1 : 1);
const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ set: key, value: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ delete: key }) },
  fc.record({ from: key, to: key, limit: fc.nat({ max: 40 }) }),
);

test("does what a plain Map with sorted keys does", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 400, size: "max" }), (operations) => {
      const map = new OrderedMap<number>();
      const model = new Map<string, number>();
      for (const step of operations) {
        if ("set" in step) {
          expect(map.set(step.set, step.value)).toBe(model.get(step.set));
          model.set(step.set, step.value);
        } else if ("delete" in step) {
          expect(map.delete(step.delete)).toBe(model.get(step.delete));
          model.delete(step.delete);
        } else {
          const inside = [...model].filter(([k]) => k >= step.from && k < step.to).toSorted(byKey);
          const values = inside.map(([, value]) => value);
          expect(map.count(step.from, step.to)).toBe(values.length);
          expect(map.slice(step.from, step.to)).toEqual(values);
          expect(map.slice(step.from, step.to, step.limit)).toEqual(values.slice(0, step.limit));
          const walked: [string, number | undefined][] = [];
          for (const at = map.cursor(step.from, step.to); at.key !== undefined; at.next())
            walked.push([at.key, at.value]);
          expect(walked).toEqual(inside);
        }
        expect(map.size).toBe(model.size);
      }
      for (const [k, value] of model) expect(map.get(k)).toBe(value);
    }),
    { numRuns: 25 },
  );
});

test("splits and merges blocks at a size that matters", () => {
  const map = new OrderedMap<number>();
  const name = (n: number): string => `k${String((n * 7919) % 10_007).padStart(5, "0")}`;
  for (let n = 0; n < 10_007; n += 1) map.set(name(n), n);
  expect(map.size).toBe(10_007);
  expect(map.count("k00000", "k05000")).toBe(5000);
  for (let n = 0; n < 10_007; n += 1) if (n % 50 !== 0) expect(map.delete(name(n))).toBe(n);
  expect(map.slice("", "z")).toHaveLength(map.size);
  expect(map.slice("", "z").toSorted((a, b) => a - b)[1]).toBe(50);
  expect(map.has(name(50))).toBe(true);
  expect(map.has(name(51))).toBe(false);
});
