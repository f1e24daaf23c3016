/** Names and identifiers drawn from randomness that the caller hands in: generated names, UIDs, hash-safe text. */

/** The part of the random port that is used here. */
export interface RandomSource {
  /** Uniform in 0 … 2^32-1. */
  uint32(): number;
}

/** Upstream's alphabet for generated text: no vowels (no words), no 0, 1, 3 (no look-alikes). */
const alphabet = "bcdfghjklmnpqrstvwxz2456789";
const suffixLength = 5;
const nameLengthMax = 63;

/** `length` characters of the alphabet, each equally likely. */
export function randomText(length: number, random: RandomSource): string {
  // Values of the last, incomplete run through the alphabet would favour its first letters.
  const limit = Math.floor(2 ** 32 / alphabet.length) * alphabet.length;
  let text = "";
  while (text.length < length) {
    const drawn = random.uint32();
    if (drawn < limit) text += alphabet[drawn % alphabet.length] ?? "";
  }
  return text;
}

/** What metadata.generateName makes of `base`: cut so that the whole stays within 63 characters. */
export const generateName = (base: string, random: RandomSource): string =>
  `${base.slice(0, nameLengthMax - suffixLength)}${randomText(suffixLength, random)}`;

/** Maps any text onto the alphabet, character by character: hashes in names (pod-template-hash). */
export function safeEncode(text: string): string {
  let encoded = "";
  for (let i = 0; i < text.length; i++) {
    encoded += alphabet[text.charCodeAt(i) % alphabet.length] ?? "";
  }
  return encoded;
}

/** A random UUID (RFC 9562, version 4). */
export function uuid(random: RandomSource): string {
  const hex = (value: number): string => value.toString(16).padStart(8, "0");
  const a = hex(random.uint32());
  const b = hex(((random.uint32() & 0xffff0fff) | 0x4000) >>> 0);
  const c = hex(((random.uint32() & 0x3fffffff) | 0x80000000) >>> 0);
  const d = hex(random.uint32());
  return `${a}-${b.slice(0, 4)}-${b.slice(4)}-${c.slice(0, 4)}-${c.slice(4)}${d}`;
}
