import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalBase64, decodeBase64, encodeBase64 } from "./base64.ts";
import {
  formatGoDuration,
  goDurationToMs,
  msToGoDuration,
  parseGoDuration,
} from "./go-duration.ts";
import { fnv1a32, fnv1a64, sha256Hex } from "./hash.ts";
import { generateName, randomText, safeEncode, uuid } from "./names.ts";
import {
  addQuantities,
  compareQuantities,
  parseQuantity,
  quantityFromMilli,
  quantityOf,
  quantityToNumber,
  subtractQuantities,
  toMilli,
  toWhole,
} from "./quantity.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

type QuantityRow =
  | { parse: string; text?: string; problem?: string }
  | { a: string; b: string; compare: number; sum: string; difference: string };

test("quantities parse, print, compare and add as upstream's do", () => {
  for (const row of golden<QuantityRow>("quantities")) {
    if ("parse" in row) {
      const parsed = parseQuantity(row.parse);
      const shown =
        "quantity" in parsed
          ? { parse: row.parse, text: parsed.quantity.text }
          : { parse: row.parse, problem: parsed.problem };
      expect(shown).toEqual(row);
    } else {
      const a = quantityOf(row.a);
      const b = quantityOf(row.b);
      expect(compareQuantities(a, b), `${row.a} ${row.b}`).toBe(row.compare);
      expect(addQuantities(a, b).text, `${row.a} + ${row.b}`).toBe(row.sum);
      expect(subtractQuantities(a, b).text, `${row.a} - ${row.b}`).toBe(row.difference);
    }
  }
});

test("a printed quantity reads back as itself", () => {
  const amount = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
  const format = fc.constantFrom("DecimalSI" as const, "BinarySI" as const);
  fc.assert(
    fc.property(amount, format, (milli, kind) => {
      const quantity = quantityFromMilli(milli, kind);
      expect(quantityOf(quantity.text).nanos).toBe(quantity.nanos);
    }),
  );
});

test("amounts as numbers round up", () => {
  expect(toMilli("1.5")).toBe(1500);
  expect(toMilli("1u")).toBe(1);
  expect(toWhole("1001m")).toBe(2);
  expect(toWhole("1Gi")).toBe(1073741824);
  expect(quantityToNumber("250m")).toBe(0.25);
});

test("quantities beyond any real size are refused, not written out", () => {
  expect(parseQuantity("1e2000000000")).toEqual({ problem: "unable to parse quantity's suffix" });
  expect(parseQuantity("9".repeat(2000))).toHaveProperty("problem");
});

test("durations parse and print as Go's do", () => {
  for (const row of golden<{ input: string; text?: string; ns?: string; error?: string }>(
    "durations",
  )) {
    const parsed = parseGoDuration(row.input);
    if ("problem" in parsed) expect(parsed.problem).toBe(row.error);
    else {
      expect(String(parsed.nanos)).toBe(row.ns);
      expect(formatGoDuration(parsed.nanos)).toBe(row.text);
    }
  }
});

test("durations in milliseconds", () => {
  expect(goDurationToMs("1m30s")).toBe(90_000);
  expect(goDurationToMs("x")).toBeUndefined();
  expect(msToGoDuration(1500)).toBe("1.5s");
});

test("a printed duration reads back as itself", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (nanos) => {
      expect(parseGoDuration(formatGoDuration(nanos))).toEqual({ nanos });
    }),
  );
});

test("base64 round trips, and bad text is named as Go names it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = encodeBase64(bytes);
      expect(text).toBe(Buffer.from(bytes).toString("base64"));
      expect(decodeBase64(text)).toEqual({ bytes });
      expect(canonicalBase64(text)).toEqual({ text });
    }),
  );
  expect(canonicalBase64("aGVs\nbG8=\n")).toEqual({ text: "aGVsbG8=" });
  expect(canonicalBase64("aGVsbG9=")).toEqual({ text: "aGVsbG8=" });
  expect(decodeBase64("a*b=")).toEqual({ problem: "illegal base64 data at input byte 1" });
  expect(decodeBase64("aGk")).toHaveProperty("problem");
  expect(decodeBase64("aGk==")).toHaveProperty("problem");
});

test("hashes have their published values", () => {
  expect(fnv1a32("")).toBe(0x811c9dc5);
  expect(fnv1a32("a")).toBe(0xe40c292c);
  expect(fnv1a32("foobar")).toBe(0xbf9cf968);
  expect(fnv1a64("")).toBe(0xcbf29ce484222325n);
  expect(fnv1a64("foobar")).toBe(0x85944171f73967e8n);
  expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(sha256Hex("a".repeat(200))).toBe(
    "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5",
  );
});

function counting(): { uint32(): number } {
  let state = 1;
  return {
    uint32: () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state;
    },
  };
}

test("generated names fit and use the alphabet", () => {
  expect(generateName("web-", counting())).toMatch(/^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  expect(generateName("a".repeat(80), counting())).toHaveLength(63);
  expect(randomText(1000, counting())).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{1000}$/);
  expect(safeEncode("0123456789")).toBe("456789bcdf");
  expect(uuid(counting())).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});
