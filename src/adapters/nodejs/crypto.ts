/** Keys, signatures, certificates and secrets by node:crypto. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomFillSync,
  sign,
  timingSafeEqual,
  verify,
  type X509Certificate,
} from "node:crypto";
import type { CertificateFacts, Crypto, KeyType, PublicJwk } from "#ports/crypto.ts";
import type { Bytes } from "#ports/stream.ts";
import {
  type Certificate,
  issueCertificate,
  narrowUses,
  portUses,
  readCertificate,
  readPem,
  splitPem,
} from "./certificate.ts";
import { readRequest, writeRequest } from "./certificate-request.ts";

const serialBytes = 16;
const rsaBits = 2048;
const curves: Readonly<Record<string, string>> = {
  ES256: "P-256",
  ECDSAP256: "P-256",
  ECDSAP384: "P-384",
  ECDSAP521: "P-521",
};
/** Certificates above the leaf that a chain may bring, and how long a path may grow. */
const chainLengthMax = 16;

export const systemCrypto: Crypto = {
  secret: (count) => randomFillSync(new Uint8Array(count)),
  digest: (bytes) => plain(createHash("sha256").update(bytes).digest()),
  equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),
  generateKey,
  async sign(privateKey, bytes) {
    const key = privateKeys(privateKey);
    return plain(sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }));
  },
  async verify(publicKey, bytes, signature) {
    const key = publicKeys(publicKey);
    return verify("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }, signature);
  },
  publicJwk,
  async issue(facts, publicKey, by) {
    return issueCertificate(facts, publicKey, by, this.secret(serialBytes));
  },
  readCertificate: (pem) => readPem(pem).facts,
  publicKeyOf: (certificate) =>
    String(readPem(certificate).x509.publicKey.export({ type: "spki", format: "pem" })),
  async request(wanted, key) {
    return writeRequest(wanted, key);
  },
  readRequest,
  judge,
};

function generateKey(
  algorithm: "ES256" | "RS256" | KeyType,
): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  const encoding = {
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  } as const;
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, publicKey: string, privateKey: string): void =>
      error === null ? resolve({ privateKey, publicKey }) : reject(error);
    const curve = curves[algorithm];
    const modulusLength = algorithm === "RS256" ? rsaBits : Number(algorithm.slice("RSA".length));
    if (algorithm === "ED25519") generateKeyPair("ed25519", encoding, done);
    else if (curve !== undefined) generateKeyPair("ec", { namedCurve: curve, ...encoding }, done);
    else generateKeyPair("rsa", { modulusLength, ...encoding }, done);
  });
}

function publicJwk(publicKey: string): PublicJwk {
  const { kty, crv, x, y, n, e } = publicKeys(publicKey).export({ format: "jwk" });
  if (kty === "EC" && crv !== undefined && x !== undefined && y !== undefined)
    return { kty, crv, x, y };
  if (kty === "RSA" && n !== undefined && e !== undefined) return { kty, n, e };
  throw new Error(`a key of type ${kty} signs no tokens`);
}

const plain = (buffer: Buffer): Bytes =>
  new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);

/** Parsing a PEM text costs more than using the key. */
function remember<T>(countMax: number, make: (text: string) => T): (text: string) => T {
  const made = new Map<string, T>();
  return (text) => {
    const known = made.get(text);
    if (known !== undefined) return known;
    const fresh = make(text);
    if (made.size >= countMax) made.clear();
    made.set(text, fresh);
    return fresh;
  };
}

const privateKeys = remember<KeyObject>(64, (pem) => createPrivateKey(pem));
const publicKeys = remember<KeyObject>(256, (pem) => createPublicKey(pem));
const rootsOf = remember<readonly Certificate[]>(64, (pem) => splitPem(pem).map(readCertificate));

function judge(
  chain: readonly Bytes[],
  roots: string,
  atMs: number,
): CertificateFacts | { readonly refused: string } {
  if (chain.length === 0) return { refused: "no certificate was presented" };
  if (chain.length > chainLengthMax) {
    return { refused: `a chain of ${chain.length} certificates; at most ${chainLengthMax}` };
  }
  let certificates: Certificate[];
  try {
    certificates = chain.map(readCertificate);
  } catch (error) {
    return {
      refused: `not a certificate: ${error instanceof Error ? error.message : "unreadable"}`,
    };
  }
  const [leaf, ...between] = certificates;
  if (leaf === undefined) return { refused: "no certificate was presented" };
  const flaw = flawOf(leaf, atMs);
  if (flaw !== undefined) return { refused: flaw };
  const found = findRoot({ path: [leaf], between, roots: rootsOf(roots), atMs, tries: 0 });
  if ("refused" in found) return found;
  let uses = leaf.uses;
  for (const above of found.path.slice(1)) uses = narrowUses(uses, above.uses);
  return { ...leaf.facts, uses: portUses(uses, leaf.isCa) };
}

/** What makes a certificate useless whoever signed it. Wording as Go's crypto/x509 has it. */
function flawOf(certificate: Certificate, atMs: number): string | undefined {
  const { fromMs, toMs } = certificate.facts;
  const when = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+/, "");
  const expired = "x509: certificate has expired or is not yet valid: current time";
  if (atMs < fromMs) return `${expired} ${when(atMs)} is before ${when(fromMs)}`;
  if (atMs > toMs) return `${expired} ${when(atMs)} is after ${when(toMs)}`;
  if (certificate.unknownCritical !== undefined) {
    return `x509: unhandled critical extension ${certificate.unknownCritical}`;
  }
  return undefined;
}

interface Search {
  /** From the leaf up to where the search stands. */
  readonly path: readonly Certificate[];
  readonly between: readonly Certificate[];
  readonly roots: readonly Certificate[];
  readonly atMs: number;
  tries: number;
}

/** Signatures that one judgement may check, so that a crafted chain cannot keep the server busy. */
const triesMax = 100;

function findRoot(
  search: Search,
): { readonly path: readonly Certificate[] } | { readonly refused: string } {
  const [leaf] = search.path;
  if (leaf !== undefined && search.roots.some((root) => equalBytes(root.der, leaf.der)))
    return search;
  return climb(search, search.path) ?? { refused: "x509: certificate signed by unknown authority" };
}

function climb(
  search: Search,
  path: readonly Certificate[],
): { readonly path: readonly Certificate[] } | { readonly refused: string } | undefined {
  const child = path.at(-1);
  if (child === undefined) return undefined;
  let refused: { readonly refused: string } | undefined;
  for (const [isRoot, candidates] of [
    [true, search.roots],
    [false, search.between],
  ] as const) {
    for (const candidate of candidates) {
      if (path.includes(candidate) || !issued(search, candidate, child)) continue;
      const flaw = flawOf(candidate, search.atMs) ?? caFlawOf(candidate, path.length - 1);
      if (flaw !== undefined) {
        refused ??= { refused: flaw };
        continue;
      }
      if (isRoot) return { path: [...path, candidate] };
      const further = climb(search, [...path, candidate]);
      if (further !== undefined && "path" in further) return further;
      refused ??= further;
    }
  }
  return refused;
}

function issued(search: Search, issuer: Certificate, child: Certificate): boolean {
  if (!equalBytes(issuer.subject, child.issuer)) return false;
  if (search.tries++ >= triesMax) return false;
  return signedBy(child.x509, issuer.x509);
}

function signedBy(child: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return child.verify(issuer.publicKey);
  } catch {
    // A key of a kind that does not fit the signature: not this issuer.
    return false;
  }
}

function caFlawOf(candidate: Certificate, casBelow: number): string | undefined {
  if (!candidate.isCa) {
    return `x509: certificate is not authorized to sign other certificates: ${candidate.facts.user}`;
  }
  return casBelow > candidate.pathLengthMax
    ? "x509: too many intermediates for path length constraint"
    : undefined;
}

const equalBytes = (a: Bytes, b: Bytes): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
