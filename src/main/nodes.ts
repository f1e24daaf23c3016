/** The nodes of a cluster on this machine: one real node, in a thread of its own, or any number of simulated ones. */
import { chmod } from "node:fs/promises";
import { hostname } from "node:os";
import type { Writable } from "node:stream";
import { systemClock } from "#adapters/nodejs/clock.ts";
import type { Identity, Leaf } from "#cluster/certificates.ts";
import type { ControlPlane } from "#cluster/control-plane.ts";
import { untilDnsAnswers } from "#cluster/dns-check.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import type { ServerTls } from "#ports/network.ts";
import { allReady } from "./all-ready.ts";
import type { DaemonWorld } from "./daemon.ts";
import type { EngineFacts, FromNode, NodeLink, NodeThreadInput, ToNode } from "./node-messages.ts";
import type { NodeWorker } from "./node-worker.ts";

export interface Nodes {
  /** Every node is Ready and DNS answers. */
  readonly ready: Promise<void>;
  /** Our containerd; undefined: there is none, or it is not ours. */
  readonly engine: EngineFacts | undefined;
  stop(withPods: boolean): Promise<void>;
}

/** Nodes on their way: what needs no API server is done already while it starts. */
export interface NodesToBe {
  /** Resolves when they run. */
  start(controlPlane: ControlPlane, tls: ServerTls): Promise<Nodes>;
  /** Also while they start, which then fails. */
  stop(withPods: boolean): Promise<void>;
}

/** `worker`: of a real node. */
export function prepareNodes(world: DaemonWorld, worker: NodeWorker | undefined): NodesToBe {
  if (worker !== undefined) return new RealNodes(world, worker);
  return {
    // Loaded when asked for: it brings a whole world in memory along.
    start: async (controlPlane) =>
      (await import("./simulated-nodes.ts")).startSimulatedNodes(world, controlPlane),
    stop: async () => {},
  };
}

/** Longer than pods are given to stop, and containerd after them. */
const stopMsMax = 120_000;

class RealNodes implements NodesToBe {
  readonly #world: DaemonWorld;
  readonly #nodeName = hostname().toLowerCase();
  readonly #worker: NodeWorker;
  /** Issued while containerd and the API server start; kept anew. */
  readonly #issued: Promise<() => NodeLink>;
  /** Once the API server answers: what each life of the thread is told at its beginning. */
  #link: NodeLink | undefined;
  #engine: EngineFacts | undefined;
  #setStarted: () => void = () => {};
  readonly #started: Promise<void>;

  constructor(world: DaemonWorld, worker: NodeWorker) {
    const { paths, settings, address, allotment, log, logStream, logLevel } = world;
    this.#world = world;
    this.#worker = worker;
    this.#started = new Promise((resolve) => {
      this.#setStarted = resolve;
    });
    const input: NodeThreadInput = {
      nodeName: this.#nodeName,
      address,
      paths,
      settings,
      isFirst: allotment.index === 0,
      clusterIndex: allotment.index,
      logLevel,
    };
    worker.attach({
      log,
      begun: (send) => {
        send({ type: "open", input });
        if (this.#link !== undefined) send({ type: "begin", link: this.#link });
      },
      receive: (message, send) => this.#receive(message, send, logStream),
    });
    this.#issued = this.#issue();
    // Heard of in start(), if it comes to that.
    this.#issued.catch(() => undefined);
  }

  async start(controlPlane: ControlPlane, tls: ServerTls): Promise<Nodes> {
    const { network, paths, settings, certificates } = this.#world;
    const startedAtMs = systemClock.now();
    await controlPlane.apiServer.serveHttp(network, { unix: paths.apiSocket }, tls);
    await chmod(paths.apiSocket, 0o600);
    const issued = await this.#issued;
    this.#link = issued();
    this.#worker.send({ type: "begin", link: this.#link });
    certificates.onRenewal(() => {
      this.#link = issued();
      this.#worker.send({ type: "renew", link: this.#link });
    });
    await Promise.race([this.#started, this.#worker.failed]);
    this.#worker.keep();
    const engine = (): EngineFacts | undefined => this.#engine;
    return {
      ready: Promise.all([
        allReady(controlPlane, [this.#nodeName], startedAtMs),
        untilDnsAnswers({
          network,
          clock: systemClock,
          address: dnsAddress(settings.serviceCidr),
          domain: settings.domain,
        }),
      ]).then(() => undefined),
      get engine() {
        return engine();
      },
      stop: (withPods) => this.stop(withPods),
    };
  }

  stop(withPods: boolean): Promise<void> {
    return this.#worker.finish({ type: "stop", withPods }, stopMsMax, withPods);
  }

  #receive(message: FromNode, send: (message: ToNode) => void, logStream: Writable): void {
    switch (message.type) {
      case "opened":
        this.#engine = message.engine;
        break;
      case "started":
        this.#setStarted();
        break;
      case "log":
        logStream.write(message.text, () => send({ type: "wrote" }));
        break;
    }
  }

  /** Each part of the node is who it would be on a machine of its own. */
  async #issue(): Promise<() => NodeLink> {
    const { certificates, address, paths } = this.#world;
    const nodeUser = { user: `system:node:${this.#nodeName}`, groups: ["system:nodes"] };
    const client = (name: string, who: Pick<Leaf, "user" | "groups">): Promise<() => Identity> =>
      certificates.kept(name, { ...who, names: [], uses: ["client auth"] });
    const [authority, kubelet, proxy, dns, ingress, server] = await Promise.all([
      certificates.authority(),
      client("kubelet", nodeUser),
      client("kube-proxy", { user: "system:kube-proxy", groups: [] }),
      client("kube-dns", { user: "system:kube-dns", groups: [] }),
      client("wherry-ingress", { user: "system:wherry-ingress", groups: [] }),
      certificates.kept("kubelet-server", {
        ...nodeUser,
        names: [this.#nodeName, address],
        uses: ["server auth"],
      }),
    ]);
    return () => ({
      apiServer: { unix: paths.apiSocket },
      authority,
      kubelet: kubelet(),
      proxy: proxy(),
      dns: dns(),
      ingress: ingress(),
      server: server(),
    });
  }
}
