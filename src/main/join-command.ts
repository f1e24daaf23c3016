/**
 * `wherry join`: makes this machine a node of a cluster that runs elsewhere: own containerd, kubelet, proxy and DNS, certificates by
 * request. Its wherry down stops it; with --purge nothing of it is left.
 */
import { realpathSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import type { ServerAddress } from "#cluster/join.ts";
import { type JoinToken, parseJoinToken } from "#cluster/join-token.ts";
import { parseIp } from "#machinery/ip.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import {
  type Allotment,
  allot,
  type ClusterPaths,
  checkName,
  defaultName,
  findAllotment,
  pathsOf,
} from "./allotment.ts";
import { type Arguments, type Command, readDuration, UsageError } from "./arguments.ts";
import { askStatus } from "./control.ts";
import { clusterOf, insideOfNode } from "./further-nodes.ts";
import type { JoinWish } from "./join-daemon.ts";
import { isJoined } from "./joined.ts";
import { endProcess } from "./kept-worker.ts";
import { startNodeWorker } from "./node-worker.ts";
import { quietLog } from "./quiet-log.ts";
import { provideTools } from "./requirements.ts";
import { exitRefused, type Progress, startDaemon } from "./supervisor.ts";

export const joinCommand: Command = {
  name: "join",
  summary: "Makes this machine a node of a cluster that runs on another one.",
  options: [
    { name: "server", value: "URL", help: "where its API server is: https://HOST:PORT" },
    { name: "token", value: "T", help: "from wherry token create, where the cluster runs" },
    {
      name: "ca-hash",
      value: "H",
      help: "SHA-256 of the cluster's authority, if the token does not carry it",
    },
    { name: "name", value: "N", default: defaultName, help: "what it is called on this machine" },
    { name: "node-name", value: "N", help: "the node's name (default: the machine's)" },
    { name: "node-ip", value: "A", help: "the address under which others reach this machine" },
    { name: "data-dir", value: "D", help: "where its data lie" },
    { name: "node-of", value: "N", help: "a further node of that cluster of this machine" },
    { name: "no-install", help: "never install missing packages; name them and stop" },
    { name: "foreground", help: "stay in the foreground (systemd, containers)" },
    { name: "timeout", value: "T", default: "120s", help: "how long to wait until it is ready" },
  ],
  run: joinCluster,
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);

export function readServer(text: string): ServerAddress {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError(`--server ${text}: write it as https://HOST:PORT.`);
  }
  if (url.protocol !== "https:" || url.pathname !== "/" || url.search !== "")
    throw new UsageError(`--server ${text}: write it as https://HOST:PORT.`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { host, port: url.port === "" ? 443 : Number(url.port) };
}

function readToken(given: Arguments): JoinToken & { readonly caHash: string } {
  const token = parseJoinToken(given.text("token") ?? "");
  if (token === undefined)
    throw new UsageError(
      "--token: a token looks like abcdef.0123456789abcdef, with the cluster's hash behind it. Make one where the cluster runs: wherry token create.",
    );
  const said = given.text("ca-hash")?.replace(/^sha256:/, "");
  if (said !== undefined && !/^[0-9a-f]{64}$/.test(said))
    throw new UsageError("--ca-hash: 64 hexadecimal digits, as wherry token create prints them.");
  const caHash = said ?? token.caHash;
  if (caHash === undefined)
    throw new UsageError(
      "The token does not say which cluster it is for. Give the whole token of wherry token create, or --ca-hash: without it whoever stands between could take the cluster's place.",
    );
  return { ...token, caHash };
}

function wishOf(given: Arguments): JoinWish {
  const server = given.text("server");
  if (server === undefined)
    throw new UsageError(
      "wherry join needs --server URL and --token T; wherry token create prints the whole command.",
    );
  const nodeName = (given.text("node-name") ?? hostname()).toLowerCase();
  const [problem] = isDns1123Subdomain(nodeName);
  if (problem !== undefined) throw new UsageError(`--node-name ${nodeName}: ${problem}.`);
  const address = given.text("node-ip");
  if (address !== undefined && parseIp(address) === undefined)
    throw new UsageError(`--node-ip ${address}: not an address.`);
  return { server: readServer(server), token: readToken(given), nodeName, address };
}

async function joinCluster(given: Arguments): Promise<number> {
  const began = performance.now();
  if (given.operands.length > 0)
    throw new UsageError(`wherry join takes no argument: ${given.operands[0]}`);
  const name = checkName(given.text("name") ?? defaultName);
  const known = findAllotment(name);
  const joined = known !== undefined && isJoined(pathsOf(known));
  if (known !== undefined && !joined && !given.given("foreground"))
    throw new UsageError(
      `There is a cluster ${name} on this machine already: choose another --name for what it joins.`,
    );
  if (known !== undefined && !given.switch("foreground")) {
    const running = await ifRunning(known, given);
    if (running !== undefined) return running;
  }
  const wish = joined ? undefined : wishOf(given);
  if (process.getuid?.() !== 0) {
    say("A node needs root. Run it again as root: sudo npx wherry join …");
    return 1;
  }
  const refusal = await provideTools(!given.switch("no-install"), say);
  if (refusal !== undefined) {
    say(refusal);
    return 1;
  }
  const dataDirectory = given.text("data-dir");
  const allotment = allot(
    name,
    dataDirectory === undefined ? undefined : resolve(dataDirectory),
    given.text("node-of"),
  );
  const paths = pathsOf(allotment);
  if (given.switch("foreground")) {
    const worker = startNodeWorker();
    const { runJoined } = await import("./join-daemon.ts");
    // Connections may be open still; nothing of ours waits for them.
    const ended = await runJoined(allotment, paths, wish, worker);
    endProcess(ended);
    return ended;
  }
  const code = await inBackground(given, allotment, paths, began);
  if (code === exitRefused && known === undefined) {
    // Nothing half done: a node that never was leaves nothing.
    const { endProcesses, removeCluster } = await import("./purge.ts");
    await endProcesses(paths);
    await removeCluster(allotment, paths);
  }
  return code === 0 ? 0 : 1;
}

/** Its exit code, if the node's process runs; waits while it is starting. */
async function ifRunning(allotment: Allotment, given: Arguments): Promise<number | undefined> {
  const network = systemNetwork(quietLog());
  const { controlSocket, log } = pathsOf(allotment);
  const status = await askStatus(network, controlSocket);
  if (status === undefined) return undefined;
  const limitMs = readDuration("--timeout", given.text("timeout") ?? "120s");
  const late = new Promise<"late">((done) => setTimeout(() => done("late"), limitMs).unref());
  const settled = status.ready
    ? status
    : await Promise.race([askStatus(network, controlSocket, true), late]);
  if (settled === undefined) return undefined;
  if (settled !== "late" && settled.ready) {
    process.stdout.write(`This machine runs as a node already (${allotment.name}).\n`);
    return 0;
  }
  say(
    `This machine runs as a node already (${allotment.name}), but that is not Ready. Its log is ${log}; kubectl describe node says more.`,
  );
  return 1;
}

async function inBackground(
  given: Arguments,
  allotment: Allotment,
  paths: ClusterPaths,
  began: number,
): Promise<number> {
  const words = ["server", "token", "ca-hash", "name", "node-name", "node-ip"].flatMap((option) => {
    const value = given.text(option);
    return value === undefined ? [] : [`--${option}=${value}`];
  });
  const cluster = clusterOf(allotment);
  const inside = cluster === undefined ? [] : await insideOfNode(cluster, allotment);
  const program = [process.execPath, realpathSync(process.argv[1] ?? "")];
  const daemon = startDaemon([...inside, ...program, "join", ...words, "--foreground"], paths.log);
  const limitMs = readDuration("--timeout", given.text("timeout") ?? "120s");
  let timer: NodeJS.Timeout | undefined;
  let doing = "starting";
  const late = new Promise<"late">((done) => {
    timer = setTimeout(() => done("late"), limitMs);
  });
  const last = await Promise.race([
    daemon.follow((progress: Progress) => {
      if ("say" in progress) doing = progress.say;
      if ("say" in progress && process.stderr.isTTY) say(`  ${progress.say}`);
    }),
    late,
  ]);
  clearTimeout(timer);
  daemon.release();
  if (last === "late") {
    say(
      `The node is not ready after ${limitMs / 1000} s; it was busy with: ${doing}. It goes on in the background; its log is ${paths.log}. wherry down --name ${allotment.name} stops it.`,
    );
    return 1;
  }
  if (last === undefined) {
    say(`The node's process ended before it was ready. Its log is ${paths.log}.`);
    return 1;
  }
  if ("failed" in last) {
    say(last.failed);
    return exitRefused;
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`This machine is a node now, after ${seconds} s (${allotment.name}).\n`);
  return 0;
}
