/** Objects to bytes, in the formats that the server speaks. */
import { printYaml } from "#machinery/yaml-print.ts";
import type { Bytes } from "#ports/stream.ts";
import type { MediaType } from "./media-type.ts";

const encoder = new TextEncoder();
const newline = encoder.encode("\n");

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

/** Upstream ends JSON with a newline. */
export function encodeObject(
  object: object,
  { format, pretty }: Pick<MediaType, "format" | "pretty">,
): { readonly bytes: Bytes; readonly contentType: string } {
  if (format === "yaml")
    return { bytes: encoder.encode(printYaml(object)), contentType: "application/yaml" };
  const text = JSON.stringify(object, undefined, pretty ? 2 : undefined);
  return { bytes: encoder.encode(`${text}\n`), contentType: "application/json" };
}

/** JSON that is there in pieces already. */
export const joinJson = (chunks: readonly Bytes[]): Bytes => concat([...chunks, newline]);
