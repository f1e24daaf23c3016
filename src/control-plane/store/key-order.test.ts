import fc from "fast-check";
import { expect, test } from "vitest";
import { keyProblem, orderKey } from "./key-order.ts";

const compareBytes = (a: string, b: string): number => {
  const encoder = new TextEncoder();
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  for (let at = 0; at < Math.min(x.length, y.length); at += 1)
    if (x[at] !== y[at]) return Math.sign((x[at] ?? 0) - (y[at] ?? 0));
  return Math.sign(x.length - y.length);
};
const compareOrder = (a: string, b: string): number => Number(a > b) - Number(a < b);

test("orders as UTF-8 bytes do", () => {
  const text = fc.string({
    maxLength: 4,
    unit: fc.constantFrom("a", "/", "é", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}"),
  });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(compareOrder(orderKey(a), orderKey(b))).toBe(compareBytes(a, b));
    }),
    { numRuns: 1000 },
  );
  const [high, low] = ["\u{10000}", "\uffff"];
  expect(high < low).toBe(true);
  expect(orderKey(high) > orderKey(low)).toBe(true);
  expect(orderKey("/registry/pods/a")).toBe("/registry/pods/a");
});

test("names what cannot be a key", () => {
  expect(keyProblem("")).toMatch(/empty/);
  expect(keyProblem("a\ud800")).toMatch(/surrogate/);
  expect(keyProblem("a\u{1f600}")).toBeUndefined();
});
