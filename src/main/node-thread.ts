/**
 * The node's thread: kubelet, proxy and DNS with an event loop of their own, so that no burst in the control plane delays a probe. Opens
 * containerd when it is told to, runs when it is told that the API server answers, and reaches that by its socket as a node far away
 * would. Pods outlive it.
 */

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { type MessagePort, parentPort } from "node:worker_threads";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { lineLog } from "#adapters/nodejs/log.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import { type RemoteHandler, remoteHandler } from "#client/remote.ts";
import { type RenewableHandler, renewable } from "#client/renewable.ts";
import type { Identity } from "#cluster/certificates.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import { type RunningNode, startNode } from "#cluster/node.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import type { IngressInput } from "./ingress-messages.ts";
import { ingressWorker } from "./ingress-worker.ts";
import { threadOver } from "./kept-worker.ts";
import type { FromNode, NodeLink, NodeThreadInput, ToNode } from "./node-messages.ts";
import { clearNode, openRealNode, type RealNode, stopAllPods } from "./real-node.ts";
import { threadStream } from "./thread-log.ts";
import { kubernetesVersion } from "./version.ts";

const podStopSeconds = 30;
const kubeletPort = 10_250;
const requestMsMax = 60_000;

/** What was asked so far. A stop overtakes a begin that has not been acted on. */
class Orders {
  #input: NodeThreadInput | undefined;
  #link: NodeLink | undefined;
  #stop: { readonly withPods: boolean } | undefined;
  #changed: () => void = () => {};
  /** Whoever holds connections hears that they must be made anew. */
  renewed: () => void = () => {};

  take(order: Exclude<ToNode, { readonly type: "wrote" }>): void {
    if (order.type === "open") this.#input = order.input;
    else if (order.type === "begin" || order.type === "renew") {
      this.#link = order.link;
      if (order.type === "renew") this.renewed();
    } else this.#stop = order;
    this.#changed();
  }
  /** A stop may come first: there was nothing to open then. */
  opened(): Promise<NodeThreadInput | "stop"> {
    return this.#until(() => this.#input ?? (this.#stop === undefined ? undefined : "stop"));
  }
  begun(): Promise<NodeLink | "stop"> {
    return this.#until(() => (this.#stop === undefined ? this.#link : "stop"));
  }
  /** As it is now: certificates are renewed while we run. */
  get link(): NodeLink | undefined {
    return this.#link;
  }
  stopped(): Promise<{ readonly withPods: boolean }> {
    return this.#until(() => this.#stop);
  }
  async #until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

async function live(port: MessagePort): Promise<void> {
  const tell = (message: FromNode): void => port.postMessage(message);
  const { stream, wrote } = threadStream((text) => tell({ type: "log", text }));
  const orders = new Orders();
  port.on("message", (message: ToNode) => {
    if (message.type === "wrote") wrote();
    else orders.take(message);
  });
  const input = await orders.opened();
  if (input === "stop") return;
  const log = lineLog({ stream, clock: systemClock, level: input.logLevel, format: "text" });
  const network = systemNetwork(log);
  const machine = await openRealNode(input.paths, input.settings, network, log);
  const { engine } = machine;
  const facts = engine && { pid: engine.pid, version: engine.version };
  tell({ type: "opened", engine: facts });
  const order = await orders.begun();
  const node =
    order === "stop" ? undefined : await run(input, order, orders, machine, network, log, stream);
  if (node !== undefined) tell({ type: "started" });
  const { withPods } = await orders.stopped();
  await node?.stop();
  await leave(input, machine, withPods, node === undefined);
  await new Promise<void>((resolve) => {
    stream.end(resolve);
  });
}

/** `isUnused`: nothing ran here in this life, so that a containerd which was started for it is not left behind. */
async function leave(
  { paths }: NodeThreadInput,
  machine: RealNode,
  withPods: boolean,
  isUnused: boolean,
): Promise<void> {
  if (withPods) await stopAllPods(machine, podStopSeconds);
  machine.close();
  if (!withPods) {
    if (isUnused && machine.engine?.adopted === false) await machine.engine.stop();
    return;
  }
  await machine.engine?.stop();
  await clearNode(machine, paths, false);
  if (existsSync(paths.engineRun)) await rm(paths.engineRun, { recursive: true });
}

type Part = "kubelet" | "proxy" | "dns" | "ingress";

/** The ports that everybody expects; where another program has them, some near by, each cluster's own. */
const ingressInput = ({ clusterIndex, logLevel }: NodeThreadInput): IngressInput => ({
  host: "0.0.0.0",
  ports: [80, 8080 + clusterIndex],
  tlsPorts: [443, 8443 + clusterIndex],
  logLevel,
});

async function run(
  input: NodeThreadInput,
  link: NodeLink,
  orders: Orders,
  machine: RealNode,
  network: Network,
  log: Log,
  logStream: Writable,
): Promise<Pick<RunningNode, "stop">> {
  const { paths, settings, nodeName, address, isFirst } = input;
  const now = (): NodeLink => orders.link ?? link;
  const shown = (identity: Identity | undefined) => ({
    chain: identity?.certificate ?? "",
    key: identity?.privateKey ?? "",
  });
  const open = (part: Part): RemoteHandler =>
    remoteHandler(network, systemClock, link.apiServer, {
      version: 2,
      timeoutMs: requestMsMax,
      tls: { roots: link.authority, identity: () => shown(now()[part]) },
    });
  const connect = (part: Part): RenewableHandler =>
    renewable(() => open(part), systemClock, requestMsMax);
  const [kubelet, proxy, dns] = [connect("kubelet"), connect("proxy"), connect("dns")];
  // Only where the node has an identity for it: it reads the Secrets of every Ingress.
  const ingress = link.ingress === undefined ? undefined : connect("ingress");
  const connections = [kubelet, proxy, dns, ...(ingress === undefined ? [] : [ingress])];
  orders.renewed = () => {
    for (const one of connections) one.renew();
  };
  const node = await startNode({
    handler: kubelet.handler,
    proxyHandler: proxy.handler,
    dnsHandler: dns.handler,
    ingress:
      ingress === undefined
        ? undefined
        : {
            handler: ingress.handler,
            // Joined machines are not trusted with the Secrets of Ingresses.
            forCluster: true,
            proxy: ingressWorker(ingressInput(input), log.child("ingress"), logStream),
          },
    nodeName,
    version: kubernetesVersion,
    runtime: machine.runtime,
    host: machine.host,
    dataplane: machine.dataplane,
    clock: systemClock,
    random: systemRandom,
    network,
    crypto: systemCrypto,
    log: log.child("node"),
    address,
    nodeIps: [address],
    clusterDomain: settings.domain,
    podCidr: settings.podCidr,
    serviceCidr: settings.serviceCidr,
    setPodCidrs: machine.setPodCidrs,
    routes: true,
    rootDirectory: paths.kubelet,
    localVolumesDirectory: join(paths.data, "volumes"),
    logsDirectory: paths.podLogs,
    ...(isFirst ? { logLinksDirectory: "/var/log/containers" } : {}),
    cgroupRoot: paths.cgroupRoot === "/" ? "/kubepods" : `${paths.cgroupRoot}/kubepods`,
    runtimeLabels: machine.runtimeLabels,
    server: {
      host: "0.0.0.0",
      port: isFirst ? kubeletPort : 0,
      tls: {
        identity: () => shown(now().server),
        askClient: true,
      },
      clientRoots: link.authority,
    },
    config: {
      clusterDNS: [dnsAddress(settings.serviceCidr)],
      clusterDomain: settings.domain,
      ...settings.kubelet,
    },
  });
  return {
    async stop() {
      await node.stop();
      orders.renewed = () => {};
      for (const one of connections) one.close();
    },
  };
}

if (parentPort === null) throw new Error("this program runs as a thread of wherry only");
const port = parentPort;
await live(port);
port.postMessage(threadOver);
// Of this thread only. Connections may be open still; nothing of ours waits for them.
process.exit(0);
