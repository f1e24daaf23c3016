/** Reads a given base image (--base FILE): an OCI archive, plain or gzipped, and puts its blobs beside the new ones. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { blobPath, type ImageConfig, type Layer } from "#node/image/oci.ts";
import { readTar } from "#node/image/tar.ts";

interface IndexDocument {
  manifests?: { digest: string; mediaType?: string; platform?: { architecture?: string } }[];
}
interface ManifestDocument {
  config: { digest: string };
  layers: { mediaType: string; digest: string; size: number }[];
}
interface ConfigDocument {
  config?: {
    Env?: string[];
    Entrypoint?: string[];
    Cmd?: string[];
    WorkingDir?: string;
    User?: string;
  };
  rootfs: { diff_ids: string[] };
}
export interface BaseImage {
  readonly layers: readonly Layer[];
  readonly config: Partial<ImageConfig>;
}

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
  let entry = pick(index, architecture);
  if (/index|manifest\.list/.test(entry?.mediaType ?? "")) {
    index = json<IndexDocument>(blobPath(entry?.digest ?? ""));
    entry = pick(index, architecture);
  }
  if (entry === undefined) throw new Error(`${file} holds no image for ${architecture}`);
  const manifest = json<ManifestDocument>(blobPath(entry.digest));
  const config = json<ConfigDocument>(blobPath(manifest.config.digest));
  const layers = manifest.layers.map((layer, at) => {
    const content = files.get(blobPath(layer.digest));
    if (content === undefined) throw new Error(`${file} lacks its layer ${layer.digest}`);
    writeFileSync(join(blobFolder, layer.digest.slice("sha256:".length)), content);
    return {
      digest: layer.digest,
      sizeBytes: layer.size,
      mediaType: layer.mediaType,
      diffId: config.rootfs.diff_ids[at] ?? layer.digest,
    };
  });
  const { Env, Entrypoint, Cmd, WorkingDir, User } = config.config ?? {};
  return {
    layers,
    config: {
      ...(Env === undefined ? {} : { env: Env }),
      ...(Entrypoint === undefined ? {} : { entrypoint: Entrypoint }),
      ...(Cmd === undefined ? {} : { command: Cmd }),
      ...(WorkingDir ? { workingDirectory: WorkingDir } : {}),
      ...(User ? { user: User } : {}),
    },
  };
}

const pick = (index: IndexDocument, architecture: string) =>
  index.manifests?.find((one) => one.platform?.architecture === architecture) ??
  index.manifests?.[0];
