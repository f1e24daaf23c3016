/** What of a cluster is still on this machine: processes, control groups, mounts, interfaces, network namespaces, tables of nft. */
import { execFileSync } from "node:child_process";
import { type Dirent, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const cgroups = "/sys/fs/cgroup";

/** Those whose command line or cgroup has the word in it. */
export function processesOf(word: string): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
        return line.includes(word) || groups.includes(word) ? [`${pid} ${line}`] : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

function foldersBelow(folder: string): string[] {
  let inside: Dirent[] = [];
  try {
    inside = readdirSync(folder, { withFileTypes: true });
  } catch {
    // It is gone meanwhile.
  }
  return inside
    .filter((one) => one.isDirectory())
    .flatMap(({ name }) => [join(folder, name), ...foldersBelow(join(folder, name))]);
}
export const cgroupsOf = (...words: readonly string[]): string[] =>
  foldersBelow(cgroups).filter((path) => words.some((word) => path.includes(word)));

const linesWith = (text: string, word: string): string[] =>
  text.split("\n").filter((line) => line.includes(word));

/** `pods`: their uids. Empty: nothing is left. */
export function leftoversOf(cluster: string, pods: readonly string[]): string[] {
  // As they stand in the paths of either driver.
  const uids = pods.flatMap((uid) => [uid, uid.replaceAll("-", "_")]);
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  const nft = execFileSync("nft", ["list", "tables"], { encoding: "utf8" });
  const runs = existsSync("/run/wherry") ? readdirSync("/run/wherry") : [];
  return [
    ...processesOf(cluster).map((one) => `process ${one}`),
    ...cgroupsOf(cluster, ...uids).map((one) => `cgroup ${one}`),
    ...[cluster, ...pods].flatMap((word) => linesWith(mounts, word)).map((one) => `mount ${one}`),
    ...namespaces.filter((one) => one.includes(cluster)).map((one) => `namespace ${one}`),
    ...linesWith(nft, cluster).map((one) => `nft ${one}`),
    ...runs.filter((one) => one.startsWith(cluster)).map((one) => `/run/wherry/${one}`),
  ];
}
