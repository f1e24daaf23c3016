/**
 * The process of a joined machine: gets its certificates with the token (once), runs the node in its thread, renews its certificates
 * while it runs, serves the control socket, and stops in order. Pods outlive it unless it is told to stop them.
 */
import { writeSync } from "node:fs";
import type { Writable } from "node:stream";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { lineLog } from "#adapters/nodejs/log.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { type Client, createClient } from "#client/client.ts";
import { remoteHandler } from "#client/remote.ts";
import { untilDnsAnswers } from "#cluster/dns-check.ts";
import { dnsAddress } from "#cluster/dns-service.ts";
import { join, orderAsNode, type ServerAddress } from "#cluster/join.ts";
import type { JoinToken } from "#cluster/join-token.ts";
import { renewalMs } from "#cluster/node-certificates.ts";
import { findCondition } from "#machinery/conditions.ts";
import { formatTime } from "#machinery/time.ts";
import type { Log } from "#ports/log.ts";
import type { Listener } from "#ports/network.ts";
import type { Allotment, ClusterPaths } from "./allotment.ts";
import { type ClusterStatus, serveControl } from "./control.ts";
import { type JoinedMachine, keepIdentity, keepJoined, readJoined } from "./joined.ts";
import { openLogFile } from "./log-file.ts";
import type { EngineFacts, FromNode, NodeLink, ToNode } from "./node-messages.ts";
import type { NodeWorker } from "./node-worker.ts";
import { recordProcesses } from "./process-record.ts";
import { type ClusterSettings, keep } from "./settings.ts";
import { exitRefused, exitStopped, type Progress } from "./supervisor.ts";
import { kubernetesVersion, version } from "./version.ts";

export interface JoinWish {
  readonly server: ServerAddress;
  readonly token: JoinToken & { readonly caHash: string };
  readonly nodeName: string;
  /** The address under which others reach this node; undefined: that of the default route. */
  readonly address: string | undefined;
}

const certificateMsMax = 60_000;
const stopMsMax = 120_000;
const controlPipe = 3;
const renewRetryMs = 60_000;
/** Timers hold no more than 24 days. */
const sleepMsMax = 20 * 86_400_000;

function settingsFor(allotment: Allotment, machine: JoinedMachine): ClusterSettings {
  return {
    ...machine.facts,
    runtime: "containerd",
    name: allotment.name,
    port: machine.server.port,
    portGiven: true,
    nodes: 1,
    certificateNames: [],
    kubelet: {},
    timeoutMs: 0,
  };
}

const ports = (log: Log) => ({
  network: systemNetwork(log),
  crypto: systemCrypto,
  clock: systemClock,
});

export async function runJoined(
  allotment: Allotment,
  paths: ClusterPaths,
  wish: JoinWish | undefined,
  worker: NodeWorker,
): Promise<number> {
  const supervised = process.env["WHERRY_SUPERVISED"] === "1";
  const logStream = supervised ? openLogFile(paths.log) : process.stderr;
  const level = process.env["WHERRY_DEBUG"] === undefined ? "info" : "debug";
  const log = lineLog({ stream: logStream, clock: systemClock, level, format: "text" });
  const tell = (progress: Progress): void => {
    if (!supervised) log.write("info", "say" in progress ? progress.say : JSON.stringify(progress));
    else tellSupervisor(progress);
  };
  const node = new JoinedNode(allotment, paths, worker, log, logStream);
  try {
    await recordProcesses(paths, supervised);
    await node.start(wish, level, tell);
    tell({ ready: true });
    await node.end();
    return exitStopped;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    log.write("error", "the machine could not join", { error: (error as Error).stack ?? message });
    // Of a stop that was asked for meanwhile, whoever asked shall hear the end.
    await node.stop(false).catch(() => undefined);
    await node.end();
    tell({ failed: `This machine could not join: ${message}` });
    return exitRefused;
  }
}

/** The pipe is gone once `wherry join` has ended; nobody needs to know then. */
function tellSupervisor(progress: Progress): void {
  try {
    writeSync(controlPipe, `${JSON.stringify(progress)}\n`);
  } catch {
    return;
  }
}

class JoinedNode {
  readonly ended: Promise<void>;
  readonly #allotment: Allotment;
  readonly #paths: ClusterPaths;
  readonly #worker: NodeWorker;
  readonly #log: Log;
  readonly #logStream: Writable;
  readonly #startedAtMs = systemClock.now();
  #machine: JoinedMachine | undefined;
  #engine: EngineFacts | undefined;
  #isReady = false;
  #setReady: () => void = () => {};
  readonly #ready = new Promise<void>((resolve) => {
    this.#setReady = resolve;
  });
  #setStarted: () => void = () => {};
  readonly #started = new Promise<void>((resolve) => {
    this.#setStarted = resolve;
  });
  #finish: () => void = () => {};
  #control: Listener | undefined;
  #stopping: Promise<void> | undefined;
  #cancelRenewal: () => void = () => {};

  constructor(
    allotment: Allotment,
    paths: ClusterPaths,
    worker: NodeWorker,
    log: Log,
    logStream: Writable,
  ) {
    this.#allotment = allotment;
    this.#paths = paths;
    this.#worker = worker;
    this.#log = log;
    this.#logStream = logStream;
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  async start(
    wish: JoinWish | undefined,
    logLevel: "info" | "debug",
    tell: (progress: Progress) => void,
  ): Promise<void> {
    const { network } = ports(this.#log);
    this.#control = await serveControl(network, this.#paths.controlSocket, {
      status: () => this.#status(),
      ready: () => Promise.race([this.#ready, this.ended]),
      stop: () => this.stop(true),
    });
    for (const signal of ["SIGTERM", "SIGINT"] as const)
      process.once(signal, () => void this.stop(false).catch(() => undefined));
    tell({ say: "asking the cluster for certificates" });
    const machine = await this.#join(wish);
    this.#machine = machine;
    tell({ say: "starting the node" });
    this.#worker.attach({
      log: this.#log,
      begun: (send) => {
        send({
          type: "open",
          input: {
            nodeName: machine.nodeName,
            address: machine.address,
            paths: this.#paths,
            settings: settingsFor(this.#allotment, machine),
            isFirst: this.#allotment.index === 0,
            clusterIndex: this.#allotment.index,
            logLevel,
          },
        });
        send({ type: "begin", link: this.#link() });
      },
      receive: (message, send) => this.#receive(message, send),
    });
    await Promise.race([this.#started, this.#worker.failed]);
    this.#worker.keep();
    this.#renewLater();
    tell({ say: "waiting until the node is Ready" });
    await Promise.race([this.#untilReady(machine), this.ended]);
    this.#isReady = true;
    this.#setReady();
  }

  /** With the token; or, in a later life, from what was kept. */
  async #join(wish: JoinWish | undefined): Promise<JoinedMachine> {
    const kept = readJoined(this.#paths);
    if (kept !== undefined) return kept;
    if (wish === undefined) throw new Error("it has not joined yet; give --server and --token");
    const address = wish.address ?? (await (await linuxHost()).facts()).addresses[0];
    if (address === undefined)
      throw new Error("this machine has no address of its own; say one with --node-ip");
    const { server, token, nodeName } = wish;
    const joined = await join(
      {
        server,
        token,
        nodeName,
        addresses: [address],
        certificateMsMax,
        replaces: this.#allotment.nodeOf !== undefined,
      },
      ports(this.#log),
    );
    keepJoined(this.#paths, { server, nodeName, address, facts: joined.facts }, joined);
    const machine = readJoined(this.#paths);
    if (machine === undefined) throw new Error("what was joined could not be kept");
    keep(this.#paths.settings, settingsFor(this.#allotment, machine));
    return machine;
  }

  /** Proxy and DNS speak with the node's own certificate. */
  #link(): NodeLink {
    const machine = this.#machine;
    if (machine === undefined) throw new Error("not joined yet");
    const { authority, client, serving, server } = machine;
    return {
      apiServer: server,
      authority,
      kubelet: client,
      proxy: client,
      dns: client,
      server: serving,
    };
  }

  #receive(message: FromNode, send: (message: ToNode) => void): void {
    if (message.type === "opened") this.#engine = message.engine;
    else if (message.type === "started") this.#setStarted();
    else this.#logStream.write(message.text, () => send({ type: "wrote" }));
  }

  async #withClient<T>(machine: JoinedMachine, use: (client: Client) => Promise<T>): Promise<T> {
    const { network, clock } = ports(this.#log);
    const { certificate, privateKey } = machine.client;
    const remote = remoteHandler(network, clock, machine.server, {
      tls: { roots: machine.authority, identity: () => ({ chain: certificate, key: privateKey }) },
      version: 1,
      timeoutMs: 10_000,
    });
    try {
      return await use(createClient(remote.handler, { userAgent: "wherry-join" }));
    } finally {
      remote.close();
    }
  }

  async #untilReady(machine: JoinedMachine): Promise<void> {
    const { network, clock } = ports(this.#log);
    const { serviceCidr, domain } = machine.facts;
    await this.#withClient(machine, async (client) => {
      for (;;) {
        const events = await client.watch(Node, {
          fieldSelector: `metadata.name=${machine.nodeName}`,
        });
        try {
          for (let batch = await events.next(); batch !== undefined; batch = await events.next())
            if (batch.some(({ object }) => isReadySince(object, this.#startedAtMs))) return;
        } finally {
          events.stop();
        }
      }
    });
    await untilDnsAnswers({ network, clock, address: dnsAddress(serviceCidr), domain });
  }

  /** Each certificate at a moment of its own between 70 and 90 % of its life. */
  #renewLater(): void {
    const machine = this.#machine;
    if (machine === undefined || this.#stopping !== undefined) return;
    const share = systemRandom.uint32() / 2 ** 32;
    const due = Math.min(
      renewalMs(systemCrypto, machine.client.certificate, share),
      renewalMs(systemCrypto, machine.serving.certificate, share),
    );
    const waitMs = Math.min(sleepMsMax, Math.max(0, due - systemClock.now()));
    this.#cancelRenewal = systemClock.after(waitMs, () => {
      const now = systemClock.now() >= due;
      const done = now ? this.#renew(machine) : Promise.resolve();
      done.then(
        () => this.#renewLater(),
        (error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          this.#log.write("error", "the node's certificates could not be renewed; trying again", {
            why,
          });
          this.#cancelRenewal = systemClock.after(renewRetryMs, () => this.#renewLater());
        },
      );
    });
  }

  async #renew(machine: JoinedMachine): Promise<void> {
    const { server, nodeName, address, authority } = machine;
    const order = { server, nodeName, addresses: [address], certificateMsMax };
    const client = await orderAsNode("client", order, ports(this.#log), authority, machine.client);
    const serving = await orderAsNode("serving", order, ports(this.#log), authority, client);
    keepIdentity(this.#paths, "kubelet", client);
    keepIdentity(this.#paths, "kubelet-server", serving);
    this.#machine = { ...machine, client, serving };
    this.#worker.send({ type: "renew", link: this.#link() });
    this.#log.write("info", "the node's certificates were renewed");
  }

  async #status(): Promise<ClusterStatus> {
    const machine = this.#machine;
    const cpu = process.cpuUsage();
    const shown = machine === undefined ? undefined : await this.#shown(machine);
    const { server, nodeName } = machine ?? { server: { host: "", port: 0 }, nodeName: "" };
    const healthy = shown?.ready === true;
    return {
      name: this.#allotment.name,
      version,
      kubernetesVersion,
      server: `https://${server.host}:${server.port}`,
      runtime: "containerd",
      dataDirectory: this.#paths.data,
      pid: process.pid,
      startedAt: formatTime(this.#startedAtMs),
      ready: this.#isReady && healthy,
      components: [
        {
          name: "node",
          healthy,
          message: shown === undefined ? "the API server does not answer" : "not ready",
        },
      ],
      nodes: shown === undefined ? [] : [{ name: nodeName, ready: shown.ready, pods: shown.pods }],
      pods: { total: shown?.pods ?? 0, running: shown?.running ?? 0 },
      revision: 0,
      memoryBytes: process.memoryUsage.rss(),
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      eventLoopUtilization: performance.eventLoopUtilization().utilization,
      ...(this.#engine === undefined
        ? {}
        : {
            containerd: {
              pid: this.#engine.pid,
              version: this.#engine.version.text,
              memoryBytes: 0,
            },
          }),
    };
  }

  async #shown(
    machine: JoinedMachine,
  ): Promise<{ ready: boolean; pods: number; running: number } | undefined> {
    try {
      return await this.#withClient(machine, async (client) => {
        const { nodeName: name } = machine;
        const node = await client.get(Node, { name });
        const { items } = await client.list(Pod, { fieldSelector: `spec.nodeName=${name}` });
        const ready = findCondition(node.status.conditions ?? [], "Ready")?.status === "True";
        const running = items.filter(({ status }) => status.phase === "Running").length;
        return { ready, pods: items.length, running };
      });
    } catch {
      // The API server is away, or the node is not there yet: that is what the status says.
      return undefined;
    }
  }

  stop(withPods: boolean): Promise<void> {
    this.#stopping ??= this.#stop(withPods).finally(() => this.#finish());
    return this.#stopping;
  }
  async #stop(withPods: boolean): Promise<void> {
    this.#log.write("info", withPods ? "stopping, pods too" : "stopping; pods run on");
    this.#cancelRenewal();
    await this.#worker.finish({ type: "stop", withPods }, stopMsMax, withPods);
  }
  /** The answer to whoever asked for the stop is still on its way. */
  async end(): Promise<void> {
    await this.ended;
    await this.#control?.close(200);
  }
}

function isReadySince(node: Node, sinceMs: number): boolean {
  const ready = findCondition(node.status.conditions ?? [], "Ready");
  const beat = Date.parse(ready?.lastHeartbeatTime ?? "");
  return ready?.status === "True" && beat >= sinceMs - 1000;
}
