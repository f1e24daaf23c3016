/** Which keys of a ConfigMap, Secret or the downward API become which files. Pure. */
import type { DownwardAPIVolumeFile, KeyToPath } from "#api/generated/core/v1.ts";
import { fieldValue, type NodeFigures, namedResourceFieldValue } from "../downward.ts";
import type { NodePod } from "../pod-spec.ts";
import type { Payload } from "../references.ts";
import type { ProjectedFile } from "./atomic-writer.ts";
import { VolumeError } from "./volume.ts";

export const defaultMode = 0o644;

function checked(path: string): string {
  const bad = path === "" || path.startsWith("/") || path.split("/").includes("..");
  if (bad) throw new VolumeError(`invalid path "${path}": must be relative and without ".."`);
  return path;
}

/** Of the listed items only these keys, under their paths; without items all keys under their names. */
export function projectKeys(
  payload: Payload,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional: boolean,
  missing: (key: string) => string,
): Map<string, ProjectedFile> {
  const files = new Map<string, ProjectedFile>();
  if (items === undefined || items.length === 0) {
    for (const [key, bytes] of payload) files.set(key, { bytes, mode });
    return files;
  }
  for (const item of items) {
    const bytes = payload.get(item.key);
    if (bytes !== undefined) files.set(checked(item.path), { bytes, mode: item.mode ?? mode });
    else if (!optional) throw new VolumeError(missing(item.key));
  }
  return files;
}

export function projectDownward(
  items: readonly DownwardAPIVolumeFile[] | undefined,
  mode: number,
  pod: NodePod,
  node: NodeFigures,
): Map<string, ProjectedFile> {
  const files = new Map<string, ProjectedFile>();
  const podIps = (pod.status.podIPs ?? []).map((one) => one.ip);
  for (const item of items ?? []) {
    const found =
      item.fieldRef !== undefined
        ? fieldValue(pod, item.fieldRef.fieldPath, podIps, node)
        : item.resourceFieldRef !== undefined
          ? namedResourceFieldValue(item.resourceFieldRef, pod, node)
          : { problem: "neither fieldRef nor resourceFieldRef is set" };
    if ("problem" in found) throw new VolumeError(found.problem);
    const bytes = new TextEncoder().encode(found.value);
    files.set(checked(item.path), { bytes, mode: item.mode ?? mode });
  }
  return files;
}
