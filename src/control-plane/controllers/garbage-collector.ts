/**
 * Garbage collector: deletes what has lost all its owners; carries out foreground deletion
 * (dependents first) and orphaning (dependents set free). Watches every kind that can be deleted;
 * reads an object anew from the server before it acts on it, since its graph may be behind; writes
 * owner references and finalizers, and deletes.
 */
import type { Kind } from "#api/resource.ts";
import { apiVersionOf } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import { createEventRecorder, type EventRecorder } from "#client/events.ts";
import type { Informer } from "#client/informer.ts";
import { WorkQueue } from "#client/work-queue.ts";
import type { ApiObject, OwnerReference, Stored } from "#machinery/meta.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import {
  accountOf,
  type Controller,
  type ControllerWorld,
  queueMetrics,
  type Running,
} from "./controller.ts";
import { type DiscoveredKind, discover, oncePerResource } from "./discovery.ts";
import {
  type Entry,
  foregroundFinalizer,
  judge,
  OwnerGraph,
  type OwnerStates,
  orphanFinalizer,
} from "./owner-graph.ts";

const workersMax = 20;
const discoveryRetryMs = 5_000;
/**
 * How many owners that were found missing are remembered, so that their dependents need not all
 * ask.
 */
const absentMax = 500;
/** Upstream: events are too many, and own nothing. */
const ignored = new Set(["/events", "events.k8s.io/events"]);
const crdKind = "apiextensions.k8s.io/customresourcedefinitions";

export const garbageCollector: Controller = {
  name: "generic-garbage-collector",
  start: (world) => new Collector(world).start(),
};

const idOf = (kind: Kind): string => `${kind.group}/${kind.plural}`;
const refOf = (entry: Pick<Entry, "namespace" | "name">) => ({
  name: entry.name,
  ...(entry.namespace === undefined ? {} : { namespace: entry.namespace }),
});

class Collector implements Running {
  readonly #world: ControllerWorld;
  readonly #client: Client;
  readonly #recorder: EventRecorder;
  readonly #graph = new OwnerGraph();
  /** Both hold uids. */
  readonly #toDelete: WorkQueue;
  readonly #toOrphan: WorkQueue;
  readonly #monitored = new Map<string, Informer<ApiObject>>();
  /** By apiVersion and kind, every served version. */
  #kinds: ReadonlyMap<string, DiscoveredKind> = new Map();
  readonly #absent = new Set<string>();
  readonly #ends: (() => void)[] = [];
  #cancel: () => void = () => {};
  #workers: Promise<void>[] = [];
  #discovering: Promise<void> | undefined;
  #stopped = false;

  constructor(world: ControllerWorld) {
    const account = "generic-garbage-collector";
    const log = world.log.child(account);
    this.#world = { ...world, log };
    this.#client = world.clientFor(accountOf(account));
    const random = world.random.fork(account);
    this.#recorder = createEventRecorder(
      this.#client,
      { component: "garbage-collector-controller" },
      { clock: world.clock, random, log },
    );
    this.#toDelete = new WorkQueue(
      world.clock,
      queueMetrics(world, "garbage_collector_attempt_to_delete"),
    );
    this.#toOrphan = new WorkQueue(
      world.clock,
      queueMetrics(world, "garbage_collector_attempt_to_orphan"),
    );
  }

  start(): this {
    this.#rediscover();
    return this;
  }
  /** Learns what kinds there are; kinds that appear later are noticed by their definitions. */
  #rediscover(): void {
    if (this.#stopped) return;
    if (this.#discovering !== undefined) {
      this.#later(discoveryRetryMs);
      return;
    }
    this.#discovering = this.#learn()
      .catch((error: unknown) => {
        this.#world.log.write("warn", "discovery failed; the garbage collector will ask again", {
          error: error instanceof Error ? error.message : String(error),
        });
        this.#later(discoveryRetryMs);
      })
      .finally(() => {
        this.#discovering = undefined;
      });
  }
  #later(ms: number): void {
    this.#cancel();
    if (!this.#stopped) this.#cancel = this.#world.clock.after(ms, () => this.#rediscover());
  }
  async #learn(): Promise<void> {
    const { kinds, failed } = await discover(this.#client);
    if (this.#stopped) return;
    this.#kinds = new Map(kinds.map((kind) => [`${apiVersionOf(kind)}/${kind.kind}`, kind]));
    const needed = ["delete", "list", "watch"];
    const deletable = oncePerResource(
      kinds.filter((kind) => needed.every((verb) => kind.verbs.includes(verb))),
    ).filter((kind) => !ignored.has(idOf(kind)));
    if (failed.size === 0) this.#forgetAllBut(deletable);
    for (const kind of deletable) if (!this.#monitored.has(idOf(kind))) this.#monitor(kind);
    await Promise.all([...this.#monitored.values()].map((informer) => informer.synced));
    if (this.#workers.length === 0 && !this.#stopped) {
      this.#workers = Array.from({ length: workersMax }, (_, at) =>
        at % 4 === 0
          ? this.#work(this.#toOrphan, (uid) => this.#orphan(uid))
          : this.#work(this.#toDelete, (uid) => this.#attempt(uid)),
      );
    }
    if (failed.size > 0) this.#later(discoveryRetryMs);
  }
  /** Kinds whose definitions are gone have no objects any more; a version that is gone is watched as another. */
  #forgetAllBut(served: readonly DiscoveredKind[]): void {
    const versions = new Map(served.map((kind) => [idOf(kind), kind.version]));
    for (const [id, informer] of this.#monitored) {
      const version = versions.get(id);
      if (version === informer.kind.version) continue;
      this.#monitored.delete(id);
      if (version === undefined)
        for (const object of informer.list()) this.#gone(object.metadata.uid);
      this.#world.informers.drop(informer.kind);
    }
  }
  #monitor(kind: DiscoveredKind): void {
    const informer: Informer<ApiObject> = this.#world.informers.get(kind);
    this.#monitored.set(idOf(kind), informer);
    const set = (object: Stored<ApiObject>) => this.#changed(kind, object);
    this.#ends.push(
      informer.addHandlers({
        added: set,
        updated: set,
        deleted: (object) => this.#gone(object.metadata.uid),
      }),
    );
    if (idOf(kind) !== crdKind) return;
    const relearn = () => this.#later(1_000);
    this.#ends.push(informer.addHandlers({ updated: relearn, deleted: relearn }));
  }

  #changed(kind: DiscoveredKind, object: Stored<ApiObject>): void {
    this.#absent.delete(object.metadata.uid);
    const { entry, ownersChanged } = this.#graph.set(kind, object);
    if (entry.orphaning) this.#toOrphan.add(entry.uid);
    if (entry.deletingDependents) {
      for (const dependent of entry.dependents) this.#toDelete.add(dependent.uid);
      this.#toDelete.add(entry.uid);
    } else if (ownersChanged && entry.owners.some((owner) => this.#isDoubtful(owner))) {
      this.#toDelete.add(entry.uid);
    }
    // An owner that waits for this one may have waited long enough.
    if (!ownersChanged) return;
    for (const owner of entry.owners) {
      if (this.#graph.get(owner.uid)?.deletingDependents === true) this.#toDelete.add(owner.uid);
    }
  }
  /** Not in the graph, or on its way out. */
  #isDoubtful(owner: OwnerReference): boolean {
    const known = this.#graph.get(owner.uid);
    return known === undefined || known.deletingDependents || !matchesReference(known, owner);
  }
  #gone(uid: string): void {
    const owners = this.#graph.get(uid)?.owners ?? [];
    this.#remember(uid);
    for (const dependent of this.#graph.remove(uid)) this.#toDelete.add(dependent.uid);
    for (const owner of owners) {
      if (this.#graph.get(owner.uid)?.deletingDependents === true) this.#toDelete.add(owner.uid);
    }
  }
  #remember(uid: string): void {
    this.#absent.add(uid);
    if (this.#absent.size <= absentMax) return;
    for (const oldest of this.#absent) {
      this.#absent.delete(oldest);
      return;
    }
  }

  async #work(queue: WorkQueue, run: (uid: string) => Promise<void>): Promise<void> {
    for (;;) {
      const uid = await queue.next();
      if (uid === undefined) return;
      try {
        await run(uid);
        queue.forget(uid);
      } catch (error) {
        const expected = isStatus(error, "Conflict") || isStatus(error, "NotFound");
        this.#world.log.write(expected ? "debug" : "warn", "an object could not be collected yet", {
          object: this.#describe(uid),
          error: error instanceof Error ? error.message : String(error),
        });
        queue.addRateLimited(uid);
      }
      queue.done(uid);
    }
  }
  #describe(uid: string): string {
    const entry = this.#graph.get(uid);
    if (entry === undefined) return uid;
    return `${entry.kind.kind} ${entry.namespace === undefined ? "" : `${entry.namespace}/`}${entry.name}`;
  }

  async #read(entry: Entry): Promise<Stored<ApiObject> | undefined> {
    try {
      const object = await this.#client.get<ApiObject>(entry.kind, refOf(entry));
      return object.metadata.uid === entry.uid ? object : undefined;
    } catch (error) {
      if (isStatus(error, "NotFound")) return undefined;
      throw error;
    }
  }

  /** Decides on one object and acts. */
  async #attempt(uid: string): Promise<void> {
    const entry = this.#graph.get(uid);
    if (entry === undefined) return;
    if (entry.deletingDependents) {
      await this.#foreground(entry);
      return;
    }
    if (entry.deleting || entry.owners.length === 0) return;
    const object = await this.#read(entry);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
    const { ownerReferences = [], finalizers = [] } = object.metadata;
    if (ownerReferences.length === 0) return;
    const states = await this.#classify(entry, ownerReferences);
    const verdict = judge(states, entry, finalizers);
    if (verdict.keep) {
      if (verdict.drop.length === 0) return;
      const dropped = new Set(verdict.drop.map((owner) => owner.uid));
      await this.#setOwners(
        entry,
        object,
        ownerReferences.filter((owner) => !dropped.has(owner.uid)),
      );
      return;
    }
    let version = object.metadata.resourceVersion;
    if (verdict.unblock) {
      const unblocked = ownerReferences.map((owner) => ({ ...owner, blockOwnerDeletion: false }));
      version = (await this.#setOwners(entry, object, unblocked)).metadata.resourceVersion;
    }
    await this.#delete(entry, version, verdict.policy);
  }
  async #delete(
    entry: Entry,
    resourceVersion: string,
    propagationPolicy: "Background" | "Foreground" | "Orphan",
  ): Promise<void> {
    const preconditions = { uid: entry.uid, resourceVersion };
    try {
      await this.#client.delete(entry.kind, refOf(entry), { preconditions, propagationPolicy });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }
  async #setOwners(
    entry: Entry,
    object: Stored<ApiObject>,
    ownerReferences: readonly OwnerReference[],
  ): Promise<Stored<ApiObject>> {
    const { uid, resourceVersion } = object.metadata;
    const owners = ownerReferences.length === 0 ? null : ownerReferences;
    const metadata = { uid, resourceVersion, ownerReferences: owners };
    return this.#client.patch<ApiObject>(entry.kind, refOf(entry), "merge", { metadata });
  }

  async #classify(entry: Entry, owners: readonly OwnerReference[]): Promise<OwnerStates> {
    const solid: OwnerReference[] = [];
    const dangling: OwnerReference[] = [];
    const waiting: OwnerReference[] = [];
    for (const owner of owners) {
      const state = await this.#ownerState(entry, owner);
      if (state === "absent") dangling.push(owner);
      else if (state === "waiting" && owner.blockOwnerDeletion === true) waiting.push(owner);
      else solid.push(owner);
    }
    return { solid, dangling, waiting };
  }
  async #ownerState(entry: Entry, owner: OwnerReference): Promise<"there" | "waiting" | "absent"> {
    const known = this.#graph.get(owner.uid);
    if (known?.namespace !== undefined && known.namespace !== entry.namespace) {
      this.#warnNamespace(entry, owner);
      return "absent";
    }
    if (this.#absent.has(owner.uid)) return "absent";
    const kind = this.#kinds.get(`${owner.apiVersion}/${owner.kind}`);
    if (kind === undefined) {
      // A kind that nobody serves any more, or not yet: never delete on a guess.
      throw new StatusError(
        404,
        "NotFound",
        `the owner's kind ${owner.kind} of ${owner.apiVersion} is not served; its dependents stay`,
      );
    }
    if (kind.namespaced && entry.namespace === undefined) {
      this.#warnNamespace(entry, owner);
      return "there";
    }
    if (known !== undefined && matchesReference(known, owner) && !known.deletingDependents)
      return "there";
    try {
      const namespace = kind.namespaced ? entry.namespace : undefined;
      const found = await this.#client.get<ApiObject>(kind, refOf({ name: owner.name, namespace }));
      if (found.metadata.uid === owner.uid) {
        const { deletionTimestamp, finalizers = [] } = found.metadata;
        const waits = deletionTimestamp !== undefined && finalizers.includes(foregroundFinalizer);
        return waits ? "waiting" : "there";
      }
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
    this.#remember(owner.uid);
    return "absent";
  }
  #warnNamespace(entry: Entry, owner: OwnerReference): void {
    const named = `${owner.apiVersion}/${owner.kind}, namespace: ${entry.namespace ?? ""}, name: ${owner.name}, uid: ${owner.uid}`;
    const reference = {
      apiVersion: apiVersionOf(entry.kind),
      kind: entry.kind.kind,
      ...refOf(entry),
      uid: entry.uid,
    };
    const message = `ownerRef [${named}] does not exist in namespace "${entry.namespace ?? ""}"`;
    this.#recorder.event(reference, "Warning", "OwnerRefInvalidNamespace", message);
  }

  /** Deleted in the foreground: gone once no dependent blocks it any more. */
  async #foreground(entry: Entry): Promise<void> {
    const blocking = [...entry.dependents].filter((dependent) =>
      dependent.owners.some(
        (owner) => owner.uid === entry.uid && owner.blockOwnerDeletion === true,
      ),
    );
    if (blocking.length === 0) {
      await this.#dropFinalizer(entry, foregroundFinalizer);
      return;
    }
    for (const dependent of blocking) {
      if (!dependent.deletingDependents) this.#toDelete.add(dependent.uid);
    }
  }
  async #dropFinalizer(entry: Entry, finalizer: string): Promise<void> {
    const object = await this.#read(entry);
    const { finalizers = [], uid, resourceVersion } = object?.metadata ?? {};
    if (object === undefined || !finalizers.includes(finalizer)) return;
    const left = finalizers.filter((one) => one !== finalizer);
    const metadata = { uid, resourceVersion, finalizers: left.length === 0 ? null : left };
    try {
      await this.#client.patch<ApiObject>(entry.kind, refOf(entry), "merge", { metadata });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }

  /** Sets all dependents free, then lets the owner go. */
  async #orphan(uid: string): Promise<void> {
    const entry = this.#graph.get(uid);
    if (entry?.orphaning !== true) return;
    const freed = [...entry.dependents].map(async (dependent) => {
      const object = await this.#read(dependent);
      const owners = object?.metadata.ownerReferences ?? [];
      if (object === undefined || !owners.some((owner) => owner.uid === uid)) return;
      await this.#setOwners(
        dependent,
        object,
        owners.filter((owner) => owner.uid !== uid),
      );
    });
    const failed = (await Promise.allSettled(freed)).find((one) => one.status === "rejected");
    if (failed !== undefined && !isStatus(failed.reason, "NotFound")) throw failed.reason;
    await this.#dropFinalizer(entry, orphanFinalizer);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    for (const end of this.#ends) end();
    this.#toDelete.stop();
    this.#toOrphan.stop();
    this.#recorder.stop();
    await Promise.all(this.#workers);
  }
}

/**
 * Upstream: name, kind and group must agree too, else the reference is wrong and the server is
 * asked.
 */
const matchesReference = (entry: Entry, owner: OwnerReference): boolean =>
  entry.name === owner.name &&
  entry.kind.kind === owner.kind &&
  entry.kind.group === (owner.apiVersion.includes("/") ? owner.apiVersion.split("/")[0] : "");
