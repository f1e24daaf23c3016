/**
 * The node's own object and Lease: registers the node, keeps its status true, and gives a sign of life every few seconds.
 * Writes the Node and its Lease in kube-node-lease; nobody's else.
 */
import { Lease } from "#api/coordination/v1/lease.ts";
import { Node } from "#api/core/v1/node.ts";
import type { Client } from "#client/client.ts";
import { createInformer, type Informer } from "#client/informer.ts";
import type { Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatMicroTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Runtime } from "#ports/runtime.ts";
import type { KubeletConfig, NodeIdentity } from "./config.ts";
import type { EventSink } from "./events.ts";
import {
  type NodeFacts,
  newNode,
  nodeLabels,
  nodeReport,
  nodeStatusChanged,
} from "./node-status.ts";

export interface NodeAgentPorts {
  readonly client: Client;
  readonly runtime: Runtime;
  readonly host: Host;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
export interface NodeAgentOptions {
  readonly identity: NodeIdentity;
  readonly config: KubeletConfig;
  readonly events: EventSink;
  readonly rootDirectory: string;
  /** The port that the kubelet's server got. */
  kubeletPort(): number;
  /** The node has its pod CIDRs, at first and whenever they change. */
  podCidrs?(cidrs: readonly string[]): void;
  /** The network of pods has become usable, or not. */
  networkChanged(): void;
  /** The node has looked at itself. */
  observed(facts: NodeFacts): void;
  /** What it suffers from, as its conditions say it. */
  pressures(): readonly string[];
}

const leaseNamespace = "kube-node-lease";
const retryMsMin = 200;
const retryMsMax = 7000;
/** While the runtime or its network is not ready, a look this often. */
const notReadyMs = 200;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class NodeAgent {
  readonly #ports: NodeAgentPorts;
  readonly #options: NodeAgentOptions;
  #informer: Informer<Node> | undefined;
  #node: Stored<Node> | undefined;
  #facts: NodeFacts | undefined;
  #reportedAtMs = Number.NEGATIVE_INFINITY;
  /** What was computed last: a server that drops the status of a new Node has none to compare with. */
  #reported: Node["status"] | undefined;
  #lease: Stored<Lease> | undefined;
  #cidrs = "";
  #networkReady = false;
  #stopped = false;
  readonly #timers = new Map<string, () => void>();

  constructor(ports: NodeAgentPorts, options: NodeAgentOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** The Node as last seen; undefined before it is registered. */
  get node(): Stored<Node> | undefined {
    return this.#node;
  }
  get facts(): NodeFacts | undefined {
    return this.#facts;
  }
  get networkReady(): boolean {
    return this.#networkReady;
  }

  /** Resolves when the figures of the machine are known; registering goes on behind. */
  async start(): Promise<void> {
    this.#facts = await this.#gather();
    void this.#register();
  }
  stop(): void {
    this.#stopped = true;
    this.#informer?.stop();
    for (const cancel of this.#timers.values()) cancel();
  }

  #later(what: string, ms: number, run: () => void): void {
    this.#timers.get(what)?.();
    if (!this.#stopped) this.#timers.set(what, this.#ports.clock.after(ms, run));
  }

  async #gather(): Promise<NodeFacts> {
    const { host, runtime } = this.#ports;
    const [facts, disk, usage, state] = await Promise.all([
      host.facts(),
      host.filesystem(this.#options.rootDirectory),
      host.usage(),
      this.#runtimeState(),
    ]);
    this.#setNetwork(state.networkReady);
    const images = state.problems.length === 0 ? await runtime.listImages() : [];
    const found: NodeFacts = {
      host: facts,
      disk,
      // As the stats summary tells it, and upstream's eviction signal is defined.
      memoryAvailableBytes: Math.max(0, facts.memoryBytes - usage.memoryWorkingSetBytes),
      runtime: { name: state.name, version: state.version, problems: state.problems },
      images,
      kubeletPort: this.#options.kubeletPort(),
      pressures: () => this.#options.pressures(),
    };
    if (state.problems.length === 0) this.#options.observed(found);
    return found;
  }

  async #runtimeState(): Promise<{
    readonly name: string;
    readonly version: string;
    readonly networkReady: boolean;
    readonly problems: readonly string[];
  }> {
    try {
      const [version, status] = await Promise.all([
        this.#ports.runtime.version(),
        this.#ports.runtime.status(),
      ]);
      const problems: string[] = [];
      if (!status.runtimeReady) {
        problems.push(
          `container runtime status check may not have completed yet: ${status.message}`,
        );
      }
      if (!status.networkReady) {
        const why = `NetworkReady=false reason:NetworkPluginNotReady message:${status.message}`;
        problems.push(`container runtime network not ready: ${why}`);
      }
      const networkReady = status.networkReady && status.runtimeReady;
      return { name: version.name, version: version.version, networkReady, problems };
    } catch (error) {
      const problems = [`container runtime is down: ${textOf(error)}`];
      const { name = "containerd", version = "Unknown" } = this.#facts?.runtime ?? {};
      return { name, version, networkReady: false, problems };
    }
  }

  #setNetwork(ready: boolean): void {
    if (this.#networkReady === ready) return;
    this.#networkReady = ready;
    this.#options.networkChanged();
  }

  /** Until it has worked: creates the Node, or takes over the one that is there. */
  async #register(): Promise<void> {
    let waitMs = retryMsMin;
    while (!this.#stopped) {
      try {
        await this.#registerOnce();
        break;
      } catch (error) {
        this.#ports.log.write("warn", "could not register the node and will try again", {
          node: this.#options.identity.nodeName,
          error: textOf(error),
        });
      }
      const pause = waitMs;
      await new Promise<void>((resolve) => {
        this.#later("register", pause, resolve);
      });
      waitMs = Math.min(waitMs * 2, retryMsMax);
    }
    if (this.#stopped) return;
    const { events, identity } = this.#options;
    events.node("Normal", "Starting", "Starting kubelet.");
    this.#follow(identity.nodeName);
    void this.#renewLoop();
    void this.#statusLoop();
  }

  async #registerOnce(): Promise<void> {
    const { client, clock } = this.#ports;
    const { identity, config } = this.#options;
    const facts = this.#facts ?? (await this.#gather());
    const { status, events } = nodeReport(identity, config, facts, undefined, clock.now());
    try {
      this.#node = await client.create(Node, newNode(identity, facts.host, status));
      this.#reportedAtMs = clock.monotonicMs();
      this.#reported = status;
      this.#tell(events);
    } catch (error) {
      if (!isStatus(error, "AlreadyExists")) throw error;
      this.#node = await this.#adopt(facts);
    }
  }

  async #adopt(facts: NodeFacts): Promise<Stored<Node>> {
    const { client } = this.#ports;
    const { identity } = this.#options;
    const found = await client.get(Node, { name: identity.nodeName });
    const { bootID } = found.status.nodeInfo;
    if (bootID !== "" && bootID !== facts.host.bootId) {
      const message = `Node ${identity.nodeName} has been rebooted, boot id: ${facts.host.bootId}`;
      this.#options.events.node("Warning", "Rebooted", message);
    }
    const labels = nodeLabels(identity, facts.host);
    const missing = Object.entries(labels).filter(
      ([key, value]) => found.metadata.labels?.[key] !== value,
    );
    if (missing.length === 0) return found;
    const body = { metadata: { labels: Object.fromEntries(missing) } };
    return await client.patch(Node, { name: identity.nodeName }, "strategic", body);
  }

  #follow(name: string): void {
    const { client, clock, random, log } = this.#ports;
    this.#informer = createInformer(
      Node,
      client,
      { clock, random, log },
      { fieldSelector: `metadata.name=${name}` },
    );
    const seen = (node: Stored<Node>): void => {
      this.#node = node;
      this.#tellCidrs(node);
    };
    this.#informer.addHandlers({
      added: seen,
      updated: seen,
      // Upstream: a Node that somebody deletes stays away until this kubelet starts again.
      deleted: () => {
        this.#node = undefined;
      },
    });
  }

  /** Looks at once, because something changed that no event tells of. */
  refresh(): void {
    if (this.#node !== undefined) this.#later("status", 0, () => void this.#statusLoop());
  }

  #tellCidrs(node: Node): void {
    const cidrs = node.spec.podCIDRs ?? (node.spec.podCIDR ? [node.spec.podCIDR] : []);
    if (cidrs.length === 0 || cidrs.join() === this.#cidrs) return;
    this.#cidrs = cidrs.join();
    this.#options.podCidrs?.(cidrs);
  }

  async #statusLoop(): Promise<void> {
    let ready = false;
    try {
      ready = await this.#reportStatus();
    } catch (error) {
      this.#ports.log.write("warn", "could not write the node's status and will try again", {
        error: textOf(error),
      });
    }
    const period = this.#options.config.nodeStatusUpdateFrequencyMs;
    const waitMs = ready ? period : Math.min(period, notReadyMs);
    this.#later("status", waitMs, () => void this.#statusLoop());
  }

  /** Whether the node is ready. */
  async #reportStatus(): Promise<boolean> {
    const { client, clock } = this.#ports;
    const { identity, config } = this.#options;
    const facts = await this.#gather();
    this.#facts = facts;
    const node = this.#node;
    const ready = facts.runtime.problems.length === 0;
    if (node === undefined) return ready;
    const known = (node.status.conditions ?? []).length > 0 ? node.status : this.#reported;
    const { status, events } = nodeReport(identity, config, facts, known, clock.now());
    const due = clock.monotonicMs() - this.#reportedAtMs >= config.nodeStatusReportFrequencyMs;
    if (!due && !nodeStatusChanged(node.status, status)) return ready;
    const patch = statusPatch(node, status);
    this.#node = await client.patch(
      Node,
      { name: identity.nodeName },
      "strategic",
      { status: patch },
      { subresource: "status" },
    );
    this.#reportedAtMs = clock.monotonicMs();
    this.#reported = status;
    this.#tell(events);
    return ready;
  }

  #tell(events: readonly { type: "Normal" | "Warning"; reason: string; message: string }[]): void {
    for (const { type, reason, message } of events)
      this.#options.events.node(type, reason, message);
  }

  async #renewLoop(): Promise<void> {
    const { nodeLeaseDurationSeconds } = this.#options.config;
    const periodMs = (nodeLeaseDurationSeconds * 1000) / 4;
    let waitMs = periodMs;
    try {
      if (this.#node !== undefined) await this.#renew();
    } catch (error) {
      this.#lease = undefined;
      waitMs = Math.min(periodMs, 1000);
      this.#ports.log.write("warn", "could not renew the node's lease and will try again", {
        error: textOf(error),
      });
    }
    this.#later("lease", waitMs, () => void this.#renewLoop());
  }

  async #renew(): Promise<void> {
    const { client, clock } = this.#ports;
    const { identity, config } = this.#options;
    const name = identity.nodeName;
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: config.nodeLeaseDurationSeconds,
      renewTime: formatMicroTime(clock.now()),
    };
    const node = this.#node;
    const ownerReferences =
      node === undefined
        ? {}
        : {
            ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid: node.metadata.uid }],
          };
    const known = this.#lease ?? (await this.#findLease(name));
    if (known === undefined) {
      const metadata = { name, namespace: leaseNamespace, ...ownerReferences };
      this.#lease = await client.create(Lease, { metadata, spec });
      return;
    }
    this.#lease = await client.update(Lease, {
      ...known,
      metadata: { ...known.metadata, ...ownerReferences },
      spec: { ...known.spec, ...spec },
    });
  }

  async #findLease(name: string): Promise<Stored<Lease> | undefined> {
    try {
      return await this.#ports.client.get(Lease, { name, namespace: leaseNamespace });
    } catch (error) {
      if (isStatus(error, "NotFound")) return undefined;
      throw error;
    }
  }
}

/** Addresses are merged by their type upstream, and two may share one: they are replaced as a whole. */
function statusPatch(before: Node, now: Node["status"]): object {
  const { addresses, ...rest } = now;
  if (equalObjects(before.status.addresses ?? [], addresses ?? [])) return rest;
  return { ...rest, addresses: [...(addresses ?? []), { $patch: "replace" }] };
}
