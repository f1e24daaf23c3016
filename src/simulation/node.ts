/**
 * A simulated node: a machine in memory (host, runtime, dataplane, a place on the memory network) and the node's programs on it, which
 * are the real ones. The machine outlives its programs: they stop and start, and its power fails and comes back.
 */
import { MemoryDataplane } from "#adapters/memory/dataplane.ts";
import { MemoryHost } from "#adapters/memory/host.ts";
import { MemoryHttpProxy } from "#adapters/memory/http-proxy.ts";
import type { MemoryNetwork } from "#adapters/memory/network.ts";
import { type ProgramRule, SimulatedRuntime } from "#adapters/memory/runtime.ts";
import type { Taint } from "#api/generated/core/v1.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import { type RunningNode, startNode } from "#cluster/node.ts";
import type { KubeletConfig } from "#node/kubelet/config.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { ApiConnection } from "./direct-link.ts";
import { podNetwork } from "./pod-network.ts";

export interface SimulatedNodeOptions {
  readonly name: string;
  readonly address: string;
  /** "v1.37.2" */
  readonly version: string;
  readonly network: MemoryNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly podCidr: string;
  readonly serviceCidr: string;
  readonly domain: string;
  /** A new connection that speaks as that component ("system:node:…", "system:kube-proxy", …). */
  readonly connect: (component: string) => ApiConnection;
  /** For the kubelet's server; its names are the node's name and address. */
  readonly serving: () => { readonly chain: string; readonly key: string };
  /** PEM: who signs the certificates of those who may ask the kubelet. */
  readonly clientRoots: string;
  readonly programs?: readonly ProgramRule[];
  readonly kubelet?: Partial<KubeletConfig>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly Taint[];
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly diskBytes?: number;
  /** How long an image takes to come, on average. */
  readonly pullMs?: number;
}

const gibibyte = 2 ** 30;
const kubeletPort = 10_250;
const defaults = {
  cpus: 8,
  memoryBytes: 32 * gibibyte,
  diskBytes: 200 * gibibyte,
  pullMs: 500,
} as const;

/** Makes the machine and starts its programs; resolves when they serve. The node becomes Ready a little later. */
export async function startSimulatedNode(options: SimulatedNodeOptions): Promise<SimulatedNode> {
  const node = new SimulatedNode(options);
  await node.start();
  return node;
}

/** The machine's place on the network, whichever it is now: it gets a new one with each boot. */
function placeAt(network: MemoryNetwork, address: string): Network {
  const now = (): Network => network.host(address);
  return {
    connect: (...all) => now().connect(...all),
    listen: (...all) => now().listen(...all),
    serve: (...all) => now().serve(...all),
    http: (...all) => now().http(...all),
    udp: (...all) => now().udp(...all),
    resolve: (...all) => now().resolve(...all),
  };
}

interface Life {
  readonly agent: RunningNode;
  readonly connections: readonly ApiConnection[];
}

export class SimulatedNode {
  readonly name: string;
  readonly address: string;
  readonly host: MemoryHost;
  readonly runtime: SimulatedRuntime;
  readonly dataplane: MemoryDataplane;
  readonly proxy: MemoryHttpProxy;
  readonly #options: SimulatedNodeOptions;
  #life: Life | undefined;
  #lives = 0;
  readonly #places = new Map<string, Network>();

  constructor(options: SimulatedNodeOptions) {
    this.#options = options;
    const { name, address, network, clock } = options;
    this.name = name;
    this.address = address;
    const random = options.random.fork(name);
    this.host = new MemoryHost({
      clock,
      random: random.fork("host"),
      hostname: name,
      addresses: [address],
      cpus: options.cpus ?? defaults.cpus,
      memoryBytes: options.memoryBytes ?? defaults.memoryBytes,
      diskBytes: options.diskBytes ?? defaults.diskBytes,
    });
    this.runtime = new SimulatedRuntime({
      clock,
      random: random.fork("runtime"),
      network: placeAt(network, address),
      host: this.host,
      hostAddress: address,
      programs: options.programs ?? [],
      pullMs: options.pullMs ?? defaults.pullMs,
      pods: {
        join: (pod, { dns }) => {
          const own = network.pod(pod, address);
          const place = dns === undefined ? own : podNetwork(own, dns, clock);
          this.#places.set(pod, place);
          return place;
        },
        leave: (pod) => {
          this.#places.delete(pod);
          network.remove(pod);
        },
      },
    });
    this.proxy = new MemoryHttpProxy({
      network: () => network.host(address),
      ports: [80, 8080],
      tlsPorts: [443, 8443],
    });
    this.dataplane = new MemoryDataplane({
      clock,
      random: random.fork("dataplane"),
      addresses: [address],
    });
  }

  get isRunning(): boolean {
    return this.#life !== undefined;
  }

  /** The network as the pod with that address sees it; undefined: there is none here. */
  placeOfPod(address: string): Network | undefined {
    return address === this.address
      ? this.#options.network.host(address)
      : this.#places.get(address);
  }

  /** The node's programs start, as after a boot or an upgrade; pods that run are found again. */
  async start(): Promise<void> {
    if (this.#life !== undefined) return;
    const { name, address, network, random, log, clientRoots, serving } = this.#options;
    const connections: ApiConnection[] = [];
    const handlerOf = (component: string) => {
      const connection = this.#options.connect(component);
      connections.push(connection);
      return connection.handler;
    };
    const place = network.host(address);
    network.translate(address, (...packet) => this.dataplane.translate(...packet));
    network.gates(address, (...packet) => this.dataplane.permits(...packet));
    const agent = await startNode({
      handler: handlerOf(`system:node:${name}`),
      proxyHandler: handlerOf("system:kube-proxy"),
      dnsHandler: handlerOf("system:kube-dns"),
      ingress: {
        handler: handlerOf("system:wherry-ingress"),
        proxy: this.proxy,
        forCluster: false,
      },
      nodeName: name,
      version: this.#options.version,
      runtime: this.runtime,
      host: this.host,
      dataplane: this.dataplane,
      clock: this.#options.clock,
      random: random.fork(`${name} life ${++this.#lives}`),
      network: place,
      crypto: this.#options.crypto,
      log: log.child(name),
      address,
      nodeIps: [address],
      clusterDomain: this.#options.domain,
      podCidr: this.#options.podCidr,
      serviceCidr: this.#options.serviceCidr,
      setPodCidrs: (cidrs) => this.runtime.writeNetwork(cidrs),
      server: {
        host: address,
        port: kubeletPort,
        tls: { identity: serving, askClient: true },
        clientRoots,
      },
      config: {
        clusterDNS: [dnsAddress(this.#options.serviceCidr)],
        clusterDomain: this.#options.domain,
        ...this.#options.kubelet,
      },
      ...(this.#options.labels === undefined ? {} : { labels: this.#options.labels }),
      ...(this.#options.taints === undefined ? {} : { taints: this.#options.taints }),
    });
    this.#life = { agent, connections };
  }

  /** The node's programs stop; its pods run on. */
  async stop(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    await life.agent.stop();
    for (const connection of life.connections) connection.close();
  }

  /** Everything on the machine is gone at once, and nobody is told. Its disk keeps what was written. */
  async powerCut(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    for (const connection of life?.connections ?? []) connection.close();
    this.#options.network.remove(this.address);
    await life?.agent.stop();
    await this.dataplane.remove();
    this.proxy.forget();
    this.runtime.powerCut();
  }

  /** The power is back: the machine boots and its programs start. */
  powerOn(): Promise<void> {
    return this.start();
  }
}
