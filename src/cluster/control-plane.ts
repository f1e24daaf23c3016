/**
 * The control plane: store, API server, controllers and scheduler, assembled from ports. Pure: the same code runs on a machine, in a
 * test and in a simulation. Each component speaks to the API server with its own identity.
 */
import { builtInResources } from "#api/index.ts";
import type { Handler, User } from "#api/request.ts";
import { type Client, createClient } from "#client/client.ts";
import { createInformers } from "#client/informer.ts";
import type { NodeProxy } from "#control-plane/apiserver/node-proxy.ts";
import { type ApiServer, createApiServer, serverUser } from "#control-plane/apiserver/server.ts";
import type { ControllerSettings } from "#control-plane/controllers/controller.ts";
import { startControllers } from "#control-plane/controllers/index.ts";
import { type SchedulerSettings, startScheduler } from "#control-plane/scheduler/scheduler.ts";
import { retentionMsDefault, startCompaction } from "#control-plane/store/compaction.ts";
import { openStore } from "#control-plane/store/store.ts";
import { formatIp, nthAddress, parseCidr } from "#machinery/ip.ts";
import { Metrics } from "#machinery/metrics.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Storage } from "#ports/storage.ts";
import type { Store } from "#ports/store.ts";
import type { Identity } from "./certificates.ts";
import { provideDnsService } from "./dns-service.ts";
import { provideIngressClass } from "./ingress-class.ts";
import { serveMetrics } from "./metrics.ts";
import { provisionerAccount, startProvisioning } from "./provisioning.ts";

export interface ControlPlaneOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
  /** The machine's name: whose API server this is. */
  readonly hostname: string;
  readonly podCidr: string;
  readonly serviceCidr: string;
  readonly domain: string;
  /** PEM of the authority that signs clients' certificates. */
  readonly authority: string;
  /** Its private key: what the cluster's own signers issue certificates with. Undefined: someone else signs. */
  readonly authorityKey?: string;
  readonly serviceAccountKey: { readonly privateKey: string; readonly publicKey: string };
  readonly nodeProxy?: NodeProxy;
  /** What the API server shows to extension servers. */
  readonly frontProxy?: { readonly ca: string; readonly client: () => Identity };
  /** Adds what only the world outside knows of this process. */
  readonly tellMetrics?: (metrics: Metrics) => void;
  readonly controllers?: Partial<ControllerSettings>;
  /** Default: upstream's. */
  readonly scheduler?: SchedulerSettings;
  /**
   * How controllers and the scheduler reach the API server, by their name; default: in this process. Asked once there is one, before
   * they start.
   */
  readonly transport?: (apiServer: ApiServer) => Promise<(name: string) => Handler>;
  /** How long history is kept, in milliseconds. */
  readonly retentionMs?: number;
}

export interface ControlPlane {
  readonly apiServer: ApiServer;
  readonly store: Store;
  /** A direct transport with that identity. */
  as(name: string): Handler;
  clientFor(name: string): Client;
  /** Everything stops in order; what was acknowledged is durable. */
  stop(): Promise<void>;
}

const stopGraceMs = 2000;

/** The groups that a component's name implies, as its certificate or token would say them. */
export function identityOf(name: string): User {
  const account = /^system:serviceaccount:([^:]+):[^:]+$/.exec(name);
  const groups =
    account !== null
      ? ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`]
      : name.startsWith("system:node:")
        ? ["system:nodes"]
        : [];
  return { name, groups: [...groups, "system:authenticated"] };
}

/** The names that the API server's certificate carries, whatever else it is called. */
export function apiServerNames(serviceCidr: string, domain: string): string[] {
  const parsed = parseCidr(serviceCidr);
  const first = parsed === undefined ? undefined : nthAddress(parsed.cidr, 1);
  return [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    `kubernetes.default.svc.${domain}`,
    "localhost",
    "127.0.0.1",
    ...(first === undefined ? [] : [formatIp(first)]),
  ];
}

export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { storage, clock, random, crypto, log, serviceAccountKey, nodeProxy } = options;
  const metrics = new Metrics();
  options.tellMetrics?.(metrics);
  const { authorityKey, frontProxy } = options;
  const store = await openStore({ storage, clock, log: log.child("store") });
  // They run in this process, started and stopped together.
  let running = false;
  const metricsApi =
    nodeProxy === undefined ? undefined : serveMetrics(nodeProxy, () => as, options);
  const apiServer = await createApiServer({
    store,
    clock,
    random: random.fork("apiserver"),
    crypto,
    log: log.child("apiserver"),
    resources: builtInResources,
    serviceCidr: options.serviceCidr,
    hostname: options.hostname,
    clientCa: () => options.authority,
    serviceAccounts: {
      keys: [{ algorithm: "ES256", ...serviceAccountKey }],
      issuer: `https://kubernetes.default.svc.${options.domain}`,
    },
    ...(nodeProxy === undefined ? {} : { nodeProxy }),
    ...(frontProxy === undefined
      ? {}
      : {
          frontProxy: {
            ca: frontProxy.ca,
            identity: () => ({
              chain: frontProxy.client().certificate,
              key: frontProxy.client().privateKey,
            }),
          },
        }),
    ...(metricsApi === undefined ? {} : { delegates: [metricsApi] }),
    metrics,
    components: ["scheduler", "controller-manager"].map((name) => ({
      name,
      problem: () => (running ? undefined : `the ${name} has not started yet, or has stopped`),
    })),
  });
  const as = (name: string): Handler => apiServer.as(identityOf(name));
  const clientFor = (name: string): Client =>
    createClient(as(name), { userAgent: shortName(name) });
  const reach = (await options.transport?.(apiServer)) ?? as;
  const componentClient = (name: string): Client =>
    createClient(reach(name), { userAgent: shortName(name) });
  const server = createClient(apiServer.as(serverUser), { userAgent: "wherry" });
  await provideDnsService(server, options.serviceCidr);
  await provideIngressClass(server);
  const compaction = startCompaction(
    store,
    clock,
    options.retentionMs ?? retentionMsDefault,
    log.child("store"),
  );
  const controllers = startControllers({
    clientFor: componentClient,
    clock,
    random: random.fork("controllers"),
    log: log.child("controllers"),
    metrics,
    settings: {
      clusterCidr: options.podCidr,
      rootCa: options.authority,
      ...(authorityKey === undefined
        ? {}
        : { signer: { crypto, certificate: options.authority, privateKey: authorityKey } }),
      ...options.controllers,
    },
  });
  const schedulerClient = componentClient("system:kube-scheduler");
  const schedulerInformers = createInformers(schedulerClient, {
    clock,
    random: random.fork("scheduler informers"),
    log: log.child("scheduler"),
  });
  const scheduler = startScheduler({
    client: schedulerClient,
    informers: schedulerInformers,
    clock,
    random: random.fork("scheduler"),
    log: log.child("scheduler"),
    ...(options.scheduler === undefined ? {} : { settings: options.scheduler }),
  });
  const provisioning = await startProvisioning(server, componentClient(provisionerAccount), {
    clock,
    random: random.fork("provisioner"),
    log: log.child("provisioner"),
  });
  const pending = metrics.gauge("scheduler_pending_pods", "Pods that wait for a node.", ["queue"]);
  metrics.gather(() => {
    for (const [queue, size] of Object.entries(scheduler.queued)) pending.of([queue]).set(size);
  });
  running = true;
  return {
    apiServer,
    store,
    as,
    clientFor,
    async stop() {
      running = false;
      metricsApi?.stop();
      await Promise.all([scheduler.stop(), controllers.stop(), provisioning.stop()]);
      schedulerInformers.stop();
      compaction();
      await apiServer.close(stopGraceMs);
      await store.close();
    },
  };
}

/** "system:kube-scheduler" → "kube-scheduler", "system:serviceaccount:kube-system:x" → "x": field managers are named so. */
const shortName = (name: string): string => name.slice(name.lastIndexOf(":") + 1);
