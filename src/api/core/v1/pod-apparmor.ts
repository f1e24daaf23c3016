/**
 * AppArmor profiles: the fields, and the annotations that said the same before there were fields.
 * Pure.
 */
import { equalObjects } from "#machinery/object.ts";
import type { AppArmorProfile, Pod } from "../../generated/core/v1.ts";
import { allContainersOf } from "./pod-containers.ts";

export const appArmorAnnotationPrefix = "container.apparmor.security.beta.kubernetes.io/";
const localhostPrefix = "localhost/";
const localhostProfileBytesMax = 4095;

/** Undefined: the annotation means no profile that there is. */
export function appArmorProfileOf(annotation: string): AppArmorProfile | undefined {
  if (annotation === "unconfined") return { type: "Unconfined" };
  if (annotation === "runtime/default") return { type: "RuntimeDefault" };
  if (!annotation.startsWith(localhostPrefix)) return undefined;
  const localhostProfile = annotation.slice(localhostPrefix.length);
  return localhostProfile === "" ? undefined : { type: "Localhost", localhostProfile };
}

function isValidProfile({ localhostProfile }: AppArmorProfile): boolean {
  if (localhostProfile === undefined) return true;
  const bytes = new TextEncoder().encode(localhostProfile).length;
  return localhostProfile.trim() === localhostProfile && bytes <= localhostProfileBytesMax;
}

/** Copies annotations into the fields that are not set, and tells their author of the fields. */
export function syncAppArmorAnnotations(pod: Pod, warn: (message: string) => void): void {
  if (pod.spec.os?.name === "windows") return;
  const podProfile = pod.spec.securityContext?.appArmorProfile;
  for (const container of allContainersOf(pod.spec)) {
    const key = `${appArmorAnnotationPrefix}${container.name}`;
    const annotation = pod.metadata.annotations?.[key];
    if (annotation === undefined) continue;
    if (container.securityContext?.appArmorProfile !== undefined) continue;
    const profile = appArmorProfileOf(annotation);
    const usable = profile !== undefined && isValidProfile(profile);
    if (usable && equalObjects(profile, podProfile)) continue;
    if (usable)
      container.securityContext = { ...container.securityContext, appArmorProfile: profile };
    warn(
      `metadata.annotations[${key}]: deprecated since v1.30; use the "appArmorProfile" field instead`,
    );
  }
}
