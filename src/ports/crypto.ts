import type { Bytes } from "./stream.ts";

/** What a certificate says, or shall say. */
export interface CertificateFacts {
  /** CN. */
  readonly user: string;
  /** O. */
  readonly groups: readonly string[];
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly uses: readonly ("client auth" | "server auth" | "ca")[];
  readonly fromMs: number;
  readonly toMs: number;
}

/** Keys that workloads may have, by upstream's names. */
export type KeyType = "RSA3072" | "RSA4096" | "ECDSAP256" | "ECDSAP384" | "ECDSAP521" | "ED25519";

/** What a certificate signing request (PKCS #10) asks for, and whose key it is for. */
export interface CertificateRequest {
  /** CN. */
  readonly user: string;
  /** O. */
  readonly groups: readonly string[];
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  readonly mails: readonly string[];
  readonly uris: readonly string[];
  /** PEM. */
  readonly publicKey: string;
  /** Its KeyType, or what it is instead, for the message: "2048-bit modulus", "curve P-224", "dsa". */
  readonly keyType: string;
}

/** A public key as JOSE writes it (RFC 7518): numbers in base64url. */
export type PublicJwk =
  | { readonly kty: "EC"; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: "RSA"; readonly n: string; readonly e: string };

/** Keys and certificates are PEM (keys PKCS #8). */
export interface Crypto {
  secret(count: number): Bytes;
  /** SHA-256. */
  digest(bytes: Bytes): Bytes;
  /** In constant time. */
  equal(a: Bytes, b: Bytes): boolean;
  generateKey(
    algorithm: "ES256" | "RS256" | KeyType,
  ): Promise<{ readonly privateKey: string; readonly publicKey: string }>;
  /** JOSE signatures: ES256 as r||s, RS256 PKCS #1; the algorithm follows the key. */
  sign(privateKey: string, bytes: Bytes): Promise<Bytes>;
  verify(publicKey: string, bytes: Bytes, signature: Bytes): Promise<boolean>;
  publicJwk(publicKey: string): PublicJwk;
  /** A certificate for `publicKey`, signed `by` a CA (its PEM certificate and private key). */
  issue(
    facts: CertificateFacts,
    publicKey: string,
    by: { readonly certificate?: string; readonly privateKey: string },
  ): Promise<string>;
  readCertificate(pem: string): CertificateFacts;
  /** Whose key the first certificate of the text is for: PEM, as CertificateRequest has it. */
  publicKeyOf(certificate: string): string;
  /** A signing request (PEM), signed with the key that it asks a certificate for. */
  request(
    wanted: Pick<CertificateFacts, "user" | "groups" | "names">,
    key: { readonly privateKey: string; readonly publicKey: string },
  ): Promise<string>;
  /** What a signing request says, if it is signed with the key that it names; else why it counts for nothing. */
  readRequest(pem: string): CertificateRequest | { readonly refused: string };
  /** The leaf's facts if the chain leads to one of `roots` and is valid at the moment; else why not. */
  judge(
    chain: readonly Bytes[],
    roots: string,
    atMs: number,
  ): CertificateFacts | { readonly refused: string };
}
