/** The cluster that the suite runs against: its own name and data, every image loaded. Started and removed as a user would. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostsFile, type Registry, startRegistry } from "../registry/registry.ts";
import { clusterFolder, kubeconfig, wherryProgram } from "./paths.ts";
import { toolProgram } from "./programs.ts";
import { must } from "./run.ts";

const wherry = (...args: string[]): Promise<string> =>
  must(process.execPath, [wherryProgram, ...args], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });

export interface ClusterChoice {
  readonly name: string;
  readonly nodes: string;
}

export async function startCluster(
  { name, nodes }: ClusterChoice,
  images: readonly string[],
): Promise<void> {
  await removeCluster(name);
  mkdirSync(clusterFolder, { recursive: true });
  const data = ["--data-dir", join(clusterFolder, "data")];
  await wherry("up", "--name", name, "--nodes", nodes, ...data, "--timeout", "180s");
  await wherry("image", "load", "--name", name, ...images);
}

/**
 * Pods whose images are always pulled find them: a registry of our own serves the archives at the first node's address, and the cluster's
 * mirror file names it in place of upstream's.
 */
export async function serveImages(archives: readonly string[]): Promise<Registry> {
  const address = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}";
  const host = await must(toolProgram("kubectl"), [
    "--kubeconfig",
    kubeconfig,
    "get",
    "nodes",
    "--sort-by=.metadata.creationTimestamp",
    "-o",
    address,
  ]);
  const registry = await startRegistry({ archives, host });
  const folder = join(clusterFolder, "data", "certs.d", "registry.k8s.io");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "hosts.toml"), hostsFile(registry.address));
  return registry;
}

export async function removeCluster(name: string): Promise<void> {
  await wherry("down", "--name", name, "--purge");
  rmSync(clusterFolder, { recursive: true, force: true });
  rmSync(kubeconfig, { force: true });
}

export function clusterRuns(name: string): Promise<boolean> {
  return wherry("status", "--name", name, "-o", "json").then(
    () => existsSync(kubeconfig),
    () => false,
  );
}
