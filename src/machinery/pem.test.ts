import { expect, test } from "vitest";
import { armour, pemBlocks, unarmour } from "./pem.ts";

const bytes = new TextEncoder().encode("x".repeat(60));

test("what is armoured in lines of 64 comes out as it went in", () => {
  const pem = armour("CERTIFICATE", bytes);
  expect(pem.split("\n")[1]).toHaveLength(64);
  expect(pemBlocks(pem)).toEqual([{ label: "CERTIFICATE", hasHeaders: false, bytes }]);
});

test("text between blocks and blocks of other labels are passed over", () => {
  const pem = `Here it is:\n${armour("PRIVATE KEY", bytes)}and\n${armour("CERTIFICATE", bytes)}end`;
  expect(unarmour("CERTIFICATE", pem)).toEqual([bytes]);
  expect(unarmour("PUBLIC KEY", pem)).toEqual([]);
});

test("headers are noticed; a block that is not base64 is none", () => {
  const [first = "", ...rest] = armour("CERTIFICATE", bytes).split("\n");
  const headed = [first, "Proc-Type: 4,ENCRYPTED", "", ...rest].join("\n");
  expect(pemBlocks(headed)).toEqual([{ label: "CERTIFICATE", hasHeaders: true, bytes }]);
  expect(pemBlocks("-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n")).toEqual([]);
});
