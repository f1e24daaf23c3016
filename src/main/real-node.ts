/**
 * What a real node stands on: containerd (our own, or the one at --containerd), the Linux host, the nftables dataplane. Also used without a
 * running cluster, to stop what an earlier life left running.
 */
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Engine, startEngine } from "#adapters/containerd/engine.ts";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { findProgram } from "#adapters/containerd/tools.ts";
import { linuxDataplane } from "#adapters/linux/dataplane.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import { pauseImageArchive, pauseReference } from "#node/image/archive.ts";
import type { Dataplane } from "#ports/dataplane.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import type { Runtime } from "#ports/runtime.ts";
import type { ClusterPaths } from "./allotment.ts";
import type { ClusterSettings } from "./settings.ts";

export interface RealNode {
  readonly host: Host;
  readonly runtime: Runtime;
  readonly dataplane: Dataplane;
  /** Undefined with --containerd: that one is not ours. */
  readonly engine: Engine | undefined;
  /** Tells the CNI plugins which addresses pods get. */
  readonly setPodCidrs: (cidrs: readonly string[]) => Promise<void>;
  /** Sandboxes of this cluster carry these. */
  readonly runtimeLabels: Readonly<Record<string, string>>;
  readonly close: () => void;
}

const readyMsMax = 30_000;
const clusterLabel = "io.wherry.cluster";

export async function openRealNode(
  paths: ClusterPaths,
  settings: Pick<ClusterSettings, "name" | "containerdSocket">,
  network: Network,
  log: Log,
): Promise<RealNode> {
  const host = await linuxHost();
  const path = process.env["PATH"] ?? "";
  await mkdir(paths.run, { recursive: true, mode: 0o711 });
  const engine =
    settings.containerdSocket === undefined
      ? await startEngine({
          dataDirectory: join(paths.data, "containerd"),
          runDirectory: paths.engineRun,
          registryDirectories: paths.registries,
          networkName: `wherry-${settings.name}`,
          sandboxImage: pauseReference,
          path,
          readyMsMax,
        })
      : undefined;
  const socket = engine?.socket ?? settings.containerdSocket ?? "";
  const ctr = engine?.ctr ?? (await findProgram("ctr", path)) ?? "ctr";
  const imageVolumes = join(paths.data, "image-volumes");
  const runtime = containerdRuntime({ rpc: systemRpc, network, socket, ctr, imageVolumes });
  // Which image a containerd that is not ours makes sandboxes of is in its own configuration.
  if (engine !== undefined) await providePauseImage(runtime, paths);
  return {
    host,
    runtime,
    engine,
    dataplane: linuxDataplane({
      table: paths.nftTable,
      stateDirectory: join(paths.run, "nft"),
      routeProtocol: paths.routeProtocol,
      log: log.child("dataplane"),
    }),
    setPodCidrs: async (cidrs) => engine?.writeNetwork(cidrs),
    runtimeLabels: { [clusterLabel]: settings.name },
    close: () => runtime.close(),
  };
}

/** Built here, not pulled. */
async function providePauseImage(runtime: Runtime, paths: ClusterPaths): Promise<void> {
  if ((await runtime.imageStatus(pauseReference)) !== undefined) return;
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const file = join(paths.run, "pause.tar");
  await writeFile(
    file,
    pauseImageArchive(architecture, (bytes) => systemCrypto.digest(bytes)),
  );
  await runtime.loadImage(file);
  await rm(file);
}

/**
 * Stops and removes every pod of the cluster; `graceSeconds` for each container. In a containerd of our own that is all
 * there is: also what somebody made there by hand would hold its mounts and cgroups.
 */
export async function stopAllPods(
  node: Pick<RealNode, "runtime" | "runtimeLabels" | "engine">,
  graceSeconds: number,
): Promise<void> {
  const { runtime } = node;
  const runtimeLabels = node.engine === undefined ? node.runtimeLabels : {};
  const containers = await runtime.listContainers(runtimeLabels);
  await Promise.all(
    containers
      .filter(({ state }) => state === "running")
      .map(({ id }) => runtime.stopContainer(id, graceSeconds)),
  );
  await Promise.all(
    (await runtime.listSandboxes(runtimeLabels)).map(async ({ id }) => {
      await runtime.stopSandbox(id);
      await runtime.removeSandbox(id);
    }),
  );
}

/** After the pods: mounts below the kubelet's folder, cgroups, and with `purge` every file. */
export async function clearNode(
  node: Pick<RealNode, "host" | "dataplane">,
  paths: ClusterPaths,
  purge: boolean,
): Promise<void> {
  const { host, dataplane } = node;
  await dataplane.remove();
  const below = (await host.mounts()).filter(({ target }) =>
    target.startsWith(`${paths.kubelet}/`),
  );
  for (const { target } of below.toReversed()) await host.unmount(target);
  const pods = join(paths.cgroupRoot, "kubepods");
  for (const group of [`${pods}/besteffort`, `${pods}/burstable`, pods]) {
    for (const child of await host.cgroup(group).children()) {
      if (child.startsWith("pod")) await host.cgroup(`${group}/${child}`).remove();
    }
    await host.cgroup(group).remove();
  }
  if (paths.cgroupRoot !== "/") await host.cgroup(paths.cgroupRoot).remove();
  if (!purge) return;
  for (const folder of [paths.kubelet, paths.podLogs, join(paths.data, "containerd")]) {
    if (existsSync(folder)) await host.remove(folder);
  }
}
