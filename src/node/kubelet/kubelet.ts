/**
 * The kubelet: makes this machine a node of the cluster and runs the pods that are bound to it. Assembles the parts; each
 * part has a file of its own. Reads pods, Services, ConfigMaps and Secrets; writes pods' statuses, the Node, its Lease, Events.
 */

import { Node } from "#api/core/v1/node.ts";
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPhaseTerminal } from "#api/core/v1/pod-status.ts";
import { Service } from "#api/core/v1/service.ts";
import type { Taint } from "#api/generated/core/v1.ts";
import { RuntimeClass } from "#api/node/v1/runtimeclass.ts";
import type { Client } from "#client/client.ts";
import { createEventRecorder, type EventRecorder } from "#client/events.ts";
import { createInformer, type Informer } from "#client/informer.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { HttpHandler, Listener, Network, ServerTls } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { Runtime } from "#ports/runtime.ts";
import { type Admission, admitPod } from "./admission.ts";
import { defaultConfig, type KubeletConfig, type NodePlaces, userAgent } from "./config.ts";
import { type DnsSettings, parseResolvConf } from "./dns.ts";
import type { EventSink } from "./events.ts";
import { Eviction } from "./eviction.ts";
import { pressureRefusal } from "./eviction-plan.ts";
import { ImageGarbage } from "./image-garbage.ts";
import { ImageManager } from "./images.ts";
import { LocalVolumes } from "./local-volumes.ts";
import { LogRotation } from "./log-rotation.ts";
import { NodeAgent } from "./node-agent.ts";
import type { NodeServices } from "./node-services.ts";
import { newNode, nodeReport } from "./node-status.ts";
import { Orphans } from "./orphans.ts";
import { podsDirectory } from "./paths.ts";
import { Pleg, type PodInRuntime } from "./pleg.ts";
import { PodCertificates } from "./pod-certificates.ts";
import { containerFieldPath, isMirrorPod, type NodePod, nodePod } from "./pod-spec.ts";
import { PodWorker } from "./pod-worker.ts";
import { Prober } from "./prober/prober.ts";
import { ReferenceStore } from "./references.ts";
import { RuntimeReader } from "./runtime-status.ts";
import { Semaphore } from "./semaphore.ts";
import { kubeletHandler } from "./server.ts";
import { SummaryProvider } from "./stats/summary.ts";
import { StatusManager } from "./status-manager.ts";
import { terminationMessage } from "./termination-message.ts";
import { TokenStore } from "./tokens.ts";
import { VolumeManager } from "./volume-manager.ts";
import { AtomicWriter } from "./volumes/atomic-writer.ts";

export interface KubeletOptions {
  readonly nodeName: string;
  /** "v1.37.2" */
  readonly version: string;
  /** Speaks as system:node:NAME. */
  readonly client: Client;
  readonly runtime: Runtime;
  readonly host: Host;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly config?: Partial<KubeletConfig>;
  /** Default /var/lib/kubelet */
  readonly rootDirectory?: string;
  /** Default /var/log/pods */
  readonly logsDirectory?: string;
  /** Where volumes live that the provisioner makes here; they outlive pods. Default: below rootDirectory */
  readonly localVolumesDirectory?: string;
  /** Links for log collectors, usually /var/log/containers; without it none are made. */
  readonly logLinksDirectory?: string;
  /** Default /kubepods */
  readonly cgroupRoot?: string;
  /** Marks what this node owns in a runtime that others share. */
  readonly runtimeLabels?: Readonly<Record<string, string>>;
  readonly server?: {
    readonly host: string;
    /** 0: a free one, which the Node then tells. */
    readonly port: number;
    readonly tls: ServerTls;
    /** PEM: who signs the certificates of those who may ask. */
    readonly clientRoots: string;
  };
  readonly hostname?: string;
  readonly nodeIps?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly Taint[];
  readonly providerID?: string;
  /** The node's pod CIDRs became known, or changed: the network can be set up. */
  readonly podCidrs?: (cidrs: readonly string[]) => void;
}

export interface Kubelet {
  /** Resolves when it serves; registering the node and taking over its pods go on behind. */
  start(): Promise<void>;
  /** Pods run on. */
  stop(): Promise<void>;
  /** The runtime or the network may have become ready: look now. */
  refresh(): void;
  /** What the server answers with; undefined without a server. */
  readonly handler: HttpHandler | undefined;
  /** The port that is served; 0 before start. */
  readonly port: number;
}

/** More at once only make each start take longer. */
const startsMax = 8;
const stopGraceMs = 1000;

/** What was asked for, unless there is none. */
async function orNone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isStatus(error, "NotFound")) return undefined;
    throw error;
  }
}

export const createKubelet = (options: KubeletOptions): Kubelet => new NodeKubelet(options);

class NodeKubelet implements Kubelet {
  readonly handler: HttpHandler | undefined;
  port = 0;
  readonly #options: KubeletOptions;
  readonly #config: KubeletConfig;
  readonly #places: NodePlaces;
  readonly #node: NodeServices;
  readonly #recorder: EventRecorder;
  readonly #agent: NodeAgent;
  readonly #pleg: Pleg;
  readonly #orphans: Orphans;
  readonly #eviction: Eviction;
  readonly #rotation: LogRotation;
  /** By pod uid: the pods of this node, until nothing of them is left. */
  readonly #workers = new Map<string, PodWorker>();
  /** Refused at the node, and the API does not know yet. */
  readonly #refused = new Set<string>();
  #inRuntime: ReadonlyMap<string, PodInRuntime> = new Map();
  #pods: Informer<Pod> | undefined;
  #services: Informer<Service> | undefined;
  #listener: Listener | undefined;
  #firstRelist: (() => void) | undefined;
  /** Every pod that the API has bound here has its worker: what has none is an orphan. */
  #knowsAllPods = false;
  #stopped = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#config = { ...defaultConfig, ...options.config };
    this.#places = {
      root: options.rootDirectory ?? "/var/lib/kubelet",
      logs: options.logsDirectory ?? "/var/log/pods",
      ...(options.logLinksDirectory === undefined ? {} : { logLinks: options.logLinksDirectory }),
      cgroupRoot: options.cgroupRoot ?? "/kubepods",
      runtimeLabels: options.runtimeLabels ?? {},
    };
    const { client, clock, log, random } = options;
    this.#recorder = createEventRecorder(
      client,
      { component: "kubelet", host: options.nodeName },
      { clock, log, random },
    );
    this.#node = this.#assemble();
    this.#eviction = this.#newEviction();
    this.#agent = this.#newAgent();
    this.#pleg = new Pleg(
      options.runtime,
      { clock, log },
      this.#places.runtimeLabels,
      this.#config.relistPeriodMs,
      { changed: (uid) => this.#poke(uid), relisted: (pods) => this.#relisted(pods) },
    );
    this.#orphans = new Orphans(this.#node, (uid) => this.#workers.has(uid));
    this.#rotation = this.#newRotation();
    this.handler = this.#newHandler();
  }

  async start(): Promise<void> {
    const { host, client, clock, random, log, nodeName } = this.#options;
    for (const path of [podsDirectory(this.#places), this.#places.logs]) {
      await host.makeDirectory(path, 0o750);
    }
    if (this.#places.logLinks !== undefined) {
      await host.makeDirectory(this.#places.logLinks, 0o755);
    }
    await this.#serve();
    await this.#agent.start();
    if (this.#stopped) return;
    const ports = { clock, random, log };
    this.#services = createInformer(Service, client, ports);
    this.#pods = createInformer(Pod, client, ports, {
      fieldSelector: `spec.nodeName=${nodeName}`,
    });
    const listed = new Promise<void>((resolve) => {
      this.#firstRelist = resolve;
    });
    this.#pleg.start();
    this.#rotation.start();
    void this.#followPods(this.#pods, listed);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#firstRelist?.();
    this.#pods?.stop();
    this.#services?.stop();
    this.#pleg.stop();
    this.#agent.stop();
    this.#rotation.stop();
    for (const worker of this.#workers.values()) worker.stop();
    this.#node.prober.stop();
    this.#node.statuses.stop();
    this.#node.references.stop();
    this.#node.certificates.stop();
    this.#recorder.stop();
    await this.#eviction.stop();
    await this.#listener?.close(stopGraceMs);
  }

  refresh(): void {
    this.#agent.refresh();
  }

  async #serve(): Promise<void> {
    const { server, network } = this.#options;
    if (server === undefined || this.handler === undefined) return;
    this.#listener = await network.serve(
      { host: server.host, port: server.port },
      { tls: { ...server.tls, askClient: true }, bodyBytesMax: 0 },
      this.handler,
    );
    const { address } = this.#listener;
    if ("port" in address) this.port = address.port;
  }

  /** What the runtime holds is known before the first pod is looked at: adopted pods are not taken for new ones. */
  async #followPods(pods: Informer<Pod>, listed: Promise<void>): Promise<void> {
    await listed;
    if (this.#stopped) return;
    pods.addHandlers({
      added: (pod) => this.#see(pod),
      updated: (pod) => this.#see(pod),
      deleted: (pod) => this.#lose(pod),
    });
    await pods.synced;
    if (this.#stopped) return;
    this.#knowsAllPods = true;
    await this.#orphans.reap(this.#inRuntime, { directories: true });
  }

  #see(object: Stored<Pod>): void {
    const pod = nodePod(object);
    if (pod === undefined || this.#stopped || isMirrorPod(pod)) return;
    const { uid } = pod.metadata;
    const known = this.#workers.get(uid);
    if (known !== undefined) {
      known.update(pod);
      return;
    }
    const over = isPhaseTerminal(pod.status.phase) || pod.metadata.deletionTimestamp !== undefined;
    if (this.#refused.has(uid) && !over) return;
    this.#refused.delete(uid);
    const fresh = !this.#inRuntime.has(uid);
    if (fresh && !over && !this.#admit(pod)) return;
    const worker = new PodWorker(this.#node, pod, { fresh }, (done) => this.#finished(done));
    this.#workers.set(uid, worker);
    worker.poke();
  }

  #lose(object: Stored<Pod>): void {
    const pod = nodePod(object);
    if (pod === undefined) return;
    this.#refused.delete(pod.metadata.uid);
    const worker = this.#workers.get(pod.metadata.uid);
    if (worker === undefined) {
      this.#node.statuses.forget(pod.metadata.uid);
      return;
    }
    // The last version may carry a shorter grace than the one before.
    worker.update(pod);
    worker.orphan();
    this.#finished(worker);
  }

  #finished(worker: PodWorker): void {
    if (worker.isOver) this.#workers.delete(worker.uid);
    // What it had may be enough for one that wants to grow.
    for (const other of this.#workers.values()) if (other.wantsRoom) other.poke();
  }

  /** Whether there is room for a pod beside all others. */
  #verdictOn(pod: NodePod): Admission {
    const node = this.#agent.node ?? this.#ownNode();
    if (node === undefined) return { admitted: true };
    const others = [...this.#workers.values()]
      .filter(({ uid }) => uid !== pod.metadata.uid)
      .filter(({ phase }) => phase === "syncing" || phase === "terminating")
      .map((worker) => worker.pod);
    return admitPod(pod, node, others);
  }

  #admit(pod: NodePod): boolean {
    const pressed = pressureRefusal(pod, this.#eviction.conditions);
    const verdict: Admission =
      pressed === undefined
        ? this.#verdictOn(pod)
        : { admitted: false, reason: "Evicted", message: pressed };
    if (verdict.admitted) return true;
    const { reason, message } = verdict;
    this.#refused.add(pod.metadata.uid);
    this.#node.events.pod(pod, "Warning", reason, message);
    const rejected = `Pod was rejected: ${message}`;
    const status = { ...pod.status, phase: "Failed", reason, message: rejected };
    this.#node.statuses.set(pod, status, false);
    return false;
  }

  /** As it will be registered, while the API server has not been reached. */
  #ownNode(): ReturnType<typeof newNode> | undefined {
    const { facts } = this.#agent;
    if (facts === undefined) return undefined;
    const report = nodeReport(
      this.#identity(),
      this.#config,
      facts,
      undefined,
      this.#options.clock.now(),
    );
    return newNode(this.#identity(), facts.host, report.status);
  }

  #poke(podUid: string): void {
    this.#workers.get(podUid)?.poke();
  }

  #relisted(pods: ReadonlyMap<string, PodInRuntime>): void {
    this.#inRuntime = pods;
    this.#firstRelist?.();
    for (const worker of this.#workers.values()) worker.poke();
    if (this.#knowsAllPods) void this.#orphans.reap(pods, { directories: false });
  }

  #identity(): {
    readonly nodeName: string;
    readonly version: string;
    readonly hostname?: string;
    readonly nodeIps?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly taints?: readonly Taint[];
    readonly providerID?: string;
  } {
    return this.#options;
  }

  #newAgent(): NodeAgent {
    const { podCidrs } = this.#options;
    return new NodeAgent(this.#options, {
      identity: this.#identity(),
      config: this.#config,
      events: this.#node.events,
      rootDirectory: this.#places.root,
      kubeletPort: () => this.port,
      observed: (facts) => this.#eviction.observe(facts),
      pressures: () => this.#eviction.conditions,
      networkChanged: () => {
        for (const worker of this.#workers.values()) worker.poke();
      },
      ...(podCidrs === undefined ? {} : { podCidrs }),
    });
  }

  #newEviction(): Eviction {
    const { runtime, host, clock, log } = this.#options;
    const { events } = this.#node;
    return new Eviction({
      runtime,
      host,
      clock,
      log,
      config: this.#config,
      places: this.#places,
      events,
      images: new ImageGarbage(runtime, clock, events),
      mounted: (uid) => this.#node.volumes.mounted(uid),
      workers: () => [...this.#workers.values()],
    });
  }

  #newRotation(): LogRotation {
    const { runtime, host, clock, log } = this.#options;
    const world = {
      runtime,
      host,
      clock,
      log,
      bytesMax: this.#config.containerLogMaxBytes,
      filesMax: this.#config.containerLogMaxFiles,
      running: () => {
        const paths = new Map<string, string>();
        for (const worker of this.#workers.values()) {
          for (const record of worker.runtime?.containers ?? []) {
            if (record.state === "running") paths.set(record.id, record.logPath);
          }
        }
        return paths;
      },
    };
    return new LogRotation(world, this.#config.containerLogMonitorIntervalMs);
  }

  #newHandler(): HttpHandler | undefined {
    const { server, runtime, host, clock, crypto, log } = this.#options;
    if (server === undefined) return undefined;
    const localVolumes =
      this.#options.localVolumesDirectory ?? `${this.#places.root}/local-volumes`;
    return kubeletHandler({
      client: this.#options.client,
      nodeName: this.#options.nodeName,
      summaries: new SummaryProvider({
        runtime,
        host,
        clock,
        places: this.#places,
        nodeName: this.#options.nodeName,
        startedAtMs: this.#node.startedAtMs,
        mounted: (uid) => this.#node.volumes.mounted(uid),
        pods: () => [...this.#workers.values()],
      }),
      localVolumes: new LocalVolumes(localVolumes, host),
      runtime,
      host,
      clock,
      crypto,
      log,
      clientRoots: server.clientRoots,
      pods: () => [...this.#workers.values()].map((worker) => worker.pod),
      statusOf: (pod) => this.#node.statuses.get(pod.metadata.uid) ?? pod.status,
      runtimeStatus: (pod) => this.#node.reader.read(pod.metadata),
      whenEnded: (id, run) => this.#pleg.whenEnded(id, run),
    });
  }

  #eventSink(): EventSink {
    const { nodeName } = this.#options;
    const node = { apiVersion: "v1", kind: "Node", name: nodeName, uid: nodeName };
    const referenceOf = (pod: NodePod, fieldPath?: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      name: pod.metadata.name,
      namespace: pod.metadata.namespace,
      uid: pod.metadata.uid,
      ...(pod.metadata.resourceVersion === undefined
        ? {}
        : { resourceVersion: pod.metadata.resourceVersion }),
      ...(fieldPath === undefined ? {} : { fieldPath }),
    });
    return {
      pod: (pod, type, reason, message) =>
        this.#recorder.event(referenceOf(pod), type, reason, message),
      container: (pod, container, type, reason, message) => {
        const path = containerFieldPath(pod, container);
        this.#recorder.event(referenceOf(pod, path), type, reason, message);
      },
      node: (type, reason, message) => this.#recorder.event(node, type, reason, message),
    };
  }

  #assemble(): NodeServices {
    const { client, runtime, host, clock, crypto, random, network, log, version } = this.#options;
    const config = this.#config;
    const places = this.#places;
    const ports = { clock, random, log };
    const startedAtMs = clock.now();
    const events = this.#eventSink();
    const references = new ReferenceStore(client, ports, (uid) =>
      this.#workers.get(uid)?.referencesChanged(),
    );
    const tokens = new TokenStore(client, clock);
    const certificates = new PodCertificates({
      ...ports,
      client,
      crypto,
      events,
      nodeName: this.#options.nodeName,
      nodeUid: async () => (await client.get(Node, { name: this.#options.nodeName })).metadata.uid,
      changed: (uid) => this.#workers.get(uid)?.referencesChanged(),
    });
    const writer = new AtomicWriter(host, clock, random);
    const figures = () => {
      const status = this.#agent.node?.status ?? this.#ownNode()?.status;
      const reported = (status?.addresses ?? []).filter((one) => one.type === "InternalIP");
      return {
        hostIps: this.#options.nodeIps ?? reported.map((one) => one.address),
        allocatable: status?.allocatable ?? {},
      };
    };
    const volumes = new VolumeManager(places, { host, clock }, writer, () => ({
      host,
      writer,
      node: figures(),
      configMap: (namespace, name) => references.configMapPayload(namespace, name),
      secret: (namespace, name) => references.secretPayload(namespace, name),
      trustAnchors: (from) => references.trustAnchors(from),
      claim: (namespace, name) => orNone(client.get(PersistentVolumeClaim, { namespace, name })),
      persistentVolume: (name) => orNone(client.get(PersistentVolume, { name })),
      podCertificate: (...asked) => certificates.get(...asked),
      token: (pod, audience, seconds) => tokens.get(pod, audience, seconds),
    }));
    const prober = new Prober(
      { ...ports, runtime, network, events, startedAtMs, userAgent: userAgent("probe", version) },
      (uid) => this.#poke(uid),
    );
    const reader = new RuntimeReader(runtime, places.runtimeLabels, (uid, record) =>
      terminationMessage(host, places, uid, record),
    );
    const starts = new Semaphore(startsMax);
    return {
      ...ports,
      runtime,
      host,
      network,
      config,
      places,
      version,
      events,
      references,
      images: new ImageManager(runtime, clock, events, references, config.parallelImagePullsMax),
      volumes,
      tokens,
      certificates,
      statuses: new StatusManager(client, clock, log),
      prober,
      reader,
      startedAtMs,
      figures,
      resizeVerdict: (pod) => this.#verdictOn(pod),
      runtimeName: () => this.#agent.facts?.runtime.name ?? "containerd",
      memoryCapacityBytes: () => this.#agent.facts?.host.memoryBytes ?? 0,
      services: async () => {
        await this.#services?.synced;
        return this.#services?.list() ?? [];
      },
      dns: async () => ({
        clusterDns: config.clusterDNS,
        clusterDomain: config.clusterDomain,
        host: await this.#hostDns(),
      }),
      networkReady: () => this.#agent.networkReady,
      runtimeHandler: async (name) => (await client.get(RuntimeClass, { name })).handler,
      claim: (id, uid) => this.#pleg.claim(id, uid),
      starting: (what, work) => starts.run(work, what === "container"),
    };
  }

  async #hostDns(): Promise<DnsSettings> {
    const { resolvConf } = this.#config;
    const bytes = resolvConf === "" ? undefined : await this.#options.host.read(resolvConf);
    return parseResolvConf(bytes === undefined ? "" : new TextDecoder().decode(bytes));
  }
}
