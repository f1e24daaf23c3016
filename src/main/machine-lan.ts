/**
 * Several real nodes on one machine: each further node has a network namespace of its own, on a bridge with this machine, and from
 * there it joins as a machine far away would. Everything derives from the cluster's number; made anew after a boot.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import type { Allotment } from "./allotment.ts";

const run = promisify(execFile);
const ip = (...words: string[]) => run("ip", words);

const networkOf = (index: number): string => `172.29.${index}`;
/** Interfaces have 15 signs at most. */
const bridgeOf = (index: number): string => `wherry${index}`;
const cableOf = (index: number, number: number): string => `wh${index}n${number}`;
const tableOf = ({ name }: Allotment): string => `wherry-lan-${name}`;

/** This machine's address for its further nodes. */
export const gatewayOf = ({ index }: Allotment): string => `${networkOf(index)}.1`;
export const addressOf = ({ index }: Allotment, number: number): string =>
  `${networkOf(index)}.${number}`;
export const namespaceOf = ({ name }: Allotment, number: number): string =>
  `wherry-${name}-${number}`;
const pathOf = (namespace: string): string => `/run/netns/${namespace}`;

/** The bridge, and the way out for what is behind it. */
export async function provideBridge(allotment: Allotment): Promise<void> {
  const { index } = allotment;
  const bridge = bridgeOf(index);
  if (!existsSync(`/sys/class/net/${bridge}`)) {
    await ip("link", "add", bridge, "type", "bridge");
    // Pods of the nodes are routed, not bridged: the bridge never looks into their packets.
    const hex = index.toString(16).padStart(2, "0");
    await ip("link", "set", bridge, "address", `0a:58:ac:1d:${hex}:01`);
  }
  await ip("addr", "replace", `${gatewayOf(allotment)}/24`, "dev", bridge);
  await ip("link", "set", bridge, "up");
  const table = `ip ${tableOf(allotment)}`;
  const rules = [
    `add table ${table}`,
    `delete table ${table}`,
    `add table ${table}`,
    `add chain ${table} out { type nat hook postrouting priority srcnat; }`,
    `add rule ${table} out ip saddr ${networkOf(index)}.0/24 oifname != { "${bridge}", "veth*" } masquerade`,
  ];
  for (const rule of rules) await run("nft", rule.split(" "));
}

/** The namespace of the n-th node (from 2), with its cable to the bridge. */
export async function provideNamespace(allotment: Allotment, number: number): Promise<void> {
  const namespace = namespaceOf(allotment, number);
  const cable = cableOf(allotment.index, number);
  if (!existsSync(pathOf(namespace))) await ip("netns", "add", namespace);
  const inside = (...words: string[]) => ip("-n", namespace, ...words);
  await inside("link", "set", "lo", "up");
  if (!existsSync(`/sys/class/net/${cable}`)) {
    await ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace);
  }
  await ip("link", "set", cable, "master", bridgeOf(allotment.index), "up");
  await inside("addr", "replace", `${addressOf(allotment, number)}/24`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("route", "replace", "default", "via", gatewayOf(allotment));
}

/** What starts a program as if on that node: its network, and a host name of its own. */
export const insideOf = (allotment: Allotment, number: number, nodeName: string): string[] => [
  "nsenter",
  `--net=${pathOf(namespaceOf(allotment, number))}`,
  "unshare",
  "--uts",
  "sh",
  "-c",
  'hostname "$0"; exec "$@"',
  nodeName,
];

export async function removeNamespace(allotment: Allotment, number: number): Promise<void> {
  const cable = cableOf(allotment.index, number);
  if (existsSync(`/sys/class/net/${cable}`)) await ip("link", "del", cable);
  const namespace = namespaceOf(allotment, number);
  if (existsSync(pathOf(namespace))) await ip("netns", "del", namespace);
}

/** After the namespaces. */
export async function removeBridge(allotment: Allotment): Promise<void> {
  const bridge = bridgeOf(allotment.index);
  if (!existsSync(`/sys/class/net/${bridge}`)) return;
  await ip("link", "del", bridge);
  await run("nft", ["delete", "table", "ip", tableOf(allotment)]).catch(() => undefined);
}
