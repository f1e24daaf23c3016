/** Join tokens: a bootstrap token, with the hash of the cluster's authority behind it, so that a new machine knows whom it may trust. */
import { decodeBase64 } from "#machinery/base64.ts";
import type { Crypto } from "#ports/crypto.ts";

export interface JoinToken {
  readonly id: string;
  readonly secret: string;
  /** SHA-256 of the authority's certificate, hexadecimal; undefined: the token does not carry it. */
  readonly caHash: string | undefined;
}

const tokenForm = /^([a-z0-9]{6})\.([a-z0-9]{16})(?:\.([0-9a-f]{64}))?$/;
const letters = "abcdefghijklmnopqrstuvwxyz0123456789";

export function parseJoinToken(text: string): JoinToken | undefined {
  const match = tokenForm.exec(text);
  if (match === null) return undefined;
  const [, id = "", secret = "", caHash] = match;
  return { id, secret, caHash };
}

/** Letters without a bias: what falls beyond the last whole round is drawn again. */
function letterText(crypto: Crypto, length: number): string {
  let text = "";
  const max = 256 - (256 % letters.length);
  while (text.length < length) {
    for (const byte of crypto.secret(length))
      if (byte < max && text.length < length) text += letters[byte % letters.length] ?? "";
  }
  return text;
}

export const newTokenParts = (
  crypto: Crypto,
): { readonly id: string; readonly secret: string } => ({
  id: letterText(crypto, 6),
  secret: letterText(crypto, 16),
});

/** Of the first certificate of a PEM text. */
export function certificateHash(crypto: Crypto, pem: string): string {
  const body = /-----BEGIN CERTIFICATE-----([^-]*)-----END/.exec(pem)?.[1] ?? "";
  const decoded = decodeBase64(body.replace(/\s/g, ""));
  if (!("bytes" in decoded)) throw new Error("there is no certificate in this PEM text");
  const digest = crypto.digest(decoded.bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
