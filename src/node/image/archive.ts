/** An OCI archive that fits in memory, from files given as bytes: for small images such as the pause image. */

import {
  type Blob,
  blobPath,
  type ImageConfig,
  imageConfigDocument,
  indexDocument,
  type Layer,
  layoutDocument,
  manifestDocument,
  tarLayerType,
} from "./oci.ts";
import { type PauseArchitecture, pauseProgram } from "./pause.ts";
import { concatBytes, type TarEntry, tarEnd, tarHeader, tarPadding } from "./tar.ts";

export interface ImageFile {
  readonly path: string;
  readonly mode: number;
  readonly content: Uint8Array;
}
/** SHA-256. */
export type Digest = (bytes: Uint8Array) => Uint8Array;

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export const blobOf = (bytes: Uint8Array, digest: Digest): Blob => ({
  digest: `sha256:${hex(digest(bytes))}`,
  sizeBytes: bytes.length,
});

export function tarOf(files: readonly ImageFile[]): Uint8Array {
  const parts = files.flatMap(({ path, mode, content }) => {
    const entry: TarEntry = { path, type: "file", mode, sizeBytes: content.length };
    return [tarHeader(entry), content, tarPadding(content.length)];
  });
  return concatBytes([...parts, tarEnd()]);
}

export function imageArchive(
  reference: string,
  architecture: string,
  files: readonly ImageFile[],
  config: ImageConfig,
  digest: Digest,
): Uint8Array {
  const layerBytes = tarOf(files);
  const blob = blobOf(layerBytes, digest);
  const layer: Layer = { ...blob, mediaType: tarLayerType, diffId: blob.digest };
  const configBytes = imageConfigDocument(architecture, config, [layer]);
  const configBlob = blobOf(configBytes, digest);
  const manifestBytes = manifestDocument(configBlob, [layer]);
  const manifestBlob = blobOf(manifestBytes, digest);
  const document = (path: string, content: Uint8Array): ImageFile => ({
    path,
    mode: 0o644,
    content,
  });
  return tarOf([
    document("oci-layout", layoutDocument()),
    document("index.json", indexDocument(manifestBlob, reference)),
    document(blobPath(manifestBlob.digest), manifestBytes),
    document(blobPath(configBlob.digest), configBytes),
    document(blobPath(layer.digest), layerBytes),
  ]);
}

/** The name under which sandboxes find their image; the host part can never be a registry. */
export const pauseReference = "wherry.invalid/pause:1";

export function pauseImageArchive(architecture: PauseArchitecture, digest: Digest): Uint8Array {
  const files = [{ path: "pause", mode: 0o755, content: pauseProgram(architecture) }];
  const config = { entrypoint: ["/pause"], env: [], user: "65535:65535" };
  return imageArchive(pauseReference, architecture, files, config, digest);
}
