/** Annotations of a pod that mean something to the system. */
import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import { JsonSyntaxError, parseJson } from "#machinery/json.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { sortedKeys } from "#machinery/object.ts";
import type { PodSpec, Toleration } from "../../../generated/core/v1.ts";
import { appArmorAnnotationPrefix } from "../pod-apparmor.ts";
import { allContainersOf, visitContainers } from "../pod-containers.ts";
import { localDescendingPath } from "./fields.ts";
import type { PodRules } from "./rules.ts";
import { validateTolerations } from "./tolerations.ts";

type Annotations = Readonly<Record<string, string>> | undefined;

export const mirrorAnnotation = "kubernetes.io/config.mirror";
export const deletionCostAnnotation = "controller.kubernetes.io/pod-deletion-cost";
const tolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerations";
export const seccompPodAnnotation = "seccomp.security.alpha.kubernetes.io/pod";
export const seccompContainerPrefix = "container.seccomp.security.alpha.kubernetes.io/";
const localhostPrefix = "localhost/";
const int32Max = 2 ** 31 - 1;

/** A whole number of 32 bits; upstream refuses a plus sign and leading zeros. */
export function isDeletionCost(text: string | undefined): boolean {
  if (text === undefined) return true;
  if (!/^(0|-\d+|[1-9]\d*)$/.test(text)) return false;
  const cost = Number(text);
  return cost >= -int32Max - 1 && cost <= int32Max;
}

function validateTolerationsAnnotation(text: string, path: string, rules: PodRules): FieldError[] {
  try {
    const tolerations = parseJson(text);
    if (!Array.isArray(tolerations)) {
      const kind = tolerations === null ? "null" : typeof tolerations;
      const detail = `json: cannot unmarshal ${kind} into Go value of type []core.Toleration`;
      return tolerations === null ? [] : [invalid(path, tolerationsAnnotation, detail)];
    }
    const list = tolerations as Toleration[];
    return validateTolerations(list, `${path}.${tolerationsAnnotation}`, rules);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return [invalid(path, tolerationsAnnotation, error.message)];
  }
}

function validateSeccompText(profile: string, path: string): FieldError[] {
  if (["runtime/default", "docker/default", "unconfined"].includes(profile)) return [];
  if (profile.startsWith(localhostPrefix)) {
    return localDescendingPath(path, profile.slice(localhostPrefix.length));
  }
  return [invalid(path, profile, "must be a valid seccomp profile")];
}

function validateSeccompAnnotations(annotations: Annotations, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const pod = annotations?.[seccompPodAnnotation];
  if (pod !== undefined)
    errors.push(...validateSeccompText(pod, `${path}.${seccompPodAnnotation}`));
  for (const key of sortedKeys(annotations ?? {})) {
    if (!key.startsWith(seccompContainerPrefix)) continue;
    errors.push(...validateSeccompText(annotations?.[key] ?? "", `${path}.${key}`));
  }
  return errors;
}

function validateAppArmorAnnotations(
  annotations: Annotations,
  spec: PodSpec,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set(allContainersOf(spec).map(({ name }) => name));
  for (const key of sortedKeys(annotations ?? {})) {
    if (!key.startsWith(appArmorAnnotationPrefix)) continue;
    const name = key.slice(appArmorAnnotationPrefix.length);
    if (!names.has(name)) errors.push(invalid(`${path}[${key}]`, name, "container not found"));
    const profile = annotations?.[key] ?? "";
    const known = ["", "runtime/default", "unconfined"].includes(profile);
    if (!known && !profile.startsWith(localhostPrefix)) {
      const detail = `invalid AppArmor profile name: ${JSON.stringify(profile)}`;
      errors.push(invalid(`${path}[${key}]`, profile, detail));
    }
  }
  return errors;
}

export function validatePodAnnotations(
  annotations: Annotations,
  spec: PodSpec,
  path: string,
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  const mirror = annotations?.[mirrorAnnotation];
  if (mirror !== undefined && (spec.nodeName ?? "") === "") {
    const detail = "must set spec.nodeName if mirror pod annotation is set";
    errors.push(invalid(`${path}[${mirrorAnnotation}]`, mirror, detail));
  }
  const tolerations = annotations?.[tolerationsAnnotation] ?? "";
  if (tolerations !== "") errors.push(...validateTolerationsAnnotation(tolerations, path, rules));
  const cost = annotations?.[deletionCostAnnotation];
  if (!rules.allowInvalidDeletionCost && !isDeletionCost(cost)) {
    errors.push(invalid(`${path}[${deletionCostAnnotation}]`, cost, "must be a 32bit integer"));
  }
  errors.push(...validateSeccompAnnotations(annotations, path));
  errors.push(...validateAppArmorAnnotations(annotations, spec, path));
  return errors;
}

export function validatePodAnnotationUpdates(
  annotations: Annotations,
  old: Annotations,
  spec: PodSpec,
  path: string,
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  const watched = (key: string): string | undefined => {
    if (key.startsWith(appArmorAnnotationPrefix)) return "AppArmor annotations";
    return key === mirrorAnnotation ? "mirror pod annotation" : undefined;
  };
  const complain = (key: string, deed: string): void => {
    const what = watched(key);
    if (what !== undefined) errors.push(forbidden(`${path}[${key}]`, `may not ${deed} ${what}`));
  };
  for (const key of sortedKeys(old ?? {})) {
    if (annotations?.[key] !== old?.[key]) complain(key, "remove or update");
  }
  for (const key of sortedKeys(annotations ?? {})) {
    if (old?.[key] === undefined) complain(key, "add");
  }
  return [...errors, ...validatePodAnnotations(annotations, spec, path, rules)];
}

interface Profile {
  readonly type: string;
  readonly localhostProfile?: string;
}
/** Whether a field and the annotation of old say the same. */
function compareProfiles(
  annotation: string | undefined,
  profile: Profile | undefined,
  path: string,
  word: "seccomp" | "apparmor",
): FieldError[] {
  if (annotation === undefined || profile === undefined) return [];
  const typeDiffers = [
    forbidden(`${path}.type`, `${word} type in annotation and field must match`),
  ];
  switch (profile.type) {
    case "Unconfined":
      return annotation === "unconfined" ? [] : typeDiffers;
    case "RuntimeDefault": {
      const docker = word === "seccomp" && annotation === "docker/default";
      return annotation === "runtime/default" || docker ? [] : typeDiffers;
    }
    case "Localhost": {
      if (!annotation.startsWith(localhostPrefix)) return typeDiffers;
      if (annotation.slice(localhostPrefix.length) === profile.localhostProfile) return [];
      const detail = `${word} profile in annotation and field must match`;
      return [forbidden(`${path}.localhostProfile`, detail)];
    }
    default:
      return [];
  }
}

export function validateProfilesMatch(
  { annotations }: ObjectMeta,
  spec: PodSpec,
  path: string,
): FieldError[] {
  const { seccompProfile, appArmorProfile } = spec.securityContext ?? {};
  const podPath = `${path}.securityContext.seccompProfile`;
  const pod = annotations?.[seccompPodAnnotation];
  const errors = compareProfiles(pod, seccompProfile, podPath, "seccomp");
  const visited = visitContainers(spec, path);
  for (const { container, path: at } of visited) {
    const annotation = annotations?.[`${seccompContainerPrefix}${container.name}`];
    const own = container.securityContext?.seccompProfile;
    const ownPath = `${at}.securityContext.seccompProfile`;
    errors.push(...compareProfiles(annotation, own, ownPath, "seccomp"));
  }
  if (spec.os?.name === "windows") return errors;
  for (const { container, path: at } of visited) {
    const annotation = annotations?.[`${appArmorAnnotationPrefix}${container.name}`];
    const own = container.securityContext?.appArmorProfile ?? appArmorProfile;
    const ownPath = `${at}.securityContext.appArmorProfile`;
    errors.push(...compareProfiles(annotation, own, ownPath, "apparmor"));
  }
  return errors;
}
