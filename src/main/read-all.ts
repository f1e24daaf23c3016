/** A whole body from its source. */
import type { Bytes, Source } from "#ports/stream.ts";

export async function readAll(source: Source<Bytes>): Promise<Bytes> {
  const parts: Bytes[] = [];
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) return Buffer.concat(parts);
    parts.push(...batch);
  }
}
