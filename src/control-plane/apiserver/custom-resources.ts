/**
 * Custom resources at run time: follows the definitions, serves the kinds of those whose names are accepted, writes their conditions,
 * and empties a kind before its definition goes. One definition after the other, so that names are given out in one order. It reads
 * the definitions' cache and the caches of their kinds; writes definitions' status and finalizers; deletes custom objects.
 */
import {
  type CustomResourceDefinition,
  cleanupFinalizer,
  withCondition,
} from "#api/apiextensions/v1/customresourcedefinition.ts";
import { isEstablished } from "#api/apiextensions/v1/customresourcedefinition-validation.ts";
import { customResource } from "#api/custom-resource/custom-resource.ts";
import type { ApiResponse, Handler, User } from "#api/request.ts";
import type { Resource } from "#api/resource.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { cloneJson, type JsonObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import { sameStatus, statusOf } from "./custom-names.ts";
import type { ServedFacts } from "./discovery.ts";
import { applyDefaults, canonical } from "./object-codec.ts";
import type { Registry } from "./registry.ts";
import { deleteAll } from "./registry-delete.ts";
import { ServedResource } from "./served-resource.ts";
import type { StoreMirror } from "./store-mirror.ts";
import type { VersionLink } from "./version-links.ts";
import type { CacheObserver } from "./watch-cache.ts";

const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const retryMs = 1000;
const never = new AbortController().signal;
const encoder = new TextEncoder();

export interface CustomResourcesParts {
  /** Of the definitions. */
  readonly definitions: Registry;
  readonly mirror: StoreMirror;
  readonly makeRegistry: (resource: Resource) => Registry;
  /** By group/version/plural: what is routed; by group/plural: what readers see. Both are shared. */
  readonly served: Map<string, ServedResource>;
  readonly registries: Map<string, Registry>;
  /** What is served besides the built-in kinds has changed. */
  readonly changed: (served: readonly ServedFacts[]) => void;
  /** As the server itself. */
  readonly handler: Handler;
  readonly user: User;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly log: Log;
}

/** One definition that is served. */
interface Mounted {
  /** What it was made from: another definition, or another text of it, is mounted anew. */
  readonly source: string;
  readonly registry: Registry;
  readonly served: ReadonlyMap<string, ServedResource>;
}

export class CustomResources {
  readonly #parts: CustomResourcesParts;
  readonly #mounted = new Map<string, Mounted>();
  /** Names of definitions to look at. */
  readonly #waiting = new Set<string>();
  readonly #retries = new Map<string, () => void>();
  #working = false;
  #started = false;
  #stopped = false;

  constructor(parts: CustomResourcesParts) {
    this.#parts = parts;
    parts.definitions.cache.observe(this.#observe);
  }

  readonly #observe: CacheObserver = (now, before) => {
    const changed = now ?? before;
    if (changed === undefined) return;
    const name = changed.key.slice(changed.key.lastIndexOf("/") + 1);
    this.#enqueue(name);
    if (now !== undefined) return;
    // Its names are free: whoever waits for them may have them.
    for (const other of this.#definitions()) this.#enqueue(other.metadata.name ?? "");
  };

  *#definitions(): Generator<CustomResourceDefinition> {
    const { definitions } = this.#parts;
    const { from, to } = definitions.range("");
    for (const stored of definitions.cache.range(from, to))
      yield stored.object as CustomResourceDefinition;
  }

  /** Serves what is established already; after that it follows. */
  async start(): Promise<void> {
    for (const crd of this.#definitions())
      if (isEstablished(crd) && crd.status.acceptedNames.plural !== "") await this.#mount(crd);
    this.#started = true;
    for (const crd of this.#definitions()) this.#enqueue(crd.metadata.name ?? "");
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#retries.values()) cancel();
    this.#retries.clear();
    this.#waiting.clear();
  }

  #enqueue(name: string): void {
    if (this.#stopped) return;
    this.#waiting.add(name);
    if (!this.#started || this.#working) return;
    this.#working = true;
    queueMicrotask(() => void this.#work());
  }

  async #work(): Promise<void> {
    for (const name of this.#waiting) {
      this.#waiting.delete(name);
      if (this.#stopped) break;
      this.#retries.get(name)?.();
      this.#retries.delete(name);
      try {
        await this.#settle(name);
      } catch (error) {
        this.#again(name, error);
      }
    }
    this.#working = false;
  }

  #again(name: string, error: unknown): void {
    if (this.#stopped) return;
    const { clock, log } = this.#parts;
    // Somebody else wrote first: what they wrote is on its way here, or here already.
    if (error instanceof StatusError && error.reason === "Conflict") {
      this.#waiting.add(name);
      return;
    }
    const why = error instanceof Error ? error.message : String(error);
    const what = "A custom resource definition can not be settled; trying again.";
    log.write("warn", what, { name, why });
    this.#retries.set(
      name,
      clock.after(retryMs, () => this.#enqueue(name)),
    );
  }

  async #settle(name: string): Promise<void> {
    const { definitions, clock } = this.#parts;
    const stored = await definitions.current("", name);
    if (stored === undefined) {
      this.#unmount(name);
      return;
    }
    const crd = stored.object as CustomResourceDefinition;
    const isHeld = crd.metadata.finalizers?.includes(cleanupFinalizer) === true;
    if (crd.metadata.deletionTimestamp !== undefined) {
      if (isHeld) await this.#end(crd);
      return;
    }
    const status = statusOf(crd, this.#definitions(), clock.now());
    const next = { ...crd, status };
    if (isEstablished(next)) await this.#mount(next);
    if (!sameStatus(status, crd.status)) await this.#writeStatus(next);
  }

  /** Serves the kind as the definition has it now. */
  async #mount(crd: CustomResourceDefinition): Promise<void> {
    const { mirror, makeRegistry, served, registries } = this.#parts;
    const name = crd.metadata.name ?? "";
    const { plural, singular, shortNames, kind, listKind, categories } = crd.status.acceptedNames;
    const names = [plural, singular, shortNames, kind, listKind, categories];
    const source = JSON.stringify([crd.metadata.uid, crd.spec, names]);
    const old = this.#mounted.get(name);
    if (old?.source === source) return;
    const resources = this.#resourcesOf(crd);
    const storage = resources.get(crd.spec.versions.find((version) => version.storage)?.name ?? "");
    if (storage === undefined) return;
    const registry = makeRegistry(storage);
    registry.cache.observe((now, before) => {
      // The last one has gone: its definition may be waiting for that.
      if (now === undefined && before !== undefined && registry.cache.size === 0)
        this.#enqueue(name);
    });
    await mirror.join(registry.cache);
    const mounted = { source, registry, served: servedOf(crd, storage, registry, resources) };
    for (const id of old?.served.keys() ?? []) served.delete(id);
    for (const [id, one] of mounted.served) if (!served.has(id)) served.set(id, one);
    registries.set(`${storage.group}/${storage.plural}`, registry);
    this.#mounted.set(name, mounted);
    this.#tell();
  }

  #resourcesOf(crd: CustomResourceDefinition): Map<string, Resource> {
    const { group } = crd.spec;
    const { kind } = crd.status.acceptedNames;
    const storage = crd.spec.versions.find((version) => version.storage)?.name ?? "";
    const digest = this.#parts.crypto.digest(encoder.encode(`${group}/${storage}/${kind}`));
    const hash = encodeBase64(digest.subarray(0, 8));
    return new Map(
      crd.spec.versions.map((version) => [version.name, customResource(crd, version, hash)]),
    );
  }

  #unmount(name: string): void {
    const { mirror, served, registries } = this.#parts;
    const old = this.#mounted.get(name);
    if (old === undefined) return;
    this.#mounted.delete(name);
    const { group, plural } = old.registry.resource;
    for (const [id, one] of old.served) if (served.get(id) === one) served.delete(id);
    if (registries.get(`${group}/${plural}`) === old.registry)
      registries.delete(`${group}/${plural}`);
    mirror.leave(old.registry.cache);
    this.#tell();
  }

  #tell(): void {
    const facts = [...this.#mounted.values()].flatMap(({ served }) =>
      [...served.values()].map(({ resource }) => ({
        facts: resource.facts,
        subresources: resource.facts.subresources,
        schema: resource.schema,
      })),
    );
    this.#parts.changed(facts);
  }

  /** Deletes what there is of the kind; lets the definition go when nothing is left. */
  async #end(crd: CustomResourceDefinition): Promise<void> {
    const name = crd.metadata.name ?? "";
    if (isEstablished(crd)) await this.#mount(crd);
    const mounted = this.#mounted.get(name);
    if (mounted === undefined) {
      await this.#finish(crd, "NeverEstablished", "resource was never established");
      return;
    }
    for (const one of mounted.served.values()) one.isEnding = true;
    const { registry } = mounted;
    if (registry.cache.size > 0) {
      const message = "CustomResource deletion is in progress";
      await this.#terminating(crd, "True", "InstanceDeletionInProgress", message);
      const { from, to } = registry.range("");
      const scope = {
        user: this.#parts.user,
        namespace: "",
        subresource: "",
        dryRun: false,
        warnings: [],
        served: registry.resource,
        link: undefined,
      };
      await deleteAll(registry, scope, [...registry.cache.range(from, to)], {});
      // What finalizers hold goes later; the cache says when the last one has.
      if (registry.cache.size > 0) return;
    }
    await this.#finish(crd, "InstanceDeletionCompleted", "removed all instances");
  }

  async #finish(crd: CustomResourceDefinition, reason: string, message: string): Promise<void> {
    await this.#terminating(crd, "False", reason, message);
    const name = crd.metadata.name ?? "";
    const { definitions } = this.#parts;
    const stored = await definitions.current("", name);
    if (stored === undefined || stored.object.metadata.uid !== crd.metadata.uid) return;
    const { uid, resourceVersion, finalizers = [] } = stored.object.metadata;
    const left = finalizers.filter((one) => one !== cleanupFinalizer);
    const metadata = { uid, resourceVersion, finalizers: left.length === 0 ? null : left };
    const answer = await this.#request("PATCH", `${path}/${name}`, { metadata });
    if (answer.status >= 400 && answer.status !== 404) throw failed(answer);
  }

  async #terminating(
    crd: CustomResourceDefinition,
    status: "True" | "False",
    reason: string,
    message: string,
  ): Promise<void> {
    const { definitions, clock } = this.#parts;
    const stored = await definitions.current("", crd.metadata.name ?? "");
    if (stored === undefined) return;
    const now = stored.object as CustomResourceDefinition;
    const conditions = withCondition(
      now.status.conditions ?? [],
      { type: "Terminating", status, reason, message },
      clock.now(),
    );
    const next = { ...now, status: { ...now.status, conditions } };
    if (!sameStatus(next.status, now.status)) await this.#writeStatus(next);
  }

  async #writeStatus(crd: CustomResourceDefinition): Promise<void> {
    const object = cloneJson(crd) as unknown as JsonObject;
    const answer = await this.#request("PUT", `${path}/${crd.metadata.name ?? ""}/status`, object);
    if (answer.status >= 400 && answer.status !== 404) throw failed(answer);
  }

  #request(method: "PUT" | "PATCH", target: string, object: JsonObject): Promise<ApiResponse> {
    const type = method === "PUT" ? "application/json" : "application/merge-patch+json";
    return this.#parts.handler({
      method,
      path: target,
      query: [["fieldManager", "kube-apiserver"]],
      headers: { "content-type": type, "user-agent": "kube-apiserver" },
      body: { object },
      gone: never,
      direct: true,
    });
  }
}

/** The versions that are served, each with its way to the stored one. */
function servedOf(
  crd: CustomResourceDefinition,
  storage: Resource,
  registry: Registry,
  resources: ReadonlyMap<string, Resource>,
): Map<string, ServedResource> {
  const siblings = new Map(
    [...resources.values()].map((one) => [`${one.group}/${one.version}`, one] as const),
  );
  const found = new Map<string, ServedResource>();
  // Only None converts without asking anybody: with a webhook, the stored version alone is true.
  const converts = crd.spec.conversion?.strategy !== "Webhook";
  for (const version of crd.spec.versions) {
    const resource = resources.get(version.name);
    const isStored = resource === storage;
    if (!version.served || resource === undefined || !(isStored || converts)) continue;
    const link = isStored ? undefined : linkOf(resource, storage);
    const id = `${resource.group}/${resource.version}/${resource.plural}`;
    found.set(id, new ServedResource(resource, registry, link, siblings));
  }
  return found;
}

/** Conversion None: the same fields under another version's name, pruned and defaulted by its schema. */
const linkOf = (served: Resource, stored: Resource): VersionLink => ({
  served,
  stored,
  toStored(object) {
    const kept = canonical(stored, object);
    applyDefaults(stored, kept);
    return kept;
  },
  fromStored(object) {
    const shown = canonical(served, object);
    applyDefaults(served, shown);
    return shown;
  },
});

function failed(answer: ApiResponse): StatusError {
  const { content } = answer;
  if (content.type === "object") return StatusError.from(content.object as Status);
  return new StatusError(answer.status, "", `unexpected answer ${answer.status}`);
}
