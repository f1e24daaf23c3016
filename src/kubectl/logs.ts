/** `kubectl logs`: what containers print, of one pod or of many, once or as it comes. */
import type { Pod } from "#api/generated/core/v1.ts";
import { isStatus } from "#machinery/status-error.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { asError, CommandError } from "./errors.ts";
import { duration, integer, text, toggle } from "./flags.ts";
import {
  containerNames,
  containersOf,
  defaultContainer,
  isPod,
  listPods,
  podsBehind,
  targetFor,
} from "./pods.ts";
import { type Query, readWhole, statusErrorOf } from "./rest.ts";

const usage =
  "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";

export const logsCommand: KubectlCommand = {
  name: "logs",
  summary: "Print the logs for a container in a pod",
  usage: "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]",
  flags: [
    toggle("all-containers", "Get all containers' logs in the pod(s)"),
    toggle("all-pods", "Get logs from all pod(s). Sets prefix to true"),
    text("container", "Print the logs of this container", { short: "c" }),
    toggle("follow", "Stream the logs", { short: "f" }),
    toggle("ignore-errors", "When following, allow errors to be non-fatal"),
    toggle("insecure-skip-tls-verify-backend", "Skip verifying the kubelet's identity"),
    integer("limit-bytes", "Maximum bytes of logs to return"),
    integer("max-log-requests", "Maximum number of concurrent logs to follow", { default: "5" }),
    duration("pod-running-timeout", "How long to wait until a pod runs", { default: "20s" }),
    toggle("prefix", "Prefix each log line with the pod and container name"),
    toggle("previous", "Print the logs of the previous instance of the container", { short: "p" }),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    duration("since", "Only return logs newer than this, like 5s, 2m, or 3h", { default: "0s" }),
    text("since-time", "Only return logs after this date (RFC3339)"),
    integer("tail", "Lines of recent log to display", { default: "-1" }),
    toggle("timestamps", "Include timestamps on each line"),
  ],
  run: logs,
};

interface Source {
  readonly pod: Pod;
  readonly container: string;
}

function check({ flags, args }: Invocation): void {
  if (flags.text("since-time") !== "" && flags.durationMs("since") !== 0) {
    throw new CommandError("at most one of `sinceTime` or `sinceSeconds` may be specified");
  }
  const container = flags.text("container");
  if (flags.switch("all-containers") && container !== "") {
    throw new CommandError(
      `--all-containers=true should not be specified with container name ${container}`,
    );
  }
  if (container !== "" && args.length === 2) {
    throw new CommandError("only one of -c or an inline [CONTAINER] arg is allowed");
  }
  if (flags.given("limit-bytes") && flags.integer("limit-bytes") <= 0) {
    throw new CommandError("--limit-bytes must be greater than 0");
  }
  if (flags.durationMs("since") < 0) throw new CommandError("--since must be greater than 0");
  if (flags.integer("tail") < -1) {
    throw new CommandError("--tail must be greater than or equal to -1");
  }
}

function queryOf({ flags, args }: Invocation, container: string): Query {
  const query: (readonly [string, string])[] = [["container", container]];
  const tail = flags.integer("tail");
  const selected = flags.text("selector") !== "" && !flags.switch("follow");
  if (flags.switch("follow")) query.push(["follow", "true"]);
  if (flags.switch("insecure-skip-tls-verify-backend")) {
    query.push(["insecureSkipTLSVerifyBackend", "true"]);
  }
  if (flags.given("limit-bytes")) query.push(["limitBytes", flags.text("limit-bytes")]);
  if (flags.switch("previous")) query.push(["previous", "true"]);
  const since = flags.durationMs("since");
  if (since > 0) query.push(["sinceSeconds", String(Math.ceil(since / 1000))]);
  if (flags.text("since-time") !== "") query.push(["sinceTime", flags.text("since-time")]);
  if (tail >= 0) query.push(["tailLines", String(tail)]);
  else if (selected && !flags.given("tail") && args.length === 0) query.push(["tailLines", "10"]);
  if (flags.switch("timestamps")) query.push(["timestamps", "true"]);
  return query;
}

async function podsFor(given: Invocation): Promise<readonly Pod[]> {
  const { session, flags, args } = given;
  const selector = flags.text("selector");
  if (selector !== "") {
    const namespace = await session.namespace();
    const pods = await listPods(session, namespace, selector);
    if (pods.length === 0) session.error(`No resources found in ${namespace} namespace.\n`);
    return pods;
  }
  const { resource, object } = await targetFor(session, args[0] ?? "").catch(
    async (error: unknown) => {
      if (!isStatus(error, "NotFound")) throw error;
      throw new CommandError(
        `error from server (NotFound): ${asError(error).message} in namespace ${JSON.stringify(await session.namespace())}`,
      );
    },
  );
  if (isPod(resource)) return [object as unknown as Pod];
  const pods = await podsBehind(session, resource, object, "get the logs from");
  const [best] = pods;
  if (best === undefined) {
    throw new CommandError("timed out waiting for the condition");
  }
  if (flags.switch("all-pods")) return pods;
  if (pods.length > 1) {
    session.error(`Found ${pods.length} pods, using pod/${best.metadata.name ?? ""}\n`);
  }
  return [best];
}

function sourcesOf(given: Invocation, pod: Pod): Source[] {
  const { session, flags, args } = given;
  if (flags.switch("all-containers")) {
    const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec;
    return [...initContainers, ...containers, ...ephemeralContainers].map(({ name }) => ({
      pod,
      container: name,
    }));
  }
  const named = flags.text("container") || (args[1] ?? "");
  const container = named || defaultContainer(session, pod, flags.switch("all-pods"));
  if (!containersOf(pod).some(({ name }) => name === container)) {
    throw new CommandError(
      `container ${container} is not valid for pod ${pod.metadata.name ?? ""} out of: ${containerNames(pod)}`,
    );
  }
  return [{ pod, container }];
}

async function logs(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const selector = flags.text("selector");
  if (selector === "" && (args.length === 0 || args.length > 2)) throw usageFailure(given, usage);
  if (selector !== "" && args.length > 0) {
    throw usageFailure(given, "only a selector (-l) or a POD name is allowed");
  }
  const pods = await podsFor(given);
  check(given);
  const sources = pods.flatMap((pod) => sourcesOf(given, pod));
  const follows = flags.switch("follow");
  const most = flags.integer("max-log-requests");
  if (follows && sources.length > 1) {
    if (sources.length > most) {
      throw new CommandError(
        `you are attempting to follow ${sources.length} log streams, but maximum allowed concurrency is ${most}, use --max-log-requests to increase the limit`,
      );
    }
    await Promise.all(sources.map((source) => copy(given, source)));
    return;
  }
  for (const source of sources) await copy(given, source);
  await session.around.terminal.drained();
}

/** One container's log onto the terminal. With a prefix, or beside others, only whole lines are written. */
async function copy(given: Invocation, { pod, container }: Source): Promise<void> {
  const { session, flags } = given;
  const { name = "", namespace = "" } = pod.metadata;
  const rest = await session.rest();
  const hasPrefix = flags.switch("prefix") || flags.switch("all-pods");
  const prefix = hasPrefix ? `[pod/${name}/${container}] ` : "";
  const byLine = hasPrefix || flags.switch("follow");
  try {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/log`;
    const answer = await rest.stream("GET", path, {
      query: queryOf(given, container),
      accept: "*/*",
    });
    if (answer.status !== 200) {
      throw statusErrorOf(answer.status, new TextDecoder().decode(await readWhole(answer.body)));
    }
    const { terminal } = session.around;
    const decoder = new TextDecoder();
    let unread = "";
    for (;;) {
      const batch = await answer.body.next();
      if (batch === undefined) break;
      for (const bytes of batch) {
        if (!byLine) {
          terminal.out(bytes);
          continue;
        }
        const lines = (unread + decoder.decode(bytes, { stream: true })).split("\n");
        unread = lines.pop() ?? "";
        if (lines.length > 0) terminal.out(lines.map((line) => `${prefix}${line}\n`).join(""));
      }
      await terminal.drained();
    }
    if (unread !== "") terminal.out(prefix + unread);
  } catch (error) {
    if (!flags.switch("ignore-errors")) throw error;
    session.error(`error: ${asError(error).message}\n`);
  }
}
