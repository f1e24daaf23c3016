/** `wherry down`: stops a cluster, its pods too; --purge deletes its data and everything else it left on the machine. */
import { existsSync, mkdirSync } from "node:fs";
import { lockDirectory } from "#adapters/nodejs/directory-lock.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import {
  type Allotment,
  checkName,
  contextName,
  defaultName,
  findAllotment,
  pathsOf,
} from "./allotment.ts";
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { askStop } from "./control.ts";
import { furtherNodesOf, removeLan } from "./further-nodes.ts";
import { changeKubeconfig, kubeconfigPath, prunedKubeconfig } from "./kubeconfig.ts";
import { clearRealNode, endProcesses, removeCluster } from "./purge.ts";
import { quietLog } from "./quiet-log.ts";

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

async function down(given: Arguments): Promise<number> {
  if (given.operands.length > 0)
    throw new UsageError(`wherry down takes no argument: ${given.operands[0]}`);
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
async function takeFurtherNodesDown(allotment: Allotment, purge: boolean): Promise<void> {
  const nodes = furtherNodesOf(allotment.name);
  const network = systemNetwork(quietLog());
  for (const node of nodes) {
    const paths = pathsOf(node);
    if (!(await askStop(network, paths.controlSocket))) {
      await endProcesses(paths);
      await clearRealNode(node, paths, false);
    }
    if (purge) await removeCluster(node, paths);
  }
  await removeLan(allotment, nodes);
}

async function takeDown(given: Arguments, allotment: Allotment): Promise<number> {
  const { name } = allotment;
  const paths = pathsOf(allotment);
  const stopped = await askStop(systemNetwork(quietLog()), paths.controlSocket);
  if (!stopped) {
    await endProcesses(paths);
    await clearRealNode(allotment, paths, false);
  }
  await takeFurtherNodesDown(allotment, given.switch("purge"));
  if (!given.switch("purge")) {
    process.stdout.write(
      `Cluster ${name} is stopped; its data stay in ${allotment.dataDirectory} (wherry down --purge deletes them).\n`,
    );
    return 0;
  }
  await removeCluster(allotment, paths);
  const file = kubeconfigPath(given.text("kubeconfig"));
  if (existsSync(file))
    changeKubeconfig(file, (config) => prunedKubeconfig(config, contextName(name)));
  process.stdout.write(`Cluster ${name} and its data are gone.\n`);
  return 0;
}
