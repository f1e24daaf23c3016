/**
 * Files of one volume that would overwrite each other: equal paths, or one the directory of the
 * other. Pure.
 */
import type { Volume, VolumeProjection } from "../../generated/core/v1.ts";

interface Target {
  readonly path: string;
  readonly source: string;
}
const show = ({ path, source }: Target): string =>
  source === "" ? JSON.stringify(path) : `${JSON.stringify(path)} (${source})`;

const clashes = (a: Target, b: Target): boolean =>
  a.path !== "" &&
  b.path !== "" &&
  (`${a.path}/`.startsWith(`${b.path}/`) || `${b.path}/`.startsWith(`${a.path}/`));

function overlaps(targets: readonly Target[]): string[] {
  const trimmed = targets.map(({ path, source }) => ({ path: path.replace(/\/+$/, ""), source }));
  return trimmed.flatMap((target, index) =>
    trimmed
      .slice(0, index)
      .filter((earlier) => clashes(earlier, target))
      .map((earlier) => `${show(target)} with ${show(earlier)}`),
  );
}

const targetsOf = (
  items: readonly { readonly path: string }[] | undefined,
  source = "",
): Target[] => (items ?? []).map(({ path }) => ({ path, source }));

function projectedTargets(projection: VolumeProjection): Target[] {
  const { configMap, secret, downwardAPI, serviceAccountToken: token } = projection;
  const { clusterTrustBundle: bundle, podCertificate: certificate } = projection;
  const quoted = (name: string | undefined): string => JSON.stringify(name ?? "");
  if (configMap?.items !== undefined) {
    return targetsOf(configMap.items, `ConfigMap ${quoted(configMap.name)}`);
  }
  if (secret?.items !== undefined) return targetsOf(secret.items, `Secret ${quoted(secret.name)}`);
  if (downwardAPI?.items !== undefined) return targetsOf(downwardAPI.items, "DownwardAPI");
  if (token !== undefined) return [{ path: token.path, source: "ServiceAccountToken" }];
  if (bundle !== undefined) {
    const source = `ClusterTrustBundle ${quoted(bundle.name ?? bundle.signerName)}`;
    return [{ path: bundle.path, source }];
  }
  return [
    { path: certificate?.certificateChainPath ?? "", source: "PodCertificate chain" },
    { path: certificate?.keyPath ?? "", source: "PodCertificate key" },
    { path: certificate?.credentialBundlePath ?? "", source: "PodCertificate credential bundle" },
  ].filter(({ path }) => path !== "");
}

export function overlappingPathWarnings(volumes: readonly Volume[]): string[] {
  return volumes.flatMap(({ name, configMap, secret, downwardAPI, projected }) => {
    const lead = `volume ${JSON.stringify(name)}`;
    const told = (what: string, targets: readonly Target[]): string[] =>
      overlaps(targets).map((text) => `${lead} (${what}): overlapping paths: ${text}`);
    const sources = projected?.sources ?? [];
    return [
      ...told(`ConfigMap ${JSON.stringify(configMap?.name ?? "")}`, targetsOf(configMap?.items)),
      ...told(`Secret ${JSON.stringify(secret?.secretName ?? "")}`, targetsOf(secret?.items)),
      ...told("DownwardAPI", targetsOf(downwardAPI?.items)),
      ...sources
        .filter((source) => Object.keys(source).length === 0)
        .map(() => `${lead} (Projected) has no sources provided`),
      ...told("Projected", sources.flatMap(projectedTargets)),
    ];
  });
}
