/** `kubectl exec` and `kubectl attach`. */
import type { Pod } from "#api/generated/core/v1.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError } from "./errors.ts";
import { duration, list, text, toggle } from "./flags.ts";
import {
  containerNames,
  containersOf,
  defaultContainer,
  isPod,
  podsBehind,
  targetFor,
} from "./pods.ts";
import { fileTargets, getTarget } from "./selection.ts";
import { runOnTerminal, streamQuery, terminalUse } from "./streaming.ts";

const common = [
  text("container", "Container name", { short: "c" }),
  text("detach-keys", "Accepted and unused"),
  duration("pod-running-timeout", "How long to wait until at least one pod is running", {
    default: "1m0s",
  }),
  toggle("quiet", "Only print output from the remote session", { short: "q" }),
  toggle("stdin", "Pass stdin to the container", { short: "i" }),
  toggle("tty", "Stdin is a TTY", { short: "t" }),
];

export const execCommand: KubectlCommand = {
  name: "exec",
  summary: "Execute a command in a container",
  usage: "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
  flags: [...common, list("filename", "To use to exec into the resource", { short: "f" })],
  run: exec,
};
export const attachCommand: KubectlCommand = {
  name: "attach",
  summary: "Attach to a process that is already running inside an existing container",
  usage: "(POD | TYPE/NAME) -c CONTAINER",
  flags: common,
  run: attach,
};

/** The pod that is meant; the most active one of a workload. */
async function podFor(given: Invocation, word: string, what: string): Promise<Pod> {
  const { session } = given;
  const { resource, object } = await targetFor(session, word);
  if (isPod(resource)) return object as unknown as Pod;
  const [pod] = await podsBehind(session, resource, object, what);
  if (pod === undefined) throw new CommandError("timed out waiting for the condition");
  return pod;
}

function containerFor({ session, flags }: Invocation, pod: Pod, quiet: boolean): string {
  const named = flags.text("container");
  if (named === "") return defaultContainer(session, pod, quiet);
  if (!containersOf(pod).some(({ name }) => name === named)) {
    throw new CommandError(
      `container ${named} not found in pod ${pod.metadata.name ?? ""} out of: ${containerNames(pod)}`,
    );
  }
  return named;
}

const pathOf = (pod: Pod, action: string): string =>
  `/api/v1/namespaces/${pod.metadata.namespace ?? ""}/pods/${pod.metadata.name ?? ""}/${action}`;

async function exec(given: Invocation): Promise<void> {
  const { session, flags, args, dashAt } = given;
  const fromFile = flags.list("filename").length > 0;
  if (args.length === 0 && !fromFile)
    throw usageFailure(given, "pod, type/name or --filename must be specified");
  if (dashAt < 0 && args.length > 1) {
    throw usageFailure(
      given,
      "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
    );
  }
  const command = fromFile ? args : args.slice(1);
  if (command.length === 0)
    throw new CommandError("you must specify at least one command for the container");
  const word = args[0] ?? "";
  let pod: Pod;
  if (fromFile) {
    const { targets } = await fileTargets(given);
    const [target] = targets;
    if (target === undefined) throw new CommandError("the file names no object");
    const object = await getTarget(session, target);
    pod = isPod(target.resource)
      ? (object as unknown as Pod)
      : ((await podsBehind(session, target.resource, object, "exec into"))[0] ??
        (object as unknown as Pod));
  } else pod = await podFor(given, word, "exec into");
  const { phase = "" } = pod.status;
  if (phase === "Succeeded" || phase === "Failed") {
    throw new CommandError(
      `cannot exec into a container in a completed pod; current phase is ${phase}`,
    );
  }
  const quiet = flags.switch("quiet");
  const container = containerFor(given, pod, quiet);
  const use = terminalUse(
    session,
    { stdin: flags.switch("stdin"), tty: flags.switch("tty") },
    quiet,
  );
  const query = [
    ...command.map((one) => ["command", one] as const),
    ...streamQuery(container, use),
  ];
  await runOnTerminal(session, pathOf(pod, "exec"), query, use);
}

async function attach(given: Invocation): Promise<void> {
  const { flags, args } = given;
  const [word, ...more] = args;
  if (word === undefined) throw usageFailure(given, "at least 1 argument is required for attach");
  if (more.length > 0)
    throw usageFailure(
      given,
      "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw 3: []",
    );
  const pod = await podFor(given, word, "attach to");
  const { phase = "" } = pod.status;
  if (phase === "Succeeded" || phase === "Failed") {
    throw new CommandError(
      `cannot attach a container in a completed pod; current phase is ${phase}`,
    );
  }
  const quiet = flags.switch("quiet");
  const container = containerFor(given, pod, quiet);
  await attachTo(given, pod, container, {
    stdin: flags.switch("stdin"),
    tty: flags.switch("tty"),
    quiet,
  });
}

/** For run and debug, too. */
export async function attachTo(
  given: Pick<Invocation, "session">,
  pod: Pod,
  container: string,
  wants: { readonly stdin: boolean; readonly tty: boolean; readonly quiet: boolean },
): Promise<void> {
  const { session } = given;
  const spec = [...pod.spec.containers, ...(pod.spec.ephemeralContainers ?? [])].find(
    ({ name }) => name === container,
  );
  let tty = wants.tty;
  if (tty && spec?.tty !== true) {
    tty = false;
    if (!wants.quiet)
      session.error(`error: Unable to use a TTY - container ${container} did not allocate one\n`);
  } else if (!tty && spec?.tty === true && wants.stdin && session.around.terminal.inputIsTerminal)
    tty = true;
  const use = terminalUse(session, { stdin: wants.stdin, tty }, wants.quiet);
  if (use.stdin && !wants.quiet) {
    session.error(
      "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt.\n",
    );
    session.error("If you don't see a command prompt, try pressing enter.\n");
  }
  await runOnTerminal(session, pathOf(pod, "attach"), streamQuery(container, use), use);
  if (use.stdin && use.tty && pod.spec.restartPolicy === "Always" && !wants.quiet) {
    session.error(
      `Session ended, resume using 'kubectl attach ${pod.metadata.name ?? ""} -c ${container} -i -t' command when the pod is running\n`,
    );
  }
}
