/** `kubectl run`: one pod, at once; and what follows it on the terminal. */
import type { Pod } from "#api/generated/core/v1.ts";
import { parseImageReference } from "#machinery/image-reference.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { createFlags, createObject } from "./create/generate.ts";
import { deleteTarget } from "./deletion.ts";
import { nameInResults } from "./discovery.ts";
import { CommandError, ExitError } from "./errors.ts";
import { attachTo } from "./exec.ts";
import { overridden } from "./expose.ts";
import { duration, integer, list, optional, repeat, text, toggle } from "./flags.ts";
import { type AnyObject, metaOf } from "./objects.ts";
import { readWhole } from "./rest.ts";
import type { Session } from "./session.ts";
import { watchEvents } from "./watch.ts";
import { dryRunOf } from "./writing.ts";

export const runCommand: KubectlCommand = {
  name: "run",
  summary: "Run a particular image on the cluster",
  usage:
    'NAME --image=image [--env="key=value"] [--port=port] [--dry-run=server|client] [--overrides=inline-json] [--command] -- [COMMAND] [args...]',
  flags: [
    ...createFlags,
    repeat("annotations", "Annotations to apply to the pod"),
    toggle("attach", "Wait for the pod to start running, and then attach to it"),
    optional("cascade", "Accepted and unused", { default: "background", bare: "background" }),
    toggle(
      "command",
      "Use the extra arguments as the 'command' field rather than the 'args' field",
    ),
    text("detach-keys", "Accepted and unused"),
    repeat("env", "Environment variables to set in the container"),
    toggle("expose", "Create a ClusterIP service associated with the pod"),
    toggle("force", "Accepted and unused"),
    integer("grace-period", "Seconds given to the pod to end, with --rm", { default: "-1" }),
    text("image", "The image for the container to run"),
    text("image-pull-policy", "The image pull policy for the container"),
    list("labels", "Labels to apply to the pod", { short: "l" }),
    toggle("leave-stdin-open", "Leave stdin open after the first attach completes"),
    text("override-type", "How --overrides is applied: json, merge or strategic", {
      default: "merge",
    }),
    text("overrides", "A JSON override for the generated object"),
    duration("pod-running-timeout", "How long to wait until at least one pod is running", {
      default: "1m0s",
    }),
    text("port", "The port that this container exposes"),
    toggle("privileged", "Run the container in privileged mode"),
    toggle("quiet", "Suppress prompt messages", { short: "q" }),
    text("restart", "The restart policy for this Pod: Always, OnFailure or Never", {
      default: "Always",
    }),
    toggle("rm", "Delete the pod after it exits"),
    toggle("stdin", "Keep stdin open on the container", { short: "i" }),
    duration("timeout", "How long to wait for the deletion, with --rm", { default: "0s" }),
    toggle("tty", "Allocate a TTY for the container", { short: "t" }),
    toggle("wait", "Accepted and unused"),
  ],
  run,
};

function check(given: Invocation): string {
  const { flags, args, dashAt } = given;
  const before = dashAt < 0 ? args : args.slice(0, dashAt);
  const [name] = before;
  if (name === undefined) throw usageFailure(given, "NAME is required for run");
  const image = flags.text("image");
  if (image === "") throw new CommandError('required flag(s) "image" not set');
  if ("problem" in parseImageReference(image))
    throw new CommandError(`invalid image name ${JSON.stringify(image)}: invalid reference format`);
  const interactive = flags.switch("stdin");
  const attaches = flags.switch("attach") || interactive || flags.switch("tty");
  if (flags.switch("tty") && !interactive)
    throw usageFailure(given, "-i/--stdin is required for containers with -t/--tty=true");
  if (flags.switch("expose") && flags.text("port") === "")
    throw usageFailure(given, "--port must be set when exposing a service");
  if (flags.text("port") !== "" && !/^\d+$/.test(flags.text("port")))
    throw new CommandError("--port must be a number");
  if (flags.switch("rm") && !attaches)
    throw usageFailure(given, "--rm should only be used for attached containers");
  if (attaches && dryRunOf(flags) !== "none") {
    throw usageFailure(
      given,
      "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
    );
  }
  const restart = flags.text("restart");
  if (!["Always", "OnFailure", "Never"].includes(restart)) {
    throw usageFailure(
      given,
      `invalid restart policy: ${restart}, valid values are: Always, OnFailure, Never`,
    );
  }
  const pull = flags.text("image-pull-policy");
  if (!["", "Always", "IfNotPresent", "Never"].includes(pull)) {
    throw usageFailure(
      given,
      `invalid image pull policy: ${pull}, valid values are: Always, IfNotPresent, Never`,
    );
  }
  return name;
}

function keyValues(entries: readonly string[], what: string): Record<string, string> {
  return Object.fromEntries(
    entries.map((one) => {
      const equals = one.indexOf("=");
      if (equals <= 0) throw new CommandError(`${what}: ${one}`);
      return [one.slice(0, equals), one.slice(equals + 1)];
    }),
  );
}

function podOf({ flags, args }: Invocation, name: string): AnyObject {
  const labels =
    flags.list("labels").length > 0
      ? keyValues(flags.list("labels"), "unexpected label spec")
      : { run: name };
  const rest = args.slice(1);
  const env = flags.list("env").map((one) => {
    const equals = one.indexOf("=");
    if (equals <= 0) throw new CommandError(`invalid env: ${one}`);
    return { name: one.slice(0, equals), value: one.slice(equals + 1) };
  });
  const [interactive, tty] = [flags.switch("stdin"), flags.switch("tty")];
  const port = flags.text("port");
  const annotations = flags.list("annotations");
  const container = {
    name,
    image: flags.text("image"),
    ...(rest.length === 0 ? {} : flags.switch("command") ? { command: rest } : { args: rest }),
    ...(port === "" ? {} : { ports: [{ containerPort: Number(port) }] }),
    ...(env.length === 0 ? {} : { env }),
    resources: {},
    ...(flags.text("image-pull-policy") === ""
      ? {}
      : { imagePullPolicy: flags.text("image-pull-policy") }),
    ...(flags.switch("privileged") ? { securityContext: { privileged: true } } : {}),
    ...(interactive
      ? { stdin: true, ...(flags.switch("leave-stdin-open") ? {} : { stdinOnce: true }) }
      : {}),
    ...(tty ? { tty: true } : {}),
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      labels,
      ...(annotations.length === 0
        ? {}
        : { annotations: keyValues(annotations, "unexpected annotation") }),
    },
    spec: {
      containers: [container],
      dnsPolicy: "ClusterFirst",
      restartPolicy: flags.text("restart"),
    },
  };
}

const podPath = (pod: Pod): string => `/api/v1/namespaces/${pod.metadata.namespace ?? ""}/pods`;

/** Follows a pod until a state is reached; the pod as it is then. */
export async function waitForPod(
  session: Session,
  pod: Pod,
  timeoutMs: number,
  isThere: (pod: Pod) => boolean,
): Promise<Pod> {
  const rest = await session.rest();
  const abort = new AbortController();
  const cancel =
    timeoutMs > 0 ? session.around.clock.after(timeoutMs, () => abort.abort()) : () => {};
  const query = [["fieldSelector", `metadata.name=${pod.metadata.name ?? ""}`]] as const;
  try {
    for (;;) {
      for await (const { type, object } of watchEvents(rest, podPath(pod), query, {
        signal: abort.signal,
      })) {
        const seen = object as unknown as Pod;
        if (type === "DELETED") throw new CommandError("pod was deleted");
        if (type !== "BOOKMARK" && isThere(seen)) return { ...seen, apiVersion: "v1", kind: "Pod" };
      }
      if (abort.signal.aborted) throw new CommandError("timed out waiting for the condition");
    }
  } finally {
    cancel();
  }
}

export const isOver = (pod: Pod): boolean =>
  ["Succeeded", "Failed"].includes(pod.status.phase ?? "");
const isRunning = (pod: Pod): boolean => isOver(pod) || pod.status.phase === "Running";

export async function showLog(session: Session, pod: Pod, container: string): Promise<void> {
  const rest = await session.rest();
  const answer = await rest.stream("GET", `${podPath(pod)}/${pod.metadata.name ?? ""}/log`, {
    query: [["container", container]],
    accept: "*/*",
  });
  if (answer.status === 200) session.around.terminal.out(await readWhole(answer.body));
}

async function follow(given: Invocation, created: Pod): Promise<void> {
  const { session, flags } = given;
  const name = created.metadata.name ?? "";
  const running = await waitForPod(
    session,
    created,
    flags.durationMs("pod-running-timeout"),
    isRunning,
  );
  // What it said before we are attached.
  await showLog(session, running, name);
  if (!isOver(running)) {
    const [stdin, tty] = [flags.switch("stdin"), flags.switch("tty")];
    await attachTo(given, running, name, { stdin, tty, quiet: flags.switch("quiet") });
  }
  const restart = flags.text("restart");
  if (restart === "Always" || flags.switch("leave-stdin-open")) return;
  const ended = await waitForPod(
    session,
    running,
    flags.durationMs("pod-running-timeout"),
    (pod) => (restart === "Never" ? isOver(pod) : pod.status.phase === "Succeeded"),
  );
  if (ended.status.phase === "Succeeded") return;
  const title = `pod ${ended.metadata.namespace ?? ""}/${name}`;
  const terminated = ended.status.containerStatuses?.[0]?.state.terminated;
  if (terminated === undefined || terminated.exitCode === 0)
    throw new CommandError(`${title} failed with unknown exit code`);
  throw new ExitError(
    terminated.exitCode,
    `${title} terminated (${terminated.reason ?? ""})\n${terminated.message ?? ""}`,
  );
}

async function run(given: Invocation): Promise<void> {
  const { flags } = given;
  const name = check(given);
  const attaches = flags.switch("attach") || flags.switch("stdin") || flags.switch("tty");
  const pod = overridden(given, podOf(given, name));
  // Who attaches hears the container, not that it was made.
  const created = await createObject(given, pod, (error) => error, "created", attaches);
  if (flags.switch("expose")) await exposePod(given, name, metaOf(pod).labels ?? {});
  if (!attaches) return;
  try {
    await follow(given, created as unknown as Pod);
  } finally {
    if (flags.switch("rm")) await removePod(given, created);
  }
}

async function exposePod(
  given: Invocation,
  name: string,
  selector: Readonly<Record<string, string>>,
): Promise<void> {
  const port = Number(given.flags.text("port"));
  await createObject(given, {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { ports: [{ port, protocol: "TCP", targetPort: port }], selector },
  });
}

async function removePod({ session, flags }: Invocation, created: AnyObject): Promise<void> {
  const resource = (await session.discovery()).require("pods");
  const { name = "", namespace = "" } = metaOf(created);
  await deleteTarget(
    session,
    { resource, name, namespace },
    { gracePeriodSeconds: flags.integer("grace-period") },
  );
  if (!flags.switch("quiet"))
    session.out(
      `${nameInResults(resource)} ${JSON.stringify(name)} deleted from ${namespace} namespace\n`,
    );
}
