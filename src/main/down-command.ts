/**
 * `wherry down`: stops a cluster, or a node that joined one, its pods too; --purge deletes its data and everything else it left on the
 * machine; --crash stops it as a power failure would.
 */
import { existsSync, mkdirSync } from "node:fs";
import { lockDirectory } from "#adapters/nodejs/directory-lock.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import {
  type Allotment,
  type ClusterPaths,
  checkName,
  contextName,
  defaultName,
  findAllotment,
  pathsOf,
} from "./allotment.ts";
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { askStop } from "./control.ts";
import { crashNode } from "./crash.ts";
import { clusterOf, furtherNodesOf, leaveNamespace, removeLan } from "./further-nodes.ts";
import { readJoined } from "./joined.ts";
import { changeKubeconfig, kubeconfigPath, prunedKubeconfig } from "./kubeconfig.ts";
import { clearRealNode, endProcesses, removeCluster } from "./purge.ts";
import { quietLog } from "./quiet-log.ts";

export const downCommand: Command = {
  name: "down",
  summary:
    "Stops a cluster (or a node) of this machine; its pods stop too. Its data stay, unless --purge is given.",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster" },
    { name: "purge", help: "delete its data, logs, images and kubeconfig entries too" },
    {
      name: "crash",
      help: "stop it as a power failure would: all at once, nobody is told, data as they lie",
    },
    { name: "kubeconfig", value: "F", help: "the file to take the context out of (with --purge)" },
  ],
  run: down,
};

async function down(given: Arguments): Promise<number> {
  if (given.operands.length > 0)
    throw new UsageError(`wherry down takes no argument: ${given.operands[0]}`);
  if (given.switch("crash") && given.switch("purge"))
    throw new UsageError("--crash leaves the data, --purge deletes them: give one of the two.");
  const name = checkName(given.text("name") ?? defaultName);
  const allotment = findAllotment(name);
  if (allotment === undefined) {
    process.stdout.write(`There is no cluster ${name} on this machine; nothing to stop.\n`);
    return 0;
  }
  // Of a cluster whose folder somebody removed by hand the rest is still to be cleared.
  mkdirSync(allotment.dataDirectory, { recursive: true, mode: 0o750 });
  const lock = await lockDirectory(
    allotment.dataDirectory,
    (pid) =>
      `Another wherry down (process ${pid}) is taking cluster ${name} down already: wait until it has ended.`,
  );
  try {
    return await takeDown(given, allotment);
  } finally {
    await lock.release();
  }
}

/** They have stopped with the cluster, unless one of them, or the cluster's process, had died. */
async function takeFurtherNodesDown(allotment: Allotment, given: Arguments): Promise<void> {
  const nodes = furtherNodesOf(allotment.name);
  for (const node of nodes) {
    const paths = pathsOf(node);
    await stop(node, paths, given);
    if (given.switch("purge")) await removeCluster(node, paths);
  }
  await removeLan(allotment, nodes);
}

/** In order if its process answers; what runs without one is stopped from here. */
async function stop(allotment: Allotment, paths: ClusterPaths, given: Arguments): Promise<void> {
  if (given.switch("crash")) return crashNode(allotment, paths);
  if (await askStop(systemNetwork(quietLog()), paths.controlSocket)) return;
  await endProcesses(paths);
  await clearRealNode(allotment, paths, false);
}

async function takeDown(given: Arguments, allotment: Allotment): Promise<number> {
  const { name } = allotment;
  const paths = pathsOf(allotment);
  const joined = readJoined(paths);
  await stop(allotment, paths, given);
  const cluster = clusterOf(allotment);
  if (cluster !== undefined) await leaveNamespace(cluster, allotment);
  await takeFurtherNodesDown(allotment, given);
  const what = joined === undefined ? `Cluster ${name}` : `Node ${joined.nodeName}`;
  if (!given.switch("purge")) {
    const command = joined === undefined ? "wherry up" : "wherry join";
    const again = name === defaultName ? command : `${command} --name ${name}`;
    process.stdout.write(
      given.switch("crash")
        ? `${what} is dead: everything on it ended at once, and nobody was told. ${again} brings it back.\n`
        : `${what} is stopped; its data stay in ${allotment.dataDirectory} (wherry down --purge deletes them).\n`,
    );
    return 0;
  }
  await removeCluster(allotment, paths);
  if (joined !== undefined) {
    process.stdout.write(
      `${what} and its data are gone from this machine. Its cluster still lists it, as unreachable; where kubectl reaches the cluster: kubectl delete node ${joined.nodeName}\n`,
    );
    return 0;
  }
  const file = kubeconfigPath(given.text("kubeconfig"));
  if (existsSync(file))
    changeKubeconfig(file, (config) => prunedKubeconfig(config, contextName(name)));
  process.stdout.write(`${what} and its data are gone.\n`);
  return 0;
}
