import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { hmacSha256 } from "./hmac.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test("known answer of RFC 4231", () => {
  const answer = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  expect(hex(hmacSha256(text("Jefe"), text("what do ya want for nothing?")))).toBe(answer);
});

test("equal to the system's for keys and messages around the block boundaries", () => {
  const message = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(message, fc.uint8Array({ maxLength: 150 }), (bytes, key) => {
      const expected = createHmac("sha256", key).update(bytes).digest("hex");
      expect(hex(hmacSha256(key, bytes))).toBe(expected);
    }),
    { seed: 1, numRuns: 300 },
  );
});
