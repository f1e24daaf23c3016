/**
 * Crypto for tests and simulations: same port, same answers, every run equal for equal seeds, and no secrecy at all. A public
 * key is the SHA-256 of its private key and also what signatures are made with (HMAC): whoever knows it could forge, which
 * no simulated component does. Keys and certificates are JSON in PEM armour; other programs cannot read them.
 */
import { sha256 } from "#machinery/hash.ts";
import { armour, unarmour } from "#machinery/pem.ts";
import type { CertificateFacts, CertificateRequest, Crypto, KeyType } from "#ports/crypto.ts";
import type { Random } from "#ports/random.ts";
import type { Bytes } from "#ports/stream.ts";
import { hmacSha256 } from "./hmac.ts";

interface Key {
  readonly algorithm: "ES256" | "RS256" | KeyType;
  /** Hexadecimal. */
  readonly key: string;
}
interface Body {
  readonly serial: string;
  readonly facts: CertificateFacts;
  readonly algorithm: Key["algorithm"];
  readonly publicKey: string;
  /** The issuer's public key. */
  readonly issuer: string;
}
interface Certificate {
  /** The body's JSON as it was signed. */
  readonly body: string;
  readonly signature: string;
}

/** What a signing request says; signed like a certificate, by its own key. */
interface Wanted {
  readonly user: string;
  readonly groups: readonly string[];
  readonly names: readonly string[];
  readonly algorithm: Key["algorithm"];
  readonly publicKey: string;
}

/** As the keys that the system makes are called. */
const keyTypes: Readonly<Record<string, string>> = {
  ES256: "ECDSAP256",
  RS256: "2048-bit modulus",
};
const text = new TextEncoder();
const chainLengthMax = 16;
const requestLabel = "CERTIFICATE REQUEST";

export function memoryCrypto(random: Random): Crypto {
  return {
    secret: (count) => random.bytes(count),
    digest: (bytes) => sha256(bytes),
    equal: (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]),
    async generateKey(algorithm) {
      const secret = random.bytes(32);
      return {
        privateKey: write("PRIVATE KEY", { algorithm, key: hex(secret) } satisfies Key),
        publicKey: write("PUBLIC KEY", { algorithm, key: hex(sha256(secret)) } satisfies Key),
      };
    },
    async sign(privateKey, bytes) {
      return signWith(publicOf(privateKey), bytes);
    },
    async verify(publicKey, bytes, signature) {
      return hex(signWith(readKey("PUBLIC KEY", publicKey), bytes)) === hex(signature);
    },
    publicJwk(publicKey) {
      const { algorithm, key } = readKey("PUBLIC KEY", publicKey);
      return algorithm === "ES256"
        ? { kty: "EC", crv: "P-256", x: key, y: key }
        : { kty: "RSA", n: key, e: "AQAB" };
    },
    async issue(facts, publicKey, by) {
      const issuer = publicOf(by.privateKey);
      const ca = by.certificate === undefined ? undefined : readPem(by.certificate);
      if (ca !== undefined && ca.publicKey !== issuer.key) {
        throw new Error(`the private key is not that of the CA certificate ${ca.facts.user}`);
      }
      const body: Body = {
        serial: hex(random.bytes(16)),
        facts: wholeSeconds(facts),
        algorithm: readKey("PUBLIC KEY", publicKey).algorithm,
        publicKey: readKey("PUBLIC KEY", publicKey).key,
        issuer: issuer.key,
      };
      const json = JSON.stringify(body);
      const signature = hex(signWith(issuer, text.encode(json)));
      return write("CERTIFICATE", { body: json, signature } satisfies Certificate);
    },
    readCertificate: (pem) => readPem(pem).facts,
    publicKeyOf(certificate) {
      const { algorithm, publicKey } = readPem(certificate);
      return write("PUBLIC KEY", { algorithm, key: publicKey } satisfies Key);
    },
    async request(wanted, key) {
      const { algorithm, key: publicKey } = readKey("PUBLIC KEY", key.publicKey);
      const body = JSON.stringify({ ...wanted, algorithm, publicKey } satisfies Wanted);
      const signature = hex(signWith(publicOf(key.privateKey), text.encode(body)));
      return write(requestLabel, { body, signature } satisfies Certificate);
    },
    readRequest,
    judge,
  };
}

/** As certificates write their dates, and in the order in which they name their uses. */
function wholeSeconds(facts: CertificateFacts): CertificateFacts {
  const whole = (ms: number): number => Math.floor(ms / 1000) * 1000;
  const uses = (["ca", "server auth", "client auth"] as const).filter((use) =>
    facts.uses.includes(use),
  );
  return { ...facts, uses, fromMs: whole(facts.fromMs), toMs: whole(facts.toMs) };
}

const signWith = (publicKey: Key, bytes: Bytes): Bytes => {
  const signature = hmacSha256(fromHex(publicKey.key), bytes);
  // As long as an ES256 signature is.
  const doubled = new Uint8Array(64);
  doubled.set(signature);
  doubled.set(sha256(signature), 32);
  return doubled;
};

function publicOf(privateKey: string): Key {
  const { algorithm, key } = readKey("PRIVATE KEY", privateKey);
  return { algorithm, key: hex(sha256(fromHex(key))) };
}

const hex = (bytes: Bytes): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const fromHex = (digits: string): Bytes =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

const write = (label: string, value: object): string =>
  armour(label, text.encode(JSON.stringify(value)));

function readKey(label: string, pem: string): Key {
  const [block] = unarmour(label, pem);
  if (block === undefined) throw new Error(`there is no ${label} in this PEM text`);
  return JSON.parse(new TextDecoder().decode(block)) as Key;
}

function readPem(pem: string): Body {
  const [block] = unarmour("CERTIFICATE", pem);
  if (block === undefined) throw new Error("there is no certificate in this PEM text");
  return read(block).body;
}

/** Throws if the bytes are not what `issue` writes. */
function read(bytes: Bytes): { readonly certificate: Certificate; readonly body: Body } {
  const certificate = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Certificate>;
  if (typeof certificate.body !== "string" || typeof certificate.signature !== "string") {
    throw new Error("not a certificate");
  }
  const { body, signature } = certificate;
  return { certificate: { body, signature }, body: JSON.parse(body) as Body };
}

function readRequest(pem: string): CertificateRequest | { readonly refused: string } {
  const [block] = unarmour(requestLabel, pem);
  if (block === undefined) return { refused: "PEM block type must be CERTIFICATE REQUEST" };
  let wanted: Wanted;
  let signature: string;
  let body: string;
  try {
    ({ body, signature } = JSON.parse(new TextDecoder().decode(block)) as Certificate);
    wanted = JSON.parse(body) as Wanted;
  } catch {
    return { refused: "not a certificate request" };
  }
  const key: Key = { algorithm: wanted.algorithm, key: wanted.publicKey };
  if (hex(signWith(key, text.encode(body))) !== signature)
    return { refused: "x509: signature verification failed" };
  const isAddress = (name: string): boolean => /^[\d.]+$|:/.test(name);
  return {
    user: wanted.user,
    groups: wanted.groups,
    dnsNames: wanted.names.filter((name) => !isAddress(name)),
    addresses: wanted.names.filter(isAddress),
    mails: [],
    uris: [],
    publicKey: write("PUBLIC KEY", key),
    keyType: keyTypes[key.algorithm] ?? key.algorithm,
  };
}

type Read = ReturnType<typeof read>;

function judge(
  chain: readonly Bytes[],
  roots: string,
  atMs: number,
): CertificateFacts | { readonly refused: string } {
  if (chain.length === 0) return { refused: "no certificate was presented" };
  if (chain.length > chainLengthMax) {
    return { refused: `a chain of ${chain.length} certificates; at most ${chainLengthMax}` };
  }
  let presented: Read[];
  try {
    presented = chain.map(read);
  } catch {
    return { refused: "not a certificate" };
  }
  const trusted = unarmour("CERTIFICATE", roots).map(read);
  const [leaf] = presented;
  if (leaf === undefined) return { refused: "no certificate was presented" };
  let uses = leaf.body.facts.uses;
  let at = leaf;
  for (let depth = 0; depth <= chainLengthMax; depth++) {
    const { fromMs, toMs } = at.body.facts;
    if (atMs < fromMs || atMs > toMs) {
      return { refused: "x509: certificate has expired or is not yet valid" };
    }
    if (depth === 0 && trusted.some((root) => root.certificate.body === leaf.certificate.body)) {
      return leaf.body.facts;
    }
    const root = trusted.find((candidate) => issued(candidate, at));
    const above = root ?? presented.find((candidate) => candidate !== at && issued(candidate, at));
    if (above === undefined) return { refused: "x509: certificate signed by unknown authority" };
    const flaw = caFlawOf(above, atMs);
    if (flaw !== undefined) return { refused: flaw };
    uses = narrow(uses, above.body.facts.uses);
    if (root !== undefined) return { ...leaf.body.facts, uses };
    at = above;
  }
  return { refused: "x509: certificate signed by unknown authority" };
}

function issued(issuer: Read, child: Read): boolean {
  if (issuer.body.publicKey !== child.body.issuer) return false;
  const key: Key = { algorithm: "ES256", key: issuer.body.publicKey };
  return hex(signWith(key, text.encode(child.certificate.body))) === child.certificate.signature;
}

function caFlawOf(certificate: Read, atMs: number): string | undefined {
  const { uses, user, fromMs, toMs } = certificate.body.facts;
  if (!uses.includes("ca")) {
    return `x509: certificate is not authorized to sign other certificates: ${user}`;
  }
  return atMs < fromMs || atMs > toMs
    ? "x509: certificate has expired or is not yet valid"
    : undefined;
}

/** A CA that names uses leaves only those to the certificates below it. */
function narrow(
  below: CertificateFacts["uses"],
  ca: CertificateFacts["uses"],
): CertificateFacts["uses"] {
  if (!ca.some((use) => use !== "ca")) return below;
  return below.filter((use) => use === "ca" || ca.includes(use));
}
