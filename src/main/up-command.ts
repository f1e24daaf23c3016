/**
 * `wherry up`: starts a cluster, or returns at once if it runs; waits until its nodes are Ready and DNS answers; merges a context into
 * the kubeconfig; says how long it took.
 */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { adminAccess } from "./access.ts";
import {
  type Allotment,
  allot,
  type ClusterPaths,
  checkName,
  contextName,
  defaultName,
  findAllotment,
  pathsOf,
} from "./allotment.ts";
import { type Arguments, type Command, readDuration, UsageError } from "./arguments.ts";
import { askStatus } from "./control.ts";
import { isJoined } from "./joined.ts";
import { endProcess } from "./kept-worker.ts";
import { changeKubeconfig, kubeconfigPath, mergedKubeconfig } from "./kubeconfig.ts";
import { startNodeWorker } from "./node-worker.ts";
import { quietLog } from "./quiet-log.ts";
import { provideTools } from "./requirements.ts";
import { type ClusterSettings, keep, readKept, settingsOf } from "./settings.ts";
import { exitRefused, type Progress, startDaemon } from "./supervisor.ts";

export const upCommand: Command = {
  name: "up",
  summary:
    "Starts a cluster on this machine (or returns at once if it runs) and points kubectl at it.",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster's name" },
    { name: "data-dir", value: "D", help: "where its data lie" },
    {
      name: "port",
      value: "P",
      help: "the API server's port (default 6443, or the next that is free)",
    },
    {
      name: "nodes",
      value: "K",
      default: "1",
      help: "how many nodes (further ones have network namespaces of their own)",
    },
    { name: "runtime", value: "R", default: "auto", help: "auto, containerd or simulated" },
    { name: "kubeconfig", value: "F", help: "the file to merge the context into" },
    {
      name: "config",
      value: "F",
      help: "configuration documents (KubeletConfiguration, ClusterConfiguration)",
    },
    { name: "containerd", value: "SOCKET", help: "use this containerd instead of one of our own" },
    { name: "pod-cidr", value: "C", help: "addresses of pods" },
    { name: "service-cidr", value: "C", help: "addresses of Services" },
    { name: "no-install", help: "never install missing packages; name them and stop" },
    { name: "foreground", help: "stay in the foreground (systemd, containers)" },
    { name: "timeout", value: "T", default: "60s", help: "how long to wait until it is ready" },
  ],
  run: up,
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function up(given: Arguments): Promise<number> {
  const began = performance.now();
  if (given.operands.length > 0)
    throw new UsageError(`wherry up takes no argument: ${given.operands[0]}`);
  const name = checkName(given.text("name") ?? defaultName);
  const known = findAllotment(name);
  const dataDirectory = pathOf(given, "data-dir");
  if (known !== undefined && isJoined(pathsOf(known)))
    throw new UsageError(
      `${name} is a node of a cluster, not a cluster: wherry join --name ${name} starts it.`,
    );
  if (known !== undefined) {
    const running = await ifRunning(known, given);
    if (running !== undefined) return welcome(known, running, given, began, true);
  }
  const kept = known === undefined ? undefined : readKept(pathsOf(known).settings);
  const preview: Allotment = known ?? { name, index: 0, dataDirectory: dataDirectory ?? "" };
  const refusal = await refusalOf(settingsOf(given, preview, kept), given);
  if (refusal !== undefined) {
    say(refusal);
    return 1;
  }
  const allotment = allot(name, dataDirectory);
  const paths = pathsOf(allotment);
  const settings = settingsOf(given, allotment, kept);
  keep(paths.settings, settings);
  if (given.switch("foreground")) {
    // Both load their programs, side by side.
    const worker = settings.runtime === "simulated" ? undefined : startNodeWorker();
    const { runDaemon } = await import("./daemon.ts");
    // Connections of clients may be open still; nothing of ours waits for them.
    const ended = await runDaemon(allotment, paths, settings, worker);
    endProcess(ended);
    return ended;
  }
  const code = await startInBackground(given, allotment, paths, settings, began);
  if (code === exitRefused && known === undefined) {
    // Nothing half done: a cluster that never was leaves nothing.
    const { endProcesses, removeCluster } = await import("./purge.ts");
    await endProcesses(paths);
    await removeCluster(allotment, paths);
  }
  return code === 0 ? 0 : 1;
}

const pathOf = (given: Arguments, option: string): string | undefined => {
  const text = given.text(option);
  return text === undefined ? undefined : resolve(text);
};

/** The server's address, if the cluster's process runs; waits while it is starting. Its nodes that were stopped start again. */
async function ifRunning(allotment: Allotment, given: Arguments): Promise<string | undefined> {
  const network = systemNetwork(quietLog());
  const { controlSocket } = pathsOf(allotment);
  const status = await askStatus(network, controlSocket);
  if (status === undefined) return undefined;
  if (given.switch("foreground")) return status.ready ? status.server : undefined;
  const limitMs = readDuration("--timeout", given.text("timeout") ?? "60s");
  const late = new Promise<"late">((done) => setTimeout(() => done("late"), limitMs).unref());
  const { restartFurtherNodes } = await import("./further-nodes.ts");
  const started = askStatus(network, controlSocket, true);
  const settled = await Promise.race([
    started.then((one) => one && restartFurtherNodes(allotment, network).then(() => one)),
    late,
  ]);
  if (settled === "late") {
    throw new Error(
      `The cluster ${allotment.name} runs, but is not ready after ${limitMs / 1000} s. See wherry status; wherry down stops it.`,
    );
  }
  if (settled === undefined) return undefined;
  const now = await askStatus(network, controlSocket);
  const unready = now?.nodes.filter(({ ready }) => !ready).map(({ name }) => name) ?? [];
  if (unready.length > 0)
    say(
      `Not Ready: ${unready.join(", ")}. kubectl describe node says why, if the node still does.`,
    );
  return now?.server;
}

/** What stands in the way, before anything is done. */
async function refusalOf(settings: ClusterSettings, given: Arguments): Promise<string | undefined> {
  if (settings.runtime !== "containerd") return undefined;
  if (process.getuid?.() !== 0) {
    return (
      "Real containers need root. Run it again as root (sudo npx wherry up), " +
      "or run without containers: wherry up --runtime simulated."
    );
  }
  return provideTools(!given.switch("no-install"), say);
}

/** Options that name files: the background process runs elsewhere. */
const pathOptions = new Set(["data-dir", "config", "kubeconfig"]);

function foregroundWords(given: Arguments): string[] {
  const words = upCommand.options
    .filter(({ name }) => given.given(name) && name !== "foreground")
    .map(({ name, value }) => {
      if (value === undefined) return `--${name}=${given.switch(name)}`;
      return `--${name}=${(pathOptions.has(name) ? pathOf(given, name) : given.text(name)) ?? ""}`;
    });
  return ["up", ...words, "--foreground"];
}

async function startInBackground(
  given: Arguments,
  allotment: Allotment,
  paths: ClusterPaths,
  settings: ClusterSettings,
  began: number,
): Promise<number> {
  const daemon = startDaemon(
    // npx runs us through a link in its cache, which may go.
    [process.execPath, realpathSync(process.argv[1] ?? ""), ...foregroundWords(given)],
    paths.log,
  );
  const interactive = process.stderr.isTTY;
  let timer: NodeJS.Timeout | undefined;
  let doing = "starting";
  const tooLate = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), settings.timeoutMs);
  });
  const last = await Promise.race([
    daemon.follow((progress: Progress) => {
      if (!("say" in progress)) return;
      doing = progress.say;
      if (interactive) say(`  ${progress.say}`);
    }),
    tooLate,
  ]);
  clearTimeout(timer);
  daemon.release();
  if (last === "late") {
    say(
      `The cluster ${allotment.name} is not ready after ${settings.timeoutMs / 1000} s; it was busy with: ${doing}. It goes on in the background. ` +
        `See wherry status, and the log ${paths.log}; wherry down stops it.`,
    );
    return 1;
  }
  if (last === undefined) {
    say(`The cluster's process ended before it was ready. Its log is ${paths.log}.`);
    return 1;
  }
  if ("failed" in last) {
    say(last.failed);
    return exitRefused;
  }
  const status = await askStatus(systemNetwork(quietLog()), paths.controlSocket);
  if (status === undefined) {
    say(`The cluster's process ended right after it was ready. Its log is ${paths.log}.`);
    return 1;
  }
  return welcome(allotment, status.server, given, began, false);
}

/** Merges the context and says where things are. */
function welcome(
  allotment: Allotment,
  server: string,
  given: Arguments,
  began: number,
  ranAlready: boolean,
): number {
  const file = kubeconfigPath(given.text("kubeconfig"));
  const context = contextName(allotment.name);
  const access = adminAccess(pathsOf(allotment), context, server);
  changeKubeconfig(file, (config) => mergedKubeconfig(config, access));
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(
    ranAlready
      ? `Cluster ${allotment.name} is running: ${server}, context ${context} in ${file}.\n`
      : `Cluster ${allotment.name} is ready after ${seconds} s: ${server}, context ${context} in ${file}.\nTry: kubectl get nodes\n`,
  );
  return 0;
}
