/** The cluster that the suite runs against: one node, its own name and data, every image loaded. Started and removed as a user would. */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { clusterFolder, clusterName, kubeconfig, wherryProgram } from "./paths.ts";
import { must } from "./run.ts";

const wherry = (...args: string[]): Promise<string> =>
  must(process.execPath, [wherryProgram, ...args], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });

export async function startCluster(images: readonly string[]): Promise<void> {
  await removeCluster();
  mkdirSync(clusterFolder, { recursive: true });
  const data = ["--data-dir", join(clusterFolder, "data")];
  await wherry("up", "--name", clusterName, ...data, "--timeout", "180s");
  await wherry("image", "load", "--name", clusterName, ...images);
}

export async function removeCluster(): Promise<void> {
  await wherry("down", "--name", clusterName, "--purge");
  rmSync(clusterFolder, { recursive: true, force: true });
  rmSync(kubeconfig, { force: true });
}

export function clusterRuns(): Promise<boolean> {
  return wherry("status", "--name", clusterName, "-o", "json").then(
    () => existsSync(kubeconfig),
    () => false,
  );
}
