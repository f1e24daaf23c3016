/**
 * The Runtime port, simulated: pods and containers that exist only here, on the clock, the random and
 * the network port, with their logs in a memory host's files. Programs say how containers behave;
 * faults can be put in. Same seed, same run.
 */

import { imageDomain } from "#machinery/image-reference.ts";
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type {
  ContainerConfig,
  Resources,
  Runtime,
  RuntimeEvent,
  SandboxConfig,
  Session,
  StreamOptions,
} from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";
import type { MemoryHost } from "./host.ts";
import { SimulatedContainer } from "./runtime-container.ts";
import { archiveReferences, SimulatedImages } from "./runtime-images.ts";
import type { ProgramRule } from "./runtime-process.ts";
import { defaultProgram } from "./runtime-programs.ts";

export type { Program, ProgramRule, SimulatedProcess } from "./runtime-process.ts";

type Text = Readonly<Record<string, string>>;

export interface SimulatedRuntimeOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly host: MemoryHost;
  /** For pods on the host's network. */
  readonly hostAddress: string;
  /** Tried in order, before the default program. */
  readonly programs: readonly ProgramRule[];
  readonly pullMs: number;
  /** Gives pods places of their own on the network; without it they are on the host's. */
  readonly pods?: PodNetworks;
}

export interface PodNetworks {
  join(address: string, sandbox: SandboxConfig): Network;
  leave(address: string): void;
}

/** What shall go wrong; each is asked when it matters and says why, or undefined for no fault. */
export interface SimulatedFaults {
  pull?: (reference: string) => string | undefined;
  sandbox?: (config: SandboxConfig) => string | undefined;
  start?: (config: ContainerConfig) => string | undefined;
}

interface SandboxState {
  readonly id: string;
  readonly config: SandboxConfig;
  readonly createdAtMs: number;
  readonly address: string | undefined;
  readonly network: Network;
  ready: boolean;
  /** CPU time of its containers that were removed. */
  cpuNanosPast: number;
}

const eventsMax = 10_000;
/** The network port does not count what passes. */
const quietNetwork = {
  interface: "eth0",
  receivedBytesTotal: 0,
  receiveErrorsTotal: 0,
  sentBytesTotal: 0,
  sendErrorsTotal: 0,
};
const hex = (bytes: Bytes): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const carries = (labels: Text, wanted: Text): boolean =>
  Object.entries(wanted).every(([name, value]) => labels[name] === value);

/** Addresses of an IPv4 CIDR, one behind the other as host-local hands them out. */
class AddressPool {
  readonly #first: number;
  readonly #count: number;
  #last = 1;
  readonly #used = new Set<number>();

  constructor(cidr: string) {
    const [base = "", bits = ""] = cidr.split("/");
    const octets = base.split(".").map(Number);
    if (octets.length !== 4 || !(Number(bits) >= 8 && Number(bits) <= 30)) {
      throw new Error(`pods get their addresses from an IPv4 CIDR of /8 to /30, not ${cidr}`);
    }
    this.#first = octets.reduce((sum, octet) => sum * 256 + octet, 0);
    this.#count = 2 ** (32 - Number(bits));
  }
  take(): string | undefined {
    for (let tries = 0; tries < this.#count; tries++) {
      // The first is the network, the second the gateway, the last the broadcast address.
      this.#last = this.#last + 1 >= this.#count - 1 ? 2 : this.#last + 1;
      if (!this.#used.has(this.#last)) {
        this.#used.add(this.#last);
        return this.#text(this.#last);
      }
    }
    return undefined;
  }
  free(address: string): void {
    for (const offset of this.#used) if (this.#text(offset) === address) this.#used.delete(offset);
  }
  #text(offset: number): string {
    const value = this.#first + offset;
    return [24, 16, 8, 0].map((by) => Math.floor(value / 2 ** by) % 256).join(".");
  }
}

class Subscriber implements Source<RuntimeEvent> {
  #queue: RuntimeEvent[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;
  readonly #types: readonly RuntimeEvent["type"][] | undefined;

  constructor(types: readonly RuntimeEvent["type"][] | undefined) {
    this.#types = types;
  }

  push(event: RuntimeEvent): void {
    if (this.#types !== undefined && !this.#types.includes(event.type)) return;
    if (this.#queue.length >= eventsMax) {
      this.fail(new RuntimeError("failed", `more than ${eventsMax} events wait to be read`));
    } else this.#queue.push(event);
    this.#wake?.();
  }
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
  async next(): Promise<readonly RuntimeEvent[] | undefined> {
    while (this.#queue.length === 0 && !this.#ended && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return undefined;
    if (this.#queue.length > 0) return this.#queue.splice(0);
    throw this.#failure ?? new RuntimeError("unavailable", "the events ended");
  }
  stop(): void {
    this.#ended = true;
    this.#wake?.();
  }
}

export class SimulatedRuntime implements Runtime {
  readonly #options: SimulatedRuntimeOptions;
  readonly #sandboxes = new Map<string, SandboxState>();
  readonly #containers = new Map<string, SimulatedContainer>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #images = new SimulatedImages();
  readonly #pulling = new Map<string, Promise<string>>();
  #pool: AddressPool | undefined;
  #available = true;
  faults: SimulatedFaults = {};

  constructor(options: SimulatedRuntimeOptions) {
    this.#options = options;
  }

  /** The pods' network, as a node's engine is told it. NetworkReady is false until the first time. */
  async writeNetwork(podCidrs: readonly string[]): Promise<void> {
    const cidr = podCidrs.find((one) => !one.includes(":"));
    if (cidr === undefined) throw new Error("the simulated network needs an IPv4 pod CIDR");
    this.#pool ??= new AddressPool(cidr);
  }

  // Faults, for tests and the simulation.

  /** The engine goes away or comes back; its containers run on meanwhile. */
  setAvailable(available: boolean): void {
    this.#available = available;
    if (available) return;
    for (const subscriber of this.#subscribers) {
      subscriber.fail(new RuntimeError("unavailable", "the engine does not answer"));
    }
    this.#subscribers.clear();
  }
  /** SIGKILL of a container's first process. */
  kill(containerId: string): void {
    this.#container(containerId).kill();
  }
  /** Its program ends by itself with this code. */
  crash(containerId: string, code: number): void {
    this.#container(containerId).kill(code);
  }
  /** The machine loses power: all processes are gone; what ran is found to have ended unknown. */
  powerCut(): void {
    for (const container of this.#containers.values()) container.kill(255, "Unknown");
    for (const sandbox of this.#sandboxes.values()) this.#endSandbox(sandbox);
  }

  #check(): void {
    if (!this.#available) throw new RuntimeError("unavailable", "the engine does not answer");
  }
  #newId(): string {
    return hex(this.#options.random.bytes(32));
  }
  #tell(event: RuntimeEvent): void {
    for (const subscriber of this.#subscribers) subscriber.push(event);
  }
  #sandbox(id: string): SandboxState {
    this.#check();
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) throw new RuntimeError("notFound", `no sandbox "${id}": not found`);
    return sandbox;
  }
  #container(id: string): SimulatedContainer {
    this.#check();
    const container = this.#containers.get(id);
    if (container === undefined) {
      throw new RuntimeError("notFound", `no container "${id}": not found`);
    }
    return container;
  }
  #containersOf(sandboxId: string): readonly SimulatedContainer[] {
    return [...this.#containers.values()].filter((item) => item.sandboxId === sandboxId);
  }

  async version() {
    this.#check();
    return { name: "simulated", version: "1.0.0", apiVersion: "v1" };
  }
  async status() {
    this.#check();
    const networkReady = this.#pool !== undefined;
    const message = networkReady ? "" : "NetworkReady: the pods' network is not configured yet";
    return { runtimeReady: true, networkReady, message };
  }

  async runSandbox(config: SandboxConfig): Promise<string> {
    this.#check();
    const same = [...this.#sandboxes.values()].find(
      ({ config: other }) => other.uid === config.uid && other.attempt === config.attempt,
    );
    if (same !== undefined) {
      throw new RuntimeError(
        "failed",
        `failed to reserve sandbox name "${config.name}_${config.namespace}_${config.uid}_${config.attempt}": name is reserved for "${same.id}"`,
      );
    }
    if (config.runtimeHandler !== undefined && config.runtimeHandler !== "runc") {
      throw new RuntimeError(
        "failed",
        `failed to get sandbox runtime: no runtime for "${config.runtimeHandler}" is configured`,
      );
    }
    const fault = this.faults.sandbox?.(config);
    if (fault !== undefined) throw new RuntimeError("failed", fault);
    const id = this.#newId();
    const address = config.security.network === "node" ? undefined : this.#takeAddress();
    const { host, clock, pods } = this.#options;
    const network =
      (address === undefined ? undefined : pods?.join(address, config)) ?? this.#options.network;
    const createdAtMs = clock.now();
    const fresh = { id, config, address, network, ready: true, createdAtMs, cpuNanosPast: 0 };
    await host.makeDirectory(config.logDirectory, 0o755);
    if (config.cgroupParent !== "") {
      await host.cgroup(config.cgroupParent).make({});
      host.meterCgroup(config.cgroupParent, () => this.#podUsage(fresh));
    }
    this.#sandboxes.set(id, fresh);
    this.#tell({ type: "created", id });
    this.#tell({ type: "started", id });
    return id;
  }
  #takeAddress(): string {
    if (this.#pool === undefined) {
      throw new RuntimeError("failed", "the pods' network is not configured yet");
    }
    const address = this.#pool.take();
    if (address === undefined) {
      throw new RuntimeError("failed", "no IP addresses available in the pods' range");
    }
    return address;
  }

  async stopSandbox(id: string): Promise<void> {
    this.#check();
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    for (const container of this.#containersOf(id)) container.kill();
    this.#endSandbox(sandbox);
  }
  #endSandbox(sandbox: SandboxState): void {
    if (!sandbox.ready) return;
    sandbox.ready = false;
    if (sandbox.address !== undefined) {
      this.#options.pods?.leave(sandbox.address);
      this.#pool?.free(sandbox.address);
    }
    this.#tell({ type: "exited", id: sandbox.id, exitCode: 0 });
  }
  async removeSandbox(id: string): Promise<void> {
    await this.stopSandbox(id);
    for (const container of this.#containersOf(id)) await this.removeContainer(container.id);
    if (this.#sandboxes.delete(id)) this.#tell({ type: "removed", id });
  }

  async sandboxStatus(id: string) {
    const sandbox = this.#sandbox(id);
    const ips = sandbox.ready && sandbox.address !== undefined ? [sandbox.address] : [];
    return { ...this.#describe(sandbox), ips };
  }
  #describe({ id, config, ready, createdAtMs }: SandboxState) {
    const { name, namespace, uid, attempt, labels, annotations } = config;
    return { id, name, namespace, uid, attempt, ready, createdAtMs, labels, annotations };
  }
  async listSandboxes(labels: Text) {
    this.#check();
    return [...this.#sandboxes.values()]
      .filter(({ config }) => carries(config.labels, labels))
      .map((sandbox) => this.#describe(sandbox));
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: SandboxConfig,
  ): Promise<string> {
    const sandbox = this.#sandbox(sandboxId);
    if (!sandbox.ready) throw new RuntimeError("failed", `sandbox "${sandboxId}" is not running`);
    const image = this.#images.find(config.image);
    if (image === undefined) {
      throw new RuntimeError("notFound", `image "${config.image}": not found`);
    }
    const taken = this.#containersOf(sandboxId).find(
      ({ config: other }) => other.name === config.name && other.attempt === config.attempt,
    );
    if (taken !== undefined) {
      throw new RuntimeError(
        "failed",
        `failed to reserve container name "${config.name}_${config.attempt}": name is reserved for "${taken.id}"`,
      );
    }
    const { clock, random, host, hostAddress, programs } = this.#options;
    const { network } = sandbox;
    const id = this.#newId();
    const rule = programs.find((one) => one.matches(config, sandboxConfig));
    const address = sandbox.address ?? hostAddress;
    const around = { clock, random, network, host, sandbox: sandboxConfig, address };
    const container = new SimulatedContainer(id, sandboxId, config, image.digests[0] ?? image.id, {
      ...around,
      program: rule?.program ?? defaultProgram,
      tell: (event) => this.#tell(event),
      podExceeded: () => this.#podExceeded(sandbox),
    });
    this.#containers.set(id, container);
    this.#tell({ type: "created", id });
    return id;
  }

  #podUsage({ id, cpuNanosPast }: SandboxState) {
    const all = this.#containersOf(id);
    return {
      memoryBytes: all.reduce((sum, container) => sum + container.memoryBytes, 0),
      cpuNanosTotal: all.reduce((sum, container) => sum + container.cpuNanosTotal(), cpuNanosPast),
      processes: all.filter((container) => container.running).length,
    };
  }
  /** Whether the pod has more memory than its cgroup may have. */
  #podExceeded(sandbox: SandboxState): boolean {
    const limit = this.#options.host.cgroupMemoryLimit(sandbox.config.cgroupParent) ?? 0;
    return limit > 0 && this.#podUsage(sandbox).memoryBytes > limit;
  }

  async startContainer(id: string): Promise<void> {
    const container = this.#container(id);
    container.start(this.faults.start?.(container.config));
  }
  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    this.#check();
    await this.#containers.get(id)?.stop(graceSeconds * 1000);
  }
  async removeContainer(id: string): Promise<void> {
    this.#check();
    const container = this.#containers.get(id);
    if (container === undefined) return;
    container.kill();
    const sandbox = this.#sandboxes.get(container.sandboxId);
    if (sandbox !== undefined) sandbox.cpuNanosPast += container.cpuNanosTotal();
    this.#containers.delete(id);
    this.#tell({ type: "removed", id });
  }
  async containerStatus(id: string) {
    return this.#container(id).status();
  }
  async listContainers(labels: Text) {
    this.#check();
    return [...this.#containers.values()]
      .map((container) => container.describe())
      .filter((container) => carries(container.labels, labels));
  }
  async updateContainer(id: string, resources: Resources): Promise<void> {
    this.#container(id).update(resources);
  }
  async reopenLog(id: string): Promise<void> {
    this.#container(id).reopenLog();
  }

  async execSync(id: string, command: readonly string[], timeoutSeconds: number) {
    const options = { stdin: false, stdout: true, stderr: true, tty: false };
    const session = this.#container(id).exec(command, options);
    let expire: () => void = () => undefined;
    const expired = new Promise<"timeout">((resolve) => {
      expire = () => resolve("timeout");
    });
    const cancel =
      timeoutSeconds > 0
        ? this.#options.clock.after(timeoutSeconds * 1000, expire)
        : () => undefined;
    const result = await Promise.race([session.exit, expired]);
    cancel();
    if (result === "timeout") {
      session.abort();
      throw new RuntimeError("timeout", `command did not end within ${timeoutSeconds} s`);
    }
    const collect = async (source: Source<Bytes> | undefined): Promise<Bytes> => {
      const [bytes] = (await source?.next()) ?? [];
      return bytes ?? new Uint8Array(0);
    };
    const [stdout, stderr] = await Promise.all([collect(session.stdout), collect(session.stderr)]);
    return { stdout, stderr, exitCode: result };
  }
  async exec(id: string, command: readonly string[], options: StreamOptions): Promise<Session> {
    return this.#container(id).exec(command, options);
  }
  async attach(id: string, options: StreamOptions): Promise<Session> {
    return this.#container(id).attach(options);
  }
  async forward(sandboxId: string, port: number): Promise<Duplex> {
    const sandbox = this.#sandbox(sandboxId);
    if (!sandbox.ready) throw new RuntimeError("failed", `sandbox "${sandboxId}" is not running`);
    const host = sandbox.address ?? this.#options.hostAddress;
    try {
      return await this.#options.network.connect({ host, port });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new RuntimeError("failed", `failed to connect to port ${port} of the pod: ${why}`);
    }
  }

  async stats(labels: Text) {
    this.#check();
    const atMs = this.#options.clock.now();
    return [...this.#containers.values()]
      .filter((container) => container.running && carries(container.config.labels, labels))
      .map((container) => ({
        containerId: container.id,
        atMs,
        cpuNanosTotal: container.cpuNanosTotal(),
        memoryWorkingSetBytes: container.memoryBytes,
        memoryUsageBytes: container.memoryBytes,
        memoryRssBytes: container.memoryBytes,
        pageFaultsTotal: 0,
        majorPageFaultsTotal: 0,
        writableLayerBytes: 0,
        writableLayerInodes: 0,
      }));
  }
  async sandboxStats(labels: Text) {
    this.#check();
    const atMs = this.#options.clock.now();
    return [...this.#sandboxes.values()]
      .filter(({ ready, config }) => ready && carries(config.labels, labels))
      .map(({ id, address }) => ({
        sandboxId: id,
        atMs,
        ...(address === undefined ? {} : { network: quietNetwork }),
      }));
  }
  events(types?: readonly RuntimeEvent["type"][]): Source<RuntimeEvent> {
    const subscriber = new Subscriber(types);
    if (this.#available) this.#subscribers.add(subscriber);
    else subscriber.fail(new RuntimeError("unavailable", "the engine does not answer"));
    return {
      next: () => subscriber.next(),
      stop: () => {
        this.#subscribers.delete(subscriber);
        subscriber.stop();
      },
    };
  }

  async imageStatus(reference: string) {
    this.#check();
    return this.#images.find(reference);
  }
  async pullImage(reference: string): Promise<string> {
    this.#check();
    const running = this.#pulling.get(reference);
    if (running !== undefined) return running;
    const pull = this.#pull(reference).finally(() => this.#pulling.delete(reference));
    this.#pulling.set(reference, pull);
    return pull;
  }
  async #pull(reference: string): Promise<string> {
    const { clock, random, pullMs } = this.#options;
    // Between half and one and a half of the usual time.
    const ms = pullMs / 2 + (random.uint32() / 2 ** 32) * pullMs;
    await new Promise<void>((resolve) => {
      clock.after(ms, resolve);
    });
    this.#check();
    const fault = this.faults.pull?.(reference) ?? unknownRegistry(reference);
    if (fault !== undefined) throw new RuntimeError("notFound", fault);
    return this.#images.add(reference).id;
  }
  async listImages() {
    this.#check();
    return this.#images.list();
  }
  async removeImage(reference: string): Promise<void> {
    this.#check();
    this.#images.remove(reference);
  }
  async imageFilesystem() {
    this.#check();
    const sizes = this.#images.list().map((image) => image.sizeBytes);
    return { usedBytes: sizes.reduce((sum, size) => sum + size, 0), mountpoint: "/" };
  }
  async loadImage(path: string): Promise<readonly string[]> {
    this.#check();
    const archive = await this.#options.host.read(path);
    if (archive === undefined) {
      throw new RuntimeError("failed", `cannot read the image archive ${path}: no such file`);
    }
    const references = archiveReferences(archive, path);
    for (const reference of references) this.#images.add(reference);
    return references;
  }
}

/** `.invalid` is the domain that never exists (RFC 2606). */
function unknownRegistry(reference: string): string | undefined {
  const domain = imageDomain(reference);
  if (!domain.replace(/:\d+$/, "").endsWith(".invalid")) return undefined;
  return `failed to pull and unpack image "${reference}": failed to do request: dial tcp: lookup ${domain}: no such host`;
}
