/** The body of what another server answered, read whole. */
import type { ApiResponse } from "#api/request.ts";
import type { Bytes } from "#ports/stream.ts";
import { concat } from "./bytes.ts";

/** Throws what `tooLong` makes once more than `bytesMax` have come; the rest is not read. */
export async function bodyOf(
  { content }: ApiResponse,
  bytesMax: number,
  tooLong: () => Error,
): Promise<Bytes> {
  if (content.type === "bytes") return content.bytes;
  if (content.type !== "stream") throw new Error("the answer has no body");
  const chunks: Bytes[] = [];
  let size = 0;
  for (;;) {
    const batch = await content.bytes.next();
    if (batch === undefined) return concat(chunks);
    for (const chunk of batch) {
      size += chunk.length;
      chunks.push(chunk);
    }
    if (size > bytesMax) {
      content.bytes.stop();
      throw tooLong();
    }
  }
}
