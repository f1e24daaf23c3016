/** Certificate signing requests (PKCS #10, RFC 2986): writes and reads them, and checks that they are signed with their own key. */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import type { CertificateFacts, CertificateRequest } from "#ports/crypto.ts";
import type { Bytes } from "#ports/stream.ts";
import { addressText, alternativeName, ids, nameOf, pemOf, readName } from "./certificate.ts";
import * as d from "./der.ts";

const extensionRequest = "1.2.840.113549.1.9.14";
const ed25519 = "1.3.101.112";
const label = "CERTIFICATE REQUEST";
/** Signature algorithm → the digest that it is made with. */
const digests: Readonly<Record<string, string | null>> = {
  [ids.ecdsaWithSha256]: "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
  [ids.rsaWithSha256]: "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
  // Ed25519 digests by itself.
  [ed25519]: null,
};

export function writeRequest(
  { user, groups, names }: Pick<CertificateFacts, "user" | "groups" | "names">,
  key: { readonly privateKey: string; readonly publicKey: string },
): string {
  const signer = createPrivateKey(key.privateKey);
  const publicKey = createPublicKey(key.publicKey).export({ type: "spki", format: "der" });
  const extension = d.sequence(
    d.oid(ids.names),
    d.octets(d.sequence(...names.map(alternativeName))),
  );
  const attribute = d.sequence(d.oid(extensionRequest), d.der(d.tag.set, d.sequence(extension)));
  const body = d.sequence(
    d.integer(Uint8Array.of(0)),
    nameOf({ user, groups }),
    publicKey,
    d.der(d.context(0, true), ...(names.length === 0 ? [] : [attribute])),
  );
  const { algorithm, digest } = signatureOf(signer);
  return pemOf(d.sequence(body, algorithm, d.bits(sign(digest, body, signer))), label);
}

function signatureOf({ asymmetricKeyType }: KeyObject): {
  algorithm: Bytes;
  digest: string | null;
} {
  switch (asymmetricKeyType) {
    case "rsa":
      return { algorithm: d.sequence(d.oid(ids.rsaWithSha256), d.der(0x05)), digest: "sha256" };
    case "ed25519":
      return { algorithm: d.sequence(d.oid(ed25519)), digest: null };
    default:
      return { algorithm: d.sequence(d.oid(ids.ecdsaWithSha256)), digest: "sha256" };
  }
}

const curves: Readonly<Record<string, string>> = {
  prime256v1: "ECDSAP256",
  secp384r1: "ECDSAP384",
  secp521r1: "ECDSAP521",
};

/** Its KeyType, or what it is instead. */
function keyTypeOf({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): string {
  const { modulusLength = 0, namedCurve = "" } = asymmetricKeyDetails;
  if (asymmetricKeyType === "ed25519") return "ED25519";
  if (asymmetricKeyType === "ec") return curves[namedCurve] ?? `curve ${namedCurve}`;
  if (asymmetricKeyType !== "rsa") return asymmetricKeyType ?? "unknown";
  return modulusLength === 3072 || modulusLength === 4096
    ? `RSA${modulusLength}`
    : `${modulusLength}-bit modulus`;
}

export function readRequest(pem: string): CertificateRequest | { readonly refused: string } {
  const block = /-----BEGIN ([A-Z ]+)-----([^-]*)-----END \1-----/.exec(pem);
  if (block === null || block[1] !== label) return { refused: `PEM block type must be ${label}` };
  try {
    return read(new Uint8Array(Buffer.from(block[2] ?? "", "base64")));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { refused: `not a certificate request: ${why}` };
  }
}

function read(bytes: Bytes): CertificateRequest | { readonly refused: string } {
  const [body, algorithm, signature] = d.readAll(d.readOne(bytes).content);
  if (body === undefined || algorithm === undefined || signature === undefined)
    return { refused: "not a certificate request: parts are missing" };
  const [, subject, spki, attributes] = d.readAll(body.content);
  if (subject === undefined || spki === undefined)
    return { refused: "not a certificate request: subject or key is missing" };
  const key = createPublicKey({ key: Buffer.from(spki.whole), format: "der", type: "spki" });
  const [id] = d.readAll(algorithm.content);
  const digest = id === undefined ? undefined : digests[d.readOid(id.content)];
  if (digest === undefined)
    return { refused: "x509: cannot verify signature: algorithm unimplemented" };
  if (!verify(digest, body.whole, key, signature.content.subarray(1)))
    return { refused: "x509: signature verification failed" };
  return {
    ...readName(subject.content),
    ...readNames(attributes),
    publicKey: String(key.export({ type: "spki", format: "pem" })),
    keyType: keyTypeOf(key),
  };
}

function readNames(attributes: d.Der | undefined) {
  const found = {
    dnsNames: [] as string[],
    addresses: [] as string[],
    mails: [] as string[],
    uris: [] as string[],
  };
  for (const attribute of attributes === undefined ? [] : d.readAll(attributes.content)) {
    const [id, values] = d.readAll(attribute.content);
    if (id === undefined || values === undefined || d.readOid(id.content) !== extensionRequest)
      continue;
    for (const extension of d.readAll(d.readOne(values.content).content)) {
      const [extensionId, second, third] = d.readAll(extension.content);
      const value = third ?? second;
      if (extensionId === undefined || value === undefined) throw new Error("not an extension");
      if (d.readOid(extensionId.content) !== ids.names) continue;
      for (const name of d.readAll(d.readOne(value.content).content)) {
        if (name.tag === d.context(1, false)) found.mails.push(d.readText(name));
        if (name.tag === d.context(2, false)) found.dnsNames.push(d.readText(name));
        if (name.tag === d.context(6, false)) found.uris.push(d.readText(name));
        if (name.tag === d.context(7, false)) found.addresses.push(addressText(name.content));
      }
    }
  }
  return found;
}
