/**
 * StatefulSet controller: Pods with stable names and claims, in order. Reads StatefulSets, their
 * Pods, claims and ControllerRevisions; writes all but the specs of StatefulSets. Never deletes a
 * claim: that is the garbage collector's, by the owners that it writes.
 */
import { ControllerRevision } from "#api/apps/v1/controllerrevision.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { StatefulSetStatus } from "#api/generated/apps/v1.ts";
import type { Ref } from "#client/client.ts";
import { applySchemaDefaults } from "#machinery/decode.ts";
import { type ApiObject, type Stored } from "#machinery/meta.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import { matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { claimable, keyFor, type ReconcileContext, requeueAfter, watch } from "./controller.ts";
import {
  byRevision,
  createRevision,
  holds,
  type Revision,
  removeRevision,
  setRevision,
  templateOf,
  templatePatch,
} from "./controller-history.ts";
import { availableInMs } from "./pod-state.ts";
import { defineController } from "./runner.ts";
import { slowStart } from "./slow-start.ts";
import { planStatefulSet, type Step } from "./statefulset-plan.ts";
import {
  claimNames,
  claimOwners,
  claimsFor,
  hasConflictingController,
  ordinalOf,
  parentAndOrdinal,
  revisionOfPod,
  withIdentity,
} from "./statefulset-pods.ts";

const hashLabel = "controller.kubernetes.io/hash";

export const statefulSetController = defineController<StatefulSet>({
  name: "statefulset",
  reconciles: StatefulSet,
  owns: [Pod, ControllerRevision],
  adopts: (set, orphan) => matchesSelector(set.spec.selector, orphan.metadata.labels),
  watches: [
    // A claim of a Pod that is gone holds its successor back until it is gone, too.
    watch(PersistentVolumeClaim, ({ metadata: { namespace, ownerReferences = [] } }) =>
      ownerReferences
        .filter((one) => one.kind === "Pod" && one.apiVersion === "v1")
        .map((one) => keyFor(namespace, parentAndOrdinal(one.name)[0])),
    ),
  ],

  async reconcile(set, context) {
    const { selector } = set.spec;
    const matches = (object: ApiObject) => matchesSelector(selector, object.metadata.labels);
    const known = claimable(context.cache(ControllerRevision), set);
    const revisions = await context.claim(ControllerRevision, set, known, matches);
    const candidates = claimable(context.cache(Pod), set);
    const pods = await context.claim(Pod, set, candidates, (pod) => {
      return matches(pod) && parentAndOrdinal(pod.metadata.name)[0] === set.metadata.name;
    });
    const history = await settleHistory(set, [...revisions].sort(byRevision), context);
    const { namespace } = set.metadata;
    const { phases, status } = planStatefulSet({
      set,
      current: { name: history.current.metadata.name, set: restored(set, history.current) },
      update: { name: history.update.metadata.name, set: restored(set, history.update) },
      collisions: history.collisions,
      pods,
      claim: (name) => context.cache(PersistentVolumeClaim).get(keyFor(namespace, name)),
      now: context.now,
    });
    const failure = await performAll(set, phases, context);
    if (!sameStatus(set.status, status)) {
      await context.client.updateStatus(StatefulSet, { ...set, status });
    }
    await truncateHistory(set, pods, history, context);
    if (failure !== undefined) throw failure;
    const { minReadySeconds = 0 } = set.spec;
    const waits = pods
      .map((pod) => availableInMs(pod, minReadySeconds, context.now))
      .filter((ms) => ms > 0);
    return requeueAfter(Math.min(...waits));
  },
});

interface History {
  readonly revisions: readonly Revision[];
  readonly current: Revision;
  readonly update: Revision;
  readonly collisions: number;
}

/** The set as it was at that revision. */
function restored(set: Stored<StatefulSet>, revision: Revision): Stored<StatefulSet> {
  const template = templateOf(revision);
  return template === undefined ? set : { ...set, spec: { ...set.spec, template } };
}

/** What a revision of an older version of the API says is the same, but for newer defaults. */
function meansTheSame(set: Stored<StatefulSet>, revision: Revision): boolean {
  const past = cloneJson(restored(set, revision));
  applySchemaDefaults(StatefulSet.schema, past);
  StatefulSet.strategy.defaults?.(past);
  return equalObjects(templatePatch(past.spec.template), templatePatch(set.spec.template));
}

/** Finds or makes the revision of the template as it is now. */
async function settleHistory(
  set: Stored<StatefulSet>,
  revisions: readonly Revision[],
  context: ReconcileContext,
): Promise<History> {
  const { template } = set.spec;
  const last = revisions.at(-1);
  const equal = revisions.filter((one) => holds(one, template)).at(-1);
  const next = (last?.revision ?? 0) + 1;
  let collisions = set.status.collisionCount ?? 0;
  let update: Revision;
  if (equal !== undefined && last !== undefined) {
    const same = holds(last, template);
    update = same ? last : await setRevision(equal, next, context);
  } else if (last !== undefined && meansTheSame(set, last)) {
    update = last;
  } else {
    const wanted = { kind: StatefulSet, owner: set, revision: next, hashLabel };
    const made = await createRevision(wanted, collisions, context);
    update = made.revision;
    collisions = made.collisions;
  }
  const { currentRevision } = set.status;
  const current = revisions.find((one) => one.metadata.name === currentRevision) ?? update;
  return { revisions, current, update, collisions };
}

/** Removes the oldest revisions that nothing is of, down to the limit. */
async function truncateHistory(
  set: Stored<StatefulSet>,
  pods: readonly Stored<Pod>[],
  { revisions, current, update }: History,
  context: ReconcileContext,
): Promise<void> {
  const { revisionHistoryLimit: limit = 10 } = set.spec;
  const live = new Set([current.metadata.name, update.metadata.name, ...pods.map(revisionOfPod)]);
  const past = revisions.filter((one) => !live.has(one.metadata.name));
  if (limit < 0) return;
  for (const one of past.slice(0, Math.max(0, past.length - limit))) {
    await removeRevision(one, context);
  }
}

/** Gives the first failure; what comes after it waits for the next pass. */
async function performAll(
  set: Stored<StatefulSet>,
  phases: readonly (readonly Step[])[],
  context: ReconcileContext,
): Promise<unknown> {
  for (const steps of phases) {
    if (set.spec.podManagementPolicy === "Parallel") {
      const { error } = await slowStart(steps, (step) => perform(set, step, context));
      if (error !== undefined) return error;
      continue;
    }
    for (const step of steps) {
      try {
        await perform(set, step, context);
      } catch (error) {
        return error;
      }
    }
  }
  return undefined;
}

async function perform(
  set: Stored<StatefulSet>,
  step: Step,
  context: ReconcileContext,
): Promise<void> {
  switch (step.do) {
    case "create": {
      const { name = "" } = step.pod.metadata;
      await told(set, "Create", name, context, () => createClaims(set, step.ordinal, context), {
        onSuccess: false,
      });
      await told(set, "Create", name, context, () => context.client.create(Pod, step.pod), {
        onSuccess: true,
      });
      return;
    }
    case "delete": {
      const ref = refOf(step.pod);
      await told(set, "Delete", ref.name, context, () => deleteQuietly(ref, context), {
        onSuccess: true,
      });
      return;
    }
    case "claims":
      if (step.create) await createClaims(set, ordinalOf(step.pod), context);
      await settleClaimOwners(set, step.pod, context);
      return;
    case "update":
      await told(
        set,
        "Update",
        step.pod.metadata.name,
        context,
        () => mend(set, step.pod, context),
        {
          onSuccess: true,
        },
      );
  }
}

const refOf = ({ metadata: { name, namespace } }: Stored<ApiObject>): Ref => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
});

async function deleteQuietly(ref: Ref, context: ReconcileContext): Promise<void> {
  try {
    await context.client.delete(Pod, ref);
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
}

/** Does it, and says how it went. */
async function told(
  set: Stored<StatefulSet>,
  verb: "Create" | "Delete" | "Update",
  pod: string,
  context: ReconcileContext,
  act: () => Promise<unknown>,
  { onSuccess }: { readonly onSuccess: boolean },
): Promise<void> {
  const what = `${verb} Pod ${pod} in StatefulSet ${set.metadata.name}`;
  try {
    await act();
  } catch (error) {
    if (!isStatus(error, "AlreadyExists")) {
      const why = error instanceof Error ? error.message : String(error);
      context.event(set, "Warning", `Failed${verb}`, `${what} failed error: ${why}`);
    }
    throw error;
  }
  if (onSuccess) context.event(set, "Normal", `Successful${verb}`, `${what} successful`);
}

async function mend(
  set: Stored<StatefulSet>,
  pod: Stored<Pod>,
  context: ReconcileContext,
): Promise<void> {
  await createClaims(set, ordinalOf(pod), context);
  await settleClaimOwners(set, pod, context);
  await context.client.update(Pod, withIdentity(set, pod));
}

async function createClaims(
  set: Stored<StatefulSet>,
  ordinal: number,
  context: ReconcileContext,
): Promise<void> {
  const { name: setName, namespace } = set.metadata;
  const problems: string[] = [];
  for (const claim of claimsFor(set, ordinal)) {
    const { name = "" } = claim.metadata;
    const known = context.cache(PersistentVolumeClaim).get(keyFor(namespace, name));
    if (known !== undefined) {
      if (known.metadata.deletionTimestamp !== undefined) {
        problems.push(`pvc ${name} is being deleted`);
      }
      continue;
    }
    const what = `Create Claim ${name} Pod ${setName}-${ordinal} in StatefulSet ${setName}`;
    try {
      await context.client.create(PersistentVolumeClaim, claim);
      context.event(set, "Normal", "SuccessfulCreate", `${what} success`);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      problems.push(`failed to create PVC ${name}: ${why}`);
      if (isStatus(error, "AlreadyExists")) continue;
      context.event(set, "Warning", "FailedCreate", `${what} failed error: ${why}`);
    }
  }
  if (problems.length > 0) throw new Error(problems.join(", "));
}

async function settleClaimOwners(
  set: Stored<StatefulSet>,
  pod: Stored<Pod>,
  context: ReconcileContext,
): Promise<void> {
  const cache = context.cache(PersistentVolumeClaim);
  for (const name of claimNames(set, ordinalOf(pod)).values()) {
    const claim = cache.get(keyFor(set.metadata.namespace, name));
    if (claim === undefined) continue;
    if (hasConflictingController(claim, set, pod)) {
      const message = `PersistentVolumeClaim ${name} has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim`;
      context.event(set, "Warning", "ConflictingController", message);
    }
    const owners = claimOwners(claim, set, pod);
    if (owners === undefined) continue;
    const metadata = { ...claim.metadata, ownerReferences: [...owners] };
    await context.client.update(PersistentVolumeClaim, { ...claim, metadata });
  }
}

/** Zero and absent are the same on the wire. */
function sameStatus(a: StatefulSetStatus, b: StatefulSetStatus): boolean {
  const facts = (status: StatefulSetStatus) => [
    status.observedGeneration ?? 0,
    status.replicas,
    status.readyReplicas ?? 0,
    status.currentReplicas ?? 0,
    status.updatedReplicas ?? 0,
    status.availableReplicas,
    status.currentRevision ?? "",
    status.updateRevision ?? "",
    status.conditions ?? [],
  ];
  return equalObjects(facts(a), facts(b));
}
