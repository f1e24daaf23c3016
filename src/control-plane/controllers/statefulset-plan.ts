/**
 * What a StatefulSet does next. Ordered sets move one Pod at a time and wait for it; parallel ones
 * do all they can. Pure.
 */
import type { StatefulSet } from "#api/apps/v1/statefulset.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodReady, isPodTerminal } from "#api/core/v1/pod-status.ts";
import type { StatefulSetStatus } from "#api/generated/apps/v1.ts";
import type { New } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { scaledValue } from "./deployment-rollout.ts";
import { availableInMs } from "./pod-state.ts";
import {
  type ClaimLookup,
  claimNames,
  claimOwners,
  identityMatches,
  isInRange,
  isStaleFor,
  newPod,
  ordinalOf,
  revisionOfPod,
  startOrdinal,
  storageMatches,
} from "./statefulset-pods.ts";

export type Step =
  /** The claims that a Pod needs, then the Pod. */
  | { readonly do: "create"; readonly pod: New<Pod>; readonly ordinal: number }
  | { readonly do: "delete"; readonly pod: Stored<Pod> }
  /** Brings names, labels, claims and their owners back to what they should be. */
  | { readonly do: "update"; readonly pod: Stored<Pod> }
  /** Missing claims of a Pod that waits for them, and the owners of its claims. */
  | { readonly do: "claims"; readonly pod: Stored<Pod>; readonly create: boolean };

export interface StatefulSetView {
  readonly set: Stored<StatefulSet>;
  /** Names of the revisions, and the set with the template of each. */
  readonly current: { readonly name: string; readonly set: Stored<StatefulSet> };
  readonly update: { readonly name: string; readonly set: Stored<StatefulSet> };
  readonly collisions: number;
  readonly pods: readonly Stored<Pod>[];
  readonly claim: ClaimLookup;
  readonly now: number;
}

export interface StatefulSetPlan {
  /** In this order; of a parallel set, those of one phase together. */
  readonly phases: readonly (readonly Step[])[];
  readonly status: StatefulSetStatus;
}

type Slot = Stored<Pod> | undefined;

const isTerminating = (pod: Stored<Pod>): boolean => pod.metadata.deletionTimestamp !== undefined;
const isRunningReady = (pod: Stored<Pod>): boolean =>
  pod.status.phase === "Running" && isPodReady(pod);
const isAvailable = ({ set, now }: StatefulSetView, pod: Stored<Pod>): boolean =>
  availableInMs(pod, set.spec.minReadySeconds ?? 0, now) === 0;
const isUnavailable = (view: StatefulSetView, pod: Slot): boolean =>
  pod === undefined || !isAvailable(view, pod) || isTerminating(pod);
const isMonotonic = ({ set }: StatefulSetView): boolean =>
  set.spec.podManagementPolicy !== "Parallel";

/** A new Pod, of the revision that its ordinal belongs to. */
function podFor({ current, update }: StatefulSetView, ordinal: number): New<Pod> {
  const { spec, status } = current.set;
  const rolling = spec.updateStrategy.rollingUpdate;
  const start = startOrdinal(current.set);
  const stays =
    rolling === undefined
      ? spec.updateStrategy.type === "RollingUpdate" &&
        ordinal < start + (status.currentReplicas ?? 0)
      : ordinal < start + (rolling.partition ?? 0);
  return stays
    ? newPod(current.set, ordinal, current.name)
    : newPod(update.set, ordinal, update.name);
}

const claimsMatch = (view: StatefulSetView, pod: Stored<Pod>): boolean =>
  [...claimNames(view.set, ordinalOf(pod)).values()].every((name) => {
    const claim = view.claim(name);
    return claim === undefined || claimOwners(claim, view.set, pod) === undefined;
  });
const lacksClaims = (view: StatefulSetView, pod: Stored<Pod>): boolean =>
  [...claimNames(view.set, ordinalOf(pod)).values()].some((name) => {
    const claim = view.claim(name);
    return claim === undefined || claim.metadata.deletionTimestamp !== undefined;
  });
const hasStaleClaim = (view: StatefulSetView, ordinal: number): boolean =>
  [...claimNames(view.set, ordinal).values()].some((name) => {
    const claim = view.claim(name);
    const pod = `${view.set.metadata.name}-${ordinal}`;
    return claim !== undefined && isStaleFor(claim, view.set, pod, "");
  });

/** `waits`: in an ordered set nothing comes after it in this pass. */
function planReplica(
  view: StatefulSetView,
  pod: Slot,
  ordinal: number,
): { readonly steps: readonly Step[]; readonly waits: boolean } {
  if (pod === undefined) {
    if (hasStaleClaim(view, ordinal)) return { steps: [], waits: true };
    return { steps: [{ do: "create", pod: podFor(view, ordinal), ordinal }], waits: true };
  }
  if (isPodTerminal(pod)) {
    return { steps: isTerminating(pod) ? [] : [{ do: "delete", pod }], waits: true };
  }
  const steps: Step[] = [];
  if (pod.status.phase === "Pending" && (lacksClaims(view, pod) || !claimsMatch(view, pod))) {
    steps.push({ do: "claims", pod, create: true });
  }
  if (isMonotonic(view)) {
    const done = !isTerminating(pod) && isRunningReady(pod) && isAvailable(view, pod);
    if (!done) return { steps, waits: true };
  }
  const { set } = view;
  if (!identityMatches(set, pod) || !storageMatches(set, pod) || !claimsMatch(view, pod)) {
    steps.push({ do: "update", pod });
  }
  return { steps, waits: false };
}

function planCondemned(
  view: StatefulSetView,
  pod: Stored<Pod>,
  firstUnavailable: Slot | "new",
): { readonly steps: readonly Step[]; readonly waits: boolean } {
  const monotonic = isMonotonic(view);
  if (isTerminating(pod)) return { steps: [], waits: true };
  const healthy = isRunningReady(pod) && isAvailable(view, pod);
  if (monotonic && !healthy && pod !== firstUnavailable) return { steps: [], waits: true };
  return { steps: [{ do: "delete", pod }], waits: true };
}

/** Of a parallel set each item plans for itself; in an ordered one the first that waits is last. */
function planInTurn<T>(
  view: StatefulSetView,
  items: readonly T[],
  plan: (item: T) => { readonly steps: readonly Step[]; readonly waits: boolean },
): { readonly steps: readonly Step[]; readonly waits: boolean } {
  const steps: Step[] = [];
  for (const item of items) {
    const one = plan(item);
    steps.push(...one.steps);
    if (one.waits && isMonotonic(view)) return { steps, waits: true };
  }
  return { steps, waits: false };
}

/** The Pods that make room for the new template now. */
function planUpdate(view: StatefulSetView, slots: readonly Slot[]): readonly Step[] {
  const { set, update } = view;
  const { partition = 0, maxUnavailable = 1 } = set.spec.updateStrategy.rollingUpdate ?? {};
  const most = Math.max(1, scaledValue(maxUnavailable, slots.length, false));
  const isOld = (pod: Stored<Pod>) => revisionOfPod(pod) !== update.name;
  const unavailable = slots.filter((pod) => isUnavailable(view, pod)).length;
  const candidates = slots
    .slice(Math.min(partition, slots.length))
    .filter((pod): pod is Stored<Pod> => pod !== undefined && isOld(pod) && !isTerminating(pod))
    .toReversed();
  const room = Math.max(0, most - unavailable);
  const parallel = !isMonotonic(view);
  // Those of a parallel set that serve nobody go at once: they cost no availability.
  const idle = parallel ? candidates.filter((pod) => isUnavailable(view, pod)) : [];
  const busy = parallel ? candidates.filter((pod) => !isUnavailable(view, pod)) : candidates;
  return [...idle, ...busy.slice(0, room)].map((pod) => ({ do: "delete", pod }));
}

export function planStatefulSet(view: StatefulSetView): StatefulSetPlan {
  const { set, pods } = view;
  const start = startOrdinal(set);
  const slots: Slot[] = Array.from({ length: set.spec.replicas ?? 1 }, () => undefined);
  const condemned: Stored<Pod>[] = [];
  for (const pod of pods) {
    if (isInRange(set, pod)) slots[ordinalOf(pod) - start] = pod;
    else if (ordinalOf(pod) >= 0) condemned.push(pod);
  }
  condemned.sort((a, b) => ordinalOf(b) - ordinalOf(a));
  const status = statusOf(view, pods);
  if (set.metadata.deletionTimestamp !== undefined) {
    return { phases: [], status: completed(set, status) };
  }
  const phases: (readonly Step[])[] = [];
  const done = (deleted = 0): StatefulSetPlan => {
    const counted = { ...status, currentReplicas: (status.currentReplicas ?? 0) - deleted };
    return { phases, status: completed(set, counted) };
  };
  const ordinals = slots.map((_, index) => start + index);
  const kept = planInTurn(view, ordinals, (one) => planReplica(view, slots[one - start], one));
  phases.push(kept.steps);
  if (kept.waits) return done();
  phases.push(
    condemned
      .filter((pod) => !claimsMatch(view, pod))
      .map((pod) => ({ do: "claims", pod, create: false })),
  );
  const unavailableAt = slots.findIndex((pod) => isUnavailable(view, pod));
  const firstUnavailable =
    unavailableAt >= 0
      ? (slots[unavailableAt] ?? "new")
      : condemned.findLast((pod) => isUnavailable(view, pod));
  const fewer = planInTurn(view, condemned, (pod) => planCondemned(view, pod, firstUnavailable));
  phases.push(fewer.steps);
  if (fewer.waits || set.spec.updateStrategy.type === "OnDelete") return done();
  const rolled = planUpdate(view, slots);
  phases.push(rolled);
  return done(rolled.filter((step) => step.do === "delete" && isOfCurrent(view, step.pod)).length);
}

const isOfCurrent = ({ current }: StatefulSetView, pod: Stored<Pod>): boolean =>
  revisionOfPod(pod) === current.name;

function statusOf(view: StatefulSetView, pods: readonly Stored<Pod>[]): StatefulSetStatus {
  const { set, current, update, collisions } = view;
  const ready = pods.filter(isRunningReady);
  const staying = pods.filter((pod) => !isTerminating(pod));
  const { conditions } = set.status;
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: pods.length,
    readyReplicas: ready.length,
    availableReplicas: ready.filter((pod) => isAvailable(view, pod)).length,
    currentReplicas: staying.filter((pod) => revisionOfPod(pod) === current.name).length,
    updatedReplicas: staying.filter((pod) => revisionOfPod(pod) === update.name).length,
    currentRevision: current.name,
    updateRevision: update.name,
    collisionCount: collisions,
    ...(conditions === undefined ? {} : { conditions }),
  };
}

/** All are of the new template: it is the current one now. */
function completed(set: StatefulSet, status: StatefulSetStatus): StatefulSetStatus {
  const all = set.spec.replicas ?? 1;
  const { updatedReplicas = 0, readyReplicas, replicas, updateRevision = "" } = status;
  if (updatedReplicas !== all || readyReplicas !== all || replicas !== all) return status;
  return { ...status, currentReplicas: updatedReplicas, currentRevision: updateRevision };
}
