/** `kubectl debug`: an ephemeral container in a pod that runs. */
import type { EphemeralContainer, Pod } from "#api/generated/core/v1.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError } from "./errors.ts";
import { attachTo } from "./exec.ts";
import { duration, repeat, text, toggle } from "./flags.ts";
import { containersOf, isPod, targetFor } from "./pods.ts";
import { isOver, showLog, waitForPod } from "./run.ts";

export const debugCommand: KubectlCommand = {
  name: "debug",
  summary: "Create debugging sessions for troubleshooting workloads and nodes",
  usage: "(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ]",
  flags: [
    toggle("arguments-only", "Everything behind -- is passed as arguments instead of command"),
    toggle("attach", "Wait for the container to start running, and then attach"),
    text("container", "Container name to use for debug container", { short: "c" }),
    text("copy-to", "Not offered: debug a copy of the pod"),
    repeat("env", "Environment variables to set in the container"),
    text("image", "Container image to use for debug container"),
    text("image-pull-policy", "The image pull policy for the container"),
    duration("pod-running-timeout", "How long to wait until the container runs", {
      default: "1m0s",
    }),
    text("profile", "general, baseline, restricted, netadmin or sysadmin", { default: "general" }),
    toggle("quiet", "Suppress informational messages", { short: "q" }),
    toggle("stdin", "Keep stdin open on the container", { short: "i" }),
    text("target", "Target processes in this container name"),
    toggle("tty", "Allocate a TTY for the debugging container", { short: "t" }),
  ],
  run: debug,
};

const profiles: Readonly<Record<string, object | undefined>> = {
  legacy: undefined,
  general: { capabilities: { add: ["SYS_PTRACE"] } },
  baseline: undefined,
  restricted: {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    runAsNonRoot: true,
    seccompProfile: { type: "RuntimeDefault" },
  },
  netadmin: { capabilities: { add: ["NET_ADMIN", "NET_RAW"] } },
  sysadmin: { privileged: true },
};
const suffixLetters = "bcdfghjklmnpqrstvwxz2456789";

function debuggerName({ session, flags }: Invocation, pod: Pod): string {
  const named = flags.text("container");
  if (named !== "") return named;
  for (;;) {
    const random = Array.from(
      { length: 5 },
      () => suffixLetters[session.around.random.uint32() % suffixLetters.length] ?? "b",
    );
    const name = `debugger-${random.join("")}`;
    if (containersOf(pod).some((one) => one.name === name)) continue;
    if (!flags.switch("quiet")) session.error(`Defaulting debug container name to ${name}.\n`);
    return name;
  }
}

function containerOf(given: Invocation, pod: Pod): EphemeralContainer {
  const { flags, args, dashAt } = given;
  const command = dashAt < 0 ? args.slice(1) : args.slice(dashAt);
  const env = flags.list("env").map((one) => {
    const equals = one.indexOf("=");
    if (equals <= 0) throw new CommandError(`invalid env: ${one}`);
    return { name: one.slice(0, equals), value: one.slice(equals + 1) };
  });
  const securityContext = profiles[flags.text("profile")];
  return {
    name: debuggerName(given, pod),
    image: flags.text("image"),
    ...(command.length === 0
      ? {}
      : flags.switch("arguments-only")
        ? { args: command }
        : { command }),
    ...(env.length === 0 ? {} : { env }),
    ...(flags.text("image-pull-policy") === ""
      ? {}
      : { imagePullPolicy: flags.text("image-pull-policy") }),
    ...(flags.switch("stdin") ? { stdin: true } : {}),
    ...(flags.switch("tty") ? { tty: true } : {}),
    ...(flags.text("target") === "" ? {} : { targetContainerName: flags.text("target") }),
    ...(securityContext === undefined ? {} : { securityContext }),
    terminationMessagePolicy: "File",
  } as EphemeralContainer;
}

async function debug(given: Invocation): Promise<void> {
  const { session, flags, args, dashAt } = given;
  const before = dashAt < 0 ? args : args.slice(0, dashAt);
  const [word] = before;
  if (word === undefined) throw usageFailure(given, "NAME or TYPE/NAME is required for debug");
  if (flags.text("copy-to") !== "")
    throw new CommandError(
      "--copy-to is not part of wherry kubectl debug; it adds an ephemeral container to the pod itself",
    );
  if (flags.text("image") === "") throw new CommandError("you must specify --image");
  if (flags.switch("tty") && !flags.switch("stdin"))
    throw new CommandError("-i/--stdin is required for containers with -t/--tty=true");
  if (!Object.hasOwn(profiles, flags.text("profile")))
    throw new CommandError(`unknown profile: ${flags.text("profile")}`);
  const { resource, object } = await targetFor(session, word);
  if (!isPod(resource))
    throw new CommandError(
      `${resource.kind.toLowerCase()}s cannot be debugged by wherry kubectl; name a pod`,
    );
  const pod = object as unknown as Pod;
  const target = flags.text("target");
  if (target !== "" && !flags.switch("quiet")) {
    session.error(
      `Targeting container ${JSON.stringify(target)}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.\n`,
    );
  }
  const container = containerOf(given, pod);
  const rest = await session.rest();
  const { name = "", namespace = "" } = pod.metadata;
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/ephemeralcontainers`;
  const patched = await rest.json<Pod>("PATCH", path, {
    body: { spec: { ephemeralContainers: [container] } },
    contentType: "application/strategic-merge-patch+json",
  });
  const attaches = flags.given("attach") ? flags.switch("attach") : flags.switch("stdin");
  if (!attaches) return;
  const started = await waitForPod(
    session,
    patched,
    flags.durationMs("pod-running-timeout"),
    (one) => {
      const state = (one.status.ephemeralContainerStatuses ?? []).find(
        (status) => status.name === container.name,
      )?.state;
      return state?.running !== undefined || state?.terminated !== undefined || isOver(one);
    },
  );
  const state = (started.status.ephemeralContainerStatuses ?? []).find(
    (status) => status.name === container.name,
  )?.state;
  if (state?.running === undefined) {
    await showLog(session, started, container.name);
    return;
  }
  await attachTo(given, started, container.name, {
    stdin: flags.switch("stdin"),
    tty: flags.switch("tty"),
    quiet: flags.switch("quiet"),
  });
}
