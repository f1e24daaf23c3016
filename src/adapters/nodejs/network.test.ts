import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { type NetworkWorld, networkContract } from "#ports/network.contract.ts";
import { httpContract } from "#ports/network-http.contract.ts";
import { splitPem } from "./certificate.ts";
import { systemCrypto } from "./crypto.ts";
import { systemNetwork } from "./network.ts";

const folder = mkdtempSync(join(tmpdir(), "wherry-network-"));
afterAll(() => rmSync(folder, { recursive: true }));
let sockets = 0;

const quiet = { write: () => {}, child: () => quiet };

const world = async (): Promise<NetworkWorld> => ({
  network: systemNetwork(quiet),
  crypto: systemCrypto,
  nowMs: Date.now(),
  der: (pem) => splitPem(pem)[0] ?? new Uint8Array(),
  unixPath: () => join(folder, `${sockets++}.sock`),
  pass: () => Promise.resolve(),
  compresses: true,
});

networkContract("systemNetwork", world);
httpContract("systemNetwork", world);
