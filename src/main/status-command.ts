/** `wherry status`: what runs where, versions, health, resource use. */
import { systemNetwork } from "#adapters/nodejs/network.ts";
import {
  allAllotments,
  checkName,
  contextName,
  defaultName,
  findAllotment,
  pathsOf,
} from "./allotment.ts";
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { askStatus, type ClusterStatus } from "./control.ts";
import { isJoined } from "./joined.ts";
import { quietLog } from "./quiet-log.ts";

export const statusCommand: Command = {
  name: "status",
  summary: "Says what runs where, versions, health and resource use of a cluster on this machine.",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster" },
    { name: "output", short: "o", value: "json", help: "as JSON, for programs" },
  ],
  run: status,
};

async function status(given: Arguments): Promise<number> {
  const name = checkName(given.text("name") ?? defaultName);
  const format = given.text("output");
  if (format !== undefined && format !== "json")
    throw new UsageError(`-o ${format}: only json is known.`);
  const allotment = findAllotment(name);
  const others = allAllotments().filter((one) => one.name !== name && one.nodeOf === undefined);
  if (allotment === undefined) {
    const hint =
      others.length === 0 ? "" : ` There are: ${others.map((one) => one.name).join(", ")}.`;
    process.stderr.write(
      `There is no cluster ${name} on this machine.${hint} wherry up makes one.\n`,
    );
    return 1;
  }
  const joined = isJoined(pathsOf(allotment));
  const found = await askStatus(systemNetwork(quietLog()), pathsOf(allotment).controlSocket);
  if (format === "json") {
    process.stdout.write(`${JSON.stringify(found ?? { name, running: false }, null, 2)}\n`);
    return found === undefined ? 1 : 0;
  }
  if (found === undefined) {
    const again = `wherry ${joined ? "join" : "up"}${name === defaultName ? "" : ` --name ${name}`}`;
    process.stdout.write(
      `${joined ? "Node" : "Cluster"} ${name} is stopped; its data are in ${allotment.dataDirectory}. ${again} starts it.\n`,
    );
    return 1;
  }
  process.stdout.write(describe(found, joined));
  return found.ready ? 0 : 1;
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

function describe(found: ClusterStatus, joined: boolean): string {
  const since = Math.max(0, Math.round((Date.now() - Date.parse(found.startedAt)) / 1000));
  const lines = [
    `${joined ? "Node   " : "Cluster"}    ${found.name}${joined ? "" : ` (context ${contextName(found.name)})`}, ${found.ready ? "ready" : "not ready"}`,
    `Server     ${found.server}, Kubernetes ${found.kubernetesVersion}, wherry ${found.version}`,
    `Process    ${found.pid}, up ${since} s, ${mebibytes(found.memoryBytes)}, ${found.cpuSeconds.toFixed(1)} s of CPU, event loop ${(found.eventLoopUtilization * 100).toFixed(1)} % busy`,
    `Runtime    ${found.runtime}${found.containerd === undefined ? "" : `: containerd ${found.containerd.version}, process ${found.containerd.pid}, ${mebibytes(found.containerd.memoryBytes)}`}`,
    `Data       ${found.dataDirectory}, revision ${found.revision}`,
    `Pods       ${found.pods.running} running of ${found.pods.total}`,
    "Nodes",
    ...found.nodes.map(
      (node) => `  ${node.name}  ${node.ready ? "Ready" : "NotReady"}  ${node.pods} pods`,
    ),
    "Components",
    ...found.components.map(
      (one) => `  ${one.name.padEnd(20)} ${one.healthy ? "healthy" : `unhealthy: ${one.message}`}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
