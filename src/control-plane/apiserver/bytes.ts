/** Pieces of bytes joined into one. */
import type { Bytes } from "#ports/stream.ts";

export function concat(chunks: readonly Bytes[]): Bytes {
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
