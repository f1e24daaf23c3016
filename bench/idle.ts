/**
 * What a cluster costs that does nothing: one node, five pods, a minute. Memory (PSS, under 250 MB for all of wherry's processes), CPU
 * (under 1 % of a core), writes to disk (under 1 a second). containerd and its shims are stated beside. `idle SECONDS` measures longer.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Pod } from "#api/core/v1/pod.ts";
import {
  type BenchCluster,
  cpuSeconds,
  loadAverage,
  onCluster,
  ownProcesses,
  say,
  sleep,
} from "./machine/cluster.ts";
import { createPod, PodWatch, untilPodsMayCome } from "./machine/pods.ts";

const seconds = Number(process.argv[2] ?? 60);
const settleSeconds = 20;
const traceSeconds = 30;
const pods = 5;

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly command: string;
}

function readProcess(pid: number): Process {
  const stat = read(`/proc/${pid}/stat`);
  const end = stat.lastIndexOf(")");
  const fields = stat.slice(end + 2).split(" ");
  return {
    pid,
    name: stat.slice(stat.indexOf("(") + 1, end),
    parent: Number(fields[1] ?? 0),
    command: read(`/proc/${pid}/cmdline`),
  };
}

/** Wherry's own (the daemon, the shell that keeps it running, and their children), containerd, and its shims. */
function groups(cluster: BenchCluster): {
  wherry: number[];
  containerd: number[];
  shims: number[];
} {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)));
  const engine = all.filter(
    ({ name, command }) => name === "containerd" && command.includes(cluster.data),
  );
  const socket = `/run/wherry/${cluster.name}/`;
  const shims = all.filter(
    ({ name, command }) => name.startsWith("containerd-shim") && command.includes(socket),
  );
  const wherry = new Set(ownProcesses(cluster.data));
  const foreign = new Set(engine.map(({ pid }) => pid));
  for (let before = -1; before !== wherry.size; ) {
    before = wherry.size;
    for (const { pid, parent } of all) {
      if (wherry.has(parent) && !foreign.has(pid)) wherry.add(pid);
    }
  }
  return {
    wherry: [...wherry],
    containerd: [...foreign],
    shims: shims.map(({ pid }) => pid),
  };
}

const field = (text: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);

const megabytes = (pids: readonly number[], kind: "Pss" | "Rss"): number =>
  pids.reduce((sum, pid) => sum + field(read(`/proc/${pid}/smaps_rollup`), kind) * 1024, 0) / 1e6;

interface Use {
  readonly cpuSeconds: number;
  readonly writeCalls: number;
  readonly writtenBytes: number;
}
const useOf = (pids: readonly number[]): Use => {
  const io = pids.map((pid) => read(`/proc/${pid}/io`));
  return {
    cpuSeconds: cpuSeconds(pids),
    writeCalls: io.reduce((sum, text) => sum + field(text, "syscw"), 0),
    writtenBytes: io.reduce((sum, text) => sum + field(text, "write_bytes"), 0),
  };
};

/** Calls that reach the disk: writes to files of the data directory, and syncs. Undefined: there is no strace. */
async function traced(
  cluster: BenchCluster,
  pid: number,
): Promise<{ writes: number; syncs: number } | undefined> {
  const names = "write,pwrite64,writev,pwritev,fsync,fdatasync,msync,sync_file_range";
  const child = spawn("strace", ["-f", "-y", "-qq", "-e", `trace=${names}`, "-p", `${pid}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const ended = new Promise<boolean>((resolve) => {
    child.once("error", () => resolve(false));
    child.once("close", () => resolve(true));
  });
  const early = await Promise.race([ended, sleep(traceSeconds * 1000)]);
  if (early === false) return undefined;
  child.kill("SIGINT");
  await ended;
  const lines = said.split("\n").filter((line) => line.includes(`<${cluster.data}`));
  const syncs = lines.filter((line) => /sync\w*\(/.test(line)).length;
  return { writes: lines.length - syncs, syncs };
}

async function measure(cluster: BenchCluster, revision: () => Promise<number>): Promise<void> {
  const { wherry, containerd, shims } = groups(cluster);
  const before = [wherry, containerd, shims].map(useOf);
  const revisionBefore = await revision();
  const began = performance.now();
  await sleep(seconds * 1000);
  const passed = (performance.now() - began) / 1000;
  const after = [wherry, containerd, shims].map(useOf);
  const revisions = (await revision()) - revisionBefore;
  const spent = (group: number, what: keyof Use): number =>
    ((after[group]?.[what] ?? 0) - (before[group]?.[what] ?? 0)) / passed;
  say("memory of wherry, PSS", megabytes(wherry, "Pss"), "MB");
  say(
    "memory of wherry, RSS: what PSS were if nothing else ran Node",
    megabytes(wherry, "Rss"),
    "MB",
  );
  say("memory of containerd, PSS", megabytes(containerd, "Pss"), "MB");
  say(`memory of ${shims.length} shims, PSS`, megabytes(shims, "Pss"), "MB");
  say("CPU of wherry", spent(0, "cpuSeconds") * 100, "% of a core");
  say("CPU of containerd", spent(1, "cpuSeconds") * 100, "% of a core");
  say("CPU of the shims", spent(2, "cpuSeconds") * 100, "% of a core");
  say("store revisions", revisions / passed, "revisions/s");
  say("write calls of wherry, wake-ups and sockets too", spent(0, "writeCalls"), "calls/s");
  say("bytes that wherry sent to the disk", spent(0, "writtenBytes"), "B/s");
  say("bytes that containerd sent to the disk", spent(1, "writtenBytes"), "B/s");
}

await onCluster("bench-idle", async (cluster) => {
  await cluster.up();
  await cluster.loadImage();
  const { client, close } = await cluster.connect();
  await untilPodsMayCome(client);
  const watch = await PodWatch.start(client);
  const names = Array.from({ length: pods }, (_, n) => `pod-${n}`);
  await Promise.all(names.map((name) => createPod(client, name)));
  await Promise.all(names.map((name) => watch.running(name)));
  watch.stop();
  close();
  await sleep(settleSeconds * 1000);
  process.stdout.write(`load average before: ${loadAverage()}\n`);
  // Asked over a connection of its own each time: an open one would be no rest.
  await measure(cluster, async () => {
    const one = await cluster.connect();
    const { metadata } = await one.client.list(Pod, { limit: 1 });
    one.close();
    return Number(metadata.resourceVersion);
  });
  const [daemon = 0] = ownProcesses(cluster.data);
  const calls = await traced(cluster, daemon);
  if (calls === undefined) process.stdout.write("writes to disk: not counted, strace is missing\n");
  else {
    say("writes to disk, calls on files", calls.writes / traceSeconds, "writes/s");
    say("syncs to disk", calls.syncs / traceSeconds, "syncs/s");
  }
});
