import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeCount,
  decodeLeaseKey,
  decodeLogKey,
  encodeCount,
  encodeLeaseKey,
  encodeLogKey,
  isLogKey,
  keyBytesMax,
} from "./row.ts";

const number = fc.maxSafeNat();

test("log rows come back as they went, in the order of their revisions", () => {
  const row = fc.record({
    revision: number,
    created: number,
    lease: number,
    key: fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" }),
  });
  fc.assert(
    fc.property(row, row, (a, b) => {
      const [x, y] = [encodeLogKey(a, a.key), encodeLogKey(b, b.key)];
      if (x === undefined || y === undefined) throw new Error("too long");
      expect(isLogKey(x)).toBe(true);
      expect(decodeLogKey(x)).toEqual(a);
      expect(decodeLeaseKey(x)).toBeUndefined();
      if (a.revision !== b.revision) expect(Buffer.compare(x, y) < 0).toBe(a.revision < b.revision);
    }),
  );
});

test("a key that storage could not hold is refused", () => {
  const version = { revision: 2, created: 2, lease: 7 };
  expect(encodeLogKey(version, "é".repeat(keyBytesMax / 2))).toHaveLength(1024);
  expect(encodeLogKey(version, `${"é".repeat(keyBytesMax / 2)}x`)).toBeUndefined();
});

test("leases and counts", () => {
  fc.assert(
    fc.property(number, (n) => {
      expect(decodeLeaseKey(encodeLeaseKey(n))).toBe(n);
      expect(decodeCount(encodeCount(n), "count")).toBe(n);
    }),
  );
  expect(() => decodeCount(new Uint8Array([120]), "format")).toThrow(/format is not a number/);
});
