/** `wherry down`: stops a cluster, its pods too; --purge deletes its data and everything else it left on the machine. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { processStartTime } from "#adapters/containerd/engine.ts";
import { findTools } from "#adapters/containerd/tools.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import {
  type Allotment,
  type ClusterPaths,
  checkName,
  contextName,
  defaultName,
  findAllotment,
  pathsOf,
  releaseAllotment,
} from "./allotment.ts";
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { askStop } from "./control.ts";
import { changeKubeconfig, kubeconfigPath, prunedKubeconfig } from "./kubeconfig.ts";
import { type ProcessRecord, processFile } from "./process-record.ts";
import { quietLog } from "./quiet-log.ts";
import { clearNode, openRealNode, stopAllPods } from "./real-node.ts";
import { readKept } from "./settings.ts";

export const downCommand: Command = {
  name: "down",
  summary:
    "Stops a cluster of this machine; its pods stop too. Its data stay, unless --purge is given.",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster" },
    { name: "purge", help: "delete its data, logs, images and kubeconfig entries too" },
    { name: "kubeconfig", value: "F", help: "the file to take the context out of (with --purge)" },
  ],
  run: down,
};

const graceSeconds = 30;

async function down(given: Arguments): Promise<number> {
  if (given.operands.length > 0)
    throw new UsageError(`wherry down takes no argument: ${given.operands[0]}`);
  const name = checkName(given.text("name") ?? defaultName);
  const allotment = findAllotment(name);
  if (allotment === undefined) {
    process.stdout.write(`There is no cluster ${name} on this machine; nothing to stop.\n`);
    return 0;
  }
  const paths = pathsOf(allotment);
  const stopped = await askStop(systemNetwork(quietLog()), paths.controlSocket);
  if (!stopped) await endProcesses(paths);
  const purge = given.switch("purge");
  const kept = readKept(paths.settings);
  if (kept?.runtime === "containerd" && (!stopped || purge))
    await clearRealNode(allotment, paths, purge);
  if (!purge) {
    process.stdout.write(
      `Cluster ${name} is stopped; its data stay in ${allotment.dataDirectory} (wherry down --purge deletes them).\n`,
    );
    return 0;
  }
  rmSync(allotment.dataDirectory, { recursive: true, force: true });
  rmSync(paths.engineRun, { recursive: true, force: true });
  releaseAllotment(name);
  const file = kubeconfigPath(given.text("kubeconfig"));
  if (existsSync(file))
    changeKubeconfig(file, (config) => prunedKubeconfig(config, contextName(name)));
  process.stdout.write(`Cluster ${name} and its data are gone.\n`);
  return 0;
}

/** A process that does not answer, and the shell that would start it again. */
async function endProcesses(paths: ClusterPaths): Promise<void> {
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

async function clearRealNode(
  allotment: Allotment,
  paths: ClusterPaths,
  purge: boolean,
): Promise<void> {
  const missing = (await findTools(process.env["PATH"] ?? "")).filter(
    (tool) => tool.path === undefined,
  );
  // Without containerd nothing of ours can run here.
  if (missing.length > 0) return;
  const log = quietLog();
  const settings = { name: allotment.name, containerdSocket: undefined };
  const node = await openRealNode(paths, settings, systemNetwork(log), log);
  try {
    await stopAllPods(node, graceSeconds);
  } finally {
    node.close();
    await node.engine?.stop();
  }
  await clearNode(node, paths, purge);
}
