/**
 * X.509 certificates: writes them (a CA, servers, clients) and reads the facts that authentication needs. Reading does not
 * go through the text forms of node:crypto, in which a crafted name can look like several fields.
 */
import { createHash, createPrivateKey, createPublicKey, sign, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { CertificateFacts } from "#ports/crypto.ts";
import type { Bytes } from "#ports/stream.ts";
import * as d from "./der.ts";

export const ids = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  names: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  anyUse: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  rsaWithSha256: "1.2.840.113549.1.1.11",
} as const;

/** Bits of keyUsage as they stand in its first byte. */
const usage = { digitalSignature: 0x80, keyEncipherment: 0x20, certSign: 0x04 } as const;

/** What a certificate holds beyond the facts of the port. */
export interface Certificate {
  readonly der: Bytes;
  readonly x509: X509Certificate;
  readonly facts: CertificateFacts;
  /** Raw, for comparing and for issuing below it. */
  readonly subject: Bytes;
  readonly issuer: Bytes;
  readonly subjectKeyId: Bytes | undefined;
  readonly isCa: boolean;
  /** How many further CAs may stand between this one and the leaf. */
  readonly pathLengthMax: number;
  /** Extended uses named; undefined: any. */
  readonly uses: ReadonlySet<string> | undefined;
  /** A critical extension that this reader does not know, so nobody may trust the certificate. */
  readonly unknownCritical: string | undefined;
}

export function issueCertificate(
  facts: CertificateFacts,
  publicKeyPem: string,
  by: { readonly certificate?: string; readonly privateKey: string },
  serial: Bytes,
): string {
  const signer = createPrivateKey(by.privateKey);
  const ca = by.certificate === undefined ? undefined : readPem(by.certificate);
  if (ca !== undefined && !ca.x509.checkPrivateKey(signer)) {
    throw new Error(`the private key is not that of the CA certificate ${ca.facts.user}`);
  }
  const publicKey = createPublicKey(publicKeyPem).export({ type: "spki", format: "der" });
  const own = keyId(publicKey);
  const algorithm =
    signer.asymmetricKeyType === "rsa"
      ? d.sequence(d.oid(ids.rsaWithSha256), d.der(0x05))
      : d.sequence(d.oid(ids.ecdsaWithSha256));
  const subject = nameOf(facts);
  const body = d.sequence(
    d.der(d.context(0, true), d.integer(Uint8Array.of(2))),
    d.integer(serial.map((byte, i) => (i === 0 ? byte & 0x7f : byte))),
    algorithm,
    ca?.subject ?? subject,
    d.sequence(d.time(facts.fromMs), d.time(facts.toMs)),
    subject,
    publicKey,
    d.der(d.context(3, true), extensionsOf(facts, own, ca === undefined ? own : ca.subjectKeyId)),
  );
  const signature = sign("sha256", body, signer);
  return pemOf(d.sequence(body, algorithm, d.bits(signature)));
}

export function nameOf(facts: Pick<CertificateFacts, "user" | "groups">): Bytes {
  const part = (id: string, value: string): Bytes =>
    d.der(d.tag.set, d.sequence(d.oid(id), d.utf8(value)));
  return d.sequence(
    ...facts.groups.map((group) => part(ids.organization, group)),
    ...(facts.user === "" ? [] : [part(ids.commonName, facts.user)]),
  );
}

function extensionsOf(
  facts: CertificateFacts,
  subjectKeyId: Bytes,
  authorityKeyId: Bytes | undefined,
): Bytes {
  const isCa = facts.uses.includes("ca");
  const extension = (id: string, isCritical: boolean, value: Bytes): Bytes =>
    d.sequence(d.oid(id), ...(isCritical ? [d.truth] : []), d.octets(value));
  const extended = [
    ...(facts.uses.includes("server auth") ? [d.oid(ids.serverAuth)] : []),
    ...(facts.uses.includes("client auth") ? [d.oid(ids.clientAuth)] : []),
  ];
  const keyUse = usage.digitalSignature | usage.keyEncipherment | (isCa ? usage.certSign : 0);
  const unusedBits = isCa ? 2 : 5;
  const isNameless = facts.user === "" && facts.groups.length === 0;
  return d.sequence(
    extension(ids.keyUsage, true, d.bits(Uint8Array.of(keyUse), unusedBits)),
    ...(extended.length > 0
      ? [extension(ids.extendedKeyUsage, false, d.sequence(...extended))]
      : []),
    extension(ids.basicConstraints, true, d.sequence(...(isCa ? [d.truth] : []))),
    extension(ids.subjectKeyId, false, d.octets(subjectKeyId)),
    ...(authorityKeyId === undefined
      ? []
      : [
          extension(
            ids.authorityKeyId,
            false,
            d.sequence(d.der(d.context(0, false), authorityKeyId)),
          ),
        ]),
    ...(facts.names.length > 0
      ? [extension(ids.names, isNameless, d.sequence(...facts.names.map(alternativeName)))]
      : []),
  );
}

export function alternativeName(name: string): Bytes {
  if (isIP(name) !== 0) return d.der(d.context(7, false), addressBytes(name));
  if (!/^[\x21-\x7e]+$/.test(name)) throw new Error(`not a DNS name: ${JSON.stringify(name)}`);
  return d.der(d.context(2, false), new TextEncoder().encode(name));
}

function addressBytes(address: string): Bytes {
  if (isIP(address) === 4) return Uint8Array.from(address.split("."), Number);
  // The last 32 bits of an IPv6 address may be written as an IPv4 address.
  const ipv4 = /[\d.]+$/.exec(address)?.[0] ?? "";
  const [a = 0, b = 0, c = 0, e = 0] = ipv4.includes(".") ? ipv4.split(".").map(Number) : [];
  const text = ipv4.includes(".")
    ? address.slice(0, -ipv4.length) + `${(a * 256 + b).toString(16)}:${(c * 256 + e).toString(16)}`
    : address;
  const [head = "", tail] = text.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const gap = Array<string>(8 - left.length - right.length).fill("0");
  return Uint8Array.from(
    [...left, ...gap, ...right].flatMap((group) => {
      const word = Number.parseInt(group, 16);
      return [word >> 8, word & 0xff];
    }),
  );
}

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2): a name for the key, not a proof. */
function keyId(publicKey: Bytes): Bytes {
  const key = d.readAll(d.readOne(publicKey).content)[1];
  if (key === undefined) throw new Error("not a public key");
  return new Uint8Array(createHash("sha1").update(key.content.subarray(1)).digest());
}

export function pemOf(bytes: Bytes, label = "CERTIFICATE"): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The certificates of a PEM text, in order; other blocks and text between them are passed over. */
export function splitPem(pem: string): Bytes[] {
  const blocks = pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g);
  return [...blocks].map((block) => new Uint8Array(Buffer.from(block[1] ?? "", "base64")));
}

/** The first certificate of a PEM text. */
export function readPem(pem: string): Certificate {
  const [first] = splitPem(pem);
  if (first === undefined) throw new Error("there is no certificate in this PEM text");
  return readCertificate(first);
}

/** Throws if the bytes are no certificate. */
export function readCertificate(bytes: Bytes): Certificate {
  const x509 = new X509Certificate(bytes);
  const body = d.readAll(d.readOne(bytes).content)[0];
  if (body === undefined) throw new Error("not a certificate");
  const all = d.readAll(body.content);
  const fields = all[0]?.tag === d.context(0, true) ? all.slice(1) : all;
  const [, , issuer, validity, subject] = fields;
  if (issuer === undefined || validity === undefined || subject === undefined) {
    throw new Error("a certificate without issuer, validity or subject");
  }
  const [from, to] = d.readAll(validity.content);
  if (from === undefined || to === undefined) throw new Error("a certificate without dates");
  const extensions = readExtensions(fields.find((field) => field.tag === d.context(3, true)));
  const name = readName(subject.content);
  return {
    der: bytes,
    x509,
    subject: subject.whole,
    issuer: issuer.whole,
    ...extensions,
    facts: {
      ...name,
      names: extensions.names,
      uses: portUses(extensions.uses, extensions.isCa),
      fromMs: d.readTime(from),
      toMs: d.readTime(to),
    },
  };
}

/** No extended use named means any; a CA that names none is not for serving or asking, though. */
export function portUses(
  uses: ReadonlySet<string> | undefined,
  isCa: boolean,
): CertificateFacts["uses"] {
  const has = (id: string): boolean =>
    uses === undefined ? !isCa : uses.has(id) || uses.has(ids.anyUse);
  return [
    ...(isCa ? (["ca"] as const) : []),
    ...(has(ids.serverAuth) ? (["server auth"] as const) : []),
    ...(has(ids.clientAuth) ? (["client auth"] as const) : []),
  ];
}

/** The uses that a chain leaves: what the leaf names, cut down by every CA that names some. */
export function narrowUses(
  below: ReadonlySet<string> | undefined,
  above: ReadonlySet<string> | undefined,
): ReadonlySet<string> | undefined {
  if (above === undefined || above.has(ids.anyUse)) return below;
  if (below === undefined || below.has(ids.anyUse)) return above;
  return new Set([...below].filter((use) => above.has(use)));
}

export function readName(name: Bytes): {
  readonly user: string;
  readonly groups: readonly string[];
} {
  let user = "";
  const groups: string[] = [];
  for (const set of d.readAll(name)) {
    for (const part of d.readAll(set.content)) {
      const [id, value] = d.readAll(part.content);
      if (id === undefined || value === undefined) throw new Error("not a name");
      const kind = d.readOid(id.content);
      if (kind === ids.commonName) user = d.readText(value);
      if (kind === ids.organization) groups.push(d.readText(value));
    }
  }
  return { user, groups };
}

interface Extensions {
  readonly names: readonly string[];
  readonly subjectKeyId: Bytes | undefined;
  readonly isCa: boolean;
  readonly pathLengthMax: number;
  readonly uses: ReadonlySet<string> | undefined;
  readonly unknownCritical: string | undefined;
}

function readExtensions(field: d.Der | undefined): Extensions {
  const found = new Map<string, Bytes>();
  let unknownCritical: string | undefined;
  const known: readonly string[] = Object.values(ids);
  for (const one of field === undefined ? [] : d.readAll(d.readOne(field.content).content)) {
    const [id, second, third] = d.readAll(one.content);
    const value = third ?? second;
    if (id === undefined || value === undefined) throw new Error("not an extension");
    const dotted = d.readOid(id.content);
    if (found.has(dotted)) throw new Error(`extension ${dotted} stands twice in a certificate`);
    found.set(dotted, value.content);
    const isCritical = third !== undefined && second?.content[0] === 0xff;
    if (isCritical && !known.includes(dotted)) unknownCritical ??= dotted;
  }
  const read = (id: string): d.Der | undefined => {
    const value = found.get(id);
    return value === undefined ? undefined : d.readOne(value);
  };
  const basic = read(ids.basicConstraints);
  const [isCa, pathLength] = basic === undefined ? [] : d.readAll(basic.content);
  const keyUsage = read(ids.keyUsage);
  const maySign = keyUsage === undefined || ((keyUsage.content[1] ?? 0) & usage.certSign) !== 0;
  const uses = read(ids.extendedKeyUsage);
  const names = read(ids.names);
  return {
    names: names === undefined ? [] : readNames(names.content),
    subjectKeyId: read(ids.subjectKeyId)?.content,
    isCa: isCa?.tag === d.tag.boolean && isCa.content[0] === 0xff && maySign,
    pathLengthMax:
      pathLength === undefined
        ? Infinity
        : pathLength.content.reduce((sum, byte) => sum * 256 + byte, 0),
    uses: uses && new Set(d.readAll(uses.content).map((use) => d.readOid(use.content))),
    unknownCritical,
  };
}

/** DNS names and IP addresses; other kinds (mail, URI) say nothing here. */
function readNames(content: Bytes): string[] {
  return d.readAll(content).flatMap((name) => {
    if (name.tag === d.context(2, false)) return [d.readText(name)];
    if (name.tag === d.context(7, false)) return [addressText(name.content)];
    return [];
  });
}

export function addressText(bytes: Bytes): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new Error("an IP address of neither 4 nor 16 bytes");
  const words = Array.from(
    { length: 8 },
    (_, i) => (bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0),
  );
  const text = words.map((word) => word.toString(16)).join(":");
  // RFC 5952: the longest run of two and more zeros, the first of them, becomes "::".
  const runs = [...text.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].toSorted(
    (a, b) => b[0].length - a[0].length,
  );
  const run = runs[0];
  if (run === undefined) return text;
  const head = text.slice(0, run.index);
  const tail = text.slice(run.index + run[0].length);
  return `${head}::${tail.replace(/^:/, "")}`;
}
