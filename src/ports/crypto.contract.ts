/** What every Crypto keeps to: keys sign, certificates say what they were told, chains are judged alike. */
import { expect, test } from "vitest";
import type { CertificateFacts, Crypto } from "./crypto.ts";
import type { Bytes } from "./stream.ts";

export interface CryptoWorld {
  readonly crypto: Crypto;
  /** The bytes of a PEM certificate as a TLS connection hands them over. */
  readonly der: (pem: string) => Bytes;
}

const day = 86_400_000;
const now = Date.UTC(2026, 5, 1);
const facts = (change: Partial<CertificateFacts>): CertificateFacts => ({
  user: "someone",
  groups: [],
  names: [],
  uses: ["client auth"],
  fromMs: now - day,
  toMs: now + 365 * day,
  ...change,
});
const bytes = (text: string): Bytes => new TextEncoder().encode(text);

async function authority(
  crypto: Crypto,
  change: Partial<CertificateFacts> = {},
  by?: { readonly certificate: string; readonly privateKey: string },
): Promise<{ readonly certificate: string; readonly privateKey: string }> {
  const key = await crypto.generateKey("ES256");
  const described = facts({ user: "test-ca", uses: ["ca"], ...change });
  const certificate = await crypto.issue(described, key.publicKey, by ?? key);
  return { certificate, privateKey: key.privateKey };
}

export function cryptoContract(name: string, make: () => CryptoWorld): void {
  test(`${name}: secrets have their length and differ`, () => {
    const { crypto } = make();
    expect(crypto.secret(0)).toHaveLength(0);
    expect(crypto.secret(33)).toHaveLength(33);
    expect(crypto.secret(32)).not.toEqual(crypto.secret(32));
  });

  test(`${name}: digest is SHA-256`, () => {
    const { crypto } = make();
    const hex = Array.from(crypto.digest(bytes("abc")), (b) => b.toString(16).padStart(2, "0"));
    expect(hex.join("")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });

  test(`${name}: equal compares content and length`, () => {
    const { crypto } = make();
    expect(crypto.equal(bytes("token"), bytes("token"))).toBe(true);
    expect(crypto.equal(bytes("token"), bytes("tokem"))).toBe(false);
    expect(crypto.equal(bytes("token"), bytes("toke"))).toBe(false);
    expect(crypto.equal(bytes(""), bytes(""))).toBe(true);
  });

  for (const algorithm of ["ES256", "RS256"] as const) {
    test(`${name}: an ${algorithm} signature holds for its key and its bytes only`, async () => {
      const { crypto } = make();
      const key = await crypto.generateKey(algorithm);
      const other = await crypto.generateKey(algorithm);
      const signature = await crypto.sign(key.privateKey, bytes("claims"));
      if (algorithm === "ES256") expect(signature).toHaveLength(64);
      expect(await crypto.verify(key.publicKey, bytes("claims"), signature)).toBe(true);
      expect(await crypto.verify(key.publicKey, bytes("claim5"), signature)).toBe(false);
      expect(await crypto.verify(other.publicKey, bytes("claims"), signature)).toBe(false);
      expect(await crypto.verify(key.publicKey, bytes("claims"), signature.subarray(1))).toBe(
        false,
      );
      const bent = Uint8Array.from(signature);
      bent[10] = (bent[10] ?? 0) ^ 1;
      expect(await crypto.verify(key.publicKey, bytes("claims"), bent)).toBe(false);
    });
  }

  test(`${name}: public keys are told in JOSE's words, each key its own`, async () => {
    const { crypto } = make();
    const [one, other] = [await crypto.generateKey("ES256"), await crypto.generateKey("ES256")];
    const text = expect.stringMatching(/^[\w-]+$/);
    expect(crypto.publicJwk(one.publicKey)).toEqual({ kty: "EC", crv: "P-256", x: text, y: text });
    expect(crypto.publicJwk(one.publicKey)).not.toEqual(crypto.publicJwk(other.publicKey));
    const rsa = await crypto.generateKey("RS256");
    expect(crypto.publicJwk(rsa.publicKey)).toEqual({ kty: "RSA", n: text, e: "AQAB" });
  });

  test(`${name}: a certificate says what it was told, names of every kind included`, async () => {
    const { crypto } = make();
    const ca = await authority(crypto);
    const key = await crypto.generateKey("ES256");
    const told = facts({
      user: "system:node:näme, with O=comma\nand CN=line",
      groups: ["system:nodes", "b=c+d"],
      names: [
        "kubernetes.default.svc",
        "*.local",
        "10.96.0.1",
        "2001:db8::1",
        "::",
        "fe80::1:0:0:1",
      ],
      uses: ["server auth", "client auth"],
      fromMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      toMs: Date.UTC(2061, 0, 2, 3, 4, 5),
    });
    const pem = await crypto.issue(told, key.publicKey, ca);
    const read = crypto.readCertificate(pem);
    expect(read).toEqual({ ...told, fromMs: Date.UTC(2026, 0, 2, 3, 4, 5) });
    expect(crypto.readCertificate(ca.certificate).uses).toEqual(["ca"]);
  });

  const keyTypes = [
    "RSA3072",
    "RSA4096",
    "ECDSAP256",
    "ECDSAP384",
    "ECDSAP521",
    "ED25519",
  ] as const;
  for (const type of keyTypes) {
    test(`${name}: an ${type} key asks for a certificate, and gets one for itself`, async () => {
      const { crypto } = make();
      const ca = await authority(crypto);
      const key = await crypto.generateKey(type);
      const request = await crypto.request({ user: "", groups: [], names: [] }, key);
      const read = crypto.readRequest(request);
      if ("refused" in read) throw new Error(read.refused);
      expect(read).toMatchObject({ user: "", groups: [], dnsNames: [], keyType: type });
      const pem = await crypto.issue(facts({}), read.publicKey, ca);
      expect(crypto.publicKeyOf(pem)).toBe(read.publicKey);
      expect(crypto.publicKeyOf(ca.certificate)).not.toBe(read.publicKey);
    });
  }

  test(`${name}: the CA's key must be the CA's`, async () => {
    const { crypto } = make();
    const ca = await authority(crypto);
    const key = await crypto.generateKey("ES256");
    const wrong = { certificate: ca.certificate, privateKey: key.privateKey };
    await expect(crypto.issue(facts({}), key.publicKey, wrong)).rejects.toThrow(
      "not that of the CA",
    );
  });

  test(`${name}: what is no certificate throws`, () => {
    expect(() => make().crypto.readCertificate("hello")).toThrow("no certificate");
  });

  judgementContract(name, make);
}

function judgementContract(name: string, make: () => CryptoWorld): void {
  test(`${name}: a chain to a trusted root is accepted, with the leaf's facts`, async () => {
    const { crypto, der } = make();
    const ca = await authority(crypto);
    const other = await authority(crypto, { user: "another" });
    const key = await crypto.generateKey("ES256");
    const told = facts({ user: "alice", groups: ["dev", "ops"] });
    const leaf = der(await crypto.issue(told, key.publicKey, ca));
    expect(crypto.judge([leaf], ca.certificate, now)).toEqual(told);
    expect(crypto.judge([leaf], other.certificate + ca.certificate, now)).toEqual(told);
    expect(crypto.judge([leaf], other.certificate, now)).toEqual({
      refused: "x509: certificate signed by unknown authority",
    });
    expect(crypto.judge([], ca.certificate, now)).toHaveProperty("refused");
    expect(crypto.judge([bytes("nonsense")], ca.certificate, now)).toHaveProperty("refused");
    expect(crypto.judge([leaf], "", now)).toHaveProperty("refused");
  });

  test(`${name}: dates are those of the moment asked for`, async () => {
    const { crypto, der } = make();
    const ca = await authority(crypto, { toMs: now + 1000 * day });
    const key = await crypto.generateKey("ES256");
    const leaf = der(await crypto.issue(facts({}), key.publicKey, ca));
    const judge = (at: number): object => crypto.judge([leaf], ca.certificate, at);
    expect(judge(now - day)).toHaveProperty("user");
    expect(judge(now + 365 * day)).toHaveProperty("user");
    for (const at of [now - day - 1, now + 365 * day + 1]) {
      expect(judge(at)).toEqual({
        refused: expect.stringContaining("certificate has expired or is not yet valid"),
      });
    }
  });

  test(`${name}: an expired CA takes its leaves with it`, async () => {
    const { crypto, der } = make();
    const ca = await authority(crypto, { toMs: now - 1000 });
    const key = await crypto.generateKey("ES256");
    const leaf = der(await crypto.issue(facts({}), key.publicKey, ca));
    expect(crypto.judge([leaf], ca.certificate, now)).toHaveProperty("refused");
  });

  test(`${name}: intermediates lead to the root, in any order, and must be CAs`, async () => {
    const { crypto, der } = make();
    const root = await authority(crypto, { user: "root" });
    const middle = await authority(crypto, { user: "middle" }, root);
    const low = await authority(crypto, { user: "low" }, middle);
    const key = await crypto.generateKey("ES256");
    const leaf = der(await crypto.issue(facts({}), key.publicKey, low));
    const [m, l] = [der(middle.certificate), der(low.certificate)];
    expect(crypto.judge([leaf, l, m], root.certificate, now)).toHaveProperty("user");
    expect(crypto.judge([leaf, m, l], root.certificate, now)).toHaveProperty("user");
    expect(crypto.judge([leaf, l], root.certificate, now)).toHaveProperty("refused");
    expect(crypto.judge([leaf], root.certificate, now)).toHaveProperty("refused");
    // Trusting an intermediate alone is enough, as with Go's verifier.
    expect(crypto.judge([leaf], low.certificate, now)).toHaveProperty("user");

    const plain = await authority(crypto, { user: "plain", uses: ["client auth"] }, root);
    const forged = der(await crypto.issue(facts({ user: "admin" }), key.publicKey, plain));
    expect(crypto.judge([forged, der(plain.certificate)], root.certificate, now)).toEqual({
      refused: expect.stringContaining("not authorized to sign"),
    });
  });

  test(`${name}: a CA of the same name with another key does not count`, async () => {
    const { crypto, der } = make();
    const ca = await authority(crypto);
    const twin = await authority(crypto);
    const key = await crypto.generateKey("ES256");
    const leaf = der(await crypto.issue(facts({}), key.publicKey, twin));
    expect(crypto.judge([leaf], ca.certificate, now)).toHaveProperty("refused");
    expect(crypto.judge([leaf], ca.certificate + twin.certificate, now)).toHaveProperty("user");
  });

  test(`${name}: a CA for servers cannot make clients`, async () => {
    const { crypto, der } = make();
    const ca = await authority(crypto, { uses: ["ca", "server auth"] });
    const key = await crypto.generateKey("ES256");
    const both = facts({ uses: ["server auth", "client auth"] });
    const leaf = der(await crypto.issue(both, key.publicKey, ca));
    expect(crypto.judge([leaf], ca.certificate, now)).toMatchObject({ uses: ["server auth"] });
  });

  test(`${name}: a certificate that is trusted itself needs no issuer`, async () => {
    const { crypto, der } = make();
    const key = await crypto.generateKey("ES256");
    const own = await crypto.issue(facts({ user: "self" }), key.publicKey, key);
    expect(crypto.judge([der(own)], own, now)).toMatchObject({ user: "self" });
  });

  test(`${name}: a signing request says what it asks for, and is signed with the key that it names`, async () => {
    const { crypto } = make();
    const key = await crypto.generateKey("ES256");
    const wanted = {
      user: "system:node:n",
      groups: ["system:nodes"],
      names: ["n.example.com", "192.0.2.7", "2001:db8::1"],
    };
    const pem = await crypto.request(wanted, key);
    const read = crypto.readRequest(pem);
    expect(read).toMatchObject({
      user: "system:node:n",
      groups: ["system:nodes"],
      dnsNames: ["n.example.com"],
      addresses: ["192.0.2.7", "2001:db8::1"],
      mails: [],
      uris: [],
    });
    const bare = crypto.readRequest(await crypto.request({ ...wanted, names: [] }, key));
    expect(bare).toMatchObject({ dnsNames: [], addresses: [] });
    if ("refused" in read) throw new Error(read.refused);
    const ca = await authority(crypto);
    const issued = await crypto.issue(facts({ user: read.user }), read.publicKey, ca);
    expect(crypto.readCertificate(issued).user).toBe("system:node:n");
    const other = await crypto.generateKey("ES256");
    const stolen = await crypto.request(wanted, { ...key, publicKey: other.publicKey });
    expect(crypto.readRequest(stolen)).toHaveProperty("refused");
    expect(crypto.readRequest("nonsense")).toEqual({
      refused: "PEM block type must be CERTIFICATE REQUEST",
    });
    expect(crypto.readRequest(pem.replace(/\n[^-\n]{9}/, "\nAAAAAAAAA"))).toHaveProperty("refused");
  });
}
