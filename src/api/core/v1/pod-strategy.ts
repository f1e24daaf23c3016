/**
 * What is special about writing a Pod: what the server fills in at creation, what /resize and
 * /ephemeralcontainers may change, how long an ending pod has. Pure.
 */
import { equalObjects } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import type {
  Container,
  Pod,
  PodAffinityTerm,
  PodCondition,
  TopologySpreadConstraint,
} from "../../generated/core/v1.ts";
import type { StrategyContext } from "../../resource.ts";
import { syncAppArmorAnnotations } from "./pod-apparmor.ts";
import { dropDisabledStatusFields, dropDisabledTemplateFields } from "./pod-disabled-fields.ts";
import { defaultPodLevelResources, podQosClass } from "./pod-resources.ts";
import { isPodScheduled, isPodTerminal } from "./pod-status.ts";

type Labels = Readonly<Record<string, string>> | undefined;
type Selector = NonNullable<PodAffinityTerm["labelSelector"]>;

/** The pod's own values of some labels become part of a selector. */
function selectByKeys(
  selector: Selector,
  keys: readonly string[] | undefined,
  operator: "In" | "NotIn",
  labels: Labels,
): void {
  for (const key of keys ?? []) {
    const value = labels?.[key];
    if (value === undefined) continue;
    selector.matchExpressions = [
      ...(selector.matchExpressions ?? []),
      { key, operator, values: [value] },
    ];
  }
}

function completeTerm(term: PodAffinityTerm, labels: Labels): void {
  const { labelSelector } = term;
  if (labelSelector === undefined) return;
  selectByKeys(labelSelector, term.matchLabelKeys, "In", labels);
  selectByKeys(labelSelector, term.mismatchLabelKeys, "NotIn", labels);
}

function completeSelectors({ metadata, spec }: Pod): void {
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  for (const affinity of [podAffinity, podAntiAffinity]) {
    for (const { podAffinityTerm } of affinity?.preferredDuringSchedulingIgnoredDuringExecution ??
      []) {
      completeTerm(podAffinityTerm, metadata.labels);
    }
    for (const term of affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
      completeTerm(term, metadata.labels);
    }
  }
  for (const constraint of spec.topologySpreadConstraints ?? []) {
    completeConstraint(constraint, metadata.labels);
  }
}
function completeConstraint(constraint: TopologySpreadConstraint, labels: Labels): void {
  const { labelSelector, matchLabelKeys } = constraint;
  if (labelSelector !== undefined) selectByKeys(labelSelector, matchLabelKeys, "In", labels);
}

export function preparePodForCreate(pod: Pod, context: StrategyContext): void {
  pod.metadata.generation = 1;
  pod.status = { phase: "Pending" };
  dropDisabledTemplateFields(pod, undefined);
  if ((pod.spec.schedulingGates ?? []).length > 0) {
    const gated = {
      type: "PodScheduled",
      status: "False",
      lastTransitionTime: formatTime(context.now),
      reason: "SchedulingGated",
      message: "Scheduling is blocked due to non-empty scheduling gates",
    };
    // What is missing is spelled out when the object is brought into its canonical form.
    pod.status.conditions = [gated as PodCondition];
  }
  completeSelectors(pod);
  syncAppArmorAnnotations(pod, context.warn ?? (() => {}));
  defaultPodLevelResources(pod.spec);
  pod.status.qosClass = podQosClass(pod);
}

/** Containers are told apart by place and name; where these differ, validation shall see it. */
function onlyResources(
  asked: Container[] | undefined,
  old: readonly Container[] | undefined,
): Container[] | undefined {
  if (asked === undefined || old === undefined || asked.length !== old.length) return asked;
  if (asked.some(({ name }, index) => name !== old[index]?.name)) return asked;
  return asked.map(({ resources, resizePolicy }, index) => {
    const { resizePolicy: _, ...rest } = old[index] as Container;
    return { ...rest, resources, ...(resizePolicy === undefined ? {} : { resizePolicy }) };
  });
}

function keepAllButResources(pod: Pod, old: Pod): void {
  const { spec } = pod;
  const sameCount = (field: "containers" | "initContainers"): boolean =>
    (spec[field] ?? []).length === (old.spec[field] ?? []).length;
  if (!sameCount("containers") || !sameCount("initContainers")) return;
  const initContainers = onlyResources(spec.initContainers, old.spec.initContainers);
  const { initContainers: _init, resources: _resources, ...rest } = old.spec;
  pod.spec = {
    ...rest,
    ...(initContainers === undefined ? {} : { initContainers }),
    containers: onlyResources(spec.containers, old.spec.containers) ?? spec.containers,
    ...(spec.resources === undefined ? {} : { resources: spec.resources }),
  };
}

export function preparePodForUpdate(pod: Pod, old: Pod, context: StrategyContext): void {
  const resizing = context.subresource === "resize";
  if (resizing) keepAllButResources(pod, old);
  if (context.subresource === "ephemeralcontainers") {
    const { ephemeralContainers } = pod.spec;
    const { ephemeralContainers: _, ...rest } = old.spec;
    pod.spec = ephemeralContainers === undefined ? rest : { ...rest, ephemeralContainers };
  } else if (pod.spec.resources === undefined && old.spec.resources !== undefined) {
    // Upstream: kept for clients that do not know the field.
    pod.spec.resources = structuredClone(old.spec.resources);
  }
  if (resizing) defaultPodLevelResources(pod.spec);
  dropDisabledTemplateFields(pod, old);
  if (!equalObjects(pod.spec, old.spec)) {
    pod.metadata.generation = (old.metadata.generation ?? 0) + 1;
  }
}

/** Old kubelets leave out what they do not know. */
export function preparePodForStatusUpdate(pod: Pod, old: Pod): void {
  const { status } = pod;
  const before = old.status;
  if ((status.qosClass ?? "") === "" && before.qosClass !== undefined) {
    status.qosClass = before.qosClass;
  }
  const { resourceClaimStatuses, extendedResourceClaimStatus } = before;
  if (resourceClaimStatuses !== undefined) status.resourceClaimStatuses ??= resourceClaimStatuses;
  if (extendedResourceClaimStatus !== undefined) {
    status.extendedResourceClaimStatus ??= extendedResourceClaimStatus;
  }
  if ((status.observedGeneration ?? 0) === 0 && before.observedGeneration !== undefined) {
    status.observedGeneration = before.observedGeneration;
  }
  const generations = new Map<string, number[]>();
  for (const { type, observedGeneration = 0 } of before.conditions ?? []) {
    generations.set(type, [...(generations.get(type) ?? []), observedGeneration]);
  }
  for (const condition of status.conditions ?? []) {
    const generation = generations.get(condition.type)?.shift() ?? 0;
    const own = condition.observedGeneration ?? 0;
    if (own === 0 && generation !== 0) condition.observedGeneration = generation;
  }
  dropDisabledStatusFields(status, before);
}

/** Zero for what no kubelet has to stop; never negative. */
export function podGracePeriodSeconds(pod: Pod, asked: number | undefined): number {
  if (!isPodScheduled(pod) || isPodTerminal(pod)) return 0;
  const seconds = asked ?? pod.spec.terminationGracePeriodSeconds ?? 0;
  return seconds < 0 ? 1 : seconds;
}
