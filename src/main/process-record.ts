/** Which processes a cluster runs as, so that they can be ended when they no longer answer. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { processStartTime } from "#adapters/containerd/engine.ts";
import type { ClusterPaths } from "./allotment.ts";

/** The start time tells a process from a later one with its number. */
export interface ProcessRecord {
  readonly pid: number;
  readonly startTime: string;
}

export const processFile = (paths: ClusterPaths): string => join(paths.run, "process.json");

const recordOf = async (pid: number): Promise<ProcessRecord> => ({
  pid,
  startTime: (await processStartTime(pid)) ?? "",
});

/** Of this process and, if a shell keeps it running, of that shell. */
export async function recordProcesses(paths: ClusterPaths, supervised: boolean): Promise<void> {
  const file = processFile(paths);
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  const record = {
    daemon: await recordOf(process.pid),
    ...(supervised ? { supervisor: await recordOf(process.ppid) } : {}),
  };
  writeFileSync(`${file}.new`, JSON.stringify(record));
  renameSync(`${file}.new`, file);
}
