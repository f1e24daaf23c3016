/** The cluster that the suite runs against: its own name and data, every image loaded. Started and removed as a user would. */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { clusterFolder, kubeconfig, wherryProgram } from "./paths.ts";
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
