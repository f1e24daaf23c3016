/** Objects to bytes, in the formats that the server speaks. */
import { printYaml } from "#machinery/yaml-print.ts";
import type { Bytes } from "#ports/stream.ts";
import { concat } from "./bytes.ts";
import { type MediaType, protobufName } from "./media-type.ts";
import { protobufSchema, writeProtobuf } from "./protobuf-write.ts";

const encoder = new TextEncoder();
const newline = encoder.encode("\n");

/** Upstream ends JSON with a newline. */
export function encodeObject(
  object: object,
  { format, pretty }: Pick<MediaType, "format" | "pretty">,
): { readonly bytes: Bytes; readonly contentType: string } {
  if (format === "protobuf") {
    const schema = protobufSchema(object);
    // What protobuf does not know is told in JSON: whoever asks for it reads that, too.
    if (schema !== undefined)
      return { bytes: writeProtobuf(object, schema), contentType: protobufName };
  }
  if (format === "yaml")
    return { bytes: encoder.encode(printYaml(object)), contentType: "application/yaml" };
  const text = JSON.stringify(object, undefined, pretty ? 2 : undefined);
  return { bytes: encoder.encode(`${text}\n`), contentType: "application/json" };
}

/** JSON that is there in pieces already. */
export const joinJson = (chunks: readonly Bytes[]): Bytes => concat([...chunks, newline]);
