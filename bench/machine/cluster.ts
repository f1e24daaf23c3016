/**
 * A cluster of its own for a bench: started, killed and taken down through the built program, as a user does it; asked through the
 * API with the administrator's certificate. Needs root, containerd and Linux. Leaves nothing behind.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { type Client, createClient } from "#client/client.ts";
import { remoteHandler } from "#client/remote.ts";
import { readYaml } from "#machinery/yaml.ts";
import { imageArchive } from "#node/image/archive.ts";
import { pauseProgram } from "#node/image/pause.ts";
import type { Log } from "#ports/log.ts";

export const silent: Log = { write: () => {}, child: () => silent };
export const network = systemNetwork(silent);

/** Of the machine, over the last minute: a figure of a busy machine says little. */
export const loadAverage = (): string => readFileSync("/proc/loadavg", "utf8").split(" ")[0] ?? "";

export function say(name: string, value: number, unit: string): void {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 2 : 3;
  process.stdout.write(`${name}: ${value.toFixed(digits)} ${unit}\n`);
}
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
export const median = (values: readonly number[]): number => percentile(values, 0.5);

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** USER_HZ: the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** A program of a few hundred bytes that waits for its end, and ends at once when asked to. */
export const benchImage = "wherry.invalid/bench:1";

interface Kubeconfig {
  readonly clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  readonly users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
}

export interface BenchCluster {
  readonly name: string;
  readonly data: string;
  /** Milliseconds that the whole command took. */
  up(...more: string[]): Promise<number>;
  /** A further node dies as by a power failure. */
  crash(node: string): Promise<void>;
  down(purge: boolean): Promise<void>;
  /** kill -9 of all of wherry's own processes; containerd and the pods run on. */
  kill(): Promise<void>;
  loadImage(): Promise<void>;
  /** Of a folder with a Node application. */
  buildImage(folder: string, reference: string): Promise<void>;
  connect(): Promise<{ readonly client: Client; readonly close: () => void }>;
  /** Everything is gone, also after a failure. */
  remove(): Promise<void>;
}

async function wherry(args: readonly string[], kubeconfig: string): Promise<string> {
  const child = spawn(process.execPath, ["dist/wherry.mjs", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`wherry ${args.join(" ")} ended with code ${code}:\n${said}`);
  return said;
}

/** Of the daemon and of the shell that restarts it. */
export function ownProcesses(data: string): number[] {
  const file = join(data, "run", "process.json");
  const record: unknown = JSON.parse(readFileSync(file, "utf8"));
  return Object.values(record as Record<string, { pid: number }>).map(({ pid }) => pid);
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Whatever becomes of the work, nothing of its cluster is left; its own failure is the one that is told. */
export async function onCluster(
  name: string,
  work: (cluster: BenchCluster) => Promise<void>,
): Promise<void> {
  // Two runs of a bench at once must not take down each other's cluster.
  const cluster = benchCluster(`${name}-${process.pid}`);
  try {
    await work(cluster);
  } catch (error) {
    await cluster.remove().catch((second: unknown) => {
      process.stderr.write(`${name} could not be taken down: ${String(second)}\n`);
    });
    throw error;
  }
  await cluster.remove();
}

/** User and system time of processes so far, in seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const file = `/proc/${pid}/stat`;
    if (!existsSync(file)) throw new Error(`process ${pid} ended while it was measured: run again`);
    const stat = readFileSync(file, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, one) => sum + one, 0) / ticksPerSecond;
}

function benchCluster(name: string): BenchCluster {
  if (process.getuid?.() !== 0) {
    throw new Error("this bench runs real containers and needs root: sudo npm run bench -- NAME");
  }
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const data = join(folder, "data");
  const kubeconfig = join(folder, "kubeconfig");
  const run = (...args: string[]): Promise<string> => wherry(args, kubeconfig);
  return {
    name,
    data,
    async up(...more) {
      const began = performance.now();
      await run("up", "--name", name, "--data-dir", data, "--no-install", ...more);
      return performance.now() - began;
    },
    async crash(node) {
      await run("down", "--name", node, "--crash");
    },
    async down(purge) {
      await run("down", "--name", name, ...(purge ? ["--purge"] : []));
    },
    async kill() {
      // The shell first: it would start the daemon again.
      const pids = ownProcesses(data).toReversed();
      for (const pid of pids) process.kill(pid, "SIGKILL");
      for (let waited = 0; pids.some(isAlive) && waited < 500; waited += 1) await sleep(2);
    },
    async loadImage() {
      const architecture = process.arch === "arm64" ? "arm64" : "amd64";
      const files = [{ path: "pause", mode: 0o755, content: pauseProgram(architecture) }];
      const config = { entrypoint: ["/pause"], env: [] };
      const file = join(folder, "image.tar");
      writeFileSync(
        file,
        imageArchive(benchImage, architecture, files, config, (bytes) =>
          systemCrypto.digest(bytes),
        ),
      );
      await run("image", "load", file, "--name", name);
    },
    async buildImage(application, reference) {
      await run("image", "build", application, "-t", reference, "--name", name);
    },
    async connect() {
      const config = readYaml(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
      const [cluster, user] = [config.clusters[0]?.cluster, config.users[0]?.user];
      if (cluster === undefined || user === undefined) throw new Error("the kubeconfig is empty");
      const pem = (text: string): string => Buffer.from(text, "base64").toString();
      const remote = remoteHandler(
        network,
        systemClock,
        { host: "127.0.0.1", port: Number(new URL(cluster.server).port) },
        {
          version: 2,
          timeoutMs: 60_000,
          tls: {
            roots: pem(cluster["certificate-authority-data"]),
            identity: () => ({
              chain: pem(user["client-certificate-data"]),
              key: pem(user["client-key-data"]),
            }),
          },
        },
      );
      return {
        client: createClient(remote.handler, { userAgent: "bench" }),
        close: () => remote.close(),
      };
    },
    async remove() {
      await run("down", "--name", name, "--purge");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
