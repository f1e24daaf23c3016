/**
 * The ingress controller of one node: follows Ingresses of its classes and tells the proxy what they mean. While there is none it follows
 * nothing else and the proxy does not run. Reads Ingresses, IngressClasses, Services, EndpointSlices and Secrets of type
 * kubernetes.io/tls; writes events and one EndpointSlice that says where this node listens.
 */
import { Secret } from "#api/core/v1/secret.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { Ingress } from "#api/networking/v1/ingress.ts";
import { ingressClassAnnotation } from "#api/networking/v1/ingress-validation.ts";
import { IngressClass } from "#api/networking/v1/ingressclass.ts";
import type { Client } from "#client/client.ts";
import type { EventRecorder } from "#client/events.ts";
import { createInformer, type Informer, type Informers } from "#client/informer.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type {
  HttpProxy,
  ProxyBackend,
  ProxyCertificate,
  ProxyPort,
  ProxyTable,
} from "#ports/http-proxy.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import { listeningSlice } from "./listening.ts";
import { type IngressPlan, planIngress } from "./routes.ts";

/** spec.controller of the classes that are ours. */
export const ingressController = "wherry.io/ingress-controller";
const serviceNameLabel = "kubernetes.io/service-name";
const bySecretType = "type=kubernetes.io/tls";
const retryMs = 2000;
const closeGraceMs = 10_000;
const certificateDays = 3650;
const dayMs = 86_400_000;

export interface IngressOptions {
  readonly nodeName: string;
  readonly address: string;
  /** Machines that have no ingress lead what comes to their ports here. */
  readonly forCluster: boolean;
  readonly proxy: HttpProxy;
  readonly client: Client;
  readonly informers: Informers;
  readonly recorder: EventRecorder;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
export interface IngressServer {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const createIngress = (options: IngressOptions): IngressServer => new NodeIngress(options);

interface Sources {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly secrets: Informer<Secret>;
}

class NodeIngress implements IngressServer {
  readonly #options: IngressOptions;
  #sources: Sources | undefined;
  #dirty = false;
  #running: Promise<void> | undefined;
  #stopped = false;
  #cancelRetry: () => void = () => {};
  readonly #ends: (() => void)[] = [];
  /** What the proxy was told; undefined: it does not run. */
  #told: { table: string; backends: ReadonlyMap<string, ProxyBackend> } | undefined;
  #fallback: ProxyCertificate | undefined;
  /** What was said of Ingresses, so that it is said once. */
  #said = new Set<string>();

  constructor(options: IngressOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { informers } = this.#options;
    const [ingresses, classes] = [informers.get(Ingress), informers.get(IngressClass)];
    this.#follow(ingresses);
    this.#follow(classes);
    await Promise.all([ingresses.synced, classes.synced]);
    this.#touch();
    await this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRetry();
    for (const end of this.#ends) end();
    await this.#running;
    this.#sources?.secrets.stop();
    if (this.#told === undefined) return;
    await this.#unpublish().catch((error: unknown) => this.#warn("it is still published", error));
    await this.#options.proxy.close(closeGraceMs);
  }

  #follow<T extends ApiObject>(informer: Informer<T>): void {
    const touch = (): void => this.#touch();
    this.#ends.push(informer.addHandlers({ added: touch, updated: touch, deleted: touch }));
  }
  #touch(): void {
    this.#dirty = true;
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#settle().finally(() => {
      this.#running = undefined;
      if (this.#dirty) this.#touch();
    });
  }
  #warn(what: string, error: unknown): void {
    this.#options.log.write("warn", `ingress: ${what}`, {
      error: error instanceof Error ? error.message : String(error),
    });
  }

  /** Until nothing has changed any more. Changes that come meanwhile are told together. */
  async #settle(): Promise<void> {
    // What arrives in one turn is one change.
    await Promise.resolve();
    while (this.#dirty && !this.#stopped) {
      this.#dirty = false;
      try {
        await this.#pass();
      } catch (error) {
        this.#warn("the routes could not be set; trying again", error);
        this.#cancelRetry();
        this.#cancelRetry = this.#options.clock.after(retryMs, () => this.#touch());
      }
    }
  }

  #ours(): Stored<Ingress>[] {
    const { informers } = this.#options;
    const classes = informers.get(IngressClass);
    return [...informers.get(Ingress).list()].filter(({ spec, metadata }) => {
      const name = spec.ingressClassName ?? metadata.annotations?.[ingressClassAnnotation];
      return name !== undefined && classes.get(name)?.spec.controller === ingressController;
    });
  }

  async #pass(): Promise<void> {
    const { informers, proxy } = this.#options;
    if (!informers.get(Ingress).isSynced || !informers.get(IngressClass).isSynced) return;
    const ours = this.#ours();
    if (ours.length === 0) {
      if (this.#told === undefined) return;
      this.#told = undefined;
      await this.#unpublish();
      await proxy.close(closeGraceMs);
      return;
    }
    const sources = await this.#open();
    const plan = planIngress({
      ingresses: ours,
      service: (key) => sources.services.get(key),
      slicesOf: (key) => sources.slices.byIndex("service", key),
      secret: (key) => sources.secrets.get(key),
      isCertificate: (chain, key) => this.#isCertificate(chain, key),
    });
    this.#tell(plan, ours);
    await this.#put(plan);
  }

  async #open(): Promise<Sources> {
    if (this.#sources === undefined) {
      const { informers, client, clock, random, log } = this.#options;
      const ports = { clock, random, log };
      this.#sources = {
        services: informers.get(Service),
        slices: informers.get(EndpointSlice, {
          service: ({ metadata }) => [
            `${metadata.namespace}/${metadata.labels?.[serviceNameLabel] ?? ""}`,
          ],
        }),
        secrets: createInformer(Secret, client, ports, { fieldSelector: bySecretType }),
      };
      for (const one of Object.values(this.#sources)) this.#follow(one);
    }
    const { services, slices, secrets } = this.#sources;
    await Promise.all([services.synced, slices.synced, secrets.synced]);
    return this.#sources;
  }

  #isCertificate(chain: string, key: string): boolean {
    if (!key.includes("PRIVATE KEY-----")) return false;
    try {
      this.#options.crypto.readCertificate(chain);
      return true;
    } catch {
      // Whatever it is.
      return false;
    }
  }

  /** Problems become events, each once as long as it lasts. */
  #tell({ problems }: IngressPlan, ours: readonly Stored<Ingress>[]): void {
    const said = new Set<string>();
    for (const { ingress, reason, message } of problems) {
      const key = `${ingress.metadata.uid} ${reason} ${message}`;
      if (!said.has(key) && !this.#said.has(key)) {
        this.#options.recorder.event(ingress, "Warning", reason, message);
      }
      said.add(key);
    }
    for (const ingress of ours) {
      const key = `${ingress.metadata.uid} served ${ingress.metadata.generation}`;
      if (!this.#said.has(key)) {
        this.#options.recorder.event(ingress, "Normal", "Sync", "Scheduled for sync");
      }
      said.add(key);
    }
    this.#said = said;
  }

  async #put({ table, backends }: IngressPlan): Promise<void> {
    const { proxy } = this.#options;
    const before = this.#told;
    const whole: ProxyTable = {
      ...table,
      certificates: [...table.certificates, await this.#fallbackCertificate()],
    };
    const text = JSON.stringify(whole);
    const old = before?.backends ?? new Map<string, ProxyBackend>();
    const changes = new Map<string, ProxyBackend | undefined>();
    for (const key of old.keys()) if (!backends.has(key)) changes.set(key, undefined);
    for (const [key, backend] of backends) {
      if (JSON.stringify(old.get(key)) !== JSON.stringify(backend)) changes.set(key, backend);
    }
    // Should one of these fail, everything is told anew.
    this.#told = { table: "", backends: new Map() };
    if (changes.size > 0) await proxy.setBackends(changes);
    if (before?.table !== text) await proxy.setTable(whole);
    if (before === undefined) await this.#publish(await proxy.listen());
    this.#told = { table: text, backends };
  }

  /** For names that no certificate is for: encrypted, and not to be trusted. */
  async #fallbackCertificate(): Promise<ProxyCertificate> {
    if (this.#fallback !== undefined) return this.#fallback;
    const { crypto, clock } = this.#options;
    const { privateKey, publicKey } = await crypto.generateKey("ES256");
    const now = clock.now();
    const facts = {
      user: "Wherry Ingress Default Certificate",
      groups: ["Wherry"],
      names: ["ingress.local"],
      uses: ["server auth" as const],
      fromMs: now - dayMs,
      toMs: now + certificateDays * dayMs,
    };
    const chain = await crypto.issue(facts, publicKey, { privateKey });
    this.#fallback = { hosts: [], chain, key: privateKey };
    return this.#fallback;
  }

  async #publish(ports: readonly ProxyPort[]): Promise<void> {
    const { client, nodeName, address, forCluster, log } = this.#options;
    for (const { usual, port } of ports) {
      if (port === usual) continue;
      const instead = port === undefined ? "nor is its substitute" : `listening on ${port} instead`;
      log.write("warn", `ingress: port ${usual} is in use by another program, ${instead}`);
    }
    const slice = listeningSlice(nodeName, address, ports, forCluster);
    const ref = { namespace: slice.metadata.namespace, name: slice.metadata.name };
    await client.patch(EndpointSlice, ref, "apply", slice, {
      fieldManager: "wherry-ingress",
      force: true,
    });
  }
  async #unpublish(): Promise<void> {
    const { client, nodeName, address } = this.#options;
    const { metadata } = listeningSlice(nodeName, address, []);
    try {
      await client.delete(EndpointSlice, { namespace: metadata.namespace, name: metadata.name });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }
}
