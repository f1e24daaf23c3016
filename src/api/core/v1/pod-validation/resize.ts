/**
 * Through /resize: CPU and memory of containers, and of the pod as a whole, may change while it
 * runs.
 */
import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import type { Container, Pod, PodSpec, ResourceRequirements } from "../../../generated/core/v1.ts";
import { isSidecar } from "../pod-containers.ts";
import { podQosClass } from "../pod-resources.ts";
import { mirrorAnnotation } from "./annotations.ts";
import { rulesFor } from "./relaxed-rules.ts";
import { validatePodObject } from "./update.ts";

type List = Readonly<Record<string, string>> | undefined;
const lists = ["requests", "limits"] as const;
const containerLists = ["containers", "initContainers"] as const;

const isRemoved = (next: List, old: List): boolean =>
  Object.keys(old ?? {}).some((name) => next?.[name] === undefined);

/** The old amounts of what may change, the new ones of all else. */
function withOldCompute(next: List, old: List): Record<string, string> | undefined {
  const { cpu: _cpu, memory: _memory, ...rest } = next ?? {};
  const kept: Record<string, string> = { ...rest };
  for (const name of ["cpu", "memory"]) {
    const amount = old?.[name];
    if (amount !== undefined) kept[name] = amount;
  }
  return Object.keys(kept).length === 0 ? undefined : kept;
}
function restored(
  next: ResourceRequirements | undefined,
  old: ResourceRequirements | undefined,
): ResourceRequirements {
  const result: ResourceRequirements = { ...next };
  for (const list of lists) {
    const kept = withOldCompute(next?.[list], old?.[list]);
    if (kept === undefined) delete result[list];
    else result[list] = kept;
  }
  return result;
}

/** Nothing, and an empty list, are the same. */
const sameResources = (
  a: ResourceRequirements | undefined,
  b: ResourceRequirements | undefined,
): boolean =>
  lists.every((list) => equalObjects(a?.[list] ?? {}, b?.[list] ?? {})) &&
  equalObjects(a?.claims ?? [], b?.claims ?? []);

function validateOrder(spec: PodSpec, old: PodSpec): FieldError[] {
  return containerLists.flatMap((field) => {
    const next = spec[field] ?? [];
    const before = old[field] ?? [];
    const path = `spec.${field}`;
    if (next.length !== before.length) {
      return [forbidden(path, `${field} may not be added or removed on resize`)];
    }
    return before.flatMap(({ name }, index) =>
      next[index]?.name === name
        ? []
        : [
            forbidden(
              `${path}[${index}].name`,
              `${field} may not be renamed or reordered on resize`,
            ),
          ],
    );
  });
}

function validatePodLevel(next: PodSpec, old: PodSpec): FieldError[] {
  const path = "spec.resources";
  if (next.resources === undefined && old.resources === undefined) return [];
  if (next.resources === undefined) {
    return [forbidden(path, "pod-level resources cannot be removed")];
  }
  const errors: FieldError[] = [];
  for (const list of lists) {
    if (!isRemoved(next.resources[list], old.resources?.[list])) continue;
    errors.push(forbidden(`${path}.${list}`, `pod-level resource ${list} cannot be removed`));
  }
  if (!sameResources(restored(next.resources, old.resources), old.resources)) {
    errors.push(forbidden("spec", "only cpu and memory resources are mutable at pod-level"));
  }
  return errors;
}

function validateContainer(
  field: (typeof containerLists)[number],
  container: Container,
  old: Container,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const list of lists) {
    if (!isRemoved(container.resources?.[list], old.resources?.[list])) continue;
    errors.push(forbidden(`${path}.resources.${list}`, `resource ${list} cannot be removed`));
  }
  const { resources, ...rest } = container;
  const { resources: oldResources, ...oldRest } = old;
  const same =
    equalObjects(rest, oldRest) && sameResources(restored(resources, oldResources), oldResources);
  if (!same && field === "containers") {
    errors.push(forbidden("spec", "only cpu and memory resources are mutable"));
  } else if (!same) {
    const detail = "only cpu and memory resources for init or sidecar containers are mutable";
    errors.push(forbidden(path, detail));
  }
  const restarts = (container.resizePolicy ?? []).some(
    ({ restartPolicy }) => restartPolicy === "RestartContainer",
  );
  const changed = !equalObjects(container, old);
  if (field === "initContainers" && changed && restarts && !isSidecar(container)) {
    const detail =
      "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
    errors.push(forbidden(path, detail));
  }
  return errors;
}

/** Upstream: a kubelet that can resize reports the resources of running containers. */
function nodeCanResize({ status }: Pod): boolean {
  const running = (status.containerStatuses ?? []).find(
    ({ state }) => state?.running !== undefined,
  );
  return running === undefined || running.resources !== undefined;
}

export function validatePodResize(pod: Pod, old: Pod): FieldError[] {
  if (old.metadata.annotations?.[mirrorAnnotation] !== undefined) {
    return [forbidden("", "static pods cannot be resized")];
  }
  if (old.spec.os?.name === "windows") return [forbidden("", "windows pods cannot be resized")];
  const errors = validatePodObject(pod, rulesFor(old, true));
  const before = old.status.qosClass ?? podQosClass(old);
  if (before !== podQosClass(pod)) {
    const detail = "Pod QOS Class may not change as a result of resizing";
    errors.push(invalid("spec", pod.status.qosClass ?? "", detail));
  }
  if (!nodeCanResize(old)) {
    errors.push(forbidden("spec", "Pod running on node without support for resize"));
  }
  errors.push(...validatePodLevel(pod.spec, old.spec));
  const misplaced = validateOrder(pod.spec, old.spec);
  if (misplaced.length > 0) return [...errors, ...misplaced];
  for (const field of ["initContainers", "containers"] as const) {
    for (const [index, container] of (pod.spec[field] ?? []).entries()) {
      const own = old.spec[field]?.[index];
      if (own === undefined) continue;
      errors.push(...validateContainer(field, container, own, `spec.${field}[${index}]`));
    }
  }
  if (errors.length > 0) return errors;
  const rest = cloneJson(pod.spec);
  const resized = { containers: undefined, initContainers: undefined, resources: undefined };
  if (equalObjects({ ...rest, ...resized }, { ...old.spec, ...resized })) return [];
  return [forbidden("spec", "only cpu and memory resources are mutable")];
}
