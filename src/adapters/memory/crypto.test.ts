import { expect, test } from "vitest";
import { unarmour } from "#machinery/pem.ts";
import { cryptoContract } from "#ports/crypto.contract.ts";
import { memoryCrypto } from "./crypto.ts";
import { seededRandom } from "./random.ts";

let seed = 0;
cryptoContract("memoryCrypto", () => ({
  crypto: memoryCrypto(seededRandom(seed++)),
  der: (pem) => unarmour("CERTIFICATE", pem)[0] ?? new Uint8Array(),
}));

test("equal seeds give equal keys, secrets, signatures and certificates", async () => {
  const run = async (): Promise<unknown[]> => {
    const crypto = memoryCrypto(seededRandom(5));
    const key = await crypto.generateKey("ES256");
    const facts = {
      user: "ca",
      groups: [],
      names: [],
      uses: ["ca"],
      fromMs: 0,
      toMs: 1e12,
    } as const;
    const certificate = await crypto.issue(facts, key.publicKey, key);
    return [
      key,
      crypto.secret(8),
      await crypto.sign(key.privateKey, Uint8Array.of(1)),
      certificate,
    ];
  };
  expect(await run()).toEqual(await run());
});
