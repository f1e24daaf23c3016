/**
 * Job controller: Pods until the work is done, or has failed too often. Reads Jobs and Pods;
 * writes Pods and the Job's status. A Pod that ended is counted exactly once: it carries a
 * finalizer until the status has counted it.
 */
import { formatIndexes, withIndexes } from "#api/batch/v1/index-intervals.ts";
import { Job, jobNameLabel } from "#api/batch/v1/job.ts";
import { isFinished, jobCondition } from "#api/batch/v1/job-status.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodReady } from "#api/core/v1/pod-status.ts";
import type { JobCondition, JobStatus } from "#api/generated/batch/v1.ts";
import type { New } from "#client/client.ts";
import { controllerOf, keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import {
  type Controller,
  type ControllerDefinition,
  claimable,
  index,
  keyFor,
  type ReconcileContext,
  requeueAfter,
  watch,
} from "./controller.ts";
import {
  type Ending,
  isIndexDone,
  isSettled,
  type JobState,
  type JobView,
  planPods,
  stateOf,
} from "./job-plan.ts";
import {
  type BackOff,
  completionIndex,
  hasFailed,
  isTracked,
  judgeFailure,
  noBackOff,
  trackingFinalizer,
} from "./job-pods.ts";
import { defineController, isEnding } from "./runner.ts";
import { slowStart } from "./slow-start.ts";

/** Most Pods that the status names before it has counted them. */
const uncountedMax = 500;
const ownName = "kubernetes.io/job-controller";
const trackedIndex = "job-tracking";

type BackOffs = Map<string, { readonly uid: string; readonly backOff: BackOff }>;

export const jobController: Controller = {
  name: "job",
  start: (world) => defineController(definition(new Map())).start(world),
};

/** The Job that a tracked Pod belongs to, or did. */
const jobKeyOf = (pod: Stored<Pod>): string => {
  const owner = controllerOf(pod);
  const name = owner?.kind === "Job" ? owner.name : pod.metadata.labels?.[jobNameLabel];
  return keyFor(pod.metadata.namespace, name ?? "");
};

const isForeign = ({ spec }: Job): boolean =>
  spec.managedBy !== undefined && spec.managedBy !== ownName;

const definition = (backOffs: BackOffs): ControllerDefinition<Job> => ({
  name: "job",
  reconciles: Job,
  owns: [Pod],
  adopts: (job, orphan) => matchesSelector(job.spec.selector, orphan.metadata.labels),
  indexes: [index(Pod, trackedIndex, (pod) => (isTracked(pod) ? [jobKeyOf(pod)] : []))],
  watches: [
    // A Pod that lost its Job is still tracked: whoever deletes it would wait for ever.
    watch(Pod, (pod) => {
      return isTracked(pod) && controllerOf(pod) === undefined ? [jobKeyOf(pod)] : [];
    }),
  ],

  async reconcile(job, context) {
    const key = keyOf(job);
    if (isForeign(job)) return {};
    const known = backOffs.get(key);
    if (isFinished(job)) {
      backOffs.delete(key);
      await letGo(tracked(key, context), context);
      return {};
    }
    const { selector, completionMode } = job.spec;
    if (!["Indexed", "NonIndexed", undefined].includes(completionMode)) {
      const message = "Skipped Job sync because completion mode is unknown";
      context.event(job, "Warning", "UnknownCompletionMode", message);
      return {};
    }
    const candidates = claimable(context.cache(Pod), job);
    const claimed = await context.claim(Pod, job, candidates, (pod) =>
      matchesSelector(selector, pod.metadata.labels),
    );
    const pods = await trackAdopted(job, claimed, context);
    const mine = new Set(pods.map((pod) => pod.metadata.uid));
    const strays = tracked(key, context).filter((pod) => !mine.has(pod.metadata.uid));
    await letGo(strays, context);
    const backOff = known?.uid === job.metadata.uid ? known.backOff : noBackOff;
    const view: JobView = { job, pods, backOff, now: context.now };
    const pass = new Pass(view, context);
    const againInMs = await pass.run();
    backOffs.set(key, { uid: job.metadata.uid, backOff: pass.state.backOff });
    if (pass.failure !== undefined) throw pass.failure;
    return requeueAfter(Math.min(againInMs, Math.max(0, pass.state.deadlineInMs)));
  },

  async gone(key, context) {
    backOffs.delete(key);
    await letGo(tracked(key, context), context);
  },
});

const tracked = (key: string, context: ReconcileContext): readonly Stored<Pod>[] =>
  context.cache(Pod).byIndex(trackedIndex, key);

const refOf = ({ metadata: { name, namespace } }: Stored<Pod>) => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
});

/** Pods that were adopted in this pass are tracked from now on. */
function trackAdopted(
  job: Stored<Job>,
  pods: readonly Stored<Pod>[],
  context: ReconcileContext,
): Promise<readonly Stored<Pod>[]> {
  const cache = context.cache(Pod);
  return Promise.all(
    pods.map(async (pod) => {
      const before = cache.get(keyOf(pod));
      const adopted = before !== undefined && controllerOf(before)?.uid !== job.metadata.uid;
      if (!adopted || isTracked(pod)) return pod;
      const finalizers = [...(pod.metadata.finalizers ?? []), trackingFinalizer];
      return context.client.patch(Pod, refOf(pod), "merge", { metadata: { finalizers } });
    }),
  );
}

/** Takes the finalizer away. Gives the uids of those that have none any more. */
async function letGo(
  pods: readonly Stored<Pod>[],
  context: ReconcileContext,
): Promise<{ readonly free: ReadonlySet<string>; readonly error?: unknown }> {
  const free = new Set<string>();
  const body = { metadata: { "$deleteFromPrimitiveList/finalizers": [trackingFinalizer] } };
  const results = await Promise.allSettled(
    pods.map(async (pod) => {
      try {
        await context.client.patch(Pod, refOf(pod), "strategic", body);
      } catch (error) {
        if (!isStatus(error, "NotFound")) throw error;
      }
      free.add(pod.metadata.uid);
    }),
  );
  const failed = results.find((one) => one.status === "rejected");
  return failed === undefined ? { free } : { free, error: failed.reason as unknown };
}

/** One pass over one Job: acts on its Pods, then tells in the status what became of them. */
class Pass {
  readonly state: JobState;
  /** The first thing that could not be done. */
  failure: unknown;
  readonly #view: JobView;
  readonly #context: ReconcileContext;
  #status: JobStatus;
  #saved: Stored<Job>;
  #active: number;
  #ready: number;
  #terminating: number;

  constructor(view: JobView, context: ReconcileContext) {
    const { job, now } = view;
    const starts = job.status.startTime === undefined && job.spec.suspend !== true;
    const status = starts ? { ...job.status, startTime: formatTime(now) } : job.status;
    this.#view = { ...view, job: { ...job, status } };
    this.#context = context;
    this.#saved = job;
    this.#status = { ...status };
    this.state = stateOf(this.#view);
    this.#active = this.state.active.length;
    this.#ready = this.state.ready;
    this.#terminating = this.state.terminating;
  }

  async run(): Promise<number> {
    const { job } = this.#view;
    const { state } = this;
    let { ending } = state;
    let againInMs = Infinity;
    if (ending !== undefined) {
      const all = await this.#delete(state.active, false);
      if (!all) ending = undefined;
    } else {
      if (job.metadata.deletionTimestamp === undefined) {
        const plan = planPods(this.#view, state);
        againInMs = plan.againInMs;
        await this.#delete(plan.remove, true);
        await this.#create(plan.create);
      }
      ending = this.#completion();
      if (ending === undefined && job.metadata.deletionTimestamp === undefined) this.#suspend();
    }
    this.#status.active = this.#active;
    this.#status.ready = this.#ready;
    this.#status.terminating = this.#terminating;
    await this.#track(ending);
    return againInMs;
  }

  /** All that was asked for is done. */
  #completion(): Ending | undefined {
    const { completions } = this.#view.job.spec;
    const { succeeded } = this.state;
    const enough = completions === undefined ? succeeded > 0 : succeeded >= completions;
    if (!enough || this.#active > 0) return undefined;
    return {
      type: "SuccessCriteriaMet",
      reason: "CompletionsReached",
      message: "Reached expected number of succeeded pods",
    };
  }

  #suspend(): void {
    const { job, now } = this.#view;
    if (job.spec.suspend === true) {
      if (!this.#setCondition("Suspended", "True", "JobSuspended", "Job suspended")) return;
      this.#context.event(job, "Normal", "Suspended", "Job suspended");
      delete this.#status.startTime;
    } else if (jobCondition(job, "Suspended") !== undefined) {
      if (!this.#setCondition("Suspended", "False", "JobResumed", "Job resumed")) return;
      this.#context.event(job, "Normal", "Resumed", "Job resumed");
      this.#status.startTime = formatTime(now);
    }
  }

  /** Gives whether anything changes. */
  #setCondition(type: string, status: string, reason: string, message: string): boolean {
    const time = formatTime(this.#view.now);
    const list = this.#status.conditions ?? [];
    const old = list.find((one) => one.type === type);
    const same = old?.status === status && old.reason === reason && old.message === message;
    if (same) return false;
    const condition: JobCondition = {
      type,
      status,
      lastProbeTime: time,
      lastTransitionTime: time,
      reason,
      message,
    };
    this.#status.conditions =
      old === undefined ? [...list, condition] : list.map((one) => (one === old ? condition : one));
    return true;
  }

  /** `release`: they are not to be counted. Gives whether all are on their way out. */
  async #delete(pods: readonly Stored<Pod>[], release: boolean): Promise<boolean> {
    const { job } = this.#view;
    const context = this.#context;
    const results = await Promise.allSettled(
      pods.map(async (pod) => {
        const { name } = pod.metadata;
        if (release && isTracked(pod)) {
          const { error } = await letGo([pod], context);
          if (error !== undefined) throw error;
        }
        try {
          await context.client.delete(Pod, refOf(pod));
        } catch (error) {
          if (!isStatus(error, "NotFound")) {
            const message = `Error deleting: ${messageOf(error)}`;
            context.event(job, "Warning", "FailedDelete", message);
            throw error;
          }
        }
        context.event(job, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
        this.#active -= 1;
        this.#terminating += 1;
        if (isPodReady(pod)) this.#ready -= 1;
      }),
    );
    const failed = results.find((one) => one.status === "rejected");
    this.failure ??= failed?.reason;
    return failed === undefined;
  }

  async #create(pods: readonly New<Pod>[]): Promise<void> {
    const { job } = this.#view;
    const { done, error } = await slowStart(pods, (pod) => this.#context.client.create(Pod, pod));
    this.#active += done.length;
    for (const pod of done) {
      const message = `Created pod: ${pod.metadata.name}`;
      this.#context.event(job, "Normal", "SuccessfulCreate", message);
    }
    if (error === undefined || isEnding(error)) return;
    this.#context.event(job, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
    this.failure ??= error;
  }

  /** First the status names who ended, then they lose their finalizer, then they are counted. */
  async #track(ending: Ending | undefined): Promise<void> {
    const { job, pods } = this.#view;
    const held = new Set(pods.filter(isTracked).map((pod) => pod.metadata.uid));
    this.#countReleased(held);
    const { settled, complete } = this.#nameEnded(ending);
    if (this.state.indexed) this.#tellIndexes(settled);
    if (ending !== undefined)
      this.#setCondition(ending.type, "True", ending.reason, ending.message);
    await this.#save();
    const { free, error } = await letGo(settled, this.#context);
    for (const uid of free) held.delete(uid);
    this.#countReleased(held);
    if (error !== undefined) {
      await this.#save();
      throw error;
    }
    const over = ending !== undefined && complete && this.#finish(ending);
    await this.#save();
    if (over) this.#tellEnd(job, ending);
  }

  #countReleased(held: ReadonlySet<string>): void {
    const uncounted = this.#status.uncountedTerminatedPods ?? {};
    const left: { succeeded?: string[]; failed?: string[] } = {};
    for (const which of ["succeeded", "failed"] as const) {
      const names = uncounted[which] ?? [];
      const kept = names.filter((uid) => held.has(uid));
      if (kept.length > 0) left[which] = kept;
      if (kept.length === names.length) continue;
      this.#status[which] = (this.#status[which] ?? 0) + names.length - kept.length;
    }
    this.#status.uncountedTerminatedPods = left;
  }

  /** Notes in the status who ended how. `complete`: there is nobody left for a later pass. */
  #nameEnded(ending: Ending | undefined) {
    const { job, pods } = this.#view;
    const { indexed } = this.state;
    const { succeeded = [], failed = [] } = this.#status.uncountedTerminatedPods ?? {};
    const lists = { succeeded: [...succeeded], failed: [...failed] };
    const settled: Stored<Pod>[] = [];
    for (const pod of pods) {
      if (!isTracked(pod) || !isSettled(job, pod, this.state, ending !== undefined)) continue;
      if (settled.length >= uncountedMax) {
        this.#status.uncountedTerminatedPods = lists;
        return { settled, complete: false };
      }
      settled.push(pod);
      const { uid } = pod.metadata;
      if (pod.status.phase === "Succeeded" && !lists.failed.includes(uid)) {
        if (!indexed && !lists.succeeded.includes(uid)) lists.succeeded.push(uid);
        continue;
      }
      const lost = hasFailed(job, pod) || ending?.type === "FailureTarget";
      const at = completionIndex(pod) ?? Infinity;
      const counts = !indexed || at < (job.spec.completions ?? 0);
      if (!lost || !counts || lists.failed.includes(uid)) continue;
      if (judgeFailure(job, pod).counts) lists.failed.push(uid);
    }
    this.#status.uncountedTerminatedPods = {
      ...(lists.succeeded.length === 0 ? {} : { succeeded: lists.succeeded }),
      ...(lists.failed.length === 0 ? {} : { failed: lists.failed }),
    };
    return { settled, complete: true };
  }

  #tellIndexes(settled: readonly Stored<Pod>[]): void {
    const { completions = 0 } = this.#view.job.spec;
    const fresh = settled
      .filter((pod) => pod.status.phase === "Succeeded")
      .map((pod) => completionIndex(pod) ?? completions)
      .filter((at) => at < completions && !isIndexDone(this.state, at));
    const all = withIndexes(this.state.completed, fresh);
    const text = formatIndexes(all);
    this.#status.succeeded = all.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    if (text === "") delete this.#status.completedIndexes;
    else this.#status.completedIndexes = text;
    const { failedIndexes } = this.state;
    if (failedIndexes === undefined) delete this.#status.failedIndexes;
    else this.#status.failedIndexes = formatIndexes(failedIndexes);
  }

  /** Once all are counted and gone. */
  #finish({ type, reason, message }: Ending): boolean {
    const { succeeded = [], failed = [] } = this.#status.uncountedTerminatedPods ?? {};
    if (succeeded.length + failed.length > 0 || this.#terminating > 0) return false;
    const good = type === "SuccessCriteriaMet";
    this.#setCondition(good ? "Complete" : "Failed", "True", reason, message);
    if (good) this.#status.completionTime = formatTime(this.#view.now);
    return true;
  }

  #tellEnd(job: Stored<Job>, { type, reason, message }: Ending): void {
    const context = this.#context;
    if (type === "FailureTarget") {
      context.event(job, "Warning", reason, message);
      return;
    }
    const { completions } = job.spec;
    if (completions !== undefined && (this.#status.succeeded ?? 0) > completions) {
      const told = "Too many succeeded pods running after completion count reached";
      context.event(job, "Warning", "TooManySucceededPods", told);
    }
    context.event(job, "Normal", "Completed", "Job completed");
  }

  async #save(): Promise<void> {
    if (equalObjects(plain(this.#saved.status), plain(this.#status))) return;
    const { job } = this.#view;
    const status = { ...this.#status };
    const next = { ...job, metadata: this.#saved.metadata, status };
    this.#saved = await this.#context.client.updateStatus(Job, next);
  }
}

/** Zero and absent are the same on the wire. */
const plain = ({ active = 0, succeeded = 0, failed = 0, ...rest }: JobStatus) => ({
  active,
  succeeded,
  failed,
  ...rest,
});

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
