/**
 * `wherry up`: starts a cluster, or returns at once if it runs; waits until its nodes are Ready and DNS answers; merges a context into
 * the kubeconfig; says how long it took.
 */
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
import { type Arguments, type Command, UsageError } from "./arguments.ts";
import { askStatus } from "./control.ts";
import { runDaemon } from "./daemon.ts";
import { changeKubeconfig, kubeconfigPath, mergedKubeconfig } from "./kubeconfig.ts";
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
    { name: "nodes", value: "K", default: "1", help: "how many nodes (more than one: simulated)" },
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
  const running = await ifRunning(name);
  if (running !== undefined) return welcome(running.allotment, running.server, given, began, true);

  const known = findAllotment(name);
  const kept = known === undefined ? undefined : readKept(pathsOf(known).settings);
  const preview: Allotment = known ?? {
    name,
    index: 0,
    dataDirectory: given.text("data-dir") ?? "",
  };
  const asked = settingsOf(given, preview, kept);
  const refusal = await refusalOf(asked, given);
  if (refusal !== undefined) {
    say(refusal);
    return 1;
  }
  const allotment = allot(name, given.text("data-dir"));
  const paths = pathsOf(allotment);
  const settings = settingsOf(given, allotment, kept);
  keep(paths.settings, settings);
  if (given.switch("foreground")) {
    // Connections of clients may be open still; nothing of ours waits for them.
    process.exit(await runDaemon(allotment, paths, settings));
  }
  return startInBackground(given, allotment, paths, settings, began);
}

async function ifRunning(
  name: string,
): Promise<{ allotment: Allotment; server: string } | undefined> {
  const allotment = findAllotment(name);
  if (allotment === undefined) return undefined;
  const status = await askStatus(systemNetwork(quietLog()), pathsOf(allotment).controlSocket);
  return status?.ready === true ? { allotment, server: status.server } : undefined;
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

async function startInBackground(
  given: Arguments,
  allotment: Allotment,
  paths: ClusterPaths,
  settings: ClusterSettings,
  began: number,
): Promise<number> {
  const words = process.argv.slice(2).filter((word) => word !== "--foreground");
  const daemon = startDaemon(
    [process.execPath, "--enable-source-maps", process.argv[1] ?? "", ...words, "--foreground"],
    paths.log,
  );
  const interactive = process.stderr.isTTY === true;
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
    return 1;
  }
  const status = await askStatus(systemNetwork(quietLog()), paths.controlSocket);
  if (status === undefined) {
    say(`The cluster's process ended right after it was ready. Its log is ${paths.log}.`);
    return exitRefused;
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
