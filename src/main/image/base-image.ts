/** Reads an image that containerd has, or gets it: its layers and its configuration, to build upon. */
import type { Snapshots } from "#adapters/containerd/snapshots.ts";
import { normalizeImageReference } from "#machinery/image-reference.ts";
import type { ImageConfig, Layer } from "#node/image/oci.ts";

export interface IndexDocument {
  readonly manifests?: readonly {
    readonly digest: string;
    readonly mediaType?: string;
    readonly platform?: { readonly architecture?: string; readonly os?: string };
  }[];
}
export interface ManifestDocument {
  readonly config: { readonly digest: string };
  readonly layers: readonly {
    readonly mediaType: string;
    readonly digest: string;
    readonly size: number;
  }[];
}
/** image-spec, "Image JSON"; the names are its own. */
export interface ConfigDocument {
  readonly author?: string;
  readonly config?: {
    readonly Env?: string[];
    readonly Entrypoint?: string[];
    readonly Cmd?: string[];
    readonly WorkingDir?: string;
    readonly User?: string;
    readonly Labels?: Record<string, string>;
    readonly ExposedPorts?: Record<string, object>;
    readonly Volumes?: Record<string, object>;
    readonly StopSignal?: string;
    readonly Shell?: string[];
    readonly OnBuild?: string[];
  };
  readonly rootfs: { readonly diff_ids: readonly string[] };
}
export interface BaseImage {
  readonly layers: readonly Layer[];
  readonly config: Partial<ImageConfig>;
}

export const pickManifest = (index: IndexDocument, architecture: string) =>
  index.manifests?.find((one) => one.platform?.architecture === architecture) ??
  index.manifests?.[0];

export const isIndex = (mediaType = ""): boolean => /index|manifest\.list/.test(mediaType);

export function configOf({ author, config = {} }: ConfigDocument): Partial<ImageConfig> {
  const keys = (record: Record<string, object> | undefined) =>
    record === undefined ? undefined : Object.keys(record);
  const found = {
    env: config.Env,
    entrypoint: config.Entrypoint,
    command: config.Cmd,
    workingDirectory: config.WorkingDir || undefined,
    user: config.User || undefined,
    labels: config.Labels,
    exposedPorts: keys(config.ExposedPorts),
    volumes: keys(config.Volumes),
    stopSignal: config.StopSignal,
    shell: config.Shell,
    onBuild: config.OnBuild,
    author,
  };
  return Object.fromEntries(
    Object.entries(found).filter(([, value]) => value !== undefined && value !== null),
  );
}

export const layersOf = (manifest: ManifestDocument, config: ConfigDocument): Layer[] =>
  manifest.layers.map(({ digest, size, mediaType }, at) => ({
    digest,
    sizeBytes: size,
    mediaType,
    diffId: config.rootfs.diff_ids[at] ?? digest,
  }));

/** Pulls what is not here. */
export async function readStoredImage(
  snapshots: Snapshots,
  name: string,
  architecture: string,
  pull: (reference: string) => Promise<void>,
): Promise<BaseImage> {
  const reference = normalizeImageReference(name);
  let digest = await snapshots.imageDigest(reference);
  if (digest === undefined) {
    try {
      await pull(reference);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(
        `the cluster has no image ${reference} and could not pull it: ${why}. Load one with wherry image load FILE.`,
        { cause: error },
      );
    }
    digest = await snapshots.imageDigest(reference);
  }
  if (digest === undefined) throw new Error(`there is no image ${reference}`);
  let document = (await snapshots.document(digest)) as IndexDocument | ManifestDocument;
  if ("manifests" in document) {
    const picked = pickManifest(document, architecture);
    if (picked === undefined) throw new Error(`${reference} has no image for ${architecture}`);
    document = (await snapshots.document(picked.digest)) as ManifestDocument;
  }
  const manifest = document as ManifestDocument;
  const config = (await snapshots.document(manifest.config.digest)) as ConfigDocument;
  return { layers: layersOf(manifest, config), config: configOf(config) };
}
