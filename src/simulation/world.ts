/**
 * The simulated world: a whole cluster in one process: store, API server, controllers, scheduler, and nodes with everything on them,
 * on one clock turned by hand, from one seed. Same seed, same calls: same run. What fails on real machines can be made to fail here.
 */
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { MemoryHost } from "#adapters/memory/host.ts";
import { type MemoryLog, memoryLog } from "#adapters/memory/log.ts";
import { MemoryNetwork } from "#adapters/memory/network.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import type { ProgramRule } from "#adapters/memory/runtime.ts";
import { MemoryDisk } from "#adapters/memory/storage.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { builtInResources } from "#api/index.ts";
import { type Client, createClient, pathOf, type Ref } from "#client/client.ts";
import { untilDnsAnswers } from "#cluster/dns-check.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import type { ControllerSettings } from "#control-plane/controllers/controller.ts";
import { findCondition } from "#machinery/conditions.ts";
import { formatIp, nthAddress, parseCidr } from "#machinery/ip.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import type { KubeletConfig } from "#node/kubelet/config.ts";
import type { Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import { admin, SimulatedControlPlane, type Transport } from "./control-plane.ts";
import type { ApiConnection } from "./direct-link.ts";
import { type Answer, get, SteadyLoad, textOf } from "./http.ts";
import { SimulatedNode, type SimulatedNodeOptions } from "./node.ts";
import { Trace } from "./trace.ts";

export interface WorldOptions {
  readonly seed: number | string;
  /** How many. */
  readonly nodes: number;
  readonly transport: Transport;
  /** What containers run; see the simulated runtime. */
  readonly programs?: readonly ProgramRule[];
  /** The moment at which it begins, in milliseconds since the epoch. */
  readonly startMs?: number;
  readonly controllers?: Partial<ControllerSettings>;
  readonly kubelet?: Partial<KubeletConfig>;
  /** How long certificates hold; a year if it is not said. */
  readonly certificateMs?: number;
  /** Beyond the usual, by the node's number, from 1. */
  readonly node?: (number: number) => Partial<NodeShape>;
}
export type NodeShape = Pick<
  SimulatedNodeOptions,
  "labels" | "taints" | "cpus" | "memoryBytes" | "diskBytes" | "pullMs"
>;

const version = "v1.37.2";
const usualStartMs = 1_893_456_000_000;
const podCidr = "10.244.0.0/16";
const serviceCidr = "10.96.0.0/16";
const domain = "cluster.local";
/** For benchmarks among networks (RFC 2544): no real machine has these. */
const machines = "198.18.0.0/15";
const firstNodeIndex = 256;
export const outside = "outside";
const requestMsMax = 10_000;
const workMsMax = 600_000;
const stepMs = 100;

function machineAddress(index: number): string {
  const parsed = parseCidr(machines);
  const address = parsed === undefined ? undefined : nthAddress(parsed.cidr, index);
  if (address === undefined) throw new Error(`${machines} has no address number ${index}`);
  return formatIp(address);
}

/** Resolves when every node is Ready and finds DNS answering. */
export async function createWorld(options: WorldOptions): Promise<World> {
  const world = new World(options);
  await world.start();
  return world;
}

export class World {
  readonly clock: SteppedClock;
  readonly random: Random;
  readonly log: MemoryLog = memoryLog();
  readonly network: MemoryNetwork;
  readonly controlPlane: SimulatedControlPlane;
  readonly nodes = new Map<string, SimulatedNode>();
  /** Every write of the whole run. */
  readonly trace: Trace;
  /** Speaks as the administrator, from outside. */
  readonly client: Client;
  readonly #options: WorldOptions;
  readonly #admin: ApiConnection;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.clock = new SteppedClock({ startMs: options.startMs ?? usualStartMs });
    this.random = seededRandom(options.seed);
    this.trace = new Trace(this.clock);
    const { clock, random, log } = this;
    const crypto = memoryCrypto(random.fork("crypto"));
    this.network = new MemoryNetwork({ clock, log: log.child("network"), crypto });
    const address = machineAddress(1);
    this.controlPlane = new SimulatedControlPlane({
      transport: options.transport,
      address,
      network: this.network,
      clock,
      random: random.fork("control plane"),
      crypto,
      log,
      host: new MemoryHost({
        clock,
        random: random.fork("control plane's host"),
        hostname: "control-plane",
        addresses: [address],
        cpus: 4,
        memoryBytes: 2 ** 34,
        diskBytes: 2 ** 36,
      }),
      disk: new MemoryDisk(),
      podCidr,
      serviceCidr,
      domain,
      ...(options.controllers === undefined ? {} : { controllers: options.controllers }),
      ...(options.certificateMs === undefined ? {} : { certificateMs: options.certificateMs }),
    });
    this.#admin = this.controlPlane.connectAs(admin, this.#outsideAddress());
    this.client = createClient(this.#admin.handler, { userAgent: "kubectl" });
  }

  async start(): Promise<void> {
    await this.startControlPlane();
    for (let number = 1; number <= this.#options.nodes; number++) await this.addNode(number);
    await this.until(async () => {
      const { items } = await this.client.list(Node);
      return items.filter(isReady).length === this.nodes.size;
    }, 60_000);
    for (const { address } of this.nodes.values()) {
      const network = this.network.host(address);
      const dns = { network, clock: this.clock, address: dnsAddress(serviceCidr), domain };
      await this.run(untilDnsAnswers(dns));
    }
  }

  /** Everything stops: nodes first. */
  async stop(): Promise<void> {
    for (const node of this.nodes.values()) await this.run(node.stop());
    await this.stopControlPlane();
    this.controlPlane.certificates.stop();
    this.#admin.close();
    this.trace.stop();
  }

  async startControlPlane(): Promise<void> {
    await this.run(this.controlPlane.start());
    this.trace.follow(this.controlPlane.store);
  }
  stopControlPlane(): Promise<void> {
    return this.run(this.controlPlane.stop());
  }

  /** A new machine joins: node-NUMBER. */
  async addNode(number: number): Promise<SimulatedNode> {
    const name = `node-${number}`;
    const address = machineAddress(firstNodeIndex + number);
    const { controlPlane, network, clock, random, log } = this;
    const { certificates } = controlPlane;
    const serving = await certificates.kept(`kubelet-${name}`, {
      user: `system:node:${name}`,
      groups: ["system:nodes"],
      names: [name, address],
      uses: ["server auth"],
    });
    const { programs, kubelet, node: shape } = this.#options;
    const node = new SimulatedNode({
      name,
      address,
      version,
      network,
      clock,
      random: random.fork("nodes"),
      crypto: memoryCrypto(random.fork(`crypto of ${name}`)),
      log,
      podCidr,
      serviceCidr,
      domain,
      connect: (component) => controlPlane.connect(component, address),
      serving: () => ({ chain: serving().certificate, key: serving().privateKey }),
      clientRoots: await certificates.authority(),
      ...(programs === undefined ? {} : { programs }),
      ...(kubelet === undefined ? {} : { kubelet }),
      ...shape?.(number),
    });
    this.nodes.set(name, node);
    await this.run(node.start());
    return node;
  }

  node(name: string): SimulatedNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`there is no node ${name} in this world`);
    return node;
  }

  // Time.

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  /** Lets time pass until the work is done, and gives its result. */
  async run<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const finished = work.finally(() => {
      state.done = true;
    });
    // Whoever awaits `finished` below hears of it; while time passes nobody does yet.
    finished.catch(() => {});
    const endMs = this.clock.monotonicMs() + workMsMax;
    await this.clock.settle();
    while (!state.done) {
      const nextMs = this.clock.nextMs();
      if (nextMs === undefined || this.clock.monotonicMs() + nextMs > endMs) {
        throw new Error(
          `the work is not done after ${workMsMax} ms: it waits for what never comes`,
        );
      }
      await this.clock.advance(Math.max(0, nextMs));
    }
    return finished;
  }

  /** Lets time pass until it holds; throws when it does not within `ms`. */
  async until(condition: () => boolean | Promise<boolean>, ms: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    while (!(await this.run(Promise.resolve(condition())))) {
      if (this.clock.monotonicMs() >= endMs) {
        throw new Error(`still not so after ${ms} ms: ${condition.toString()}`);
      }
      await this.clock.advance(stepMs);
    }
  }

  // What a user does.

  /** Server-side apply of every document; the namespace is "default" where none is said. */
  async apply(yaml: string): Promise<readonly Stored<ApiObject>[]> {
    const applied: Stored<ApiObject>[] = [];
    for (const { value } of readYamlDocuments(yaml)) {
      if (value === null || value === undefined) continue;
      const object = value as Partial<ApiObject>;
      const kind = builtInResources.find(
        (one) =>
          one.kind === object.kind &&
          (one.group === "" ? one.version : `${one.group}/${one.version}`) === object.apiVersion,
      );
      const name = object.metadata?.name;
      if (kind === undefined || name === undefined) {
        throw new Error(`there is no kind ${object.apiVersion} ${object.kind}, or it has no name`);
      }
      const ref = { name, namespace: object.metadata?.namespace ?? "default" };
      applied.push(await this.run(this.client.patch(kind, ref, "apply", object, { force: true })));
    }
    return applied;
  }

  async pods(labels: string, namespace = "default"): Promise<readonly Stored<Pod>[]> {
    const { items } = await this.run(this.client.list(Pod, { namespace, labelSelector: labels }));
    return items;
  }

  /** What the pod's container has printed. */
  async logs(pod: Ref): Promise<string> {
    const path = pathOf(Pod, { ...pod, subresource: "log" });
    const request = { method: "GET", path, query: [], headers: {}, direct: true } as const;
    const gone = new AbortController().signal;
    const { status, content } = await this.run(this.client.handler({ ...request, gone }));
    if (content.type === "stream" && status === 200) return this.run(textOf(content.bytes));
    const why = content.type === "object" ? JSON.stringify(content.object) : content.type;
    throw new Error(`no logs of ${pod.namespace}/${pod.name}: status ${status}: ${why}`);
  }

  /** A GET from a pod ("NAMESPACE/NAME"), a node (its name) or from outside the cluster. */
  async get(url: string, from: string = outside): Promise<Answer> {
    const place = await this.run(this.placeOf(from));
    return this.run(get(place, this.clock, url, requestMsMax));
  }

  /** A GET every `everyMs`, from now on while time passes. */
  async load(url: string, from: string, everyMs: number): Promise<SteadyLoad> {
    const place = await this.run(this.placeOf(from));
    return new SteadyLoad(this.clock, everyMs, () => get(place, this.clock, url, requestMsMax));
  }

  /** The network as it looks from there. */
  async placeOf(from: string): Promise<Network> {
    if (from === outside) return this.network.host(this.#outsideAddress());
    const [namespace = "", name] = from.split("/");
    if (name === undefined) return this.network.host(this.node(from).address);
    const pod = await this.client.get(Pod, { namespace, name });
    const node = this.node(pod.spec.nodeName ?? "");
    const place = node.placeOfPod(pod.status.podIP ?? "");
    if (place === undefined) throw new Error(`the pod ${from} has no address that is in use`);
    return place;
  }

  // What goes wrong.

  /** The container's program ends with this code. */
  async crash(ref: Ref, code: number): Promise<void> {
    const pod = await this.run(this.client.get(Pod, ref));
    const { runtime } = this.node(pod.spec.nodeName ?? "");
    const containers = await runtime.listContainers({
      "io.kubernetes.pod.uid": pod.metadata.uid,
    });
    for (const { id, state } of containers) if (state === "running") runtime.crash(id, code);
  }

  /** Nothing gets through between two nodes, or between a node and the control plane ("control-plane"). */
  cut(a: string, b: string): void {
    this.network.cut(this.#addressOf(a), this.#addressOf(b));
  }
  heal(a: string, b: string): void {
    this.network.heal(this.#addressOf(a), this.#addressOf(b));
  }

  #addressOf(name: string): string {
    return name === "control-plane" ? this.controlPlane.address : this.node(name).address;
  }
  #outsideAddress(): string {
    const address = machineAddress(2);
    this.network.host(address);
    return address;
  }
}

interface WithConditions {
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null;
  };
}
/** A Node or a Pod. */
export const isReady = ({ status }: WithConditions): boolean =>
  findCondition(status.conditions ?? [], "Ready")?.status === "True";
