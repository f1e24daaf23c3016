/**
 * Scheduler: gives every Pod without a node one. Reads Pods and Nodes (and what its plugins ask
 * for); writes bindings, the PodScheduled condition of Pods that fit nowhere, and events. One Pod
 * is decided at a time; bindings run behind, and a Pod that is being bound already counts where it
 * goes.
 */
import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { Namespace } from "#api/core/v1/namespace.ts";
import { Node } from "#api/core/v1/node.ts";
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import { Service } from "#api/core/v1/service.ts";
import { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import type { Kind } from "#api/resource.ts";
import { CSIDriver } from "#api/storage/v1/csidriver.ts";
import { CSINode } from "#api/storage/v1/csinode.ts";
import { CSIStorageCapacity } from "#api/storage/v1/csistoragecapacity.ts";
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Client } from "#client/client.ts";
import { createEventRecorder, type EventRecorder } from "#client/events.ts";
import type { Informer, Informers } from "#client/informer.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import { type Decision, decide } from "./cycle.ts";
import { makeRoom } from "./make-room.ts";
import { ClusterPicture, type NodeInfo } from "./node-info.ts";
import { Nominations } from "./nominations.ts";
import { type ClusterEvent, isRejection, type QueuedPod, type SchedulerView } from "./plugin.ts";
import { byPriority } from "./plugins/priority-sort.ts";
import { type PodInfo, podInfoOf } from "./pod-info.ts";
import { defaultProfile, type Profile } from "./profile.ts";
import { type Backoff, defaultBackoff, SchedulingQueue } from "./queue.ts";
import { Waits } from "./waits.ts";

export interface SchedulerOptions {
  /** Speaks as system:kube-scheduler. */
  readonly client: Client;
  readonly informers: Informers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings?: SchedulerSettings;
}
/** What KubeSchedulerConfiguration says. */
export interface SchedulerSettings {
  /** Each of its own name; not empty. */
  readonly profiles: readonly Profile[];
  readonly backoff: Backoff;
}
export const defaultSettings: SchedulerSettings = {
  profiles: [defaultProfile],
  backoff: defaultBackoff,
};

export interface Scheduler {
  /** How many Pods wait, and where. */
  readonly queued: SchedulingQueue["sizes"];
  stop(): Promise<void>;
}

/** Bindings under way at once; beyond that deciding waits. */
const bindingsMax = 256;
/** Decisions go on this long before other work in the process gets its turn. */
const sliceMsMax = 8;

/** As long as an event's note may be. */
const noteMax = 1024;
const shortened = (message: string): string =>
  message.length <= noteMax ? message : `${message.slice(0, noteMax - 4)} ...`;

const storageKinds: readonly Kind[] = [
  PersistentVolumeClaim,
  PersistentVolume,
  StorageClass,
  CSINode,
  CSIDriver,
  CSIStorageCapacity,
];

export function startScheduler(options: SchedulerOptions): Scheduler {
  return new Loop(options).start();
}

const nameOfScheduler = (pod: Pod): string => pod.spec.schedulerName || "default-scheduler";
const isEnded = (pod: Pod): boolean =>
  pod.status.phase === "Succeeded" || pod.status.phase === "Failed";

class Loop implements Scheduler {
  readonly #options: SchedulerOptions;
  readonly #profiles: ReadonlyMap<string, Profile>;
  readonly #recorders: ReadonlyMap<string, EventRecorder>;
  readonly #picture = new ClusterPicture();
  readonly #nominations = new Nominations();
  readonly #queue: SchedulingQueue;
  readonly #informers = new Map<string, Informer<ApiObject>>();
  readonly #view: SchedulerView;
  readonly #bindings = new Set<Promise<void>>();
  readonly #waits: Waits;
  readonly #ends: (() => void)[] = [];
  #nextStart = 0;
  #done: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: SchedulerOptions) {
    const { client, informers, clock } = options;
    this.#options = { ...options, random: options.random.fork("scheduler") };
    const { profiles, backoff } = options.settings ?? defaultSettings;
    this.#profiles = new Map(profiles.map((profile) => [profile.schedulerName, profile]));
    this.#recorders = new Map(
      profiles.map(({ schedulerName }) => [
        schedulerName,
        createEventRecorder(client, { component: schedulerName }, this.#options),
      ]),
    );
    const plugins = new Map(
      profiles.map((profile) => [profile, profile.plugins.map(({ plugin }) => plugin)]),
    );
    this.#queue = new SchedulingQueue(
      clock,
      (info) => plugins.get(this.#profileOf(info.pod)) ?? [],
      byPriority,
      backoff,
    );
    const kinds: readonly Kind[] = [
      Pod,
      Node,
      Namespace,
      Service,
      ReplicationController,
      ReplicaSet,
      StatefulSet,
      PodDisruptionBudget,
      ...storageKinds,
    ];
    for (const kind of kinds) this.#informers.set(kind.plural, informers.get(kind));
    const picture = this.#picture;
    const nominations = this.#nominations;
    const memories = new Map<string, object>();
    this.#waits = new Waits(clock, (kind) => this.#informer(kind));
    this.#view = {
      get nodes() {
        return picture.nodes;
      },
      cache: <T extends ApiObject>(kind: Kind<T>) => this.#informer(kind),
      nodesWith: (trait) => picture.nodesWith(trait),
      nominatedTo: (nodeName) => nominations.on(nodeName),
      nominationOf: (uid) => nominations.nodeOf(uid),
      imageNodes: (image) => picture.imageNodes(image),
      memory: <T extends object>(plugin: string, make: () => T) => {
        const known = memories.get(plugin) ?? make();
        memories.set(plugin, known);
        return known as T;
      },
      waitFor: (what, asked, check, msMax) => this.#waits.until(what, asked, check, msMax),
    };
  }
  #informer<T extends ApiObject>(kind: Kind<T>): Informer<T> {
    const known = this.#informers.get(kind.plural);
    if (known === undefined) throw new Error(`the scheduler does not follow ${kind.plural}`);
    return known as unknown as Informer<T>;
  }

  #profileOf(pod: Pod): Profile {
    const profile = this.#profiles.get(nameOfScheduler(pod));
    if (profile === undefined) throw new Error(`no profile for ${nameOfScheduler(pod)}`);
    return profile;
  }
  #recorder(pod: Pod): EventRecorder {
    const recorder = this.#recorders.get(nameOfScheduler(pod));
    if (recorder === undefined) throw new Error(`no profile for ${nameOfScheduler(pod)}`);
    return recorder;
  }

  get queued() {
    return this.#queue.sizes;
  }
  start(): this {
    this.#ends.push(
      this.#informer(Node).addHandlers({
        added: (node) => {
          this.#picture.setNode(node);
          this.#queue.happened({ on: "nodeAdded", node });
        },
        updated: (node, old) => this.#nodeUpdated(node, old),
        deleted: (node) => {
          this.#picture.removeNode(node.metadata.name);
          this.#queue.happened({ on: "nodeRemoved", old: node });
        },
      }),
      this.#informer(Pod).addHandlers({
        added: (pod) => this.#podChanged(pod, undefined),
        updated: (pod, old) => this.#podChanged(pod, old),
        deleted: (pod) => this.#podGone(pod),
      }),
    );
    for (const kind of storageKinds) this.#followStorage(kind);
    this.#done = this.#run();
    return this;
  }

  #followStorage(kind: Kind): void {
    const tell = (object: Stored<ApiObject>) =>
      this.#queue.happened({ on: "storageChanged", kind, object });
    this.#ends.push(this.#informer(kind).addHandlers({ added: tell, updated: tell }));
  }

  #nodeUpdated(node: Stored<Node>, old: Stored<Node>): void {
    // Heartbeats change nothing that scheduling asks for.
    if (
      equalObjects(node.spec, old.spec) &&
      equalObjects(node.metadata.labels, old.metadata.labels) &&
      equalObjects(node.status.allocatable, old.status.allocatable) &&
      equalObjects(node.status.images, old.status.images)
    ) {
      return;
    }
    this.#picture.setNode(node);
    this.#queue.happened({ on: "nodeUpdated", node, old });
  }

  /** Which of the two lives a Pod is in: waiting for a node (queue) or bound to one (picture). */
  #podChanged(pod: Stored<Pod>, old: Stored<Pod> | undefined): void {
    if (isEnded(pod)) {
      this.#podGone(pod);
      return;
    }
    if (pod.spec.nodeName) {
      const wasBound = old !== undefined && (old.spec.nodeName ?? "") !== "";
      this.#queue.delete(pod.metadata.uid);
      this.#nominations.delete(pod.metadata.uid);
      this.#picture.setPod(pod);
      const event: ClusterEvent = wasBound
        ? { on: "podUpdated", pod, old }
        : { on: "podAssigned", pod };
      this.#queue.happened(event);
      return;
    }
    if (!this.#profiles.has(nameOfScheduler(pod))) return;
    this.#nominationChanged(pod, old);
    if (this.#picture.isAssumed(pod.metadata.uid)) return;
    if (!this.#queue.has(pod.metadata.uid)) {
      if (old === undefined) this.#queue.add(podInfoOf(pod));
      return;
    }
    if (old === undefined || isSameToScheduling(pod, old)) return;
    this.#queue.update(podInfoOf(pod), { on: "itselfUpdated", pod, old });
  }
  /** What others write into the status counts; that nothing is written yet of what was decided here does not. */
  #nominationChanged(pod: Stored<Pod>, old: Stored<Pod> | undefined): void {
    const { nominatedNodeName = "" } = pod.status;
    if (nominatedNodeName === (old?.status.nominatedNodeName ?? "")) return;
    if (nominatedNodeName === "") this.#nominations.delete(pod.metadata.uid);
    else this.#nominations.set(podInfoOf(pod), nominatedNodeName);
  }
  #podGone(pod: Stored<Pod>): void {
    const wasNominated = this.#nominations.nodeOf(pod.metadata.uid) !== undefined;
    this.#nominations.delete(pod.metadata.uid);
    this.#queue.delete(pod.metadata.uid);
    this.#picture.removePod(pod.metadata.uid);
    if (pod.spec.nodeName || wasNominated) this.#queue.happened({ on: "podRemoved", old: pod });
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
    let sliceMs = clock.monotonicMs();
    for (;;) {
      const queued = await this.#queue.next();
      if (queued === undefined || this.#stopped) return;
      this.#cycle(queued);
      // Those that wait for their volumes have nothing under way.
      if (this.#bindings.size - this.#waits.size >= bindingsMax) await Promise.race(this.#bindings);
      if (clock.monotonicMs() - sliceMs < sliceMsMax) continue;
      await new Promise<void>((resolve) => clock.after(0, resolve));
      sliceMs = clock.monotonicMs();
    }
  }

  #cycle(queued: QueuedPod): void {
    const { pod } = queued.info;
    if (pod.metadata.deletionTimestamp !== undefined) {
      const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
      const message = `skip schedule deleting pod: ${key}`;
      this.#recorder(pod).event(pod, "Warning", "FailedScheduling", message);
      return;
    }
    const profile = this.#profileOf(pod);
    const { random, log } = this.#options;
    const decision = decide(profile, queued.info, this.#view, random, this.#nextStart);
    if (!decision.fits) {
      log.write("debug", "a Pod fits nowhere", { pod: queued.info.key, why: decision.message });
      this.#reject(queued, decision);
      return;
    }
    this.#nextStart = (this.#nextStart + decision.tried) % this.#view.nodes.length;
    this.#assume(queued, decision.node);
  }

  /** It waits; if Pods are to make room for it, until they are told so. */
  #reject(queued: QueuedPod, { message, rejectedBy, outcome }: Decision & { fits: false }): void {
    const { info } = queued;
    const { nominate, victims } = outcome;
    if (nominate === "") this.#nominations.delete(info.uid);
    if (!nominate) this.#queue.reject(queued, rejectedBy);
    else {
      const outranked = this.#nominations
        .on(nominate)
        .filter((other) => other.priority < info.priority);
      this.#nominations.set(info, nominate);
      this.#background(this.#makeRoom(queued, rejectedBy, nominate, { victims, outranked }));
    }
    this.#background(this.#tell(info.pod, "Unschedulable", message, nominate));
  }

  async #makeRoom(
    queued: QueuedPod,
    rejectedBy: ReadonlySet<string>,
    nodeName: string,
    { victims, outranked }: Readonly<Record<"victims" | "outranked", readonly PodInfo[]>>,
  ): Promise<void> {
    const { client, clock, log } = this.#options;
    const { info } = queued;
    let failure: string | undefined;
    for (const other of outranked) this.#nominations.delete(other.uid);
    try {
      const recorder = this.#recorder(info.pod);
      await makeRoom({ client, clock, recorder }, info, nodeName, victims, outranked);
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    for (const other of outranked) this.#queue.wake(other.uid);
    // It may have changed, or be gone, since.
    const current = this.#informer(Pod).get(info.key);
    if (current?.metadata.uid !== info.uid || current.spec.nodeName || this.#stopped) return;
    queued.info = podInfoOf(current);
    if (failure !== undefined) {
      log.write("warn", "no room could be made for a Pod, which will be tried again", {
        pod: info.key,
        node: nodeName,
        error: failure,
      });
      this.#queue.retry(queued);
      return;
    }
    this.#queue.reject(queued, rejectedBy);
    // The last of them went before it waited: no event will wake it.
    if (!victims.some((victim) => this.#picture.has(victim.uid))) this.#queue.wake(info.uid);
  }

  #assume(queued: QueuedPod, node: NodeInfo): void {
    const { info } = queued;
    const { plugins } = this.#profileOf(info.pod);
    this.#picture.assume(info, node.name);
    const reserved: (() => void)[] = [];
    for (const { plugin } of plugins) {
      const refusal = plugin.reserve?.(info, node.name, this.#view);
      reserved.unshift(() => plugin.unreserve?.(info, node.name, this.#view));
      if (!isRejection(refusal)) continue;
      this.#undo(info, reserved);
      this.#queue.reject(queued, new Set([plugin.name]));
      this.#background(this.#tell(info.pod, "Unschedulable", refusal.reasons.join(", ")));
      return;
    }
    this.#background(this.#bind(queued, node.name, reserved));
  }
  #undo(info: PodInfo, reserved: readonly (() => void)[]): void {
    for (const unreserve of reserved) unreserve();
    this.#picture.forget(info.uid);
  }
  #background(work: Promise<void>): void {
    const tracked: Promise<void> = work.finally(() => this.#bindings.delete(tracked));
    this.#bindings.add(tracked);
  }

  async #bind(
    queued: QueuedPod,
    nodeName: string,
    reserved: readonly (() => void)[],
  ): Promise<void> {
    const { client, log } = this.#options;
    const { info } = queued;
    const { plugins } = this.#profileOf(info.pod);
    try {
      for (const { plugin } of plugins) await plugin.preBind?.(info, nodeName, client, this.#view);
      for (const { plugin } of plugins) await plugin.bind?.(info, nodeName, client);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const freed = info.pod;
      this.#undo(info, reserved);
      const current = this.#informer(Pod).get(info.key);
      // Gone, another of its name, or bound after all: nothing to try again.
      if (current?.metadata.uid !== info.uid || current.spec.nodeName || this.#stopped) return;
      log.write("warn", "a Pod could not be bound and will be tried again", {
        pod: info.key,
        node: nodeName,
        error: message,
      });
      queued.info = podInfoOf(current);
      this.#queue.retry(queued);
      // What it had taken is free for others again.
      this.#queue.happened({ on: "podRemoved", old: freed });
      await this.#tell(current, "SchedulerError", `binding rejected: ${message}`);
      return;
    }
    this.#recorder(info.pod).event(
      info.pod,
      "Normal",
      "Scheduled",
      `Successfully assigned ${info.key} to ${nodeName}`,
    );
  }

  /** The PodScheduled condition, the nomination (undefined: as it was) and the event. */
  async #tell(pod: Stored<Pod>, reason: string, message: string, nominate?: string): Promise<void> {
    const { client, clock, log } = this.#options;
    this.#recorder(pod).event(pod, "Warning", "FailedScheduling", shortened(message));
    const { name, namespace = "", generation } = pod.metadata;
    const fresh = this.#informer(Pod).get(`${namespace}/${name}`) ?? pod;
    const old = fresh.status.conditions?.find((condition) => condition.type === "PodScheduled");
    const { nominatedNodeName = "" } = fresh.status;
    const isNominated = nominate === undefined || nominate === nominatedNodeName;
    const isTold = old?.status === "False" && old.reason === reason && old.message === message;
    if (isTold && isNominated) return;
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason,
      message,
      lastProbeTime: null,
      lastTransitionTime:
        old?.status === "False" ? old.lastTransitionTime : formatTime(clock.now()),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
    try {
      const nomination = isNominated
        ? {}
        : { nominatedNodeName: nominate === "" ? null : nominate };
      const status = { conditions: [condition], ...nomination };
      const body = { metadata: { uid: pod.metadata.uid }, status };
      await client.patch(Pod, { name, namespace }, "strategic", body, { subresource: "status" });
    } catch (error) {
      if (isStatus(error, "NotFound") || isStatus(error, "Conflict")) return;
      log.write("warn", "a Pod's PodScheduled condition could not be written", {
        pod: `${namespace}/${name}`,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#ends) end();
    this.#waits.stop();
    this.#queue.stop();
    for (const recorder of this.#recorders.values()) recorder.stop();
    if ([...this.#informers.values()].every((informer) => informer.isSynced)) await this.#done;
    await Promise.all(this.#bindings);
  }
}

const isSameToScheduling = (pod: Stored<Pod>, old: Stored<Pod>): boolean =>
  equalObjects(pod.spec, old.spec) &&
  equalObjects(pod.metadata.labels, old.metadata.labels) &&
  pod.metadata.deletionTimestamp === old.metadata.deletionTimestamp;
