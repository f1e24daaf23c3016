/**
 * Runtime: what runs containers: the nouns and verbs of CRI v1, in camel case, with streams unframed.
 * Expected refusals (unknown container, bad image) are RuntimeError with a code; ids are the engine's.
 */
import type { Bytes, Duplex, Source } from "./stream.ts";

/** `notFound`: no such sandbox, container or image. `unavailable`: the engine does not answer. */
export class RuntimeError extends Error {
  readonly code: "notFound" | "unavailable" | "timeout" | "failed";
  constructor(code: RuntimeError["code"], message: string) {
    super(message);
    this.name = "RuntimeError";
    this.code = code;
  }
}

type Text = Readonly<Record<string, string>>;
export type NamespaceMode = "pod" | "container" | "node" | "target";

export interface SandboxConfig {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly attempt: number;
  readonly hostname: string;
  /** Directory of the containers' log files. */
  readonly logDirectory: string;
  readonly dns?: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  readonly labels: Text;
  readonly annotations: Text;
  readonly cgroupParent: string;
  readonly sysctls?: Text;
  /** Which of the runtime's configured handlers runs it; absent: the default one. */
  readonly runtimeHandler?: string;
  readonly security: SandboxSecurity;
}
export interface SandboxSecurity {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly privileged?: boolean;
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly supplementalGroups?: readonly number[];
  readonly seccomp?: SecurityProfile;
}
export type SecurityProfile =
  | { readonly type: "RuntimeDefault" | "Unconfined" }
  | { readonly type: "Localhost"; readonly path: string };

export interface Resources {
  /** Microseconds. */
  readonly cpuPeriod?: number;
  /** Microseconds of CPU time in a period; 0: no limit. */
  readonly cpuQuota?: number;
  readonly cpuShares?: number;
  readonly memoryLimitBytes?: number;
  readonly oomScoreAdj?: number;
  readonly cgroupV2?: Text;
}
export interface Mount {
  readonly containerPath: string;
  /** Empty where it is an image's files that are mounted. */
  readonly hostPath: string;
  /** An image that is present, and the folder or file in it; "": all of it. Read-only, whatever `readonly` says. */
  readonly image?: { readonly reference: string; readonly subPath: string };
  readonly readonly?: boolean;
  readonly propagation?: "private" | "hostToContainer" | "bidirectional";
}
export interface ContainerSecurity extends Omit<SandboxSecurity, "network"> {
  /** With pid "target": the container whose processes it sees. */
  readonly pidTarget?: string;
  readonly runAsUserName?: string;
  readonly capabilities?: { readonly add: readonly string[]; readonly drop: readonly string[] };
  readonly readonlyRootFilesystem?: boolean;
  readonly noNewPrivileges?: boolean;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly apparmor?: SecurityProfile;
}
export interface ContainerConfig {
  readonly name: string;
  readonly attempt: number;
  /** Image reference or id, as imageStatus() knows it. */
  readonly image: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDirectory?: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly mounts: readonly Mount[];
  readonly labels: Text;
  readonly annotations: Text;
  /** Relative to the sandbox's logDirectory. */
  readonly logPath: string;
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly tty?: boolean;
  readonly resources: Resources;
  readonly security: ContainerSecurity;
}

export interface Sandbox {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly attempt: number;
  readonly ready: boolean;
  readonly createdAtMs: number;
  readonly labels: Text;
  readonly annotations: Text;
}
export interface SandboxStatus extends Sandbox {
  /** Empty for host network. */
  readonly ips: readonly string[];
}
export interface Container {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly image: string;
  readonly createdAtMs: number;
  readonly labels: Text;
  readonly annotations: Text;
}
export interface ContainerStatus extends Container {
  /** Image id with its digest where known. */
  readonly imageRef: string;
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly exitCode?: number;
  /** "Completed", "Error", "OOMKilled", "StartError", … (only meaningful when exited). */
  readonly reason?: string;
  readonly message?: string;
  readonly logPath: string;
  /** Process id on the host where the engine tells. */
  readonly pid?: number;
}
/** What a container uses at that moment; what counts up counts from its start. */
export interface ContainerStats {
  readonly containerId: string;
  readonly atMs: number;
  readonly cpuNanosTotal?: number;
  readonly memoryWorkingSetBytes?: number;
  readonly memoryUsageBytes?: number;
  readonly memoryRssBytes?: number;
  readonly pageFaultsTotal?: number;
  readonly majorPageFaultsTotal?: number;
  readonly writableLayerBytes?: number;
  readonly writableLayerInodes?: number;
}
/** What went through the network of a sandbox since it came. */
export interface SandboxStats {
  readonly sandboxId: string;
  readonly atMs: number;
  /** Undefined: it has no network of its own. */
  readonly network?: {
    readonly interface: string;
    readonly receivedBytesTotal: number;
    readonly receiveErrorsTotal: number;
    readonly sentBytesTotal: number;
    readonly sendErrorsTotal: number;
  };
}
export interface Image {
  readonly id: string;
  readonly tags: readonly string[];
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  /** User of the image's configuration, if any. */
  readonly uid?: number;
  readonly username?: string;
}
export interface RuntimeEvent {
  readonly type: "created" | "started" | "oom" | "exited" | "removed";
  /** Sandbox or container. */
  readonly id: string;
  readonly exitCode?: number;
}

/** A running exec or attach. With a terminal everything comes by stdout. */
export interface Session {
  readonly stdin: { write(bytes: Bytes): Promise<void>; end(): void } | undefined;
  readonly stdout: Source<Bytes> | undefined;
  readonly stderr: Source<Bytes> | undefined;
  resize(columns: number, rows: number): void;
  /** Exit code; rejects if the session broke. For attach: 0 when the stream ends. */
  readonly exit: Promise<number>;
  abort(): void;
}
export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface Runtime {
  version(): Promise<{
    readonly name: string;
    readonly version: string;
    readonly apiVersion: string;
  }>;
  status(): Promise<{
    readonly runtimeReady: boolean;
    readonly networkReady: boolean;
    readonly message: string;
  }>;

  runSandbox(config: SandboxConfig): Promise<string>;
  /** Both are idempotent. */
  stopSandbox(id: string): Promise<void>;
  removeSandbox(id: string): Promise<void>;
  sandboxStatus(id: string): Promise<SandboxStatus>;
  /** Those that carry all the labels. */
  listSandboxes(labels: Text): Promise<readonly Sandbox[]>;

  createContainer(
    sandboxId: string,
    container: ContainerConfig,
    sandbox: SandboxConfig,
  ): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** SIGTERM (or the image's stop signal), then SIGKILL after the grace. Resolves when it has ended. Idempotent. */
  stopContainer(id: string, graceSeconds: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  containerStatus(id: string): Promise<ContainerStatus>;
  listContainers(labels: Text): Promise<readonly Container[]>;
  updateContainer(id: string, resources: Resources): Promise<void>;
  /** After the log file was renamed away. */
  reopenLog(id: string): Promise<void>;

  /** Rejects with "timeout" when the command did not end in time. */
  execSync(
    id: string,
    command: readonly string[],
    timeoutSeconds: number,
  ): Promise<{ readonly stdout: Bytes; readonly stderr: Bytes; readonly exitCode: number }>;
  exec(id: string, command: readonly string[], options: StreamOptions): Promise<Session>;
  attach(id: string, options: StreamOptions): Promise<Session>;
  forward(sandboxId: string, port: number): Promise<Duplex>;

  /** Of the running containers that carry all the labels. */
  stats(labels: Text): Promise<readonly ContainerStats[]>;
  /** Of the ready sandboxes that carry all the labels. */
  sandboxStats(labels: Text): Promise<readonly SandboxStats[]>;
  /**
   * Live events of these types (default: all) from now on; ends or rejects when the engine goes away (then list and
   * subscribe again).
   */
  events(types?: readonly RuntimeEvent["type"][]): Source<RuntimeEvent>;

  imageStatus(reference: string): Promise<Image | undefined>;
  /** Returns the image's id. */
  pullImage(
    reference: string,
    auth?: { readonly username: string; readonly password: string },
  ): Promise<string>;
  listImages(): Promise<readonly Image[]>;
  removeImage(reference: string): Promise<void>;
  imageFilesystem(): Promise<{ readonly usedBytes: number; readonly mountpoint: string }>;
  /** An OCI or docker archive (plain or gzip tar), by path on this machine; gives the references it brought. */
  loadImage(path: string): Promise<readonly string[]>;
}
