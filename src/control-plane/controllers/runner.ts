/**
 * The runner: turns a definition into a running loop. Here and nowhere else: which event means
 * which key, the retry switch, adoption, slow-start batches, and the barrier that keeps a pass from
 * acting on a cache that has not yet seen what the last pass wrote.
 */
import { apiVersionOf, type Kind } from "#api/resource.ts";
import { type Lister, namespaceIndex } from "#client/cache.ts";
import type { Client, Ref } from "#client/client.ts";
import { createEventRecorder, type EventRecorder } from "#client/events.ts";
import { type Informer, resourceVersionOf } from "#client/informer.ts";
import { WorkQueue } from "#client/work-queue.ts";
import { type ApiObject, controllerOf, keyOf, type Stored } from "#machinery/meta.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import {
  accountOf,
  byController,
  type Controller,
  type ControllerDefinition,
  type ControllerWorld,
  controllerIndex,
  controllerReference,
  type Index,
  queueMetrics,
  type ReconcileContext,
  type Running,
} from "./controller.ts";
import { slowStart } from "./slow-start.ts";

/**
 * After this a pass goes on with what the cache shows; a watch that is so late is broken and will
 * be listed anew.
 */
const barrierMsMax = 30_000;

export function defineController<T extends ApiObject>(
  definition: ControllerDefinition<T>,
): Controller {
  return { name: definition.name, start: (world) => new Loop(definition, world).start() };
}

class Loop<T extends ApiObject> implements Running {
  readonly #definition: ControllerDefinition<T>;
  readonly #world: ControllerWorld;
  readonly #queue: WorkQueue;
  readonly #client: Client;
  readonly #recorder: EventRecorder;
  readonly #informers = new Map<string, Informer<ApiObject>>();
  readonly #ends: (() => void)[] = [];
  readonly #barriers = new Map<string, Barrier>();
  #workers: Promise<void>[] = [];
  #stopped = false;

  constructor(definition: ControllerDefinition<T>, world: ControllerWorld) {
    const account = definition.account ?? `${definition.name}-controller`;
    const log = world.log.child(account);
    this.#definition = definition;
    this.#world = { ...world, log, random: world.random.fork(account) };
    this.#queue = new WorkQueue(world.clock, queueMetrics(world, definition.name));
    this.#client = world.clientFor(accountOf(account));
    this.#recorder = createEventRecorder(
      this.#client,
      { component: definition.eventSource ?? account },
      { clock: world.clock, random: this.#world.random, log },
    );
  }

  start(): this {
    const { reconciles, owns = [], watches = [], reads = [], indexes = [] } = this.#definition;
    const { changed = () => true } = this.#definition;
    const own = this.#informer(reconciles, indexes);
    for (const kind of [...owns, ...watches.map((one) => one.kind), ...reads]) {
      this.#informer(kind, indexes);
    }
    this.#ends.push(
      own.addHandlers({
        added: (object) => this.#queue.add(keyOf(object)),
        updated: (object, old) => {
          if (changed(object, old)) this.#queue.add(keyOf(object));
        },
        deleted: (object) => this.#queue.add(keyOf(object)),
      }),
    );
    for (const kind of owns) this.#followOwned(kind);
    for (const one of watches) {
      const lookup = { cache: <K extends ApiObject>(kind: Kind<K>) => this.#cache(kind) };
      const add = (object: Stored<ApiObject>) => {
        for (const key of one.keys(object as Stored<never>, lookup)) this.#queue.add(key);
      };
      this.#ends.push(
        this.#informer(one.kind, []).addHandlers({
          added: add,
          updated: (object, old) => {
            if (one.changed?.(object as Stored<never>, old as Stored<never>) === false) return;
            add(old);
            add(object);
          },
          deleted: add,
        }),
      );
    }
    this.#workers = [this.#work()];
    return this;
  }
  #informer<K extends ApiObject>(kind: Kind<K>, indexes: readonly Index[]): Informer<K> {
    const id = `${kind.group}/${kind.version}/${kind.plural}`;
    const mine = indexes.filter(
      (one) => `${one.kind.group}/${one.kind.version}/${one.kind.plural}` === id,
    );
    const informer = this.#world.informers.get(kind, {
      [controllerIndex]: byController,
      ...Object.fromEntries(mine.map((one) => [one.name, one.by])),
    });
    this.#informers.set(id, informer);
    return informer;
  }
  #cache<K extends ApiObject>(kind: Kind<K>): Lister<K> {
    const known = this.#informers.get(`${kind.group}/${kind.version}/${kind.plural}`);
    if (known === undefined) {
      throw new Error(
        `the ${this.#definition.name} controller does not declare that it reads ${kind.plural}`,
      );
    }
    return known as unknown as Lister<K>;
  }

  /**
   * An event of an owned object concerns its owner; an orphan's concerns all who might adopt it.
   */
  #followOwned(kind: Kind): void {
    const { reconciles, adopts } = this.#definition;
    const add = (object: Stored<ApiObject>) => {
      const owner = controllerOf(object);
      if (owner === undefined) {
        if (adopts === undefined) return;
        const { namespace = "" } = object.metadata;
        for (const candidate of this.#cache(reconciles).byIndex(namespaceIndex, namespace)) {
          if (adopts(candidate, object)) this.#queue.add(keyOf(candidate));
        }
        return;
      }
      if (owner.kind !== reconciles.kind) return;
      if (owner.apiVersion !== apiVersionOf(reconciles)) return;
      const { namespace } = object.metadata;
      this.#queue.add(
        namespace && reconciles.namespaced ? `${namespace}/${owner.name}` : owner.name,
      );
    };
    this.#ends.push(
      this.#informer(kind, []).addHandlers({
        added: add,
        updated: (object, old) => {
          if (controllerOf(old)?.uid !== controllerOf(object)?.uid) add(old);
          add(object);
        },
        deleted: add,
      }),
    );
  }

  async #work(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
    const workers = Array.from({ length: this.#definition.workers ?? 5 }, () => this.#worker());
    await Promise.all(workers);
  }
  async #worker(): Promise<void> {
    for (;;) {
      const key = await this.#queue.next();
      if (key === undefined || this.#stopped) return;
      if (this.#barriers.get(key)?.wait(() => this.#queue.add(key))) {
        this.#queue.done(key);
        continue;
      }
      await this.#pass(key);
      this.#queue.done(key);
    }
  }

  /** One pass and the retry switch: failed → back off; wants to come again → later; else forget. */
  async #pass(key: string): Promise<void> {
    const { name, retriesMax } = this.#definition;
    const barrier = new Barrier(this.#world, this.#informers);
    this.#barriers.get(key)?.drop();
    this.#barriers.set(key, barrier);
    try {
      const context = this.#context(barrier);
      const object = this.#cache(this.#definition.reconciles).get(key);
      const outcome =
        object === undefined
          ? await this.#definition.gone?.(key, context)
          : await this.#definition.reconcile(object, context);
      this.#queue.forget(key);
      if (outcome?.requeueAfterMs !== undefined) this.#queue.addAfter(key, outcome.requeueAfterMs);
    } catch (error) {
      const expected =
        isStatus(error, "Conflict") || isStatus(error, "NotFound") || isEnding(error);
      const failures = this.#queue.failures(key);
      this.#world.log.write(expected ? "debug" : "warn", `${name} failed on a key and will retry`, {
        key,
        failures,
        error: error instanceof StatusError ? error.message : stackOf(error),
      });
      if (retriesMax !== undefined && failures >= retriesMax) this.#queue.forget(key);
      else this.#queue.addRateLimited(key);
    }
    if (barrier.clear) this.#barriers.delete(key);
  }

  #context(barrier: Barrier): ReconcileContext {
    const client = noteWrites(this.#client, barrier);
    return {
      now: this.#world.clock.now(),
      clock: this.#world.clock,
      random: this.#world.random,
      log: this.#world.log,
      client,
      cache: (kind) => this.#cache(kind),
      event: (object, type, reason, message) => this.#recorder.event(object, type, reason, message),
      claim: (kind, owner, candidates, matches) =>
        claim(client, this.#definition.reconciles, kind, owner, candidates, matches),
      async createEach(kind, objects) {
        const { done, error } = await slowStart(objects, (one) => client.create(kind, one));
        return error === undefined ? { created: done } : { created: done, error };
      },
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#ends) end();
    this.#queue.stop();
    for (const barrier of this.#barriers.values()) barrier.drop();
    this.#recorder.stop();
    // Informers that never synced would hold the workers back for ever.
    const synced = [...this.#informers.values()].every((informer) => informer.isSynced);
    if (synced) await Promise.all(this.#workers);
  }
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/** The namespace is on its way out: creating in it is refused, and no longer wanted. */
export const isEnding = (error: unknown): boolean =>
  error instanceof StatusError &&
  (error.status.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating") ?? false);

/** What a pass wrote and the caches have not shown yet. */
class Barrier {
  readonly #world: ControllerWorld;
  readonly #informers: ReadonlyMap<string, Informer<ApiObject>>;
  readonly #awaited = new Map<Informer<ApiObject>, bigint>();
  readonly #deleted: {
    readonly informer: Informer<ApiObject>;
    readonly key: string;
    readonly uid: string;
  }[] = [];
  #ends: (() => void)[] = [];
  readonly #atMs: number;
  constructor(world: ControllerWorld, informers: ReadonlyMap<string, Informer<ApiObject>>) {
    this.#world = world;
    this.#informers = informers;
    this.#atMs = world.clock.monotonicMs();
  }
  #informerOf(kind: Kind): Informer<ApiObject> | undefined {
    return this.#informers.get(`${kind.group}/${kind.version}/${kind.plural}`);
  }
  wrote(kind: Kind, object: object): void {
    const informer = this.#informerOf(kind);
    const { metadata } = object as Partial<ApiObject>;
    if (informer === undefined || metadata === undefined) return;
    const revision = resourceVersionOf({ metadata });
    const known = this.#awaited.get(informer) ?? 0n;
    if (revision > known) this.#awaited.set(informer, revision);
  }
  deleting(kind: Kind, ref: Ref): void {
    const informer = this.#informerOf(kind);
    const key = ref.namespace ? `${ref.namespace}/${ref.name}` : ref.name;
    const uid = informer?.get(key)?.metadata.uid;
    if (informer !== undefined && uid !== undefined) this.#deleted.push({ informer, key, uid });
  }
  #seesDeleted(): boolean {
    return this.#deleted.every(({ informer, key, uid }) => {
      const object = informer.get(key);
      return object?.metadata.uid !== uid || object.metadata.deletionTimestamp !== undefined;
    });
  }
  #seesWritten(): boolean {
    return [...this.#awaited].every(([informer, revision]) => informer.revision >= revision);
  }
  get clear(): boolean {
    const late = this.#world.clock.monotonicMs() - this.#atMs >= barrierMsMax;
    return late || (this.#seesWritten() && this.#seesDeleted());
  }
  /**
   * False: nothing to wait for. Else `run` is called once when there is nothing to wait for any
   * more.
   */
  wait(run: () => void): boolean {
    if (this.clear) return false;
    if (this.#ends.length > 0) return true;
    const check = () => {
      if (!this.clear) return;
      this.drop();
      run();
    };
    this.#ends = [
      this.#world.clock.after(barrierMsMax, check),
      ...[...this.#awaited].map(([informer, revision]) => informer.whenSeen(revision, check)),
      ...[...new Set(this.#deleted.map((one) => one.informer))].map((informer) => {
        return informer.addHandlers({ updated: check, deleted: check });
      }),
    ];
    return true;
  }
  drop(): void {
    for (const end of this.#ends) end();
    this.#ends = [];
  }
}

/** The same client; every write that succeeds is noted in the barrier. */
function noteWrites(client: Client, barrier: Barrier): Client {
  const noted = async <T extends object>(kind: Kind, answer: Promise<T>): Promise<T> => {
    const object = await answer;
    barrier.wrote(kind, object);
    return object;
  };
  return {
    ...client,
    create: (kind, object) => noted(kind, client.create(kind, object)),
    update: (kind, object) => noted(kind, client.update(kind, object)),
    updateStatus: (kind, object) => noted(kind, client.updateStatus(kind, object)),
    patch: (kind, ref, type, body, options) =>
      noted(kind, client.patch(kind, ref, type, body, options)),
    async delete(kind, ref, options) {
      await client.delete(kind, ref, options);
      barrier.deleting(kind, ref);
    },
  };
}

async function claim<T extends ApiObject>(
  client: Client,
  ownerKind: Kind,
  kind: Kind<T>,
  owner: Stored<ApiObject>,
  candidates: Iterable<Stored<T>>,
  matches: (object: Stored<T>) => boolean,
): Promise<readonly Stored<T>[]> {
  const claimed: Stored<T>[] = [];
  const { namespace } = owner.metadata;
  const ending = owner.metadata.deletionTimestamp !== undefined;
  let mayAdopt: boolean | undefined;
  for (const object of candidates) {
    const controller = controllerOf(object);
    const ref: Ref = {
      name: object.metadata.name,
      ...(object.metadata.namespace === undefined ? {} : { namespace: object.metadata.namespace }),
    };
    if (controller !== undefined) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (matches(object)) claimed.push(object);
      else if (!ending) await release(client, kind, ref, object, owner);
      continue;
    }
    if (ending || object.metadata.deletionTimestamp !== undefined || !matches(object)) continue;
    if (namespace !== undefined && object.metadata.namespace !== namespace) continue;
    // The cache may be behind: adopting for an owner that is being deleted would lose the orphan to
    // the collector.
    mayAdopt ??= await isAlive(client, ownerKind, owner);
    if (!mayAdopt) continue;
    const adopted = await adopt(client, kind, ref, object, controllerReference(ownerKind, owner));
    if (adopted !== undefined) claimed.push(adopted);
  }
  return claimed;
}

async function isAlive(client: Client, kind: Kind, owner: Stored<ApiObject>): Promise<boolean> {
  const { name, namespace, uid } = owner.metadata;
  const fresh = await client.get(kind, { name, ...(namespace === undefined ? {} : { namespace }) });
  if (fresh.metadata.uid !== uid) return false;
  return fresh.metadata.deletionTimestamp === undefined;
}

async function adopt<T extends ApiObject>(
  client: Client,
  kind: Kind<T>,
  ref: Ref,
  object: Stored<T>,
  reference: ReturnType<typeof controllerReference>,
): Promise<Stored<T> | undefined> {
  const body = { metadata: { uid: object.metadata.uid, ownerReferences: [reference] } };
  try {
    return await client.patch(kind, ref, "strategic", body);
  } catch (error) {
    // It is gone: nobody needs to adopt it. Another uid under its name: the next event brings it.
    if (isStatus(error, "NotFound")) return undefined;
    throw error;
  }
}

async function release<T extends ApiObject>(
  client: Client,
  kind: Kind<T>,
  ref: Ref,
  object: Stored<T>,
  owner: Stored<ApiObject>,
): Promise<void> {
  const body = {
    metadata: {
      uid: object.metadata.uid,
      ownerReferences: [{ $patch: "delete", uid: owner.metadata.uid }],
    },
  };
  try {
    await client.patch(kind, ref, "strategic", body);
  } catch (error) {
    // Gone, or no longer ours: either way it is released.
    if (!isStatus(error, "NotFound") && !isStatus(error, "Invalid")) throw error;
  }
}
