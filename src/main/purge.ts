/** Takes everything of a cluster off this machine: processes, pods, mounts, rules, files, its entry in the register. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { processStartTime } from "#adapters/containerd/engine.ts";
import { findTools } from "#adapters/containerd/tools.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { type Allotment, type ClusterPaths, releaseAllotment } from "./allotment.ts";
import { type ProcessRecord, processFile } from "./process-record.ts";
import { quietLog } from "./quiet-log.ts";
import { clearNode, openRealNode, stopAllPods } from "./real-node.ts";
import { readKept } from "./settings.ts";

const graceSeconds = 30;

/** Ends a process that does not answer, and first the shell that would start it again. */
export async function endProcesses(paths: ClusterPaths): Promise<void> {
  const file = processFile(paths);
  if (!existsSync(file)) return;
  const { supervisor, daemon } = JSON.parse(readFileSync(file, "utf8")) as {
    supervisor?: ProcessRecord;
    daemon: ProcessRecord;
  };
  for (const record of [supervisor, daemon]) {
    if (record === undefined || (await processStartTime(record.pid)) !== record.startTime) continue;
    process.kill(record.pid, "SIGKILL");
  }
  rmSync(file, { force: true });
}

/** What runs on a node whose cluster's process is gone: pods, containerd, rules; with `purge` their files too. */
export async function clearRealNode(
  allotment: Allotment,
  paths: ClusterPaths,
  purge: boolean,
): Promise<void> {
  const kept = readKept(paths.settings);
  if (kept?.runtime !== "containerd") return;
  const tools = await findTools(process.env["PATH"] ?? "");
  // Without containerd nothing of ours can run here.
  if (tools.some(({ path }) => path === undefined)) return;
  const log = quietLog();
  const settings = { ...kept, name: allotment.name };
  const node = await openRealNode(paths, settings, systemNetwork(log), log);
  try {
    await stopAllPods(node, graceSeconds);
  } finally {
    node.close();
    await node.engine?.stop();
  }
  await clearNode(node, paths, purge);
  if (!purge || node.engine === undefined) return;
  // What a containerd that died left mounted below its state.
  const left = (await node.host.mounts()).filter(
    ({ target }) => below(paths.engineRun, target) || below(paths.data, target),
  );
  for (const { target } of left.toReversed()) await node.host.unmount(target);
}

const below = (folder: string, path: string): boolean => path.startsWith(`${folder}/`);

/** After its processes have ended. */
export async function removeCluster(allotment: Allotment, paths: ClusterPaths): Promise<void> {
  await clearRealNode(allotment, paths, true);
  rmSync(paths.data, { recursive: true, force: true });
  // It may be a link to them.
  rmSync(allotment.dataDirectory, { recursive: true, force: true });
  rmSync(paths.engineRun, { recursive: true, force: true });
  releaseAllotment(allotment.name);
}
