/**
 * The Runtime port on containerd: CRI v1 over its socket, containerd's own event stream, sessions over
 * its streaming server, archives by `ctr`. Leaves the engine itself alone (engine.ts starts and stops it).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isObject } from "#machinery/object.ts";
import type { Network } from "#ports/network.ts";
import type { Rpc, RpcDialer } from "#ports/rpc.ts";
import { RpcError } from "#ports/rpc.ts";
import type { Image, Mount, Runtime, RuntimeEvent, SandboxStats } from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import type {
  WireContainer,
  WireContainerStatus,
  WireImage,
  WireSandbox,
  WireSandboxStats,
  WireStats,
} from "./cri-messages.ts";
import {
  containerMessage,
  readContainer,
  readContainerStatus,
  readImage,
  readSandbox,
  readSandboxStats,
  readSandboxStatus,
  readStats,
  resourcesMessage,
  sandboxMessage,
} from "./cri-messages.ts";
import { criProto, eventsProto } from "./cri-proto.ts";
import { eventSource, eventTypes } from "./events.ts";
import { ImageVolumes } from "./image-volumes.ts";
import { loadImage } from "./load-image.ts";
import { StreamingClient } from "./streams.ts";

export interface ContainerdOptions {
  readonly rpc: RpcDialer;
  readonly network: Network;
  /** Path of the engine's socket. */
  readonly socket: string;
  /** The `ctr` program. */
  readonly ctr: string;
  /** Where the files of images that are volumes are mounted. */
  readonly imageVolumes: string;
}

/** As the kubelet allows a runtime for one request; a sandbox, whose network is set up, twice that. */
const requestMsMax = 120_000;
const sandboxMsMax = 240_000;
/** A pull ends by the engine's own watch over its progress. */
const pullMsMax = 3_600_000;
/** More than 32 at once in one pod stall containerd 1.6's shim for half a minute and longer. */
const execsPerPodMax = 16;
const settleTries = 25;
/** Some ten seconds. */
const startTries = 40;
const notInitialized = "server is not initialized yet";

const codes = { deadlineExceeded: 4, notFound: 5, unavailable: 14 } as const;

function runtimeError(error: unknown): Error {
  if (!(error instanceof RpcError))
    return error instanceof Error ? error : new Error(String(error));
  if (error.code === codes.notFound) return new RuntimeError("notFound", error.message);
  if (error.code === codes.deadlineExceeded) return new RuntimeError("timeout", error.message);
  if (error.code === codes.unavailable) return new RuntimeError("unavailable", error.message);
  return new RuntimeError("failed", error.message);
}
const isNotFound = (error: unknown): boolean =>
  error instanceof RuntimeError && error.code === "notFound";

/** At most so many at once for each key; further ones wait their turn. */
class Gate {
  readonly #max: number;
  readonly #running = new Map<string, { count: number; readonly waiting: (() => void)[] }>();

  constructor(max: number) {
    this.#max = max;
  }
  async pass<T>(key: string, run: () => Promise<T>): Promise<T> {
    const state = this.#running.get(key) ?? { count: 0, waiting: [] };
    this.#running.set(key, state);
    if (state.count >= this.#max) {
      await new Promise<void>((resolve) => {
        state.waiting.push(resolve);
      });
    } else {
      state.count += 1;
    }
    try {
      return await run();
    } finally {
      const next = state.waiting.shift();
      if (next !== undefined) next();
      else {
        state.count -= 1;
        if (state.count === 0) this.#running.delete(key);
      }
    }
  }
}

class ContainerdRuntime implements Runtime {
  readonly #options: ContainerdOptions;
  readonly #rpc: Rpc;
  readonly #events: Rpc;
  readonly #streams: StreamingClient;
  readonly #execs = new Gate(execsPerPodMax);
  readonly #imageVolumes: ImageVolumes;
  /** CRI's ContainerStatus does not name the sandbox. */
  readonly #sandboxOf = new Map<string, string>();

  constructor(options: ContainerdOptions) {
    this.#options = options;
    this.#rpc = options.rpc.dial({ unix: options.socket }, criProto);
    this.#events = options.rpc.dial({ unix: options.socket }, eventsProto);
    this.#streams = new StreamingClient(options.network);
    this.#imageVolumes = new ImageVolumes({
      ...options,
      directory: options.imageVolumes,
      chainOf: (reference) => this.#chainOf(reference),
    });
  }

  close(): void {
    this.#rpc.close();
    this.#events.close();
    this.#streams.close();
  }

  /** The reply's shape is the one that cri-proto.ts declares for the method. */
  async #call<Reply>(method: string, request: object, timeoutMs = requestMsMax): Promise<Reply> {
    for (let attempt = 0; ; attempt++) {
      try {
        const reply = await this.#rpc.call(`runtime.v1.${method}`, request, { timeoutMs });
        return reply as Reply;
      } catch (error) {
        // containerd's socket answers a moment before its CRI plugin does.
        const starting = error instanceof RpcError && error.message.includes(notInitialized);
        if (!starting || attempt >= startTries) throw runtimeError(error);
        await sleep(Math.min(10 * 2 ** attempt, 250));
      }
    }
  }

  async version() {
    const reply = await this.#call<{
      runtimeName?: string;
      runtimeVersion?: string;
      runtimeApiVersion?: string;
    }>("RuntimeService/Version", {});
    return {
      name: reply.runtimeName ?? "",
      version: reply.runtimeVersion ?? "",
      apiVersion: reply.runtimeApiVersion ?? "",
    };
  }

  async status() {
    const reply = await this.#call<{
      status?: {
        conditions?: readonly { type?: string; status?: boolean; message?: string }[];
      } | null;
    }>("RuntimeService/Status", {});
    const conditions = reply.status?.conditions ?? [];
    const ready = (type: string): boolean =>
      conditions.some((condition) => condition.type === type && condition.status === true);
    const messages = conditions
      .filter((condition) => condition.status !== true)
      .map((condition) => `${condition.type ?? ""}: ${condition.message ?? ""}`);
    return {
      runtimeReady: ready("RuntimeReady"),
      networkReady: ready("NetworkReady"),
      message: messages.join("; "),
    };
  }

  async runSandbox(config: Parameters<Runtime["runSandbox"]>[0]): Promise<string> {
    const reply = await this.#call<{ podSandboxId?: string }>(
      "RuntimeService/RunPodSandbox",
      { config: sandboxMessage(config), runtimeHandler: config.runtimeHandler ?? "" },
      sandboxMsMax,
    );
    return reply.podSandboxId ?? "";
  }
  async stopSandbox(id: string): Promise<void> {
    await this.#idempotent("RuntimeService/StopPodSandbox", { podSandboxId: id });
    await this.#imageVolumes.unmount(id);
  }
  async removeSandbox(id: string): Promise<void> {
    await this.#idempotent("RuntimeService/RemovePodSandbox", { podSandboxId: id });
    await this.#imageVolumes.unmount(id);
    for (const [container, sandbox] of this.#sandboxOf) {
      if (sandbox === id) this.#sandboxOf.delete(container);
    }
  }
  async sandboxStatus(id: string) {
    const reply = await this.#call<{ status?: WireSandbox | null }>(
      "RuntimeService/PodSandboxStatus",
      { podSandboxId: id },
    );
    return readSandboxStatus(reply.status ?? {});
  }
  async listSandboxes(labels: Readonly<Record<string, string>>) {
    const reply = await this.#call<{ items?: readonly WireSandbox[] }>(
      "RuntimeService/ListPodSandbox",
      { filter: { labelSelector: labels } },
    );
    return (reply.items ?? []).map(readSandbox);
  }

  async createContainer(
    sandboxId: string,
    container: Parameters<Runtime["createContainer"]>[1],
    sandbox: Parameters<Runtime["createContainer"]>[2],
  ): Promise<string> {
    const mounts = await this.#hostMounts(sandboxId, container.mounts);
    const reply = await this.#call<{ containerId?: string }>("RuntimeService/CreateContainer", {
      podSandboxId: sandboxId,
      config: containerMessage({ ...container, mounts }, sandbox),
      sandboxConfig: sandboxMessage(sandbox),
    });
    const id = reply.containerId ?? "";
    this.#sandboxOf.set(id, sandboxId);
    return id;
  }
  async startContainer(id: string): Promise<void> {
    await this.#call("RuntimeService/StartContainer", { containerId: id });
  }
  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    const request = { containerId: id, timeout: Math.max(0, Math.ceil(graceSeconds)) };
    const timeoutMs = request.timeout * 1000 + requestMsMax;
    await this.#idempotent("RuntimeService/StopContainer", request, timeoutMs);
  }
  async removeContainer(id: string): Promise<void> {
    await this.#idempotent("RuntimeService/RemoveContainer", { containerId: id });
    this.#sandboxOf.delete(id);
  }
  async containerStatus(id: string) {
    const reply = await this.#call<{ status?: WireContainerStatus | null }>(
      "RuntimeService/ContainerStatus",
      { containerId: id },
    );
    return readContainerStatus(reply.status ?? {}, await this.#sandbox(id));
  }
  async listContainers(labels: Readonly<Record<string, string>>) {
    const containers = await this.#list({ labelSelector: labels });
    for (const { id, podSandboxId } of containers) {
      this.#sandboxOf.set(id ?? "", podSandboxId ?? "");
    }
    return containers.map(readContainer);
  }
  async updateContainer(id: string, resources: Parameters<Runtime["updateContainer"]>[1]) {
    await this.#call("RuntimeService/UpdateContainerResources", {
      containerId: id,
      linux: resourcesMessage(resources),
    });
  }
  async reopenLog(id: string): Promise<void> {
    await this.#call("RuntimeService/ReopenContainerLog", { containerId: id });
  }

  async execSync(id: string, command: readonly string[], timeoutSeconds: number) {
    const request = { containerId: id, cmd: command, timeout: Math.ceil(timeoutSeconds) };
    const timeoutMs = request.timeout > 0 ? request.timeout * 1000 + requestMsMax : pullMsMax;
    const reply = await this.#execs.pass(await this.#sandbox(id), () =>
      this.#call<{ stdout?: Uint8Array; stderr?: Uint8Array; exitCode?: number }>(
        "RuntimeService/ExecSync",
        request,
        timeoutMs,
      ),
    );
    const nothing = new Uint8Array(0);
    return {
      stdout: reply.stdout ?? nothing,
      stderr: reply.stderr ?? nothing,
      exitCode: reply.exitCode ?? 0,
    };
  }
  async exec(id: string, command: readonly string[], options: Parameters<Runtime["exec"]>[2]) {
    const stderr = options.stderr && !options.tty;
    const request = { ...options, stderr, containerId: id, cmd: command };
    const { url } = await this.#call<{ url?: string }>("RuntimeService/Exec", request);
    return this.#streams.session(url ?? "", options, "exec");
  }
  async attach(id: string, options: Parameters<Runtime["attach"]>[1]) {
    const stderr = options.stderr && !options.tty;
    const request = { ...options, stderr, containerId: id };
    const { url } = await this.#call<{ url?: string }>("RuntimeService/Attach", request);
    return this.#streams.session(url ?? "", options, "attach");
  }
  async forward(sandboxId: string, port: number) {
    const request = { podSandboxId: sandboxId, port: [port] };
    const { url } = await this.#call<{ url?: string }>("RuntimeService/PortForward", request);
    return this.#streams.forward(url ?? "", port);
  }

  async stats(labels: Readonly<Record<string, string>>) {
    const reply = await this.#call<{ stats?: readonly WireStats[] }>(
      "RuntimeService/ListContainerStats",
      { filter: { labelSelector: labels } },
    );
    return (reply.stats ?? []).map(readStats);
  }
  /** One by one: of a list containerd 1 gives nothing at all when one of them has just ended. */
  async sandboxStats(labels: Readonly<Record<string, string>>) {
    const ready = (await this.listSandboxes(labels)).filter((sandbox) => sandbox.ready);
    const all: SandboxStats[] = [];
    for (const { id } of ready) {
      try {
        const { stats } = await this.#call<{ stats?: WireSandboxStats | null }>(
          "RuntimeService/PodSandboxStats",
          { podSandboxId: id },
        );
        all.push(readSandboxStats(id, stats, Date.now()));
      } catch (error) {
        // It ended meanwhile, or this engine does not tell.
        if (!(error instanceof RuntimeError) || error.code === "unavailable") throw error;
      }
    }
    return all;
  }
  events(types: readonly RuntimeEvent["type"][] = eventTypes) {
    return eventSource(this.#events, types, (event) => this.#settled(event));
  }

  async imageStatus(reference: string): Promise<Image | undefined> {
    const reply = await this.#call<{ image?: WireImage | null }>("ImageService/ImageStatus", {
      image: { image: reference },
    });
    const image = reply.image ?? undefined;
    return image === undefined || (image.id ?? "") === "" ? undefined : readImage(image);
  }
  async pullImage(reference: string, auth?: Parameters<Runtime["pullImage"]>[1]) {
    // Without a server's address they are for whoever has the image: a mirror is asked with them, too.
    const credentials = auth === undefined ? {} : { auth };
    const reply = await this.#call<{ imageRef?: string }>(
      "ImageService/PullImage",
      { image: { image: reference }, ...credentials },
      pullMsMax,
    );
    return reply.imageRef ?? "";
  }
  async listImages() {
    const reply = await this.#call<{ images?: readonly WireImage[] }>(
      "ImageService/ListImages",
      {},
    );
    return (reply.images ?? []).map(readImage);
  }
  async removeImage(reference: string): Promise<void> {
    await this.#idempotent("ImageService/RemoveImage", { image: { image: reference } });
  }
  async imageFilesystem() {
    const reply = await this.#call<{
      imageFilesystems?: readonly {
        fsId?: { mountpoint?: string } | null;
        usedBytes?: { value?: number } | null;
      }[];
    }>("ImageService/ImageFsInfo", {});
    const [first] = reply.imageFilesystems ?? [];
    return {
      usedBytes: first?.usedBytes?.value ?? 0,
      mountpoint: first?.fsId?.mountpoint ?? "",
    };
  }
  async loadImage(path: string): Promise<readonly string[]> {
    const { version } = await this.version();
    const major = Number(/(\d+)\./.exec(version)?.[1] ?? 1);
    const names = await loadImage({ ...this.#options, major }, path);
    // The CRI plugin learns of an import by an event of containerd's, a moment later.
    for (const name of names) {
      await this.#until(async () => (await this.imageStatus(name)) !== undefined);
    }
    return names;
  }

  /** Images' files as paths of the host. */
  #hostMounts(sandboxId: string, mounts: readonly Mount[]): Promise<readonly Mount[]> {
    const found = mounts.map(async (mount) => {
      const { image, ...rest } = mount;
      if (image === undefined) return mount;
      const { reference, subPath } = image;
      const hostPath = await this.#imageVolumes.pathOf(sandboxId, reference, subPath);
      return { ...rest, hostPath, readonly: true };
    });
    return Promise.all(found);
  }

  async #chainOf(reference: string): Promise<string> {
    const request = { image: { image: reference }, verbose: true };
    const reply = await this.#call<{ info?: Readonly<Record<string, string>> }>(
      "ImageService/ImageStatus",
      request,
    );
    const told: unknown = JSON.parse(reply.info?.["info"] ?? "{}");
    const chain = isObject(told) ? told["chainID"] : undefined;
    if (typeof chain === "string") return chain;
    throw new RuntimeError("notFound", `containerd does not have the image ${reference}`);
  }

  /** Gone already is as good as done. */
  async #idempotent(method: string, request: object, timeoutMs = requestMsMax): Promise<void> {
    try {
      await this.#call(method, request, timeoutMs);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #list(filter: object): Promise<readonly WireContainer[]> {
    const reply = await this.#call<{ containers?: readonly WireContainer[] }>(
      "RuntimeService/ListContainers",
      { filter },
    );
    return reply.containers ?? [];
  }

  async #sandbox(containerId: string): Promise<string> {
    const known = this.#sandboxOf.get(containerId);
    if (known !== undefined) return known;
    const [container] = await this.#list({ id: containerId });
    const sandboxId = container?.podSandboxId ?? "";
    if (container !== undefined) this.#sandboxOf.set(containerId, sandboxId);
    return sandboxId;
  }

  /** Asks again, a bounded number of times, for what the engine is about to know. */
  async #until(holds: () => Promise<boolean>): Promise<void> {
    for (let attempt = 0; attempt < settleTries; attempt++) {
      if (await holds()) return;
      await sleep(Math.min(4 * 2 ** attempt, 100));
    }
  }

  /** Resolves when the CRI plugin answers as after the event; at worst some two seconds later. */
  async #settled(event: RuntimeEvent): Promise<void> {
    try {
      await this.#until(() => this.#isSettled(event));
    } catch {
      // Whether the engine still answers is for the next call to find out, not for an event.
    }
  }
  async #isSettled({ type, id }: RuntimeEvent): Promise<boolean> {
    if (type === "created" || type === "oom") return true;
    const state = await this.#stateOf(id);
    if (type === "removed") return state === "gone";
    if (type === "exited") return state === "gone" || state === "ended";
    // A sandbox is known only when it runs whole; nobody waits for its start.
    return state !== "created";
  }
  async #stateOf(id: string): Promise<"gone" | "created" | "running" | "ended"> {
    const asContainer = async () => {
      const { state } = await this.containerStatus(id);
      return state === "exited" || state === "unknown" ? "ended" : state;
    };
    const asSandbox = async () => ((await this.sandboxStatus(id)).ready ? "running" : "ended");
    // Which of the two it is, an event does not say; of a container there is mostly a note.
    const asked = this.#sandboxOf.has(id) ? [asContainer] : [asSandbox, asContainer];
    for (const ask of asked) {
      try {
        return await ask();
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    return "gone";
  }
}

/** The runtime, and how to let go of its connections. The containers are not touched. */
export function containerdRuntime(options: ContainerdOptions): Runtime & { close(): void } {
  return new ContainerdRuntime(options);
}
