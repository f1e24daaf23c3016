/**
 * The further real nodes of a cluster on one machine (`wherry up --nodes 3`): each a process of its own that has joined from its own
 * network namespace. They outlive the cluster's process, and are found again by their control sockets.
 */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { Node } from "#api/core/v1/node.ts";
import type { Client } from "#client/client.ts";
import { certificateHash } from "#cluster/join-token.ts";
import { createToken, deleteToken } from "#cluster/join-tokens.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import { type Allotment, allAllotments, allot, findAllotment, pathsOf } from "./allotment.ts";
import { askStatus, askStop } from "./control.ts";
import {
  addressOf,
  gatewayOf,
  insideOf,
  provideBridge,
  provideNamespace,
  removeBridge,
  removeNamespace,
} from "./machine-lan.ts";
import { type Started, startDaemon } from "./supervisor.ts";

export interface FurtherNodes {
  /** Resolves when each has joined and is Ready; the first that cannot ends the wait with its reason. */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

export const nameOfNode = (cluster: string, number: number): string => `${cluster}-node-${number}`;
const tokenMs = 3_600_000;
const numberOf = ({ name }: Allotment): number => Number(/-(\d+)$/.exec(name)?.[1] ?? 0);

/** The cluster of this machine whose further node it is; undefined: it is none. */
export const clusterOf = ({ nodeOf }: Allotment): Allotment | undefined =>
  nodeOf === undefined ? undefined : findAllotment(nodeOf);
export const leaveNamespace = (cluster: Allotment, node: Allotment): Promise<void> =>
  removeNamespace(cluster, numberOf(node));

/** What starts a program on that node; its namespace is made anew where it is gone. */
export async function insideOfNode(cluster: Allotment, node: Allotment): Promise<string[]> {
  await provideBridge(cluster);
  await provideNamespace(cluster, numberOf(node));
  return insideOf(cluster, numberOf(node), node.name);
}

export const furtherNodesOf = (cluster: string): readonly Allotment[] =>
  allAllotments().filter(({ nodeOf }) => nodeOf === cluster);

export async function startFurtherNodes(options: {
  readonly allotment: Allotment;
  readonly count: number;
  readonly client: Client;
  readonly authority: string;
  readonly port: number;
  readonly network: Network;
  readonly log: Log;
}): Promise<FurtherNodes> {
  const { allotment, count, client, authority, port, network, log } = options;
  await provideBridge(allotment);
  for (const node of furtherNodesOf(allotment.name))
    if (numberOf(node) > count + 1) await removeFurther(allotment, node, network, client);
  const numbers = Array.from({ length: count }, (_, i) => i + 2);
  for (const number of numbers) await provideNamespace(allotment, number);
  const missing: { readonly number: number; readonly node: Allotment }[] = [];
  for (const number of numbers) {
    const name = nameOfNode(allotment.name, number);
    const node = allot(
      name,
      join(allotment.dataDirectory, "nodes", String(number)),
      allotment.name,
    );
    if ((await askStatus(network, pathsOf(node).controlSocket)) === undefined)
      missing.push({ number, node });
  }
  if (missing.length === 0)
    return { ready: Promise.resolve(), stop: () => stopFurther(allotment, network) };
  const ports = { crypto: systemCrypto, clock: systemClock };
  const description = "further nodes of this machine";
  const { id, secret } = await createToken(client, ports, { ttlMs: tokenMs, description });
  const token = `${id}.${secret}.${certificateHash(systemCrypto, authority)}`;
  const program = [process.execPath, realpathSync(process.argv[1] ?? "")];
  const started = missing.map(async ({ number, node }) => {
    const nodeName = node.name;
    const words = [
      "join",
      `--server=https://${gatewayOf(allotment)}:${port}`,
      `--token=${token}`,
      `--name=${node.name}`,
      `--node-name=${nodeName}`,
      `--node-ip=${addressOf(allotment, number)}`,
      "--foreground",
    ];
    const command = [...insideOf(allotment, number, nodeName), ...program, ...words];
    const daemon = startDaemon(command, pathsOf(node).log);
    await untilReady(node, daemon, (text) => log.write("info", `${nodeName}: ${text}`));
  });
  const ready = Promise.all(started).then(async () => deleteToken(client, id));
  // Whoever waits hears of it.
  ready.catch(() => undefined);
  return { ready, stop: () => stopFurther(allotment, network) };
}

/** Those that were stopped one by one, or died; each is Ready then. */
export async function restartFurtherNodes(cluster: Allotment, network: Network): Promise<void> {
  for (const node of furtherNodesOf(cluster.name)) {
    const paths = pathsOf(node);
    if ((await askStatus(network, paths.controlSocket)) !== undefined) continue;
    const program = [process.execPath, realpathSync(process.argv[1] ?? "")];
    const words = ["join", `--name=${node.name}`, "--foreground"];
    const inside = await insideOfNode(cluster, node);
    await untilReady(node, startDaemon([...inside, ...program, ...words], paths.log));
  }
}

async function untilReady(
  node: Allotment,
  daemon: Started,
  each: (progress: string) => void = () => {},
): Promise<void> {
  const last = await daemon.follow((progress) => {
    if ("say" in progress) each(progress.say);
  });
  daemon.release();
  if (last !== undefined && !("failed" in last)) return;
  const why = last === undefined ? `its process ended (${pathsOf(node).log})` : last.failed;
  throw new Error(`${node.name}: ${why}`);
}

/** Their pods too. */
async function stopFurther(allotment: Allotment, network: Network): Promise<void> {
  const nodes = furtherNodesOf(allotment.name);
  await Promise.all(nodes.map((node) => askStop(network, pathsOf(node).controlSocket)));
}

/** There are fewer nodes than there were: its pods go elsewhere. */
async function removeFurther(
  allotment: Allotment,
  node: Allotment,
  network: Network,
  client: Client,
): Promise<void> {
  const { endProcesses, removeCluster } = await import("./purge.ts");
  const paths = pathsOf(node);
  if (!(await askStop(network, paths.controlSocket))) await endProcesses(paths);
  await removeCluster(node, paths);
  await removeNamespace(allotment, numberOf(node));
  await client.delete(Node, { name: node.name }).catch((error: unknown) => {
    if (!isStatus(error, "NotFound")) throw error;
  });
}

/** After their processes have ended. */
export async function removeLan(allotment: Allotment, nodes: readonly Allotment[]): Promise<void> {
  for (const node of nodes) await removeNamespace(allotment, numberOf(node));
  await removeBridge(allotment);
}
