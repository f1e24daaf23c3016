/** Creating and changing a Pod. Of a running pod's spec next to nothing may change. */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import { rangeMessage } from "#machinery/validation.ts";
import type {
  Container,
  NodeAffinity,
  NodeSelectorTerm,
  Pod,
  PodSpec,
} from "../../../generated/core/v1.ts";
import { differenceOf } from "../difference.ts";
import {
  mirrorAnnotation,
  validatePodAnnotations,
  validatePodAnnotationUpdates,
  validateProfilesMatch,
} from "./annotations.ts";
import { validateImageSpace } from "./containers.ts";
import { nonNegative } from "./fields.ts";
import { rulesFor } from "./relaxed-rules.ts";
import { type PodRules, strictRules } from "./rules.ts";
import { validatePodSpec } from "./spec.ts";
import { validateOnlyAddedTolerations, validateOnlyDeletedGates } from "./tolerations.ts";

const int32Max = 2 ** 31 - 1;

const changeableFields = [
  "`spec.containers[*].image`",
  "`spec.initContainers[*].image`",
  "`spec.activeDeadlineSeconds`",
  "`spec.tolerations` (only additions to existing tolerations)",
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
].join(",");

/** All of the spec as it is now, and the annotations; metadata is judged by law. */
export function validatePodObject(pod: Pod, rules: PodRules): FieldError[] {
  const { metadata, spec } = pod;
  const errors = [
    ...validatePodAnnotations(metadata.annotations, spec, "metadata.annotations", rules),
    ...validatePodSpec(spec, metadata, "spec", rules),
  ];
  if ((spec.serviceAccountName ?? "") === "") {
    for (const [index, { projected }] of (spec.volumes ?? []).entries()) {
      for (const [sourceIndex, source] of (projected?.sources ?? []).entries()) {
        if (source.serviceAccountToken === undefined) continue;
        const at = `spec.volumes[${index}].projected.sources[${sourceIndex}].serviceAccountToken`;
        errors.push(forbidden(at, "must not be specified when serviceAccountName is not set"));
      }
    }
  }
  const graceAt = "spec.terminationGracePeriodSeconds";
  errors.push(...nonNegative(graceAt, spec.terminationGracePeriodSeconds));
  for (const field of ["containers", "initContainers"] as const) {
    for (const [index, container] of (spec[field] ?? []).entries()) {
      errors.push(...validateImageSpace(container, `spec.${field}[${index}]`));
    }
  }
  return errors;
}

export function validatePodCreate(pod: Pod): FieldError[] {
  const { metadata, spec } = pod;
  const errors = validatePodObject(pod, strictRules);
  if ((spec.ephemeralContainers ?? []).length > 0) {
    errors.push(forbidden("spec.ephemeralContainers", "cannot be set on create"));
  }
  if ((spec.nodeName ?? "") !== "" && (spec.schedulingGates ?? []).length > 0) {
    const detail = "cannot be set until all schedulingGates have been cleared";
    errors.push(forbidden("spec.nodeName", detail));
  }
  return [...errors, ...validateProfilesMatch(metadata, spec, "spec")];
}

/** The errors, and whether there is no point in comparing further. */
function validateImages(
  containers: readonly Container[],
  old: readonly Container[],
  path: string,
): { readonly errors: FieldError[]; readonly stop: boolean } {
  if (containers.length !== old.length) {
    const detail = "pod updates may not add or remove containers";
    return { errors: [forbidden(path, detail)], stop: true };
  }
  const errors = containers.flatMap((container, index) => [
    ...((container.image ?? "") === "" ? [required(`${path}[${index}].image`)] : []),
    ...validateImageSpace(container, `${path}[${index}]`),
  ]);
  return { errors, stop: false };
}

/** It may come, and then only shrink. */
function validateDeadline(spec: PodSpec, old: PodSpec): { errors: FieldError[]; stop: boolean } {
  const path = "spec.activeDeadlineSeconds";
  const { activeDeadlineSeconds: next } = spec;
  const { activeDeadlineSeconds: before } = old;
  if (next === undefined) {
    if (before === undefined) return { errors: [], stop: false };
    const detail = "must not update from a positive integer to nil value";
    return { errors: [invalid(path, undefined, detail)], stop: false };
  }
  if (next < 0 || next > int32Max) {
    return { errors: [invalid(path, next, rangeMessage(0, int32Max))], stop: true };
  }
  if (before === undefined || before >= next) return { errors: [], stop: false };
  const detail = "must be less than or equal to previous value";
  return { errors: [invalid(path, next, detail)], stop: true };
}

function hasOnlyAdditions(term: NodeSelectorTerm, old: NodeSelectorTerm): boolean {
  const fields = ["matchExpressions", "matchFields"] as const;
  const count = (one: NodeSelectorTerm): number =>
    fields.reduce((sum, field) => sum + (one[field] ?? []).length, 0);
  // An empty term matches nothing: with additions it would match something.
  if (count(old) === 0 && count(term) > 0) return false;
  return fields.every((field) => {
    const before = old[field] ?? [];
    return equalObjects((term[field] ?? []).slice(0, before.length), before);
  });
}

function validateNodeAffinityChange(
  affinity: NodeAffinity | undefined,
  old: NodeAffinity | undefined,
): FieldError[] {
  const termsOf = (one: NodeAffinity | undefined): NodeSelectorTerm[] =>
    one?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const before = termsOf(old);
  const next = termsOf(affinity);
  const path =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
  if (before.length === 0) return [];
  if (before.length !== next.length) {
    const detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    return [invalid(path, next, detail)];
  }
  return next.flatMap((term, index) => {
    if (hasOnlyAdditions(term, before[index] ?? {})) return [];
    const detail = "only additions are allowed (no mutations or deletions)";
    return [invalid(`${path}[${index}]`, term, detail)];
  });
}

function setOrDelete<T extends object, K extends keyof T>(
  target: T,
  key: K,
  value: T[K] | undefined,
) {
  if (value === undefined) delete target[key];
  else target[key] = value;
}

/**
 * While gates hold a pod, its node selector and node affinity may become narrower. Undoes in `spec`
 * what is allowed.
 */
function judgeGated(spec: PodSpec, old: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const before = old.nodeSelector ?? {};
  const next = spec.nodeSelector ?? {};
  if (Object.entries(before).some(([key, value]) => next[key] !== value)) {
    const detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    errors.push(invalid("spec.nodeSelector", next, detail));
  }
  setOrDelete(spec, "nodeSelector", old.nodeSelector);
  const oldAffinity = old.affinity?.nodeAffinity;
  const affinity = spec.affinity?.nodeAffinity;
  if (equalObjects(affinity, oldAffinity)) return errors;
  errors.push(...validateNodeAffinityChange(affinity, oldAffinity));
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  if (spec.affinity === undefined) {
    if (oldAffinity !== undefined) spec.affinity = { nodeAffinity: oldAffinity };
  } else if (
    old.affinity === undefined &&
    podAffinity === undefined &&
    podAntiAffinity === undefined
  ) {
    delete spec.affinity;
  } else setOrDelete(spec.affinity, "nodeAffinity", oldAffinity);
  return errors;
}

const keepImages = (containers: Container[] | undefined, old: Container[] | undefined): void => {
  for (const [index, container] of (containers ?? []).entries()) {
    setOrDelete(container, "image", old?.[index]?.image);
  }
};

/** Whatever else differs. */
function validateSpecChange(spec: PodSpec, old: PodSpec): FieldError[] {
  if (equalObjects(spec, old)) return [];
  const rest = cloneJson(spec);
  keepImages(rest.containers, old.containers);
  keepImages(rest.initContainers, old.initContainers);
  for (const field of ["activeDeadlineSeconds", "schedulingGates", "tolerations"] as const) {
    setOrDelete(rest, field, old[field]);
  }
  const grace = old.terminationGracePeriodSeconds;
  if (grace !== undefined && grace < 0 && rest.terminationGracePeriodSeconds === 1) {
    rest.terminationGracePeriodSeconds = grace;
  }
  const errors = (old.schedulingGates ?? []).length > 0 ? judgeGated(rest, old) : [];
  if (equalObjects(rest, old)) return errors;
  const difference = differenceOf("PodSpec", old, rest);
  const detail = `pod updates may not change fields other than ${changeableFields}\n${difference}`;
  return [...errors, forbidden("spec", detail)];
}

export function validatePodUpdate(pod: Pod, old: Pod): FieldError[] {
  const rules = rulesFor(old, true);
  const { spec, metadata } = pod;
  const { annotations } = metadata;
  const errors = [
    ...validatePodObject(pod, rules),
    ...validatePodAnnotationUpdates(
      annotations,
      old.metadata.annotations,
      spec,
      "metadata.annotations",
      rules,
    ),
  ];
  for (const field of ["containers", "initContainers"] as const) {
    const images = validateImages(spec[field] ?? [], old.spec[field] ?? [], `spec.${field}`);
    errors.push(...images.errors);
    if (images.stop) return errors;
  }
  const deadline = validateDeadline(spec, old.spec);
  errors.push(...deadline.errors);
  if (deadline.stop) return errors;
  const { tolerations = [], schedulingGates = [] } = spec;
  const oldTolerations = old.spec.tolerations ?? [];
  errors.push(
    ...validateOnlyAddedTolerations(tolerations, oldTolerations, "spec.tolerations", rules),
    ...validateOnlyDeletedGates(
      schedulingGates,
      old.spec.schedulingGates ?? [],
      "spec.schedulingGates",
    ),
    ...validateSpecChange(spec, old.spec),
  );
  return errors;
}

/** Through /ephemeralcontainers: they may come, never go or change. */
export function validateEphemeralContainersUpdate(pod: Pod, old: Pod): FieldError[] {
  const rules = rulesFor(old, true);
  const { annotations } = pod.metadata;
  if (old.metadata.annotations?.[mirrorAnnotation] !== undefined) {
    return [forbidden("", "static pods do not support ephemeral containers")];
  }
  const errors = [
    ...validatePodObject(pod, rules),
    ...validatePodAnnotationUpdates(
      annotations,
      old.metadata.annotations,
      pod.spec,
      "metadata.annotations",
      rules,
    ),
  ];
  const byName = new Map((pod.spec.ephemeralContainers ?? []).map((one) => [one.name, one]));
  for (const before of old.spec.ephemeralContainers ?? []) {
    const next = byName.get(before.name);
    const lead = `existing ephemeral containers ${JSON.stringify(before.name)} may not be`;
    if (next === undefined) {
      errors.push(forbidden("spec.ephemeralContainers", `${lead} removed\n`));
    } else if (!equalObjects(next, before)) {
      const difference = differenceOf("EphemeralContainer", before, next);
      errors.push(forbidden("spec.ephemeralContainers", `${lead} changed\n${difference}`));
    }
  }
  return errors;
}
