/** What a node says of itself: capacity, conditions, addresses, images. Pure: figures in, a Node's status out. */
import type { Node, NodeCondition, NodeStatus } from "#api/generated/core/v1.ts";
import {
  compareQuantities,
  formatQuantity,
  quantityFromInteger,
  quantityOf,
  subtractQuantities,
  toWhole,
  zeroQuantity,
} from "#machinery/quantity.ts";
import { formatTime } from "#machinery/time.ts";
import type { HostFacts } from "#ports/host.ts";
import type { Image } from "#ports/runtime.ts";
import type { KubeletConfig, NodeIdentity } from "./config.ts";
import type { EventType } from "./events.ts";

export interface NodeFacts {
  readonly host: HostFacts;
  /** The file system under the kubelet's root directory. */
  readonly disk: {
    readonly capacityBytes: number;
    readonly availableBytes: number;
    readonly inodes: number;
    readonly inodesFree: number;
  };
  readonly memoryAvailableBytes: number;
  readonly runtime: {
    readonly name: string;
    readonly version: string;
    /** Why pods can't run; "": they can. */
    readonly problems: readonly string[];
  };
  readonly images: readonly Image[];
  readonly kubeletPort: number;
  /** "MemoryPressure", "DiskPressure". */
  pressures(): readonly string[];
}

export interface NodeReport {
  readonly status: NodeStatus;
  readonly events: readonly {
    readonly type: EventType;
    readonly reason: string;
    readonly message: string;
  }[];
}

type Quantities = Record<string, string>;

const binary = (bytes: number): string =>
  formatQuantity(quantityFromInteger(Math.floor(bytes), "BinarySI"));

export function capacityOf(facts: NodeFacts, config: KubeletConfig): Quantities {
  return {
    cpu: String(facts.host.cpus),
    memory: binary(facts.host.memoryBytes),
    "ephemeral-storage": binary(facts.disk.capacityBytes),
    "hugepages-1Gi": "0",
    "hugepages-2Mi": "0",
    pods: String(config.maxPods),
  };
}

/** Capacity without what is kept back: for the system, and what would already be pressure. */
export function allocatableOf(capacity: Quantities, config: KubeletConfig): Quantities {
  const kept: Record<string, readonly string[]> = {
    memory: [binary(config.memoryAvailableBytesMin)],
  };
  const result: Quantities = {};
  for (const [name, total] of Object.entries(capacity)) {
    let left = quantityOf(total);
    const reserved = [
      config.systemReserved[name],
      config.kubeReserved[name],
      ...(kept[name] ?? []),
    ];
    for (const part of reserved) {
      if (part !== undefined) left = subtractQuantities(left, quantityOf(part));
    }
    if (name === "ephemeral-storage") {
      const bytes = Math.floor(toWhole(total) * (1 - config.diskAvailableShareMin));
      left = quantityFromInteger(bytes);
    }
    result[name] = formatQuantity(compareQuantities(left, zeroQuantity) < 0 ? zeroQuantity : left);
  }
  return result;
}

interface Finding {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
  /** Told as an event when the status changes. */
  readonly event: string;
}

function findings(facts: NodeFacts): Finding[] {
  const pressures = facts.pressures();
  const memoryShort = pressures.includes("MemoryPressure");
  const diskShort = pressures.includes("DiskPressure");
  const ready = facts.runtime.problems.length === 0;
  const problems = facts.runtime.problems;
  return [
    memoryShort
      ? finding(
          "MemoryPressure",
          true,
          "KubeletHasInsufficientMemory",
          "kubelet has insufficient memory available",
          "NodeHasInsufficientMemory",
        )
      : finding(
          "MemoryPressure",
          false,
          "KubeletHasSufficientMemory",
          "kubelet has sufficient memory available",
          "NodeHasSufficientMemory",
        ),
    diskShort
      ? finding(
          "DiskPressure",
          true,
          "KubeletHasDiskPressure",
          "kubelet has disk pressure",
          "NodeHasDiskPressure",
        )
      : finding(
          "DiskPressure",
          false,
          "KubeletHasNoDiskPressure",
          "kubelet has no disk pressure",
          "NodeHasNoDiskPressure",
        ),
    finding(
      "PIDPressure",
      false,
      "KubeletHasSufficientPID",
      "kubelet has sufficient PID available",
      "NodeHasSufficientPID",
    ),
    ready
      ? finding("Ready", true, "KubeletReady", "kubelet is posting ready status", "NodeReady")
      : finding(
          "Ready",
          false,
          "KubeletNotReady",
          problems.length === 1 ? (problems[0] ?? "") : `[${problems.join(", ")}]`,
          "NodeNotReady",
        ),
  ];
}

const finding = (
  type: string,
  holds: boolean,
  reason: string,
  message: string,
  event: string,
): Finding => ({ type, status: holds ? "True" : "False", reason, message, event });

/** Names of the biggest images first, as many as the configuration wants; the ones by digest lead. */
function imagesOf(images: readonly Image[], max: number): NodeStatus["images"] {
  const sorted = images.toSorted((a, b) => b.sizeBytes - a.sizeBytes || (a.id < b.id ? -1 : 1));
  const shown = max < 0 ? sorted : sorted.slice(0, max);
  return shown.map((image) => ({
    names: [...image.digests, ...image.tags].slice(0, 5),
    sizeBytes: image.sizeBytes,
  }));
}

export function nodeReport(
  identity: NodeIdentity,
  config: KubeletConfig,
  facts: NodeFacts,
  before: NodeStatus | undefined,
  nowMs: number,
): NodeReport {
  const now = formatTime(nowMs);
  const events: { type: EventType; reason: string; message: string }[] = [];
  const own = findings(facts).map((one): NodeCondition => {
    const old = before?.conditions?.find((other) => other.type === one.type);
    const changed = old?.status !== one.status;
    if (changed && (one.type !== "Ready" || old !== undefined)) {
      const message = `Node ${identity.nodeName} status is now: ${one.event}`;
      events.push({ type: "Normal", reason: one.event, message });
    }
    const { event: _event, ...condition } = one;
    return {
      ...condition,
      lastHeartbeatTime: now,
      lastTransitionTime: changed ? now : (old?.lastTransitionTime ?? now),
    };
  });
  const ownTypes = new Set(own.map((one) => one.type));
  const others = (before?.conditions ?? []).filter((one) => !ownTypes.has(one.type));
  const capacity = { ...foreign(before?.capacity), ...capacityOf(facts, config) };
  const hostname = identity.hostname ?? facts.host.hostname;
  const ips = identity.nodeIps ?? facts.host.addresses.slice(0, 1);
  return {
    events,
    status: {
      capacity,
      allocatable: allocatableOf(capacity, config),
      // Upstream: Ready comes last.
      conditions: [...others, ...own],
      addresses: [
        ...ips.map((address) => ({ type: "InternalIP", address })),
        { type: "Hostname", address: hostname },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: facts.kubeletPort } },
      nodeInfo: {
        machineID: facts.host.machineId,
        systemUUID: facts.host.systemUuid,
        bootID: facts.host.bootId,
        kernelVersion: facts.host.kernelVersion,
        osImage: facts.host.osImage,
        containerRuntimeVersion: `${facts.runtime.name}://${facts.runtime.version}`,
        kubeletVersion: identity.version,
        kubeProxyVersion: "",
        operatingSystem: "linux",
        architecture: facts.host.architecture,
        ...(facts.host.swapBytes === 0 ? {} : { swap: { capacity: facts.host.swapBytes } }),
      },
      images: imagesOf(facts.images, config.nodeStatusMaxImages) ?? [],
    },
  };
}

/** Extended resources that somebody else advertises on the node. */
function foreign(capacity: Readonly<Record<string, string>> | undefined): Quantities {
  return Object.fromEntries(Object.entries(capacity ?? {}).filter(([name]) => name.includes("/")));
}

/** Whether it is worth a write before the report falls due: heartbeat times alone are not. */
export function nodeStatusChanged(before: NodeStatus | undefined, now: NodeStatus): boolean {
  const plain = (status: NodeStatus | undefined): string =>
    JSON.stringify({
      ...pick(status),
      conditions: (status?.conditions ?? [])
        .map((one) => JSON.stringify([one.type, one.status, one.reason, one.message]))
        .toSorted(),
    });
  return plain(before) !== plain(now);
}

function pick(status: NodeStatus | undefined): object {
  const sorted = (map: Readonly<Record<string, string>> | undefined): [string, string][] =>
    Object.entries(map ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const { swap: _swap, ...info } = status?.nodeInfo ?? {};
  return {
    capacity: sorted(status?.capacity),
    allocatable: sorted(status?.allocatable),
    addresses: (status?.addresses ?? []).map(({ type, address }) => [type, address]),
    port: status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0,
    info: sorted(info as Readonly<Record<string, string>>).filter(([, value]) => value !== ""),
    images: (status?.images ?? []).map((image) => (image.names ?? []).toSorted()),
  };
}

/** The labels that every node of ours has, and those it was started with. */
export function nodeLabels(identity: NodeIdentity, host: HostFacts): Record<string, string> {
  return {
    "kubernetes.io/hostname": identity.hostname ?? host.hostname,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": host.architecture,
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": host.architecture,
    ...identity.labels,
  };
}

export function newNode(identity: NodeIdentity, host: HostFacts, status: NodeStatus): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: identity.nodeName,
      labels: nodeLabels(identity, host),
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
    },
    spec: {
      ...((identity.taints ?? []).length === 0 ? {} : { taints: [...(identity.taints ?? [])] }),
      ...(identity.providerID === undefined ? {} : { providerID: identity.providerID }),
    },
    status,
  };
}
