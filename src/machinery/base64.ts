/** Standard base64 (RFC 4648 section 4) as Go reads and prints it. */

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const codes = new TextEncoder().encode(alphabet);
const values = new Int8Array(128).fill(-1);
codes.forEach((code, index) => {
  values[code] = index;
});
const padding = 61;
const ascii = new TextDecoder();

export function encodeBase64(bytes: Uint8Array): string {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const b0 = bytes[i] ?? 0;
    const b1 = bytes[i + 1] ?? 0;
    const b2 = bytes[i + 2] ?? 0;
    out[at] = codes[b0 >> 2] ?? 0;
    out[at + 1] = codes[((b0 & 3) << 4) | (b1 >> 4)] ?? 0;
    out[at + 2] = left > 1 ? (codes[((b1 & 15) << 2) | (b2 >> 6)] ?? 0) : padding;
    out[at + 3] = left > 2 ? (codes[b2 & 63] ?? 0) : padding;
    at += 4;
  }
  return ascii.decode(out);
}

export type DecodedBase64 = { readonly bytes: Uint8Array } | { readonly problem: string };

const corrupt = (at: number): DecodedBase64 => ({
  problem: `illegal base64 data at input byte ${at}`,
});

/** Line ends are skipped; padding is required; what else is not base64 is said in Go's words. */
export function decodeBase64(text: string): DecodedBase64 {
  const out = new Uint8Array(Math.ceil((text.length * 3) / 4));
  let length = 0;
  let group = 0;
  let inGroup = 0;
  let i = 0;
  const isLineEnd = (at: number): boolean => text[at] === "\n" || text[at] === "\r";
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || code === 13) continue;
    if (code === padding) break;
    const value = code < 128 ? (values[code] ?? -1) : -1;
    if (value < 0) return corrupt(i);
    group = (group << 6) | value;
    inGroup += 1;
    if (inGroup === 4) {
      out[length] = (group >> 16) & 255;
      out[length + 1] = (group >> 8) & 255;
      out[length + 2] = group & 255;
      length += 3;
      group = 0;
      inGroup = 0;
    }
  }
  if (i >= text.length) {
    return inGroup === 0 ? { bytes: out.subarray(0, length) } : corrupt(text.length - inGroup);
  }
  if (inGroup < 2) return corrupt(i);
  if (inGroup === 2) {
    for (i += 1; i < text.length && isLineEnd(i); ) i += 1;
    if (i >= text.length) return corrupt(text.length);
    if (text.charCodeAt(i) !== padding) return corrupt(i);
  }
  for (i += 1; i < text.length && isLineEnd(i); ) i += 1;
  if (i < text.length) return corrupt(i);
  if (inGroup === 2) out[length++] = (group >> 4) & 255;
  else {
    out[length++] = (group >> 10) & 255;
    out[length++] = (group >> 2) & 255;
  }
  return { bytes: out.subarray(0, length) };
}

/** How many bytes a base64 text stands for, without decoding it. */
export function base64ByteLength(text: string): number {
  const pad = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return Math.max(0, Math.floor((text.length * 3) / 4) - pad);
}

const oneLine = /^[A-Za-z0-9+/]*={0,2}$/;

/** The text as Go prints it after reading it (one line, spare bits zero), or what is wrong with it. */
export function canonicalBase64(
  text: string,
): { readonly text: string } | { readonly problem: string } {
  // Most texts are canonical already: without padding there are no spare bits.
  if (text.length % 4 === 0 && oneLine.test(text) && !text.endsWith("=")) return { text };
  const decoded = decodeBase64(text);
  return "bytes" in decoded ? { text: encodeBase64(decoded.bytes) } : decoded;
}
