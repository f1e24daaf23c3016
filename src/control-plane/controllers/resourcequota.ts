/**
 * ResourceQuota controller: keeps in each quota's status what its namespace really uses. Reads quotas and every kind that a quota
 * counts; writes quotas' status. The API server charges quotas before it writes; what was charged and never written, or is gone
 * since, is given back here, once the quota has been still for a moment: a charge whose object is on its way must stand.
 */
import {
  type Amounts,
  addAmounts,
  concerns,
  exceeding,
  isInScopes,
  onlyNames,
  sameAmounts,
  usageOf,
} from "#api/core/v1/quota-usage.ts";
import { ResourceQuota } from "#api/core/v1/resourcequota.ts";
import type { Client } from "#client/client.ts";
import type { Informer } from "#client/informer.ts";
import { WorkQueue } from "#client/work-queue.ts";
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import {
  accountOf,
  type Controller,
  type ControllerWorld,
  queueMetrics,
  type Running,
} from "./controller.ts";
import { type DiscoveredKind, discover, oncePerResource } from "./discovery.ts";

const name = "resourcequota-controller";
const workersMax = 5;
/** How long a quota must have been still before it is lowered. */
const settleMs = 500;
/** Upstream's full recalculation. */
const resyncMs = 5 * 60_000;
const discoveryRetryMs = 5_000;
const byNamespace = {
  namespace: ({ metadata }: ApiObject): readonly string[] => [metadata.namespace ?? ""],
};
const crds = "apiextensions.k8s.io/customresourcedefinitions";

export const resourceQuotaController: Controller = {
  name: "resourcequota",
  start: (world) => new QuotaKeeper(world).start(),
};

/** The status that the quota should have, given all objects that it may count. */
export function plannedStatus(
  quota: Stored<ResourceQuota>,
  counted: readonly {
    readonly kind: { readonly group: string; readonly plural: string };
    readonly objects: Iterable<ApiObject>;
  }[],
  now: number,
): { readonly hard: Amounts; readonly used: Amounts } {
  const hard = { ...quota.spec.hard };
  const names = Object.keys(hard);
  let used: Amounts = onlyNames(quota.status.used ?? {}, new Set(names));
  for (const { kind, objects } of counted) {
    const own = new Set(names.filter((one) => concerns(kind, one)));
    if (own.size === 0) continue;
    let sum: Amounts = Object.fromEntries([...own].map((one) => [one, "0"]));
    for (const object of objects)
      if (isInScopes(quota, kind, object))
        sum = addAmounts(sum, onlyNames(usageOf(kind, object, now), own));
    used = { ...used, ...sum };
  }
  return { hard, used };
}

class QuotaKeeper implements Running {
  readonly #world: ControllerWorld;
  readonly #client: Client;
  readonly #queue: WorkQueue;
  readonly #quotas: Informer<ResourceQuota>;
  /** By group/plural: the kinds that some quota counts. */
  readonly #counted = new Map<string, { kind: DiscoveredKind; informer: Informer<ApiObject> }>();
  #kinds: readonly DiscoveredKind[] = [];
  /** When a quota was first seen to be too high, in the state in which it was. */
  readonly #stillSince = new Map<string, { readonly version: string; readonly ms: number }>();
  readonly #ends: (() => void)[] = [];
  #workers: Promise<void>[] = [];
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(world: ControllerWorld) {
    this.#world = { ...world, log: world.log.child(name) };
    this.#client = world.clientFor(accountOf(name));
    this.#queue = new WorkQueue(world.clock, queueMetrics(world, "resource_quota_controller"));
    this.#quotas = world.informers.get(ResourceQuota, byNamespace);
  }

  start(): this {
    void this.#learn();
    return this;
  }

  async #learn(): Promise<void> {
    try {
      const { kinds } = await discover(this.#client);
      if (this.#stopped) return;
      this.#kinds = oncePerResource(
        kinds.filter(({ namespaced, verbs }) => namespaced && verbs.includes("watch")),
      );
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#world.log.write("warn", "discovery failed; the quota controller will ask again", {
        why,
      });
      this.#later(discoveryRetryMs);
      return;
    }
    if (this.#workers.length > 0) {
      for (const quota of this.#quotas.list()) this.#queue.add(keyOf(quota));
      return;
    }
    const crdKind = { group: "apiextensions.k8s.io", version: "v1", namespaced: false };
    const definitions = this.#world.informers.get<ApiObject>({
      ...crdKind,
      kind: "CustomResourceDefinition",
      plural: crds.slice(crds.indexOf("/") + 1),
    });
    const relearn = (): void => this.#later(1_000);
    this.#ends.push(definitions.addHandlers({ updated: relearn, deleted: relearn }));
    const add = (quota: Stored<ResourceQuota>): void => this.#queue.add(keyOf(quota));
    this.#ends.push(this.#quotas.addHandlers({ added: add, updated: add, deleted: add }));
    this.#workers = Array.from({ length: workersMax }, () => this.#work());
  }

  #later(ms: number): void {
    this.#cancel();
    if (!this.#stopped) this.#cancel = this.#world.clock.after(ms, () => void this.#learn());
  }

  /** Follows the kinds that the quota counts. Resolves when they are known. */
  async #follow(quota: Stored<ResourceQuota>): Promise<void> {
    const names = Object.keys(quota.spec.hard ?? {});
    for (const kind of this.#kinds) {
      const id = `${kind.group}/${kind.plural}`;
      if (this.#counted.has(id) || !names.some((one) => concerns(kind, one))) continue;
      const informer = this.#world.informers.get<ApiObject>(kind, byNamespace);
      this.#counted.set(id, { kind, informer });
      const changed = (object: Stored<ApiObject>): void => this.#touch(object.metadata.namespace);
      this.#ends.push(informer.addHandlers({ added: changed, updated: changed, deleted: changed }));
    }
    await Promise.all([...this.#counted.values()].map(({ informer }) => informer.synced));
  }

  #touch(namespace: string | undefined): void {
    for (const quota of this.#quotas.byIndex("namespace", namespace ?? ""))
      this.#queue.add(keyOf(quota));
  }

  async #work(): Promise<void> {
    for (;;) {
      const key = await this.#queue.next();
      if (key === undefined) return;
      try {
        await this.#settle(key);
        this.#queue.forget(key);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        const level = isStatus(error, "Conflict") ? "debug" : "warn";
        this.#world.log.write(level, "a quota could not be brought up to date yet", { key, why });
        this.#queue.addRateLimited(key);
      }
      this.#queue.done(key);
    }
  }

  async #settle(key: string): Promise<void> {
    const { clock } = this.#world;
    const quota = this.#quotas.get(key);
    if (quota === undefined) {
      this.#stillSince.delete(key);
      return;
    }
    await this.#follow(quota);
    const namespace = quota.metadata.namespace ?? "";
    const counted = [...this.#counted.values()].map(({ kind, informer }) => ({
      kind,
      objects: informer.byIndex("namespace", namespace),
    }));
    const status = plannedStatus(quota, counted, clock.now());
    const hardStands = sameAmounts(status.hard, quota.status.hard ?? {});
    const had = quota.status.used ?? {};
    if (hardStands && sameAmounts(status.used, had)) {
      this.#stillSince.delete(key);
      this.#queue.addAfter(key, resyncMs);
      return;
    }
    const lowers = hardStands && exceeding(had, status.used).length > 0;
    if (lowers && !this.#isStill(key, quota)) {
      this.#queue.addAfter(key, settleMs);
      return;
    }
    await this.#client.updateStatus(ResourceQuota, {
      ...quota,
      status: { hard: { ...status.hard }, used: { ...status.used } },
    });
    this.#stillSince.delete(key);
  }

  #isStill(key: string, { metadata }: Stored<ResourceQuota>): boolean {
    const ms = this.#world.clock.monotonicMs();
    const known = this.#stillSince.get(key);
    if (known?.version === metadata.resourceVersion) return ms - known.ms >= settleMs;
    this.#stillSince.set(key, { version: metadata.resourceVersion, ms });
    return false;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    for (const end of this.#ends) end();
    this.#queue.stop();
    await Promise.all(this.#workers);
  }
}
