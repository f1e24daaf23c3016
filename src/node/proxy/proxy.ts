/**
 * Proxy: keeps the node's dataplane true to the Services, to the host ports of its Pods and to the NetworkPolicies: reads Services,
 * EndpointSlices, this node's Pods, the other Nodes, and policies with what they select; writes dataplane facts, nothing else.
 * Changes that arrive while the kernel is being told are gathered and told together.
 */
import { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { EventRecorder } from "#client/events.ts";
import type { Informer, Informers } from "#client/informer.ts";
import { type ApiObject, keyOf } from "#machinery/meta.ts";
import type { Clock } from "#ports/clock.ts";
import type { Dataplane, DataplaneFact } from "#ports/dataplane.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import { Claims } from "./claims.ts";
import { hostPortFacts } from "./host-ports.ts";
import { nodeRouteFacts } from "./node-routes.ts";
import { dnsServiceKey, type Policies, watchPolicies } from "./policies.ts";
import { serviceFacts, serviceNameLabel } from "./service-facts.ts";

const retryMsMin = 1000;
const retryMsMax = 30_000;
const policiesSource = "policies";

export interface ProxyOptions {
  readonly nodeName: string;
  readonly informers: Informers;
  /** The Pods of this node. */
  readonly pods: Informer<Pod>;
  readonly dataplane: Dataplane;
  /** The machine's, and its own addresses there: what load balancers want of it is held. */
  readonly network: Network;
  readonly addresses: readonly string[];
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
  /** Other machines' pods are reached by routes that we keep. Without it somebody else sees to that. */
  readonly routes: boolean;
  /** Facts that hold whatever the Services say: masquerading, routes, local addresses. */
  readonly fixedFacts?: ReadonlyMap<string, DataplaneFact>;
}

export interface Proxy {
  /** Resolves when the Services of the moment are in the kernel. */
  start(): Promise<void>;
  /** Replaces the facts that do not come from Services (routes as nodes come and go). */
  setFixedFacts(facts: ReadonlyMap<string, DataplaneFact>): void;
  stop(): Promise<void>;
}

type Facts = ReadonlyMap<string, DataplaneFact>;

const serviceOf = (slice: ApiObject): string =>
  `${slice.metadata.namespace ?? ""}/${slice.metadata.labels?.[serviceNameLabel] ?? ""}`;

export function createProxy(options: ProxyOptions): Proxy {
  return new ServiceProxy(options);
}

class ServiceProxy implements Proxy {
  readonly #options: ProxyOptions;
  /** What the kernel was told, by source: "service NAMESPACE/NAME", "pod NAMESPACE/NAME" or "policies". */
  readonly #told = new Map<string, ReadonlyMap<string, DataplaneFact>>();
  readonly #dirty = new Set<string>();
  #fixed: ReadonlyMap<string, DataplaneFact>;
  #replace = true;
  #running = false;
  #ready = false;
  #stopped = false;
  #cancelRetry: () => void = () => {};
  readonly #unsubscribe: (() => void)[] = [];
  #policies: Policies | undefined;
  readonly #claims: Claims;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#fixed = options.fixedFacts ?? new Map();
    const again = (key: string): void => this.#touch(`service ${key}`);
    this.#claims = new Claims({ ...options, again });
  }

  async start(): Promise<void> {
    const services = this.#options.informers.get(Service);
    const slices = this.#options.informers.get(EndpointSlice, {
      service: (slice) => [serviceOf(slice)],
    });
    const touch = (source: string): void => this.#touch(source);
    const onEach = (sourceOf: (object: ApiObject) => string) => ({
      added: (object: ApiObject) => touch(sourceOf(object)),
      updated: (object: ApiObject, old: ApiObject) => {
        touch(sourceOf(object));
        if (sourceOf(old) !== sourceOf(object)) touch(sourceOf(old));
      },
      deleted: (object: ApiObject) => touch(sourceOf(object)),
    });
    const { pods } = this.#options;
    this.#unsubscribe.push(
      services.addHandlers(onEach((object) => `service ${keyOf(object)}`)),
      slices.addHandlers(onEach((object) => `service ${serviceOf(object)}`)),
      pods.addHandlers(onEach((object) => `pod ${keyOf(object)}`)),
    );
    const policies = watchPolicies(this.#options.informers, this.#options.nodeName, () =>
      touch(policiesSource),
    );
    this.#policies = policies;
    await this.#watchNodes();
    this.#unsubscribe.push(() => policies.stop());
    await Promise.all([services.synced, slices.synced, pods.synced, policies.synced]);
    this.#ready = true;
    this.#heed().catch((error: unknown) => {
      this.#options.log.write("warn", "the dataplane no longer tells of disturbances", {
        error: error instanceof Error ? error.message : String(error),
      });
    });
    await this.#flush();
  }
  /** Nodes say something every few seconds; only what their routes are made of counts. */
  async #watchNodes(): Promise<void> {
    if (!this.#options.routes) return;
    const { informers, nodeName } = this.#options;
    const nodes = informers.get(Node);
    const touch = (node: Node): void => this.#touch(`node ${node.metadata.name}`);
    const said = (node: Node): string => JSON.stringify([...nodeRouteFacts(node, nodeName)]);
    this.#unsubscribe.push(
      nodes.addHandlers({
        added: touch,
        updated: (node, old) => {
          if (said(node) !== said(old)) touch(node);
        },
        deleted: touch,
      }),
    );
    await nodes.synced;
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#claims.stop();
  }
  setFixedFacts(facts: ReadonlyMap<string, DataplaneFact>): void {
    this.#fixed = facts;
    this.#replace = true;
    this.#kick();
  }

  #touch(source: string): void {
    this.#dirty.add(source);
    if (source === `service ${dnsServiceKey}`) this.#dirty.add(policiesSource);
    this.#kick();
  }
  #kick(): void {
    if (this.#ready && !this.#running && !this.#stopped) void this.#flush();
  }

  /** Tells the kernel what changed until nothing is left; on failure everything is told anew, after a while. */
  async #flush(retryMs = retryMsMin): Promise<void> {
    this.#running = true;
    this.#cancelRetry();
    try {
      while (!this.#stopped && (this.#replace || this.#dirty.size > 0)) {
        if (this.#replace) await this.#tellAll();
        else await this.#tellChanges();
      }
    } catch (error) {
      this.#replace = true;
      this.#options.log.write("error", "the dataplane did not take the Services; trying again", {
        error: error instanceof Error ? error.message : String(error),
        retryMs,
      });
      this.#cancelRetry = this.#options.clock.after(retryMs, () => {
        if (!this.#stopped) void this.#flush(Math.min(retryMs * 2, retryMsMax));
      });
    } finally {
      this.#running = false;
    }
  }
  async #tellAll(): Promise<void> {
    this.#replace = false;
    this.#dirty.clear();
    this.#told.clear();
    const all = new Map<string, DataplaneFact>(this.#fixed);
    const sources = [
      ...Array.from(this.#options.informers.get(Service).list(), (one) => `service ${keyOf(one)}`),
      ...Array.from(this.#options.pods.list(), (one) => `pod ${keyOf(one)}`),
      policiesSource,
      ...(this.#options.routes
        ? Array.from(this.#options.informers.get(Node).list(), (one) => `node ${keyOf(one)}`)
        : []),
    ];
    for (const source of sources) {
      const facts = await this.#factsOf(source);
      this.#told.set(source, facts);
      for (const [key, fact] of facts) all.set(key, fact);
    }
    await this.#options.dataplane.replace(all);
  }
  async #tellChanges(): Promise<void> {
    const changes = new Map<string, DataplaneFact | undefined>();
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const key of dirty) {
      const before = this.#told.get(key) ?? new Map<string, DataplaneFact>();
      const now = await this.#factsOf(key);
      for (const old of before.keys()) if (!now.has(old)) changes.set(old, undefined);
      for (const [id, fact] of now) {
        const known = before.get(id);
        if (known === undefined || JSON.stringify(known) !== JSON.stringify(fact))
          changes.set(id, fact);
      }
      if (now.size === 0) this.#told.delete(key);
      else this.#told.set(key, now);
    }
    if (changes.size > 0) await this.#options.dataplane.apply(changes);
  }
  #factsOf(source: string): Facts | Promise<Facts> {
    const { informers, nodeName, pods } = this.#options;
    if (source === policiesSource) return this.#policies?.facts() ?? new Map();
    const [kind, key = ""] = source.split(" ");
    if (kind === "pod") {
      const pod = pods.get(key);
      return pod === undefined ? new Map() : hostPortFacts(pod);
    }
    if (kind === "node") {
      const node = informers.get(Node).get(key);
      return node === undefined ? new Map() : nodeRouteFacts(node, nodeName);
    }
    const service = informers.get(Service).get(key);
    const slices = informers.get(EndpointSlice).byIndex("service", key);
    const facts = service === undefined ? new Map() : serviceFacts(service, slices, nodeName);
    return this.#claims.settle(key, service, slices, facts);
  }

  /** Someone flushed or changed our part of the kernel: say everything again. */
  async #heed(): Promise<void> {
    const disturbances = this.#options.dataplane.disturbed();
    this.#unsubscribe.push(() => disturbances.stop());
    for (;;) {
      const what = await disturbances.next();
      if (what === undefined || this.#stopped) return;
      this.#options.log.write("warn", "the dataplane was disturbed; writing it anew", { what });
      this.#replace = true;
      this.#kick();
    }
  }
}
