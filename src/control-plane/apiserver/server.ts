/**
 * The API server: everything assembled. One handler chain serves everyone: over HTTP, with the identity that a connection proves, and
 * directly in this process, with a fixed identity.
 */
import { apiregistrationGroup } from "#api/apiregistration/v1/apiservice.ts";
import { ComponentStatus } from "#api/core/v1/componentstatus.ts";
import { flowcontrolGroup } from "#api/flowcontrol/v1/bootstrap.ts";
import { rbacGroup } from "#api/rbac/v1/policy-rule.ts";
import type { ApiResponse, Handler, User } from "#api/request.ts";
import { apiVersionOf, type Resource } from "#api/resource.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { Metrics } from "#machinery/metrics.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import type { Address, Listener, Network, ServerTls } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { Store } from "#ports/store.ts";
import { Admission } from "./admission/admission.ts";
import { admissionPlugins } from "./admission/plugins.ts";
import { Aggregator } from "./aggregator.ts";
import type { Authenticator } from "./authn/authenticator.ts";
import { bootstrapTokens } from "./authn/bootstrap-token.ts";
import { clientCertificates } from "./authn/client-certificate.ts";
import { requestHeaders } from "./authn/request-headers.ts";
import { type ServiceAccountKey, ServiceAccountTokens } from "./authn/service-account-token.ts";
import { anyOf } from "./authz/authorizer.ts";
import { preventEscalation } from "./authz/escalation.ts";
import { nodeAuthorizer } from "./authz/node-authorizer.ts";
import { NodeReferences } from "./authz/node-references.ts";
import { administrators, Rbac } from "./authz/rbac.ts";
import { bodyBytesMax } from "./body.ts";
import { Bootstrap } from "./bootstrap.ts";
import type { ChainContext } from "./chain.ts";
import type { Component } from "./component-status.ts";
import { CustomResources } from "./custom-resources.ts";
import type { Delegate } from "./delegate.ts";
import { Discovery } from "./discovery.ts";
import type { FrontProxy } from "./extension-server.ts";
import { FlowControlObjects } from "./flow-control-objects.ts";
import { handlerChain } from "./handler-chain.ts";
import { bodyTooLarge, httpFront } from "./http-front.ts";
import { IdentityLease } from "./identity-lease.ts";
import { IssuerDocuments, issuerPaths } from "./issuer-documents.ts";
import type { NodeProxy } from "./node-proxy.ts";
import { ObjectLease } from "./object-lease.ts";
import { OpenApi } from "./openapi.ts";
import { ownRequests } from "./own-requests.ts";
import {
  type HealthCheck,
  health,
  jsonDocument,
  metricsText,
  serverVersion,
} from "./public-paths.ts";
import type { Reader, ResourceRef } from "./reader.ts";
import { Registry } from "./registry.ts";
import { RequestMetrics } from "./request-metrics.ts";
import { reviewFacts } from "./reviews.ts";
import { bindingFacts, offeredFacts, resourceId, routes } from "./routes.ts";
import { ServedResource } from "./served-resource.ts";
import { storeTimes, tellOfObjects } from "./server-metrics.ts";
import { ServiceAllocator } from "./service-allocator.ts";
import type { InFlightLimits } from "./stages/limits.ts";
import { StoreMirror } from "./store-mirror.ts";
import { versionLinks } from "./version-links.ts";
import { webhookCaller } from "./webhook-client.ts";

export interface ApiServerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly resources: readonly Resource[];
  /** "10.96.0.0/12". */
  readonly serviceCidr: string;
  /** Of the machine: whose API server this is. Absent: it holds no Lease. */
  readonly hostname?: string;
  readonly nodePortRange?: { readonly first: number; readonly last: number };
  /** PEM bundle of the CAs whose client certificates count; asked at each request. */
  readonly clientCa: () => string;
  readonly serviceAccounts?: {
    /** The first signs; all are accepted. */
    readonly keys: readonly ServiceAccountKey[];
    /** "https://kubernetes.default.svc.cluster.local". */
    readonly issuer: string;
    /** Default: the issuer. */
    readonly audiences?: readonly string[];
  };
  /** Where others reach this server: what Service default/kubernetes leads to. */
  readonly advertise?: { readonly address: string; readonly port: number };
  /** How nodes are reached for logs, exec and the like. */
  readonly nodeProxy?: NodeProxy;
  readonly limits?: InFlightLimits;
  /** What this server shows to extension servers, and what front proxies of its own show. */
  readonly frontProxy?: FrontProxy;
  /** Group versions that programs in this process serve. */
  readonly delegates?: readonly Delegate[];
  /** Where everything in this process is counted; told at /metrics. Default: of its own. */
  readonly metrics?: Metrics;
  /** What ComponentStatus tells of besides the store. */
  readonly components?: readonly Component[];
}

export interface ApiServer {
  /** The whole chain. */
  readonly handler: Handler;
  /** The chain with a fixed identity, in values instead of bytes. */
  as(user: User): Handler;
  serveHttp(network: Network, at: Address, tls?: ServerTls): Promise<Listener>;
  /** The address to which Service default/kubernetes shall lead from now on. */
  advertise(address: string, port: number): Promise<void>;
  /** readyz fails at once, watches end, listeners finish what runs. The store stays open. */
  close(graceMs: number): Promise<void>;
}

const defaultLimits: InFlightLimits = { readingMax: 4000, writingMax: 2000 };
const defaultPorts = { first: 30000, last: 32767 };
const eventTtlSeconds = 3600;
const watchTimeoutMsMin = 30 * 60 * 1000;

/** The server itself, where it writes what every cluster has. */
export const serverUser: User = {
  name: "system:apiserver",
  groups: ["system:masters", "system:authenticated"],
};

function readerOf(registries: ReadonlyMap<string, Registry>, mirror: StoreMirror): Reader {
  const registry = (group: string, plural: string) => registries.get(`${group}/${plural}`);
  return {
    get({ group, plural }, namespace, name) {
      const found = registry(group, plural);
      return found?.cache.get(found.key(namespace, name))?.object;
    },
    *list({ group, plural }, namespace = "") {
      const found = registry(group, plural);
      if (found === undefined) return;
      const { from, to } = found.range(namespace);
      for (const stored of found.cache.range(from, to)) yield stored.object;
    },
    fresh: () => mirror.fresh(),
  };
}

class Server implements ApiServer {
  readonly handler: Handler;
  readonly #options: ApiServerOptions;
  readonly #mirror: StoreMirror;
  readonly #bootstrap: Bootstrap;
  readonly #registries = new Map<string, Registry>();
  readonly #served = new Map<string, ServedResource>();
  readonly #listeners = new Set<Listener>();
  readonly #openApi: OpenApi;
  readonly #discovery: Discovery;
  readonly #custom: CustomResources | undefined;
  readonly #issuer: IssuerDocuments | undefined;
  readonly #flowControl: FlowControlObjects | undefined;
  readonly #identity: IdentityLease | undefined;
  readonly #aggregator: Aggregator | undefined;
  readonly #metrics: Metrics;
  #advertised: string | undefined;
  #started = false;
  #closing = false;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    const { store, clock, random, crypto, log } = options;
    this.#metrics = options.metrics ?? new Metrics();
    this.#mirror = new StoreMirror(store, clock, log);
    const ports = options.nodePortRange ?? defaultPorts;
    const allocator = new ServiceAllocator(options.serviceCidr, ports, random.fork("services"));
    const reader = readerOf(this.#registries, this.#mirror);
    const rbac = new Rbac(reader);
    const references = new NodeReferences();
    const authorizer = anyOf([administrators, nodeAuthorizer(reader, references), rbac]);
    const admission = new Admission([...admissionPlugins, preventEscalation(rbac, authorizer)], {
      reader,
      kindOf: (apiVersion, kind) => {
        for (const { resource } of this.#served.values())
          if (apiVersionOf(resource) === apiVersion && resource.kind === kind) return resource;
        return undefined;
      },
      callWebhook: webhookCaller({ proxy: options.nodeProxy, reader, clock }),
      change: (resource, namespace, name, change) =>
        this.#change(resource, namespace, name, change),
      clock,
      random: random.fork("admission"),
      authorizer,
      crypto,
    });
    this.#makeRegistries(admission, allocator);
    tellOfObjects(this.#metrics, this.#registries);
    this.#registries.get("/pods")?.cache.observe(references.observe);
    for (const kind of ["RoleBinding", "ClusterRoleBinding"] as const) {
      const registry = this.#registries.get(`${rbacGroup}/${kind.toLowerCase()}s`);
      registry?.cache.observe(rbac.observer(kind));
    }
    const tokens = this.#tokens(reader);
    this.#issuer = this.#issuerDocuments(tokens);
    const authenticators: Authenticator[] = [];
    const { frontProxy } = options;
    if (frontProxy !== undefined) authenticators.push(requestHeaders(crypto, clock, frontProxy.ca));
    authenticators.push(clientCertificates(crypto, clock, options.clientCa));
    authenticators.push(bootstrapTokens(reader, crypto, clock));
    if (tokens !== undefined) authenticators.push(tokens);
    const offered = [...this.#served.values()].map(({ resource }) => offeredFacts(resource.facts));
    offered.push(...reviewFacts.map(offeredFacts));
    if (bindingFacts !== undefined && this.#served.has("/v1/pods"))
      offered.push(offeredFacts(bindingFacts), offeredFacts(ComponentStatus.facts));
    this.#discovery = new Discovery(offered, crypto, () => this.#advertised);
    this.#openApi = new OpenApi(() => this.#discovery.groups, crypto);
    this.#aggregator = this.#makeAggregator(reader);
    const jitter = random.fork("watch timeouts");
    this.handler = handlerChain({
      log,
      clock,
      authenticators,
      authorizer,
      limits: options.limits ?? defaultLimits,
      metrics: new RequestMetrics(this.#metrics),
      routes: routes({
        served: this.#served,
        discovery: this.#discovery,
        world: {
          now: () => clock.now(),
          authorizer,
          watchTimeoutMs: () => watchTimeoutMsMin * (1 + jitter.uint32() / 2 ** 32),
        },
        reviews: { authorizer, tokens },
        tokens:
          tokens === undefined
            ? undefined
            : { tokens, reader, admission, random: random.fork("token ids") },
        proxy: { proxy: options.nodeProxy, reader, admission },
        aggregator: this.#aggregator,
        components: [...(options.components ?? []), this.#storeComponent()],
        path: (context) => this.#path(context),
      }),
    });
    this.#custom = this.#makeCustom(admission);
    this.#flowControl = this.#makeFlowControl();
    this.#identity = this.#makeIdentity(reader);
    this.#bootstrap = new Bootstrap({
      handler: this.as(serverUser),
      clock,
      log,
      kinds: new Set(this.#served.keys()),
      firstAddress: allocator.firstAddress,
      family: allocator.family,
      serviceCidr: allocator.range,
      clientCa: options.clientCa,
      frontProxyCa: frontProxy?.ca,
    });
  }

  async #change(
    { group, plural }: ResourceRef,
    namespace: string,
    name: string,
    change: (object: ApiObject) => void,
  ): Promise<void> {
    try {
      await this.#registries.get(`${group}/${plural}`)?.modify(namespace, name, false, change);
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }

  #tokens(reader: Reader): ServiceAccountTokens | undefined {
    const { serviceAccounts, crypto, clock } = this.#options;
    if (serviceAccounts === undefined) return undefined;
    const { keys, issuer, audiences } = serviceAccounts;
    return new ServiceAccountTokens({
      crypto,
      clock,
      reader,
      keys,
      issuer,
      audiences: audiences ?? [issuer],
    });
  }

  #issuerDocuments(tokens: ServiceAccountTokens | undefined): IssuerDocuments | undefined {
    const { serviceAccounts, crypto } = this.#options;
    if (serviceAccounts === undefined || tokens === undefined) return undefined;
    const { issuer, keys } = serviceAccounts;
    const keyId = (key: ServiceAccountKey): string => tokens.keyId(key);
    return new IssuerDocuments({
      crypto,
      issuer,
      keys,
      keyId,
      advertised: () => this.#advertised,
    });
  }

  #makeCustom(admission: Admission): CustomResources | undefined {
    const definitions = this.#registries.get("apiextensions.k8s.io/customresourcedefinitions");
    if (definitions === undefined) return undefined;
    const { store, clock, random, crypto, log } = this.#options;
    const mirror = this.#mirror;
    return new CustomResources({
      definitions,
      mirror,
      makeRegistry: (resource) => {
        const name = `${resource.group}/${resource.plural}`;
        return new Registry(resource, {
          store,
          mirror,
          clock,
          random: random.fork(name),
          admission,
          times: storeTimes(this.#metrics, resource.group, resource.plural),
        });
      },
      served: this.#served,
      registries: this.#registries,
      changed: (served) => {
        this.#discovery.setCustom(served);
        this.#openApi.forget();
        this.#aggregator?.setCustom(served.map(({ facts }) => facts));
      },
      handler: this.as(serverUser),
      user: serverUser,
      clock,
      crypto,
      log,
    });
  }

  #storeComponent(): Component {
    const problem = () => (this.#mirror.healthy ? undefined : "the store's watch is broken");
    return { name: "etcd-0", problem };
  }

  #makeFlowControl(): FlowControlObjects | undefined {
    const flowSchemas = this.#registries.get(`${flowcontrolGroup}/flowschemas`);
    const priorityLevels = this.#registries.get(`${flowcontrolGroup}/prioritylevelconfigurations`);
    if (flowSchemas === undefined || priorityLevels === undefined) return undefined;
    const { clock, log } = this.#options;
    const ask = ownRequests(this.as(serverUser));
    return new FlowControlObjects({ flowSchemas, priorityLevels, ask, clock, log });
  }

  #makeIdentity(reader: Reader): IdentityLease | undefined {
    const { clock, crypto, random, log, hostname } = this.#options;
    if (hostname === undefined || !this.#registries.has("coordination.k8s.io/leases"))
      return undefined;
    const ask = ownRequests(this.as(serverUser));
    const own = { clock, crypto, log, random: random.fork("identity"), hostname };
    return new IdentityLease({ ...own, ask, reader });
  }

  #makeAggregator(reader: Reader): Aggregator | undefined {
    const apiServices = this.#registries.get(`${apiregistrationGroup}/apiservices`);
    if (apiServices === undefined) return undefined;
    const { clock, log, nodeProxy, frontProxy, delegates = [] } = this.#options;
    const backends = ["/services", "discovery.k8s.io/endpointslices"];
    return new Aggregator({
      apiServices,
      watched: backends.flatMap((id) => this.#registries.get(id) ?? []),
      reader,
      proxy: nodeProxy,
      frontProxy,
      delegates,
      ask: ownRequests(this.as(serverUser)),
      clock,
      log,
      changed: (versions) => {
        this.#discovery.setAggregated(versions);
        this.#openApi.forget();
      },
    });
  }

  #makeRegistries(admission: Admission, allocator: ServiceAllocator): void {
    const { store, clock, random, resources } = this.#options;
    const linked = new Map(
      versionLinks.map((link) => {
        const { group, version, plural } = link.served;
        return [resourceId(group, version, plural), link] as const;
      }),
    );
    const own = resources.filter(
      ({ group, version, plural }) => !linked.has(resourceId(group, version, plural)),
    );
    for (const resource of own) {
      const { group, version, plural } = resource;
      const isService = group === "" && plural === "services";
      const isEvent = group === "" && plural === "events";
      const registry = new Registry(resource, {
        store,
        mirror: this.#mirror,
        clock,
        random: random.fork(`${group}/${plural}`),
        admission,
        times: storeTimes(this.#metrics, group, plural),
        ...(isService ? { hooks: allocator.hooks } : {}),
        ...(isEvent ? { lease: new ObjectLease(store, clock, eventTtlSeconds) } : {}),
      });
      if (isService) registry.cache.observe(allocator.observe);
      this.#mirror.add(registry.cache);
      this.#registries.set(`${group}/${plural}`, registry);
      const served = new ServedResource(resource, registry, undefined);
      this.#served.set(resourceId(group, version, plural), served);
    }
    for (const resource of resources) {
      const { group, version, plural } = resource;
      const link = linked.get(resourceId(group, version, plural));
      if (link === undefined) continue;
      const registry = this.#registries.get(`${link.stored.group}/${link.stored.plural}`);
      if (registry === undefined)
        throw new Error(`${plural}.${group} is served, but not the kind it is stored as`);
      const served = new ServedResource(resource, registry, link);
      this.#served.set(resourceId(group, version, plural), served);
    }
  }

  async start(): Promise<void> {
    await this.#mirror.start();
    await this.#custom?.start();
    await this.#bootstrap.run();
    await this.#flowControl?.start();
    await this.#identity?.start();
    await this.#aggregator?.start(this.#discovery.builtIn);
    this.#started = true;
    const { advertise } = this.#options;
    if (advertise !== undefined) await this.advertise(advertise.address, advertise.port);
  }

  as(user: User): Handler {
    return (request) => this.handler({ ...request, user, direct: true });
  }

  async advertise(address: string, port: number): Promise<void> {
    this.#advertised = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    await this.#bootstrap.advertise(address, port);
  }

  async serveHttp(network: Network, at: Address, tls?: ServerTls): Promise<Listener> {
    const options = { bodyBytesMax, tooLarge: bodyTooLarge };
    const listener = await network.serve(
      at,
      tls === undefined ? options : { ...options, tls: { ...tls, askClient: true } },
      httpFront(this.handler),
    );
    this.#listeners.add(listener);
    return listener;
  }

  #checks(): readonly HealthCheck[] {
    const everywhere = ["healthz", "livez", "readyz"] as const;
    const fine = (): undefined => undefined;
    const store = () => (this.#mirror.healthy ? undefined : "the store's watch is broken");
    const hook = (name: string, isDone: () => boolean): HealthCheck => ({
      name,
      check: () => (isDone() ? undefined : "not finished"),
      on: everywhere,
    });
    return [
      { name: "ping", check: fine, on: everywhere },
      { name: "etcd", check: store, on: everywhere },
      { name: "etcd-readiness", check: store, on: ["readyz"] },
      hook("poststarthook/rbac/bootstrap-roles", () => this.#bootstrap.done),
      hook(
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        () => this.#bootstrap.done,
      ),
      hook("poststarthook/priority-and-fairness-config-producer", () => this.#started),
      ...(this.#identity === undefined
        ? []
        : [
            hook(
              "poststarthook/start-kube-apiserver-identity-lease-controller",
              () => this.#started,
            ),
            hook(
              "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
              () => this.#started,
            ),
          ]),
      hook("autoregister-completion", () => this.#started),
      {
        name: "shutdown",
        check: () => (this.#closing ? "process is shutting down" : undefined),
        on: ["readyz"],
      },
    ];
  }

  async #path(context: ChainContext): Promise<ApiResponse | undefined> {
    const { path, verb } = context.info;
    if (verb !== "get" && verb !== "head") return undefined;
    if (path === "/metrics") return metricsText(this.#metrics.write());
    if (path === "/version" || path === "/version/") return jsonDocument(serverVersion, true);
    if (path === "/") return jsonDocument({ paths: this.#paths() }, true);
    const published = this.#issuer?.answer(path);
    if (published !== undefined) return published;
    return health(context, this.#checks()) ?? (await this.#openApi.handle(context));
  }

  #paths(): string[] {
    const checks = this.#checks();
    const healthPaths = (["healthz", "livez", "readyz"] as const).flatMap((endpoint) => [
      `/${endpoint}`,
      ...checks.filter(({ on }) => on.includes(endpoint)).map(({ name }) => `/${endpoint}/${name}`),
    ]);
    return [
      ...this.#discovery.paths(),
      ...healthPaths,
      ...(this.#issuer === undefined ? [] : issuerPaths),
      "/metrics",
      "/openapi/v2",
      "/openapi/v3",
      "/version",
    ].sort();
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    this.#bootstrap.stop();
    this.#custom?.stop();
    this.#flowControl?.stop();
    this.#identity?.stop();
    this.#aggregator?.stop();
    this.#mirror.stop();
    await Promise.all([...this.#listeners].map((listener) => listener.close(graceMs)));
  }
}

/** Resolves when everything is read from the store and what every cluster has is there. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const server = new Server(options);
  await server.start();
  return server;
}
