/**
 * A crash on purpose: what a power failure does to a node of this machine. Every process of it ends at once and nobody is told; what the
 * kernel kept for it is gone as after a boot; what lies on the disk stays as it lay. Touches what is the node's own, nothing else.
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { linuxDataplane } from "#adapters/linux/dataplane.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import type { Allotment, ClusterPaths } from "./allotment.ts";
import { clusterOf, leaveNamespace } from "./further-nodes.ts";
import { endProcesses } from "./purge.ts";
import { quietLog } from "./quiet-log.ts";
import { clearNode } from "./real-node.ts";
import { readKept } from "./settings.ts";

/** A process that a killed one was just starting is found by the next look. */
const looksMax = 100;
const lookMs = 20;

/** Its containerd and that one's shims name its folders; its containers are in its cgroups. */
async function processesOf(paths: ClusterPaths): Promise<number[]> {
  const folders = [`${paths.engineRun}/`, `${paths.data}/`];
  const group = paths.cgroupRoot === "/" ? "/kubepods/" : `${paths.cgroupRoot}/kubepods/`;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const mine = await Promise.all(
    pids.map(async (pid) => {
      const read = (file: string) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
      const words = (await read("cmdline")).split("\0");
      if (words[0]?.split("/").at(-1)?.startsWith("containerd"))
        return words.some((word) => folders.some((folder) => word.startsWith(folder)));
      return (await read("cgroup")).split("\n").some((line) => line.includes(`:${group}`));
    }),
  );
  return pids.filter((_, at) => mine[at]).map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself meanwhile.
    if ((error as { code?: string }).code !== "ESRCH") throw error;
  }
}

export async function crashNode(allotment: Allotment, paths: ClusterPaths): Promise<void> {
  // First whoever would see the others end, and say so or start them again.
  await endProcesses(paths);
  if (readKept(paths.settings)?.runtime !== "containerd") return;
  for (let looks = 0; ; looks++) {
    const left = await processesOf(paths);
    if (left.length === 0) break;
    if (looks === looksMax)
      throw new Error(`these processes do not end, not even by SIGKILL: ${left.join(", ")}`);
    for (const pid of left) kill(pid);
    await sleep(lookMs);
  }
  const cluster = clusterOf(allotment);
  if (cluster !== undefined) await leaveNamespace(cluster, allotment);
  const host = await linuxHost();
  const dataplane = linuxDataplane({
    table: paths.nftTable,
    stateDirectory: `${paths.run}/nft`,
    routeProtocol: paths.routeProtocol,
    log: quietLog(),
  });
  await clearNode({ host, dataplane }, paths, false);
  const folders = [`${paths.engineRun}/`, `${paths.data}/`];
  const mounts = (await host.mounts()).filter(({ target }) =>
    folders.some((folder) => target.startsWith(folder)),
  );
  for (const { target } of mounts.toReversed()) await host.unmount(target);
  await rm(paths.engineRun, { recursive: true, force: true });
}
