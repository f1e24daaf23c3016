/**
 * The stats summary: what /stats/summary answers and the metrics of resources are made from. Asks the runtime and the host each time
 * anew: while nobody asks, nothing is counted. Rates are those since somebody asked last.
 */
import type { Clock } from "#ports/clock.ts";
import type { SandboxStats } from "#ports/runtime.ts";
import { containerNamed } from "../pod-spec.ts";
import { amountOf, podCgroup, podLimits } from "../resources.ts";
import { bootTimeMsOf, defaultInterfaceOf, interfacesOf, threadsOf } from "./proc-facts.ts";
import { CpuRates } from "./rates.ts";
import {
  type ContainerSummary,
  containerMemory,
  cpuStats,
  type Filesystem,
  fsStats,
  memoryStats,
  type NodeSummary,
  networkStats,
  type PodSummary,
  type Summary,
  sandboxNetwork,
  type VolumeStats,
  wholeFs,
} from "./summary-form.ts";
import {
  type ContainerUsage,
  containerDiskUse,
  ephemeralVolumeUse,
  type PodUsage,
  type RunningPod,
  readPodDiskUse,
  readPodUsage,
  type UsageWorld,
} from "./usage.ts";

export interface SummaryWorld extends UsageWorld {
  readonly clock: Clock;
  readonly nodeName: string;
  readonly startedAtMs: number;
  pods(): readonly RunningPod[];
}

/** So many pods' directories are measured at once. */
const podsAtOnceMax = 8;

export class SummaryProvider {
  readonly #world: SummaryWorld;
  readonly #rates = new CpuRates();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(world: SummaryWorld) {
    this.#world = world;
  }

  /** CPU and memory: what the resource metrics need. */
  cpuAndMemory(): Promise<Summary> {
    return this.#inTurn(async () => {
      const pods = await readPodUsage(this.#world, this.#world.pods());
      const summaries = await inBatches(pods, (pod) => this.#pod(pod));
      return { node: await this.#node(), pods: summaries };
    });
  }

  /** With disks, volumes and networks. */
  whole(): Promise<Summary> {
    return this.#inTurn(async () => {
      const { host, places, runtime } = this.#world;
      const pods = await readPodUsage(this.#world, this.#world.pods());
      const [root, sandboxes] = await Promise.all([
        host.filesystem(places.root),
        runtime.sandboxStats(places.runtimeLabels),
      ]);
      const networks = new Map(sandboxes.map((one) => [one.sandboxId, one] as const));
      const summaries = await inBatches(pods, (pod) =>
        this.#podWithDisk(pod, root, networks.get(pod.sandboxId)),
      );
      return {
        node: { ...(await this.#node()), ...(await this.#nodeDisk(root)) },
        pods: summaries,
      };
    });
  }

  /** One after the other: each measures the rates of what the one before has seen. */
  #inTurn(make: () => Promise<Summary>): Promise<Summary> {
    const made = this.#turn.then(make).finally(() => this.#rates.settle());
    this.#turn = made.catch(() => undefined);
    return made;
  }

  #container(
    { name, id, startedAtMs, stats }: ContainerUsage,
    { pod }: PodUsage,
  ): ContainerSummary {
    const { atMs, cpuNanosTotal } = stats;
    const rate =
      cpuNanosTotal === undefined ? undefined : this.#rates.nanoCores(id, atMs, cpuNanosTotal);
    const limit = containerNamed(pod, name)?.resources?.limits?.["memory"];
    return {
      name,
      startTime: startedAtMs,
      cpu: cpuStats(atMs, cpuNanosTotal, rate),
      memory: containerMemory(stats, amountOf("memory", limit)),
    };
  }

  async #pod(usage: PodUsage): Promise<PodSummary> {
    const { host, places, clock } = this.#world;
    const { pod, createdAtMs } = usage;
    const { name, namespace, uid } = pod.metadata;
    const whole = await host.cgroup(podCgroup(places.cgroupRoot, pod)).usage();
    const now = clock.now();
    const containers = usage.containers
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map((one) => this.#container(one, usage));
    return {
      podRef: { name, namespace, uid },
      startTime: createdAtMs,
      containers,
      ...(whole === undefined
        ? {}
        : {
            cpu: cpuStats(
              now,
              whole.cpuNanosTotal,
              this.#rates.nanoCores(uid, now, whole.cpuNanosTotal),
            ),
            memory: memoryStats(now, whole, whole.memoryBytes, podLimits(pod).get("memory")),
            process_stats: { process_count: whole.processes },
          }),
    };
  }

  async #podWithDisk(
    usage: PodUsage,
    root: Filesystem,
    network: SandboxStats | undefined,
  ): Promise<PodSummary> {
    const { clock, host } = this.#world;
    const [pod, disk] = await Promise.all([
      this.#pod(usage),
      readPodDiskUse(this.#world, usage.pod),
    ]);
    const now = clock.now();
    const containers = pod.containers.map((one): ContainerSummary => {
      const stats = usage.containers.find(({ name }) => name === one.name)?.stats;
      const layer = {
        usedBytes: stats?.writableLayerBytes ?? 0,
        inodes: stats?.writableLayerInodes ?? 0,
      };
      const logs = disk.logs.get(one.name) ?? { usedBytes: 0, inodes: 0 };
      return { ...one, rootfs: fsStats(now, root, layer), logs: fsStats(now, root, logs) };
    });
    const volume = await Promise.all(
      disk.volumes.map(async ({ volume, hostPath, ...use }): Promise<VolumeStats> => {
        const claim =
          volume.persistentVolumeClaim?.claimName ??
          (volume.ephemeral === undefined ? undefined : `${pod.podRef.name}-${volume.name}`);
        return {
          ...fsStats(now, await host.filesystem(hostPath), use),
          name: volume.name,
          ...(claim === undefined
            ? {}
            : { pvcRef: { name: claim, namespace: pod.podRef.namespace } }),
        };
      }),
    );
    const parts = [
      ...usage.containers.map((one) => containerDiskUse(one, disk)),
      ephemeralVolumeUse(disk),
    ];
    const all = {
      usedBytes: parts.reduce((sum, one) => sum + one.usedBytes, 0),
      inodes: parts.reduce((sum, one) => sum + one.inodes, 0),
    };
    const traffic = sandboxNetwork(network);
    return {
      ...pod,
      containers,
      ...(traffic === undefined ? {} : { network: traffic }),
      ...(volume.length === 0 ? {} : { volume }),
      "ephemeral-storage": fsStats(now, root, all),
    };
  }

  async #node(): Promise<NodeSummary> {
    const { host, nodeName, places, clock } = this.#world;
    const [facts, usage, pods, stat] = await Promise.all([
      host.facts(),
      host.usage(),
      host.cgroup(places.cgroupRoot).usage(),
      this.#text("/proc/stat"),
    ]);
    const now = clock.now();
    const startTime = bootTimeMsOf(stat) ?? this.#world.startedAtMs;
    const rate = this.#rates.nanoCores("node", now, usage.cpuNanosTotal);
    return {
      nodeName,
      systemContainers:
        pods === undefined
          ? []
          : [
              {
                name: "pods",
                startTime,
                cpu: cpuStats(
                  now,
                  pods.cpuNanosTotal,
                  this.#rates.nanoCores("pods", now, pods.cpuNanosTotal),
                ),
                memory: memoryStats(now, pods, pods.memoryBytes, facts.memoryBytes),
              },
            ],
      startTime,
      cpu: cpuStats(now, usage.cpuNanosTotal, rate),
      memory: memoryStats(now, usage, usage.memoryUsageBytes, facts.memoryBytes),
      swap: {
        time: now,
        swapAvailableBytes: Math.max(0, facts.swapBytes - usage.swapUsageBytes),
        swapUsageBytes: usage.swapUsageBytes,
      },
    };
  }

  async #nodeDisk(root: Filesystem): Promise<Partial<NodeSummary>> {
    const { host, runtime, clock } = this.#world;
    const images = await runtime.imageFilesystem();
    const [filesystem, devices, routes, load, most] = await Promise.all([
      host.filesystem(images.mountpoint),
      this.#text("/proc/net/dev"),
      this.#text("/proc/net/route"),
      this.#text("/proc/loadavg"),
      this.#text("/proc/sys/kernel/pid_max"),
    ]);
    const now = clock.now();
    const imageFs = { ...wholeFs(now, filesystem), usedBytes: images.usedBytes };
    const network = networkStats(now, interfacesOf(devices), defaultInterfaceOf(routes));
    const threads = threadsOf(load);
    return {
      fs: wholeFs(now, root),
      // They are one file system: the runtime's own.
      runtime: { imageFs, containerFs: imageFs },
      ...(network === undefined ? {} : { network }),
      ...(threads === undefined
        ? {}
        : { rlimit: { time: now, maxpid: Number(most.trim()), curproc: threads } }),
    };
  }

  async #text(path: string): Promise<string> {
    const bytes = await this.#world.host.read(path);
    return bytes === undefined ? "" : new TextDecoder().decode(bytes);
  }
}

async function inBatches<A, B>(all: readonly A[], each: (one: A) => Promise<B>): Promise<B[]> {
  const done: B[] = [];
  for (let at = 0; at < all.length; at += podsAtOnceMax)
    done.push(...(await Promise.all(all.slice(at, at + podsAtOnceMax).map(each))));
  return done;
}
