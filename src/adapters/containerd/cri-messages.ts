/**
 * The Runtime port's values as CRI messages, and CRI's replies as the port's values.
 * Pure: what the wire carries is declared in cri-proto.ts.
 */
import type {
  Container,
  ContainerConfig,
  ContainerStats,
  ContainerStatus,
  Image,
  NamespaceMode,
  Resources,
  Sandbox,
  SandboxConfig,
  SandboxSecurity,
  SandboxStats,
  SandboxStatus,
  SecurityProfile,
} from "#ports/runtime.ts";

type Text = Readonly<Record<string, string>>;
interface WireMetadata {
  readonly name?: string;
  readonly uid?: string;
  readonly namespace?: string;
  readonly attempt?: number;
}
export interface WireSandbox {
  readonly id?: string;
  readonly metadata?: WireMetadata | null;
  readonly state?: number;
  readonly createdAt?: number;
  readonly labels?: Text;
  readonly annotations?: Text;
  readonly network?: {
    readonly ip?: string;
    readonly additionalIps?: readonly { readonly ip?: string }[];
  } | null;
}
export interface WireContainer {
  readonly id?: string;
  readonly podSandboxId?: string;
  readonly metadata?: { readonly name?: string; readonly attempt?: number } | null;
  readonly image?: { readonly image?: string } | null;
  readonly imageRef?: string;
  readonly state?: number;
  readonly createdAt?: number;
  readonly labels?: Text;
  readonly annotations?: Text;
}
export interface WireContainerStatus extends Omit<WireContainer, "podSandboxId"> {
  readonly startedAt?: number;
  readonly finishedAt?: number;
  readonly exitCode?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly logPath?: string;
}
type WireNumber = { readonly value?: number } | null;
export interface WireImage {
  readonly id?: string;
  readonly repoTags?: readonly string[];
  readonly repoDigests?: readonly string[];
  readonly size?: number;
  readonly uid?: WireNumber;
  readonly username?: string;
}
export interface WireStats {
  readonly attributes?: { readonly id?: string } | null;
  readonly cpu?: { readonly timestamp?: number; readonly usageCoreNanoSeconds?: WireNumber } | null;
  readonly memory?: {
    readonly workingSetBytes?: WireNumber;
    readonly usageBytes?: WireNumber;
    readonly rssBytes?: WireNumber;
    readonly pageFaults?: WireNumber;
    readonly majorPageFaults?: WireNumber;
  } | null;
  readonly writableLayer?: {
    readonly usedBytes?: WireNumber;
    readonly inodesUsed?: WireNumber;
  } | null;
}
export interface WireSandboxStats {
  readonly linux?: {
    readonly network?: {
      readonly timestamp?: number;
      readonly defaultInterface?: {
        readonly name?: string;
        readonly rxBytes?: WireNumber;
        readonly rxErrors?: WireNumber;
        readonly txBytes?: WireNumber;
        readonly txErrors?: WireNumber;
      } | null;
    } | null;
  } | null;
}

const namespaceModes: Readonly<Record<NamespaceMode, number>> = {
  pod: 0,
  container: 1,
  node: 2,
  target: 3,
};
const propagations = { private: 0, hostToContainer: 1, bidirectional: 2 } as const;
const profileTypes = { RuntimeDefault: 0, Unconfined: 1, Localhost: 2 } as const;
const containerStates = ["created", "running", "exited", "unknown"] as const;

const int64 = (value: number | undefined): object | undefined =>
  value === undefined ? undefined : { value };
const profile = (value: SecurityProfile | undefined): object | undefined =>
  value === undefined
    ? undefined
    : {
        profileType: profileTypes[value.type],
        localhostRef: value.type === "Localhost" ? value.path : "",
      };

/** Without the fields that are undefined: an encoder takes only what is there. */
function defined(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function namespaces(security: SandboxSecurity): object {
  return {
    network: namespaceModes[security.network],
    pid: namespaceModes[security.pid],
    ipc: namespaceModes[security.ipc],
  };
}

export function sandboxMessage(config: SandboxConfig): object {
  const { security } = config;
  return defined({
    metadata: {
      name: config.name,
      uid: config.uid,
      namespace: config.namespace,
      attempt: config.attempt,
    },
    hostname: config.hostname,
    logDirectory: config.logDirectory,
    dnsConfig: config.dns,
    labels: config.labels,
    annotations: config.annotations,
    linux: defined({
      cgroupParent: config.cgroupParent,
      sysctls: config.sysctls,
      securityContext: defined({
        namespaceOptions: namespaces(security),
        privileged: security.privileged ?? false,
        runAsUser: int64(security.runAsUser),
        runAsGroup: int64(security.runAsGroup),
        supplementalGroups: security.supplementalGroups,
        seccomp: profile(security.seccomp),
      }),
    }),
  });
}

export function resourcesMessage(resources: Resources): object {
  return defined({
    cpuPeriod: resources.cpuPeriod,
    cpuQuota: resources.cpuQuota,
    cpuShares: resources.cpuShares,
    memoryLimitInBytes: resources.memoryLimitBytes,
    oomScoreAdj: resources.oomScoreAdj,
    unified: resources.cgroupV2,
  });
}

export function containerMessage(config: ContainerConfig, sandbox: SandboxConfig): object {
  const { security } = config;
  return defined({
    metadata: { name: config.name, attempt: config.attempt },
    image: { image: config.image },
    command: config.command,
    args: config.args,
    workingDir: config.workingDirectory ?? "",
    envs: config.env.map(({ name, value }) => ({ key: name, value })),
    mounts: config.mounts.map((mount) => ({
      containerPath: mount.containerPath,
      hostPath: mount.hostPath,
      readonly: mount.readonly ?? false,
      propagation: propagations[mount.propagation ?? "private"],
    })),
    labels: config.labels,
    annotations: config.annotations,
    logPath: config.logPath,
    stdin: config.stdin ?? false,
    stdinOnce: config.stdinOnce ?? false,
    tty: config.tty ?? false,
    linux: {
      resources: resourcesMessage(config.resources),
      securityContext: defined({
        capabilities:
          security.capabilities === undefined
            ? undefined
            : {
                addCapabilities: security.capabilities.add,
                dropCapabilities: security.capabilities.drop,
              },
        privileged: security.privileged ?? false,
        // A container lives in its sandbox's network, whatever it would say itself.
        namespaceOptions: {
          ...namespaces({ ...security, network: sandbox.security.network }),
          ...(security.pidTarget === undefined ? {} : { targetId: security.pidTarget }),
        },
        runAsUser: int64(security.runAsUser),
        runAsGroup: int64(security.runAsGroup),
        runAsUsername: security.runAsUserName ?? "",
        readonlyRootfs: security.readonlyRootFilesystem ?? false,
        supplementalGroups: security.supplementalGroups,
        noNewPrivs: security.noNewPrivileges ?? false,
        maskedPaths: security.maskedPaths,
        readonlyPaths: security.readonlyPaths,
        seccomp: profile(security.seccomp),
        apparmor: profile(security.apparmor),
      }),
    },
  });
}

const millis = (nanos: number | undefined): number => Math.floor((nanos ?? 0) / 1e6);

export function readSandbox(wire: WireSandbox): Sandbox {
  return {
    id: wire.id ?? "",
    name: wire.metadata?.name ?? "",
    namespace: wire.metadata?.namespace ?? "",
    uid: wire.metadata?.uid ?? "",
    attempt: wire.metadata?.attempt ?? 0,
    ready: (wire.state ?? 0) === 0,
    createdAtMs: millis(wire.createdAt),
    labels: wire.labels ?? {},
    annotations: wire.annotations ?? {},
  };
}

export function readSandboxStatus(wire: WireSandbox): SandboxStatus {
  const ips = [
    wire.network?.ip ?? "",
    ...(wire.network?.additionalIps ?? []).map(({ ip }) => ip ?? ""),
  ];
  return { ...readSandbox(wire), ips: ips.filter((ip) => ip !== "") };
}

export function readContainer(wire: WireContainer): Container {
  return {
    id: wire.id ?? "",
    sandboxId: wire.podSandboxId ?? "",
    name: wire.metadata?.name ?? "",
    attempt: wire.metadata?.attempt ?? 0,
    state: containerStates[wire.state ?? 0] ?? "unknown",
    image: wire.image?.image ?? "",
    createdAtMs: millis(wire.createdAt),
    labels: wire.labels ?? {},
    annotations: wire.annotations ?? {},
  };
}

export function readContainerStatus(wire: WireContainerStatus, sandboxId: string): ContainerStatus {
  const base = readContainer({ ...wire, podSandboxId: sandboxId });
  const exited = base.state === "exited";
  const finishedAt = wire.finishedAt ?? 0;
  // containerd notes the start after the fact: what ends at once has ended "before" it.
  const startedAt = Math.min(wire.startedAt ?? 0, finishedAt > 0 ? finishedAt : Infinity);
  return {
    ...base,
    imageRef: wire.imageRef ?? "",
    logPath: wire.logPath ?? "",
    ...(startedAt > 0 ? { startedAtMs: millis(startedAt) } : {}),
    ...(finishedAt > 0 ? { finishedAtMs: millis(finishedAt) } : {}),
    // containerd marks a running container OOMKilled when a child of it was; that is not its end.
    ...(exited
      ? {
          exitCode: wire.exitCode ?? 0,
          reason: wire.reason ?? "",
          message: wire.message ?? "",
        }
      : {}),
  };
}

export function readImage(wire: WireImage): Image {
  return {
    id: wire.id ?? "",
    tags: wire.repoTags ?? [],
    digests: wire.repoDigests ?? [],
    sizeBytes: wire.size ?? 0,
    ...(wire.uid?.value === undefined ? {} : { uid: wire.uid.value }),
    ...((wire.username ?? "") === "" ? {} : { username: wire.username ?? "" }),
  };
}

/** Only what the engine told. */
function told(values: Readonly<Record<string, WireNumber | undefined>>): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, number] of Object.entries(values)) {
    if (number?.value !== undefined) found[name] = number.value;
  }
  return found;
}

export function readStats({ attributes, cpu, memory, writableLayer }: WireStats): ContainerStats {
  return {
    containerId: attributes?.id ?? "",
    atMs: millis(cpu?.timestamp),
    ...told({
      cpuNanosTotal: cpu?.usageCoreNanoSeconds,
      memoryWorkingSetBytes: memory?.workingSetBytes,
      memoryUsageBytes: memory?.usageBytes,
      memoryRssBytes: memory?.rssBytes,
      pageFaultsTotal: memory?.pageFaults,
      majorPageFaultsTotal: memory?.majorPageFaults,
      writableLayerBytes: writableLayer?.usedBytes,
      writableLayerInodes: writableLayer?.inodesUsed,
    }),
  };
}

export function readSandboxStats(
  sandboxId: string,
  wire: WireSandboxStats | null | undefined,
  nowMs: number,
): SandboxStats {
  const { timestamp, defaultInterface } = wire?.linux?.network ?? {};
  if (defaultInterface === undefined || defaultInterface === null)
    return { sandboxId, atMs: nowMs };
  const { name = "", rxBytes, rxErrors, txBytes, txErrors } = defaultInterface;
  return {
    sandboxId,
    atMs: millis(timestamp),
    network: {
      interface: name,
      receivedBytesTotal: rxBytes?.value ?? 0,
      receiveErrorsTotal: rxErrors?.value ?? 0,
      sentBytesTotal: txBytes?.value ?? 0,
      sendErrorsTotal: txErrors?.value ?? 0,
    },
  };
}
