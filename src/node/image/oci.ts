/** OCI images: the documents of an image layout (image-spec v1). */

export interface Blob {
  /** "sha256:…" */
  readonly digest: string;
  readonly sizeBytes: number;
}
export interface Layer extends Blob {
  readonly mediaType: string;
  /** Digest of the uncompressed tar: the same as `digest` if it is not compressed. */
  readonly diffId: string;
}
export interface ImageConfig {
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env: readonly string[];
  readonly workingDirectory?: string;
  readonly user?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly exposedPorts?: readonly string[];
  readonly volumes?: readonly string[];
  readonly stopSignal?: string;
  readonly author?: string;
  /** Docker's; Kubernetes reads neither. */
  readonly shell?: readonly string[];
  readonly onBuild?: readonly string[];
}

export const tarLayerType = "application/vnd.oci.image.layer.v1.tar";
const configType = "application/vnd.oci.image.config.v1+json";
const manifestType = "application/vnd.oci.image.manifest.v1+json";

const encodeJson = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

const asKeys = (names: readonly string[] | undefined) =>
  names === undefined ? undefined : Object.fromEntries(names.map((name) => [name, {}]));

/** The configuration document. Without a creation time, so that equal input gives an equal image. */
export function imageConfigDocument(
  architecture: string,
  config: ImageConfig,
  layers: readonly Layer[],
): Uint8Array {
  const optional = {
    User: config.user,
    ExposedPorts: asKeys(config.exposedPorts),
    Entrypoint: config.entrypoint,
    Cmd: config.command,
    Volumes: asKeys(config.volumes),
    WorkingDir: config.workingDirectory,
    Labels: config.labels,
    StopSignal: config.stopSignal,
    Shell: config.shell,
    OnBuild: config.onBuild,
  };
  return encodeJson({
    architecture,
    os: "linux",
    ...(config.author === undefined ? {} : { author: config.author }),
    // What is undefined is no part of JSON.
    config: { Env: config.env, ...optional },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(() => ({ created_by: "wherry image build" })),
  });
}

export function manifestDocument(config: Blob, layers: readonly Layer[]): Uint8Array {
  return encodeJson({
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: configType, digest: config.digest, size: config.sizeBytes },
    layers: layers.map((layer) => ({
      mediaType: layer.mediaType,
      digest: layer.digest,
      size: layer.sizeBytes,
    })),
  });
}

/** index.json of an archive that holds one image under one name. */
export function indexDocument(manifest: Blob, reference: string): Uint8Array {
  return encodeJson({
    schemaVersion: 2,
    manifests: [
      {
        mediaType: manifestType,
        digest: manifest.digest,
        size: manifest.sizeBytes,
        annotations: {
          "io.containerd.image.name": reference,
          "org.opencontainers.image.ref.name": reference.slice(reference.lastIndexOf(":") + 1),
        },
      },
    ],
  });
}

export const layoutDocument = (): Uint8Array => encodeJson({ imageLayoutVersion: "1.0.0" });

/** Where a blob lies in a layout. */
export const blobPath = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
