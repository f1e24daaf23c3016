/** The shape of a volume plugin: how one kind of volume gets onto the host and off it again. */
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PodCertificateProjection,
  Volume,
} from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import type { Host } from "#ports/host.ts";
import type { NodeFigures } from "../downward.ts";
import type { Credentials } from "../pod-certificates.ts";
import type { NodePod } from "../pod-spec.ts";
import type { Payload } from "../references.ts";
import type { TrustSource } from "../trust-bundles.ts";
import type { AtomicWriter } from "./atomic-writer.ts";

/** A ServiceAccount token for a pod, and when a new one should be fetched. */
export interface Token {
  readonly token: string;
  readonly refreshAtMs: number;
}

export interface VolumeWorld {
  readonly host: Host;
  readonly writer: AtomicWriter;
  readonly node: NodeFigures;
  configMap(namespace: string, name: string): Promise<Payload | undefined>;
  secret(namespace: string, name: string): Promise<Payload | undefined>;
  /** Undefined: there is none. As the API server has it now. */
  claim(namespace: string, name: string): Promise<Stored<PersistentVolumeClaim> | undefined>;
  persistentVolume(name: string): Promise<Stored<PersistentVolume> | undefined>;
  /** PEM of what may be trusted; undefined: there is no such bundle, or none of that signer which the labels choose. */
  trustAnchors(from: TrustSource): Promise<string | undefined>;
  /** The credentials for the source at this place in the volume. Rejects with VolumeError while there are none. */
  podCertificate(
    pod: NodePod,
    volume: string,
    index: number,
    source: PodCertificateProjection,
  ): Promise<Credentials>;
  token(pod: NodePod, audience: string, expirationSeconds: number): Promise<Token>;
}

export interface VolumeInput extends VolumeWorld {
  readonly pod: NodePod;
  readonly volume: Volume;
  /** Where this volume lives: below the pod's directory, or in memory. Not made yet. */
  readonly directory: string;
}

export interface ImageSource {
  readonly reference: string;
  readonly pullPolicy: string;
}
export interface MountedVolume {
  /** What containers get, or what subPaths start from. Empty of an image. */
  readonly hostPath: string;
  /** It is an image's files that containers get. */
  readonly image?: ImageSource;
  readonly readOnly?: boolean;
  /** Its entries are links of the atomic writer. */
  readonly atomic?: boolean;
  /** When its content should be written anew without anybody asking. */
  readonly refreshAtMs?: number;
}

export interface VolumePlugin {
  /** Part of the directory's name: "empty-dir" in …/volumes/kubernetes.io~empty-dir/cache. */
  readonly name: string;
  handles(volume: Volume): boolean;
  /** Idempotent; called again when what it shows has changed. Rejects with VolumeError. */
  setUp(input: VolumeInput): Promise<MountedVolume>;
  /** The content may change while the pod runs. */
  readonly live: boolean;
  /** Its directory is in memory: what it shows must never be on disk. */
  readonly inMemory?: boolean;
}

/** Why a volume can't be had; told in the event FailedMount. */
export class VolumeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "VolumeError";
  }
}

export const fsGroupOf = (pod: NodePod): number | undefined => pod.spec.securityContext?.fsGroup;
