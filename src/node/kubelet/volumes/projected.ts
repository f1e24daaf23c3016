/** projected: several sources in one directory: Secrets, ConfigMaps, the downward API, ServiceAccount tokens, trust bundles, certificates. */
import type { ClusterTrustBundleProjection, VolumeProjection } from "#api/generated/core/v1.ts";
import type { NodePod } from "../pod-spec.ts";
import type { ProjectedFile } from "./atomic-writer.ts";
import { defaultMode, projectDownward, projectKeys } from "./projection.ts";
import { fsGroupOf, VolumeError, type VolumeInput, type VolumePlugin } from "./volume.ts";

const tokenSecondsDefault = 3600;

/** The user all containers run as, if they agree: it then owns what is secret. */
function commonUser(pod: NodePod): number | undefined {
  const users = new Set(
    pod.spec.containers.map(
      (one) => one.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser,
    ),
  );
  return users.size === 1 ? [...users][0] : undefined;
}

/** A file of the user all containers run as, if they agree, and then for that user alone. */
function ownedFile(pod: NodePod, bytes: Uint8Array, mode: number): ProjectedFile {
  const uid = commonUser(pod);
  const narrow = uid !== undefined || fsGroupOf(pod) !== undefined;
  return { bytes, mode: narrow ? 0o600 : mode, ...(uid === undefined ? {} : { uid }) };
}

const missingBundle = ({ name }: ClusterTrustBundleProjection): string =>
  name === undefined
    ? "combination of signerName and labelSelector matched zero ClusterTrustBundles"
    : `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "${name}" not found`;

interface Projected {
  readonly files: ReadonlyMap<string, ProjectedFile>;
  readonly refreshAtMs?: number;
}

async function project(
  input: VolumeInput,
  source: VolumeProjection,
  index: number,
  mode: number,
): Promise<Projected> {
  const { pod, volume } = input;
  const { namespace } = pod.metadata;
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  const { clusterTrustBundle, podCertificate } = source;
  if (configMap !== undefined) {
    const { name = "", items, optional = false } = configMap;
    const payload = await input.configMap(namespace, name);
    if (payload === undefined && !optional) throw new VolumeError(`configmap "${name}" not found`);
    const missing = (key: string): string => `configmap references non-existent config key: ${key}`;
    return { files: projectKeys(payload ?? new Map(), items, mode, optional, missing) };
  }
  if (secret !== undefined) {
    const { name = "", items, optional = false } = secret;
    const payload = await input.secret(namespace, name);
    if (payload === undefined && !optional) throw new VolumeError(`secret "${name}" not found`);
    const missing = (key: string): string => `references non-existent secret key: ${key}`;
    return { files: projectKeys(payload ?? new Map(), items, mode, optional, missing) };
  }
  if (downwardAPI !== undefined) {
    return { files: projectDownward(downwardAPI.items, mode, pod, input.node) };
  }
  if (serviceAccountToken !== undefined) {
    const { audience = "", expirationSeconds = tokenSecondsDefault, path } = serviceAccountToken;
    const { token, refreshAtMs } = await input.token(pod, audience, expirationSeconds);
    const file = ownedFile(pod, new TextEncoder().encode(token), mode);
    return { files: new Map([[path, file]]), refreshAtMs };
  }
  if (clusterTrustBundle !== undefined) {
    const { optional = false, path } = clusterTrustBundle;
    const pem = await input.trustAnchors(clusterTrustBundle);
    if (pem === undefined && !optional) throw new VolumeError(missingBundle(clusterTrustBundle));
    const file = ownedFile(pod, new TextEncoder().encode(pem ?? ""), mode);
    return { files: new Map([[path, file]]) };
  }
  if (podCertificate !== undefined) {
    const { key, chain, refreshAtMs } = await input.podCertificate(
      pod,
      volume.name,
      index,
      podCertificate,
    );
    const { credentialBundlePath = "", keyPath = "", certificateChainPath = "" } = podCertificate;
    const texts = [
      [credentialBundlePath, key + chain],
      [keyPath, key],
      [certificateChainPath, chain],
    ] as const;
    const files = texts
      .filter(([path]) => path !== "")
      .map(([path, text]) => [path, ownedFile(pod, new TextEncoder().encode(text), mode)] as const);
    return { files: new Map(files), refreshAtMs };
  }
  throw new VolumeError("a source of the projected volume is of a kind that this node lacks");
}

export const projected: VolumePlugin = {
  name: "projected",
  live: true,
  inMemory: true,
  handles: (volume) => volume.projected !== undefined,
  async setUp(input) {
    const mode = input.volume.projected?.defaultMode ?? defaultMode;
    const files = new Map<string, ProjectedFile>();
    let refreshAtMs: number | undefined;
    for (const [index, source] of (input.volume.projected?.sources ?? []).entries()) {
      const part = await project(input, source, index, mode);
      for (const [path, file] of part.files) files.set(path, file);
      if (part.refreshAtMs !== undefined) {
        refreshAtMs = Math.min(refreshAtMs ?? part.refreshAtMs, part.refreshAtMs);
      }
    }
    await input.writer.write(input.directory, files, fsGroupOf(input.pod));
    return {
      hostPath: input.directory,
      readOnly: true,
      atomic: true,
      ...(refreshAtMs === undefined ? {} : { refreshAtMs }),
    };
  },
};
