import { execFileSync } from "node:child_process";
import { createPublicKey, createVerify, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { cryptoContract } from "#ports/crypto.contract.ts";
import { readCertificate, splitPem } from "./certificate.ts";
import { systemCrypto } from "./crypto.ts";

cryptoContract("systemCrypto", () => ({
  crypto: systemCrypto,
  der: (pem) => splitPem(pem)[0] ?? new Uint8Array(),
}));

const day = 86_400_000;
const dates = { fromMs: Date.now() - day, toMs: Date.now() + day };

async function world(
  algorithm: "ES256" | "RS256",
): Promise<{ ca: string; leaf: string; key: string }> {
  const caKey = await systemCrypto.generateKey(algorithm);
  const ca = await systemCrypto.issue(
    { user: "test-ca", groups: [], names: [], uses: ["ca"], ...dates },
    caKey.publicKey,
    caKey,
  );
  const key = await systemCrypto.generateKey(algorithm);
  const leaf = await systemCrypto.issue(
    {
      user: "kube-apiserver",
      groups: ["system:masters"],
      names: ["kubernetes.default.svc", "localhost", "127.0.0.1", "::1"],
      uses: ["server auth", "client auth"],
      ...dates,
    },
    key.publicKey,
    { certificate: ca, privateKey: caKey.privateKey },
  );
  return { ca, leaf, key: key.privateKey };
}

for (const algorithm of ["ES256", "RS256"] as const) {
  test(`openssl accepts ${algorithm} certificates for their names, uses and strictest rules`, async () => {
    const { ca, leaf } = await world(algorithm);
    const folder = mkdtempSync(join(tmpdir(), "wherry-crypto-"));
    try {
      writeFileSync(join(folder, "ca.pem"), ca);
      writeFileSync(join(folder, "leaf.pem"), leaf);
      const verify = (...more: string[]): string =>
        execFileSync(
          "openssl",
          ["verify", "-x509_strict", "-CAfile", "ca.pem", ...more, "leaf.pem"],
          { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
        );
      expect(verify("-purpose", "sslserver", "-verify_hostname", "localhost")).toContain("OK");
      expect(verify("-purpose", "sslclient", "-verify_ip", "::1")).toContain("OK");
      expect(() => verify("-verify_hostname", "elsewhere")).toThrow();
      const text = execFileSync("openssl", ["x509", "-in", "leaf.pem", "-noout", "-text"], {
        cwd: folder,
        encoding: "utf8",
      });
      expect(text).toContain("O = system:masters, CN = kube-apiserver");
      expect(text).toContain("DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1");
      expect(text).toContain("CA:FALSE");
      expect(text).toContain("Digital Signature, Key Encipherment");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test("a TLS handshake with a client certificate succeeds, and its chain is judged", async () => {
  const { ca, leaf, key } = await world("ES256");
  const seen = new Promise<TLSSocket>((resolve) => {
    const server = createServer(
      { cert: leaf, key, requestCert: true, rejectUnauthorized: false },
      (socket) => {
        resolve(socket);
        socket.end("bye");
        server.close();
      },
    );
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("no address");
      connect({ port: address.port, host: "127.0.0.1", ca, cert: leaf, key }).resume();
    });
  });
  const presented = (await seen).getPeerCertificate().raw;
  expect(systemCrypto.judge([presented], ca, Date.now())).toMatchObject({
    user: "kube-apiserver",
    groups: ["system:masters"],
    uses: ["server auth", "client auth"],
  });
});

test("signatures are what JOSE says", async () => {
  const key = await systemCrypto.generateKey("ES256");
  const signature = await systemCrypto.sign(key.privateKey, Buffer.from("x"));
  const check = createVerify("sha256").update("x");
  const publicKey = createPublicKey(key.publicKey);
  expect(check.verify({ key: publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
});

test("addresses read back in their shortest form", async () => {
  const key = await systemCrypto.generateKey("ES256");
  const names = ["::ffff:10.0.0.1", "2001:db8:0:0:1:0:0:1", "::1", "1::", "1:2:3:4:5:6:7:8"];
  const facts = { user: "a", groups: [], names, uses: ["server auth"], ...dates } as const;
  const pem = await systemCrypto.issue(facts, key.publicKey, key);
  const expected = ["::ffff:a00:1", "2001:db8::1:0:0:1", "::1", "1::", "1:2:3:4:5:6:7:8"];
  expect(systemCrypto.readCertificate(pem).names).toEqual(expected);
  expect(new X509Certificate(pem).checkIP("::1")).toBe("::1");
});

test("a certificate that was changed anywhere is refused or unreadable, never accepted", async () => {
  const { ca, leaf } = await world("ES256");
  const [der = new Uint8Array()] = splitPem(leaf);
  const good = readCertificate(der);
  expect(systemCrypto.judge([der], ca, Date.now())).toHaveProperty("user");
  for (let at = 0; at < der.length; at += 3) {
    const bent = Uint8Array.from(der);
    bent[at] = (bent[at] ?? 0) ^ 0x01;
    expect(systemCrypto.judge([bent], ca, Date.now())).not.toEqual(good.facts);
  }
});
