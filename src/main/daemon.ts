/**
 * The cluster's process: opens the data, starts the control plane and the nodes, says when all is ready, serves the control socket, and
 * stops in order. Restarted by whoever keeps it running (supervisor.ts, systemd); pods outlive it unless it is told to stop them.
 */
import { writeSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import type { Writable } from "node:stream";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { openLmdbStorage } from "#adapters/nodejs/lmdb-storage.ts";
import { type LogLevel, lineLog } from "#adapters/nodejs/log.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import { createClient } from "#client/client.ts";
import { type CertificateStore, certificateStore, type Identity } from "#cluster/certificates.ts";
import { apiServerNames, type ControlPlane, startControlPlane } from "#cluster/control-plane.ts";
import { provideJoinInfo } from "#cluster/join-info.ts";
import { nodeProxy } from "#control-plane/apiserver/node-proxy.ts";
import { serverUser } from "#control-plane/apiserver/server.ts";
import type { Log } from "#ports/log.ts";
import { type Listener, type Network, NetworkError, type ServerTls } from "#ports/network.ts";
import type { Storage } from "#ports/storage.ts";
import type { Allotment, ClusterPaths } from "./allotment.ts";
import { serveControl } from "./control.ts";
import { type FurtherNodes, furtherNodesOf, startFurtherNodes } from "./further-nodes.ts";
import { openLogFile } from "./log-file.ts";
import { gatewayOf, provideBridge } from "./machine-lan.ts";
import type { NodeWorker } from "./node-worker.ts";
import { type Nodes, type NodesToBe, prepareNodes } from "./nodes.ts";
import { tellOfProcess } from "./process-metrics.ts";
import { recordProcesses } from "./process-record.ts";
import type { ClusterSettings } from "./settings.ts";
import type { SimulatedNetwork } from "./simulated-nodes.ts";
import { clusterStatus } from "./status.ts";
import { exitRefused, exitStopped, type Progress } from "./supervisor.ts";

/** What the daemon's parts share. */
export interface DaemonWorld {
  readonly allotment: Allotment;
  readonly paths: ClusterPaths;
  readonly settings: ClusterSettings;
  readonly network: Network;
  /** Where simulated nodes live, if the cluster has such. */
  readonly simulated: SimulatedNetwork | undefined;
  readonly log: Log;
  /** Where the log's lines go, for threads that write lines of their own. */
  readonly logStream: Writable;
  readonly logLevel: LogLevel;
  readonly certificates: CertificateStore;
  /** The machine's address, for the API server and real nodes. */
  readonly address: string;
}

/** Ports that may be tried when the usual one is taken and none was asked for. */
const portTriesMax = 100;
const controlPipe = 3;

export async function runDaemon(
  allotment: Allotment,
  paths: ClusterPaths,
  settings: ClusterSettings,
  nodeWorker: NodeWorker | undefined,
): Promise<number> {
  const supervised = process.env["WHERRY_SUPERVISED"] === "1";
  const logStream = supervised ? openLogFile(paths.log) : process.stderr;
  const logLevel = process.env["WHERRY_DEBUG"] === undefined ? "info" : "debug";
  const log = lineLog({ stream: logStream, clock: systemClock, level: logLevel, format: "text" });
  const tell = (progress: Progress): void => {
    if (supervised) tellSupervisor(progress);
    else if ("say" in progress) log.write("info", progress.say);
    else if ("failed" in progress) log.write("error", progress.failed);
    else log.write("info", "the cluster is ready");
  };
  try {
    const given = { allotment, paths, settings, log, logStream, logLevel } as const;
    const { ended } = await startCluster(given, nodeWorker, tell, supervised);
    tell({ ready: true });
    await ended;
    return exitStopped;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    log.write("error", "the cluster could not start", { error: (error as Error).stack ?? message });
    tell({ failed: `The cluster ${allotment.name} could not start: ${message}` });
    return exitRefused;
  }
}

/** The pipe is gone once `wherry up` has ended; nobody needs to know then. */
function tellSupervisor(progress: Progress): void {
  try {
    writeSync(controlPipe, `${JSON.stringify(progress)}\n`);
  } catch {
    return;
  }
}

async function startCluster(
  given: Pick<DaemonWorld, "allotment" | "paths" | "settings" | "log" | "logStream" | "logLevel">,
  nodeWorker: NodeWorker | undefined,
  tell: (progress: Progress) => void,
  supervised: boolean,
): Promise<{ readonly ended: Promise<void> }> {
  const { paths, settings, log } = given;
  const startedAtMs = systemClock.now();
  const network = systemNetwork(log);
  tell({ say: "opening the data" });
  // The lock on the data keeps a second process of this cluster out; what follows is ours alone.
  const storage = await openLmdbStorage(paths.store);
  await recordProcesses(paths, supervised);
  const host = await linuxHost();
  // Further nodes of this machine reach it over the bridge that they share with it.
  const isAlone = settings.runtime === "simulated" || settings.nodes === 1;
  if (!isAlone) await provideBridge(given.allotment);
  const address = isAlone
    ? ((await host.facts()).addresses[0] ?? "127.0.0.1")
    : gatewayOf(given.allotment);
  const certificates = certificateStore({
    host,
    crypto: systemCrypto,
    clock: systemClock,
    log: log.child("certificates"),
    directory: paths.certificates,
  });
  const simulated =
    settings.runtime === "simulated"
      ? (await import("./simulated-nodes.ts")).simulatedNetwork(network, log)
      : undefined;
  const world: DaemonWorld = { ...given, network, simulated, certificates, address };
  const life = new Life(world, startedAtMs, prepareNodes(world, nodeWorker));
  try {
    await bringUp(world, life, storage, tell);
  } catch (error) {
    // Of a stop that was asked for meanwhile, whoever asked shall hear the end.
    if (life.isStopping) await life.end();
    else await life.nodesToBe.stop(false);
    throw error;
  }
  return { ended: life.end() };
}

async function bringUp(
  world: DaemonWorld,
  life: Life,
  storage: Storage,
  tell: (progress: Progress) => void,
): Promise<void> {
  const { settings, address, log } = world;
  await life.serveControl();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    // The service manager stops us: the pods run on and are found again.
    process.once(signal, () => {
      life.stop(false).catch((error: unknown) => {
        log.write("error", "stopping failed", { error: String(error) });
      });
    });
  }
  tell({ say: "starting the control plane" });
  const controlPlane = await controlPlaneOf(world, storage);
  life.controlPlane = controlPlane;
  const tls = await serverTls(world);
  const listener = await listenForClients(world, controlPlane, tls);
  life.port = "port" in listener.address ? listener.address.port : settings.port;
  await controlPlane.apiServer.advertise(address, life.port);
  await provideJoinInfo(
    createClient(controlPlane.apiServer.as(serverUser), { userAgent: "wherry" }),
    settings,
    `https://${address}:${life.port}`,
    await world.certificates.authority(),
  );
  tell({ say: "starting the nodes" });
  const nodes = await life.nodesToBe.start(controlPlane, tls);
  life.nodes = nodes;
  if (settings.runtime === "containerd")
    life.further = await furtherNodes(world, life, controlPlane);
  tell({ say: "waiting for the nodes and DNS" });
  const ready = Promise.all([nodes.ready, life.further?.ready]);
  await Promise.race([ready, life.stopped]);
  life.setReady();
}

/** Each joins with a token, as from another machine. */
async function furtherNodes(
  { allotment, settings, network, log, certificates }: DaemonWorld,
  life: Life,
  controlPlane: ControlPlane,
): Promise<FurtherNodes | undefined> {
  const count = settings.nodes - 1;
  if (count === 0 && furtherNodesOf(allotment.name).length === 0) return undefined;
  return startFurtherNodes({
    allotment,
    count,
    client: createClient(controlPlane.apiServer.as(serverUser), { userAgent: "wherry" }),
    authority: await certificates.authority(),
    port: life.port,
    network,
    log,
  });
}

/** What runs so far, and its end. */
class Life {
  further: FurtherNodes | undefined;
  controlPlane: ControlPlane | undefined;
  nodes: Nodes | undefined;
  port = 0;
  readonly nodesToBe: NodesToBe;
  readonly stopped: Promise<void>;
  readonly #ready: Promise<void>;
  setReady: () => void = () => {};
  readonly #world: DaemonWorld;
  readonly #startedAtMs: number;
  #finish: () => void = () => {};
  #control: Listener | undefined;
  #stopping: Promise<void> | undefined;

  constructor(world: DaemonWorld, startedAtMs: number, nodesToBe: NodesToBe) {
    this.#world = world;
    this.#startedAtMs = startedAtMs;
    this.nodesToBe = nodesToBe;
    this.stopped = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#ready = new Promise((resolve) => {
      this.setReady = resolve;
    });
  }
  async serveControl(): Promise<void> {
    const { network, paths } = this.#world;
    this.#control = await serveControl(network, paths.controlSocket, {
      status: () => clusterStatus(this.#world, this, this.#startedAtMs),
      ready: () => Promise.race([this.#ready, this.stopped]),
      stop: () => this.stop(true),
    });
  }
  get isStopping(): boolean {
    return this.#stopping !== undefined;
  }
  stop(withPods: boolean): Promise<void> {
    this.#stopping ??= this.#stop(withPods).finally(() => this.#finish());
    return this.#stopping;
  }
  async #stop(withPods: boolean): Promise<void> {
    const { log, certificates } = this.#world;
    log.write("info", withPods ? "stopping, pods too" : "stopping; pods run on");
    const stopped = [(this.nodes ?? this.nodesToBe).stop(withPods)];
    certificates.stop();
    // Without their pods they run on, and are found again.
    if (withPods && this.further !== undefined) stopped.push(this.further.stop());
    await Promise.all(stopped);
    await this.controlPlane?.stop();
  }
  /** The answer to whoever asked for the stop is still on its way. */
  async end(): Promise<void> {
    await this.stopped;
    await this.#control?.close(200);
  }
}

async function controlPlaneOf(
  { settings, network, simulated, log, certificates }: DaemonWorld,
  storage: Storage,
): Promise<ControlPlane> {
  const authority = await certificates.authority();
  const kubeletClient = await certificates.kept("apiserver-kubelet-client", {
    user: "kube-apiserver-kubelet-client",
    groups: ["system:masters"],
    names: [],
    uses: ["client auth"],
  });
  // What a kubeconfig has of it ends with it: `wherry up` writes the new one there.
  await certificates.kept("admin", {
    user: "kubernetes-admin",
    groups: ["system:masters"],
    names: [],
    uses: ["client auth"],
  });
  return startControlPlane({
    storage,
    clock: systemClock,
    random: systemRandom,
    crypto: systemCrypto,
    log,
    hostname: hostname().toLowerCase(),
    podCidr: settings.podCidr,
    serviceCidr: settings.serviceCidr,
    domain: settings.domain,
    ...(settings.scheduler === undefined ? {} : { scheduler: settings.scheduler }),
    authority,
    authorityKey: (await certificates.signer()).privateKey,
    serviceAccountKey: await certificates.signingKey("sa"),
    frontProxy: await certificates.frontProxy(),
    tellMetrics: tellOfProcess,
    nodeProxy: nodeProxy({
      network: simulated?.network ?? network,
      identity: () => shown(kubeletClient()),
      roots: authority,
    }),
  });
}

const shown = ({ certificate, privateKey }: Identity) => ({ chain: certificate, key: privateKey });

/** What the API server shows on every socket that it listens on. */
async function serverTls({ settings, certificates, address }: DaemonWorld): Promise<ServerTls> {
  const own = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? [])
      .filter(({ internal, family }) => !internal && family === "IPv4")
      .map((one) => one.address),
  );
  const names = [
    ...apiServerNames(settings.serviceCidr, settings.domain),
    address,
    ...own.toSorted(),
    ...settings.certificateNames,
  ];
  const identity = await certificates.kept("apiserver", {
    user: "kube-apiserver",
    groups: [],
    names: [...new Set(names)],
    uses: ["server auth"],
  });
  return { identity: () => shown(identity()) };
}

async function listenForClients(
  { settings, network }: DaemonWorld,
  { apiServer }: ControlPlane,
  tls: ServerTls,
): Promise<Listener> {
  for (let port = settings.port; ; port++) {
    try {
      return await apiServer.serveHttp(network, { host: "0.0.0.0", port }, tls);
    } catch (error) {
      if (!(error instanceof NetworkError) || error.code !== "EADDRINUSE") throw error;
      if (settings.portGiven || port >= settings.port + portTriesMax) {
        throw new Error(
          `port ${port} is in use by another program. Choose another one with --port, or end that program (ss -ltnp shows it).`,
          { cause: error },
        );
      }
    }
  }
}
