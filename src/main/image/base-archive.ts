/** Reads a given base image (--base FILE): an OCI archive, plain or gzipped, and puts its blobs beside the new ones. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { blobPath } from "#node/image/oci.ts";
import { readTar } from "#node/image/tar.ts";
import {
  type BaseImage,
  type ConfigDocument,
  configOf,
  type IndexDocument,
  isIndex,
  layersOf,
  type ManifestDocument,
  pickManifest,
} from "./base-image.ts";

export function readBaseArchive(file: string, blobFolder: string, architecture: string): BaseImage {
  let bytes: Uint8Array = readFileSync(file);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
  const files = new Map([...readTar(bytes)].map((one) => [one.path, one.content]));
  const json = <T>(path: string): T => {
    const content = files.get(path);
    if (content === undefined) {
      throw new Error(
        `${file} is no OCI image archive: it has no ${path}. Save the image as one, for example with \`skopeo copy … oci-archive:FILE\`.`,
      );
    }
    return JSON.parse(new TextDecoder().decode(content)) as T;
  };
  let index = json<IndexDocument>("index.json");
  let entry = pickManifest(index, architecture);
  if (isIndex(entry?.mediaType)) {
    index = json<IndexDocument>(blobPath(entry?.digest ?? ""));
    entry = pickManifest(index, architecture);
  }
  if (entry === undefined) throw new Error(`${file} holds no image for ${architecture}`);
  const manifest = json<ManifestDocument>(blobPath(entry.digest));
  const config = json<ConfigDocument>(blobPath(manifest.config.digest));
  const layers = layersOf(manifest, config);
  for (const { digest } of layers) {
    const content = files.get(blobPath(digest));
    if (content === undefined) throw new Error(`${file} lacks its layer ${digest}`);
    writeFileSync(join(blobFolder, digest.slice("sha256:".length)), content);
  }
  return { layers, config: configOf(config) };
}
