/**
 * `wherry image build DIR -t NAME`: packs a Node application with the Node runtime into an OCI archive, without Docker. Layers:
 * the base (this machine's node and its libraries, or the image given with --base) and the folder as /app. Equal input gives equal bytes.
 */
import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import {
  type Blob,
  blobPath,
  type ImageConfig,
  imageConfigDocument,
  indexDocument,
  type Layer,
  layoutDocument,
  manifestDocument,
} from "#node/image/oci.ts";
import { tarEnd, tarHeader, tarPadding } from "#node/image/tar.ts";
import { applicationEntries, startArguments } from "./application.ts";
import { readBaseArchive } from "./base-archive.ts";
import type { BaseImage } from "./base-image.ts";
import { writeLayer } from "./layer.ts";
import { nodeBaseEntries } from "./node-base.ts";

export interface BuildOptions {
  readonly folder: string;
  /** In full: registry/repository:tag. */
  readonly reference: string;
  /** The archive to write. */
  readonly output: string;
  /** An OCI archive to build on. */
  readonly base?: string;
  /** What to start instead of `node` and what package.json says. */
  readonly command?: readonly string[];
  readonly env?: readonly string[];
}
export interface BuiltImage {
  readonly reference: string;
  readonly output: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

export const ociArchitecture = (): string =>
  (({ x64: "amd64", ia32: "386" }) as Record<string, string>)[process.arch] ?? process.arch;

export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  if (!existsSync(options.folder) || !statSync(options.folder).isDirectory()) {
    throw new Error(`${options.folder} is not a folder; name the folder of a Node application.`);
  }
  const work = await mkdtemp(join(tmpdir(), "wherry-build-"));
  try {
    const start = options.command ?? ["/usr/bin/node", ...startArguments(options.folder)];
    const base = await baseImage(options, work);
    const file = join(work, "application.tar");
    const layer = await writeLayer(file, await applicationEntries(options.folder));
    await rename(file, join(work, layer.digest.slice("sha256:".length)));
    const config: ImageConfig = {
      ...base.config,
      env: [...(base.config.env ?? []), "NODE_ENV=production", ...(options.env ?? [])],
      entrypoint: start,
      workingDirectory: "/app",
    };
    return await writeArchive(options, work, [...base.layers, layer], config);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function baseImage(options: BuildOptions, work: string): Promise<BaseImage> {
  if (options.base !== undefined) return readBaseArchive(options.base, work, ociArchitecture());
  const file = join(work, "base.tar");
  const layer = await writeLayer(file, await nodeBaseEntries());
  await rename(file, join(work, layer.digest.slice("sha256:".length)));
  return { layers: [layer], config: { env: ["PATH=/usr/local/bin:/usr/bin:/bin"] } };
}

async function writeBlob(work: string, content: Uint8Array): Promise<Blob> {
  const digest = createHash("sha256").update(content).digest("hex");
  await writeFile(join(work, digest), content);
  return { digest: `sha256:${digest}`, sizeBytes: content.length };
}

/** The archive of layers whose blobs lie in `work` under their digests. */
export async function writeArchive(
  options: Pick<BuildOptions, "reference" | "output">,
  work: string,
  layers: readonly Layer[],
  config: ImageConfig,
): Promise<BuiltImage> {
  const configBlob = await writeBlob(work, imageConfigDocument(ociArchitecture(), config, layers));
  const manifest = await writeBlob(work, manifestDocument(configBlob, layers));
  await mkdir(dirname(options.output), { recursive: true });
  const unfinished = join(dirname(options.output), `.${basename(options.output)}.${process.pid}`);
  const out = await open(unfinished, "w");
  let sizeBytes = 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (bytes.length > 0) await out.write(bytes);
    sizeBytes += bytes.length;
  };
  const putFile = async (path: string, content: Uint8Array): Promise<void> => {
    await put(tarHeader({ path, type: "file", mode: 0o644, sizeBytes: content.length }));
    await put(content);
    await put(tarPadding(content.length));
  };
  try {
    await putFile("oci-layout", layoutDocument());
    await putFile("index.json", indexDocument(manifest, options.reference));
    const blobs = new Map([manifest, configBlob, ...layers].map((blob) => [blob.digest, blob]));
    for (const { digest } of blobs.values()) {
      await putFile(blobPath(digest), await readFile(join(work, digest.slice("sha256:".length))));
    }
    await put(tarEnd());
    await out.close();
    await rename(unfinished, options.output);
  } catch (error) {
    await out.close().catch(() => undefined);
    await rm(unfinished, { force: true });
    throw error;
  }
  return {
    reference: options.reference,
    output: options.output,
    digest: manifest.digest,
    sizeBytes,
  };
}
