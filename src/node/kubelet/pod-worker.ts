/**
 * One pod's worker: takes what the API wants and what the runtime has, decides, acts, reports; one step at a time. A pod goes
 * from syncing (keep it running) to terminating (stop it) to terminated (clean up) to finished, and never back.
 */

import { isPhaseTerminal } from "#api/core/v1/pod-status.ts";
import { parseTime } from "#machinery/time.ts";
import { collectGarbage, removePod, removePodCgroups } from "./garbage.ts";
import { killPod } from "./kill.ts";
import type { NodeServices } from "./node-services.ts";
import { podDirectory } from "./paths.ts";
import { computePodActions } from "./pod-actions.ts";
import { PodResize } from "./pod-resize.ts";
import { PodRunner } from "./pod-runner.ts";
import { isHostNetwork, type NodePod } from "./pod-spec.ts";
import { podStatusOf, terminatedStatus } from "./pod-status.ts";
import type { ReportedStatus } from "./reported-status.ts";
import { type Made, noRuntimeStatus, type PodRuntimeStatus } from "./runtime-status.ts";

export type WorkerPhase = "syncing" | "terminating" | "terminated" | "finished";

/** After something failed that has no back-off of its own: doubled from here to there. */
const retryMsMin = 1000;
const retryMsMax = 60_000;

export interface Verdict {
  readonly reason: string;
  readonly message: string;
  /** Less than the pod's own grace; absent: that. */
  readonly graceSeconds?: number;
  /** The pod is no fault of its own: its condition DisruptionTarget says so. */
  readonly isDisruption?: boolean;
}

export class PodWorker {
  readonly uid: string;
  readonly #node: NodeServices;
  readonly #runner: PodRunner;
  readonly #resize: PodResize;
  readonly #onFinished: (worker: PodWorker) => void;
  #pod: NodePod;
  #phase: WorkerPhase = "syncing";
  /** It is gone from the API: nothing is reported any more. */
  #orphaned = false;
  #verdict: Verdict | undefined;
  /** Nothing of it was in the runtime when it came: the first look can be spared. */
  #fresh: boolean;
  /** Since the last look only this has come to be: the next look need not list. */
  #made: { readonly before: PodRuntimeStatus; readonly made: Made } | undefined;
  #volumesDirty = true;
  #dirty = false;
  #running = false;
  #stopped = false;
  #failures = 0;
  /** Nothing of it is left in the runtime and on disk. */
  #removed = false;
  #runtime: PodRuntimeStatus | undefined;
  #graceSeconds: number | undefined;
  #killing: PodRuntimeStatus | undefined;
  #cancelTimer: () => void = () => {};

  constructor(
    node: NodeServices,
    pod: NodePod,
    options: { readonly fresh: boolean },
    onFinished: (worker: PodWorker) => void,
  ) {
    this.uid = pod.metadata.uid;
    this.#node = node;
    this.#pod = pod;
    this.#fresh = options.fresh;
    this.#onFinished = onFinished;
    this.#runner = new PodRunner(node);
    this.#resize = new PodResize(node, pod);
    if (pod.metadata.deletionTimestamp !== undefined || isPhaseTerminal(pod.status.phase)) {
      this.#phase = "terminating";
      this.#graceSeconds = graceOf(pod);
    }
  }

  /** With the resources that it was granted, where it wants others. */
  get pod(): NodePod {
    return this.#resize.allocated(this.#pod);
  }
  /** It waits for room to become what it wants to be. */
  get wantsRoom(): boolean {
    return this.#resize.isDeferred;
  }
  /** What the runtime had of it at the last look. */
  get runtime(): PodRuntimeStatus | undefined {
    return this.#runtime;
  }
  get phase(): WorkerPhase {
    return this.#phase;
  }
  get isEvicted(): boolean {
    return this.#verdict?.isDisruption === true;
  }
  /** It is gone from the API and only its remains are here. */
  get orphaned(): boolean {
    return this.#orphaned;
  }
  /** It is gone from the API, and nothing of it is left here. */
  get isOver(): boolean {
    return this.#orphaned && this.#removed && this.#phase === "finished";
  }

  /** The API has a new version of the pod. */
  update(pod: NodePod): void {
    const before = this.#pod;
    this.#pod = pod;
    this.#node.statuses.seen(pod);
    if (this.#phase === "finished") {
      if (pod.metadata.deletionTimestamp === undefined) return;
      this.#phase = "terminated";
      this.poke();
      return;
    }
    if (pod.metadata.deletionTimestamp !== undefined) this.#terminate(graceOf(pod));
    else if (isPhaseTerminal(pod.status.phase)) this.#terminate(undefined);
    if (affectsWork(before, pod)) {
      this.#volumesDirty = true;
      this.poke();
    }
  }

  /** The pod is gone from the API. */
  orphan(): void {
    this.#orphaned = true;
    this.#node.statuses.forget(this.uid);
    if (this.#phase !== "finished") this.#terminate(this.#graceSeconds ?? graceOf(this.#pod));
    else if (!this.#removed) this.#phase = "terminated";
    this.poke();
  }

  /** A ConfigMap or Secret that it shows has changed. */
  referencesChanged(): void {
    this.#volumesDirty = true;
    this.#runner.retryNow();
    this.poke();
  }

  /** Ends the pod for a reason of the node's own. */
  end(verdict: Verdict): void {
    if (this.#phase !== "syncing") return;
    this.#verdict = verdict;
    this.#terminate(undefined);
    this.poke();
  }

  /** Something may have changed: look again. */
  poke(): void {
    this.#dirty = true;
    if (!this.#running && !this.#stopped) void this.#run();
  }

  /** The kubelet stops; the pod runs on. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  #terminate(graceSeconds: number | undefined): void {
    const shorter =
      graceSeconds !== undefined &&
      (this.#graceSeconds === undefined || graceSeconds < this.#graceSeconds);
    if (shorter) this.#graceSeconds = graceSeconds;
    if (this.#phase === "syncing") this.#phase = "terminating";
    else if (this.#phase === "terminating" && shorter && this.#killing !== undefined) {
      void this.#hurry(this.#killing, graceSeconds);
    }
  }

  /** A second request with less grace does not wait for the first to end. */
  async #hurry(status: PodRuntimeStatus, graceSeconds: number): Promise<void> {
    try {
      const running = status.containers.filter((record) => record.state === "running");
      const grace = Math.max(graceSeconds, 1);
      await Promise.all(running.map((one) => this.#node.runtime.stopContainer(one.id, grace)));
    } catch (error) {
      this.#complain("could not stop a pod sooner", error);
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#cancelTimer();
    try {
      while (this.#dirty && !this.#stopped) {
        this.#dirty = false;
        const retryAtMs = await this.#step();
        this.#failures = 0;
        if (retryAtMs !== undefined) this.#wakeAt(retryAtMs);
      }
    } catch (error) {
      this.#complain(
        "a pod could not be brought to where it should be and will be tried again",
        error,
      );
      this.#wakeAfterFailure();
    } finally {
      this.#running = false;
    }
    // Whoever poked meanwhile was told that we run.
    if (this.#dirty && !this.#stopped) this.poke();
  }

  #wakeAfterFailure(): void {
    this.#failures += 1;
    const waitMs = Math.min(retryMsMin * 2 ** (this.#failures - 1), retryMsMax);
    const jitter = 1 + this.#node.random.uint32() / 2 ** 33;
    this.#wakeAt(this.#node.clock.now() + waitMs * jitter);
  }

  #wakeAt(atMs: number): void {
    this.#cancelTimer();
    if (atMs === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = this.#node.clock.after(atMs - this.#node.clock.now(), () => this.poke());
  }

  #complain(what: string, error: unknown): void {
    this.#node.log.write("warn", what, {
      pod: `${this.#pod.metadata.namespace}/${this.#pod.metadata.name}`,
      error: error instanceof Error ? error.message : String(error),
    });
  }

  /** When to look again without being asked. */
  async #step(): Promise<number | undefined> {
    switch (this.#phase) {
      case "syncing":
        return await this.#sync();
      case "terminating":
        await this.#syncTerminating();
        return undefined;
      case "terminated":
        await this.#syncTerminated();
        return undefined;
      default:
        return undefined;
    }
  }

  async #read(): Promise<PodRuntimeStatus> {
    const made = this.#made;
    this.#made = undefined;
    if (this.#fresh) return noRuntimeStatus(identityOf(this.#pod));
    const { reader } = this.#node;
    const status =
      made === undefined
        ? await reader.read(identityOf(this.#pod))
        : await reader.readMade(made.before, made.made);
    for (const { id } of [...status.sandboxes, ...status.containers]) {
      this.#node.claim(id, this.uid);
    }
    this.#runtime = status;
    return status;
  }

  #statusOf(runtime: PodRuntimeStatus, over: boolean): ReportedStatus {
    const node = this.#node;
    return podStatusOf({
      pod: this.pod,
      resize: this.#resize,
      runtime,
      before: node.statuses.get(this.uid),
      probes: node.prober,
      failures: this.#runner.failures,
      hostIps: node.figures().hostIps,
      over,
      nowMs: node.clock.now(),
      kubeletStartedAtMs: node.startedAtMs,
      runtimeName: node.runtimeName(),
      ...(this.#verdict === undefined ? {} : { verdict: this.#verdict }),
    });
  }

  #report(runtime: PodRuntimeStatus, over: boolean): ReportedStatus {
    const status = this.#statusOf(runtime, over);
    if (!this.#orphaned) this.#node.statuses.set(this.#pod, status, !over);
    if (!over) this.#node.prober.update(this.#pod, status);
    return status;
  }

  async #sync(): Promise<number | undefined> {
    const node = this.#node;
    this.#resize.allocate(this.#pod);
    const pod = this.pod;
    const runtime = await this.#read();
    const deadlineMs = this.#deadlineMs();
    if (deadlineMs <= node.clock.now()) {
      this.#verdict = {
        reason: "DeadlineExceeded",
        message: "Pod was active on the node longer than the specified deadline",
      };
      node.events.pod(pod, "Normal", this.#verdict.reason, this.#verdict.message);
    }
    const status = this.#report(runtime, false);
    if (isPhaseTerminal(status.phase)) {
      this.#terminate(undefined);
      this.#dirty = true;
      return undefined;
    }
    if (!node.networkReady() && !isHostNetwork(pod)) {
      const message =
        "network is not ready: container runtime network not ready: NetworkReady=false";
      node.events.pod(pod, "Warning", "NetworkNotReady", message);
      throw new Error(message);
    }
    await this.#prepare(pod);
    const actions = computePodActions(pod, runtime, node.prober);
    const resized = await this.#resize.apply(pod, runtime);
    const outcome = await this.#runner.run(pod, runtime, {
      ...actions,
      containersToKill: [...actions.containersToKill, ...resized],
    });
    this.#fresh = this.#fresh && !outcome.acted;
    if (outcome.made !== undefined) this.#made = { before: runtime, made: outcome.made };
    const refreshAtMs = node.volumes.refreshAtMs(this.uid);
    const wakeAtMs = Math.min(outcome.retryAtMs, refreshAtMs, deadlineMs);
    if (outcome.acted) this.#dirty = true;
    else {
      this.#report(runtime, false);
      await collectGarbage(node, runtime);
    }
    return wakeAtMs;
  }

  /** Directories and volumes, before anything starts; afterwards only when something changed. */
  async #prepare(pod: NodePod): Promise<void> {
    const node = this.#node;
    const due = node.volumes.refreshAtMs(this.uid) <= node.clock.now();
    if (!this.#volumesDirty && !due) return;
    node.references.register(pod);
    await node.host.makeDirectory(podDirectory(node.places, this.uid), 0o750);
    this.#volumesDirty = false;
    try {
      await node.volumes.mount(pod);
    } catch (error) {
      this.#volumesDirty = true;
      const message = error instanceof Error ? error.message : String(error);
      node.events.pod(pod, "Warning", "FailedMount", message);
      throw error;
    }
  }

  #deadlineMs(): number {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    const started = this.#node.statuses.get(this.uid)?.startTime ?? this.#pod.status.startTime;
    const startedMs = started === undefined ? undefined : parseTime(started);
    if (seconds === undefined || startedMs === undefined) return Number.POSITIVE_INFINITY;
    return startedMs + seconds * 1000;
  }

  async #syncTerminating(): Promise<void> {
    const node = this.#node;
    const runtime = await this.#read();
    // A pod that was over before it came here (refused, or ended in an earlier life) keeps what was said of it.
    const isTold = isPhaseTerminal(this.#pod.status.phase) && runtime.containers.length === 0;
    if (!isTold) this.#report(runtime, false);
    node.prober.stopLivenessAndStartup(this.uid);
    this.#killing = runtime;
    try {
      const verdict = this.#verdict;
      const grace = verdict === undefined ? this.#graceSeconds : verdict.graceSeconds;
      await killPod(node, this.#pod, runtime, grace);
    } catch (error) {
      const message = `error killing pod: ${error instanceof Error ? error.message : String(error)}`;
      node.events.pod(this.#pod, "Warning", "FailedKillPod", message);
      throw error;
    } finally {
      this.#killing = undefined;
    }
    node.prober.remove(this.uid);
    this.#fresh = this.#fresh && runtime.sandboxes.length === 0;
    const stopped = await this.#read();
    const stillRuns = stopped.containers.find((record) => record.state === "running");
    if (stillRuns !== undefined) {
      throw new Error(`container ${stillRuns.name} still runs after it was stopped`);
    }
    if (!this.#orphaned && !isTold) {
      const status = terminatedStatus(this.#pod, this.#statusOf(stopped, true));
      node.statuses.set(this.#pod, status, false);
    }
    this.#phase = "terminated";
    this.#dirty = true;
  }

  async #syncTerminated(): Promise<void> {
    const node = this.#node;
    await node.volumes.unmount(this.uid);
    node.references.release(this.uid);
    node.tokens.forget(this.uid);
    node.certificates.forget(this.uid);
    await removePodCgroups(node, this.uid);
    const deleted = this.#orphaned || this.#pod.metadata.deletionTimestamp !== undefined;
    if (deleted) {
      await removePod(node, await this.#read());
      await node.volumes.removePodDirectory(this.uid);
      this.#removed = true;
    }
    this.#phase = "finished";
    this.#runtime = undefined;
    if (!this.#orphaned) node.statuses.finish(this.#pod);
    this.#onFinished(this);
  }
}

const identityOf = (pod: NodePod): { uid: string; name: string; namespace: string } => ({
  uid: pod.metadata.uid,
  name: pod.metadata.name,
  namespace: pod.metadata.namespace,
});

const graceOf = (pod: NodePod): number | undefined =>
  pod.metadata.deletionGracePeriodSeconds ??
  (pod.metadata.deletionTimestamp === undefined
    ? undefined
    : pod.spec.terminationGracePeriodSeconds);

/** Statuses come from here: only what others may change asks for work. */
function affectsWork(before: NodePod, now: NodePod): boolean {
  return (
    before.metadata.generation !== now.metadata.generation ||
    before.metadata.deletionTimestamp !== now.metadata.deletionTimestamp ||
    before.metadata.deletionGracePeriodSeconds !== now.metadata.deletionGracePeriodSeconds ||
    JSON.stringify(before.metadata.labels) !== JSON.stringify(now.metadata.labels) ||
    JSON.stringify(before.metadata.annotations) !== JSON.stringify(now.metadata.annotations) ||
    gates(before) !== gates(now) ||
    // A server that counts generations spares us looking for changes of the spec.
    (now.metadata.generation === undefined &&
      JSON.stringify(before.spec) !== JSON.stringify(now.spec))
  );
}

function gates(pod: NodePod): string {
  const types = (pod.spec.readinessGates ?? []).map((gate) => gate.conditionType);
  const conditions = pod.status.conditions ?? [];
  return types.map((type) => conditions.find((one) => one.type === type)?.status ?? "").join();
}
