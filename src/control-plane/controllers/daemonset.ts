/**
 * DaemonSet controller: one Pod on every node that fits. Reads DaemonSets, their Pods and
 * ControllerRevisions, and Nodes; writes Pods, revisions and the status. Never binds a Pod: it
 * pins it to its node, and the scheduler does the rest.
 */
import { ControllerRevision } from "#api/apps/v1/controllerrevision.ts";
import { DaemonSet } from "#api/apps/v1/daemonset.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { DaemonSetStatus } from "#api/generated/apps/v1.ts";
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import {
  type Controller,
  type ControllerDefinition,
  claimable,
  type ReconcileContext,
  requeueAfter,
  watch,
} from "./controller.ts";
import {
  byRevision,
  createRevision,
  holds,
  type Revision,
  removeRevision,
  revisionHashLabel,
  setRevision,
} from "./controller-history.ts";
import {
  type DaemonPlan,
  type DaemonView,
  daemonStatus,
  daemonTemplate,
  matters,
  pinnedTo,
  planPlacement,
  planRollingUpdate,
  targetNode,
} from "./daemonset-plan.ts";
import { availableInMs } from "./pod-state.ts";
import { podFromTemplate } from "./replicaset.ts";
import { defineController, isEnding } from "./runner.ts";
import { slowStart } from "./slow-start.ts";

/** Most Pods that one pass creates or deletes. */
const burstMax = 250;
const backOffFirstMs = 1_000;
const backOffMsMax = 15 * 60_000;
const backOffsMax = 10_000;

/** How long failed Pods of a node are left before they are replaced: doubles, and is forgotten. */
class FailedPodsBackOff {
  readonly #entries = new Map<string, { readonly ms: number; readonly at: number }>();

  /** 0: replace it now, and the next one of this node has to wait. */
  waitMs(key: string, now: number): number {
    const entry = this.#entries.get(key);
    if (entry !== undefined && now - entry.at < entry.ms) return entry.at + entry.ms - now;
    const forgotten = entry === undefined || now - entry.at > 2 * backOffMsMax;
    const ms = forgotten ? backOffFirstMs : Math.min(entry.ms * 2, backOffMsMax);
    this.#entries.delete(key);
    this.#entries.set(key, { ms, at: now });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > backOffsMax && oldest !== undefined) this.#entries.delete(oldest);
    return 0;
  }
}

export const daemonSetController: Controller = {
  name: "daemonset",
  start: (world) => defineController(definition(new FailedPodsBackOff())).start(world),
};

const definition = (backOff: FailedPodsBackOff): ControllerDefinition<DaemonSet> => ({
  name: "daemonset",
  account: "daemon-set-controller",
  eventSource: "daemonset-controller",
  reconciles: DaemonSet,
  owns: [Pod, ControllerRevision],
  adopts: (set, orphan) => matchesSelector(set.spec.selector, orphan.metadata.labels),
  watches: [
    watch(Node, (_node, lookup) => [...lookup.cache(DaemonSet).list()].map(keyOf), matters),
  ],

  async reconcile(set, context) {
    const { selector, minReadySeconds = 0 } = set.spec;
    if (equalObjects(selector, {})) {
      const message = "This daemon set is selecting all pods. A non-empty selector is required.";
      context.event(set, "Warning", "SelectingAll", message);
      return {};
    }
    if (set.metadata.deletionTimestamp !== undefined) return {};
    const matches = (object: ApiObject) => matchesSelector(selector, object.metadata.labels);
    const pods = await context.claim(Pod, set, claimable(context.cache(Pod), set), matches);
    const history = await settleHistory(set, pods, matches, context);
    const view: DaemonView = {
      set,
      nodes: [...context.cache(Node).list()],
      pods,
      hash: history.current.metadata.labels?.[revisionHashLabel] ?? "",
      now: context.now,
      backOffMs: (node) =>
        backOff.waitMs(
          `${set.metadata.uid}/${set.status.observedGeneration ?? 0}/${node}`,
          context.now,
        ),
    };
    const { failure, againInMs } = await move(view, context);
    const status = {
      ...daemonStatus(view),
      ...(history.collisions === 0 ? {} : { collisionCount: history.collisions }),
    };
    if (!sameStatus(set.status, status)) {
      await context.client.updateStatus(DaemonSet, { ...set, status });
    }
    if (failure !== undefined) throw failure;
    await truncateHistory(set, pods, history.past, context);
    const waits = pods
      .map((pod) => availableInMs(pod, minReadySeconds, context.now))
      .filter((ms) => ms > 0);
    return requeueAfter(Math.min(againInMs, ...waits));
  },
});

/** A node's Pods first come to one each; only what then stands still is moved to a new template. */
async function move(
  view: DaemonView,
  context: ReconcileContext,
): Promise<{ readonly failure: unknown; readonly againInMs: number }> {
  const placed = planPlacement(view);
  for (const { type, reason, message } of placed.events) {
    context.event(view.set, type, reason, message);
  }
  const { againInMs } = placed;
  const still = placed.create.length === 0 && placed.remove.length === 0;
  const plan = still ? planRollingUpdate(view) : placed;
  return { failure: await perform(view, plan, context), againInMs };
}

async function perform(
  { set, hash }: DaemonView,
  plan: Pick<DaemonPlan, "create" | "remove">,
  context: ReconcileContext,
): Promise<unknown> {
  const template = daemonTemplate(set, hash);
  const pods = plan.create.slice(0, burstMax).map((node) => {
    const affinity = pinnedTo(template.spec.affinity, node);
    return podFromTemplate(DaemonSet, set, { ...template, spec: { ...template.spec, affinity } });
  });
  const { created, error } = await context.createEach(Pod, pods);
  for (const pod of created) {
    context.event(set, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
  }
  if (error !== undefined && !isEnding(error)) {
    context.event(set, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
  }
  const removed = await slowStart(plan.remove.slice(0, burstMax), (pod) =>
    remove(set, pod, context),
  );
  return isEnding(error) ? removed.error : (error ?? removed.error);
}

async function remove(
  set: Stored<DaemonSet>,
  { metadata: { name, namespace } }: Stored<Pod>,
  context: ReconcileContext,
): Promise<void> {
  try {
    await context.client.delete(Pod, { name, ...(namespace === undefined ? {} : { namespace }) });
  } catch (error) {
    if (isStatus(error, "NotFound")) return;
    context.event(set, "Warning", "FailedDelete", `Error deleting: ${messageOf(error)}`);
    throw error;
  }
  context.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

interface History {
  readonly current: Revision;
  readonly past: readonly Revision[];
  readonly collisions: number;
}

/** Finds or makes the revision of the template as it is now; of several that say the same, one. */
async function settleHistory(
  set: Stored<DaemonSet>,
  pods: readonly Stored<Pod>[],
  matches: (object: ApiObject) => boolean,
  context: ReconcileContext,
): Promise<History> {
  const known = claimable(context.cache(ControllerRevision), set);
  const claimed = await context.claim(ControllerRevision, set, known, matches);
  const revisions: Revision[] = [];
  for (const revision of [...claimed].sort(byRevision)) {
    revisions.push(await labelled(revision, context));
  }
  const { template } = set.spec;
  const equal = revisions.filter((one) => holds(one, template));
  const past = revisions.filter((one) => !holds(one, template));
  const next = Math.max(0, ...past.map((one) => one.revision)) + 1;
  const collisions = set.status.collisionCount ?? 0;
  const kept = equal.at(-1);
  if (kept === undefined) {
    const wanted = { kind: DaemonSet, owner: set, revision: next, hashLabel: revisionHashLabel };
    const made = await createRevision(wanted, collisions, context);
    return { current: made.revision, past, collisions: made.collisions };
  }
  if (equal.length > 1) {
    await relabel(pods, kept, context);
    for (const one of equal.slice(0, -1)) await removeRevision(one, context);
  }
  const current = kept.revision < next ? await setRevision(kept, next, context) : kept;
  return { current, past, collisions };
}

/** Revisions of old versions carry no hash: their name is one as good. */
async function labelled(revision: Revision, context: ReconcileContext): Promise<Revision> {
  const { name, labels } = revision.metadata;
  if (labels?.[revisionHashLabel] !== undefined) return revision;
  const metadata = { ...revision.metadata, labels: { ...labels, [revisionHashLabel]: name } };
  return context.client.update(ControllerRevision, { ...revision, metadata });
}

async function relabel(
  pods: readonly Stored<Pod>[],
  kept: Revision,
  context: ReconcileContext,
): Promise<void> {
  const hash = kept.metadata.labels?.[revisionHashLabel];
  for (const { metadata } of pods) {
    if (metadata.labels?.[revisionHashLabel] === hash) continue;
    const { name, namespace } = metadata;
    const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
    const body = { metadata: { labels: { [revisionHashLabel]: hash } } };
    await context.client.patch(Pod, ref, "merge", body);
  }
}

/** Removes the oldest revisions that no Pod is of, down to the limit. */
async function truncateHistory(
  { spec: { revisionHistoryLimit: limit = 10 } }: DaemonSet,
  pods: readonly Stored<Pod>[],
  past: readonly Revision[],
  context: ReconcileContext,
): Promise<void> {
  const live = new Set(
    pods
      .filter((pod) => targetNode(pod) !== undefined)
      .map((pod) => pod.metadata.labels?.[revisionHashLabel]),
  );
  const idle = past.filter((one) => !live.has(one.metadata.labels?.[revisionHashLabel]));
  for (const one of idle.slice(0, Math.max(0, past.length - limit))) {
    await removeRevision(one, context);
  }
}

/** Zero and absent are the same on the wire. */
function sameStatus(a: DaemonSetStatus, b: DaemonSetStatus): boolean {
  const facts = (status: DaemonSetStatus) => [
    status.observedGeneration ?? 0,
    status.desiredNumberScheduled,
    status.currentNumberScheduled,
    status.numberMisscheduled,
    status.numberReady,
    status.updatedNumberScheduled ?? 0,
    status.numberAvailable ?? 0,
    status.numberUnavailable ?? 0,
    status.collisionCount ?? 0,
  ];
  return equalObjects(facts(a), facts(b));
}
