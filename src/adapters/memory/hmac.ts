/** HMAC-SHA-256 (RFC 2104) in plain JavaScript, for worlds without a system's cryptography. */
import { sha256 } from "#machinery/hash.ts";
import type { Bytes } from "#ports/stream.ts";

const blockBytes = 64;

export function hmacSha256(key: Bytes, message: Bytes): Bytes {
  const padded = new Uint8Array(blockBytes);
  padded.set(key.length > blockBytes ? sha256(key) : key);
  const inner = new Uint8Array(blockBytes + message.length);
  inner.set(padded.map((byte) => byte ^ 0x36));
  inner.set(message, blockBytes);
  const outer = new Uint8Array(blockBytes + 32);
  outer.set(padded.map((byte) => byte ^ 0x5c));
  outer.set(sha256(inner), blockBytes);
  return sha256(outer);
}
