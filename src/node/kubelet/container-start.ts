/** Starting one container: image, configuration, create, start, postStart. Every step tells by events how it went. */
import type { Container } from "#api/generated/core/v1.ts";
import { msToGoDuration } from "#machinery/go-duration.ts";
import type { Mount, SandboxConfig } from "#ports/runtime.ts";
import { Backoff } from "./backoff.ts";
import { userAgent } from "./config.ts";
import { containerConfig, volumeMounts } from "./container-config.ts";
import { ConfigError, environmentOf } from "./environment.ts";
import { runHook } from "./hooks.ts";
import { hostNetworkHostsFile, podHostname, podHostsFile } from "./hostname.ts";
import type { PullMemory } from "./images.ts";
import { killContainer } from "./kill.ts";
import type { NodeServices } from "./node-services.ts";
import {
  containerDirectory,
  containerLogPath,
  hostsFilePath,
  logLinkPath,
  podLogsDirectory,
  terminationLogPath,
} from "./paths.ts";
import { ephemeralContainersOf, formatPod, isHostNetwork, type NodePod } from "./pod-spec.ts";
import type { StartFailure } from "./pod-status.ts";
import { latestOf, type PodRuntimeStatus, recordOf } from "./runtime-status.ts";
import { rootRefusal } from "./security.ts";

const crashLoopFirstMs = 10_000;
const pullBackoffFirstMs = 10_000;
const pullBackoffMsMax = 300_000;

/** What a pod's starts remember. */
export interface StartMemory {
  readonly crashes: Backoff;
  readonly pulls: PullMemory;
}
export const newStartMemory = (node: NodeServices): StartMemory => ({
  crashes: new Backoff(node.clock, crashLoopFirstMs, node.config.crashLoopBackOffMsMax),
  pulls: {
    backoff: new Backoff(node.clock, pullBackoffFirstMs, pullBackoffMsMax),
    failures: new Map(),
  },
});

export interface StartInput {
  readonly pod: NodePod;
  readonly container: Container;
  readonly status: PodRuntimeStatus;
  readonly sandboxId: string;
  readonly sandbox: SandboxConfig;
  readonly podIps: readonly string[];
  readonly memory: StartMemory;
}

export type StartOutcome =
  | { readonly containerId: string }
  | { readonly failure: StartFailure; readonly retryAtMs?: number };

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Whether the container crashed too recently to be started again. */
function crashLoop(node: NodeServices, input: StartInput): StartOutcome | undefined {
  const { pod, container, status, memory } = input;
  const last = status.containers.find(
    (record) => record.name === container.name && record.state === "exited",
  );
  const finishedAtMs = last?.finishedAtMs ?? last?.createdAtMs;
  if (finishedAtMs === undefined) return undefined;
  const key = `${container.name}/${container.image ?? ""}`;
  const until = memory.crashes.waitUntilMs(key, finishedAtMs);
  if (until === undefined) {
    memory.crashes.note(key, finishedAtMs);
    return undefined;
  }
  const name = formatPod(pod);
  const said = `Back-off restarting failed container ${container.name} in pod ${name}`;
  node.events.container(pod, container.name, "Warning", "BackOff", said);
  const wait = msToGoDuration(memory.crashes.waitMs(key));
  return {
    failure: {
      reason: "CrashLoopBackOff",
      message: `back-off ${wait} restarting failed container=${container.name} pod=${name}`,
    },
    retryAtMs: until,
  };
}

/** The container that an ephemeral one is to look into; undefined: it names none. */
function targetOf({ pod, container, status }: StartInput): string | undefined {
  const ephemeral = ephemeralContainersOf(pod).find(({ name }) => name === container.name);
  const name = ephemeral?.targetContainerName ?? "";
  if (name === "") return undefined;
  const found = latestOf(status, name);
  if (found === undefined) throw new ConfigError(`unable to find target container ${name}`);
  return found.id;
}

/** A container's next run: one more than the last, also when only its logs are left. */
async function nextAttempt(node: NodeServices, input: StartInput): Promise<number> {
  const record = latestOf(input.status, input.container.name);
  if (record !== undefined) return record.restartCount + 1;
  const directory = `${podLogsDirectory(node.places, input.pod)}/${input.container.name}`;
  const files = (await node.host.list(directory)) ?? [];
  const used = files.map((file) => Number(/^(\d+)\.log/.exec(file.name)?.[1] ?? -1));
  return Math.max(-1, ...used) + 1;
}

export async function startContainer(node: NodeServices, input: StartInput): Promise<StartOutcome> {
  const { pod, container } = input;
  const waiting = crashLoop(node, input);
  if (waiting !== undefined) return waiting;
  const image = await node.images.ensure(pod, container, input.memory.pulls);
  const failed = (reason: string, message: string): StartOutcome => {
    node.events.container(pod, container.name, "Warning", "Failed", `Error: ${message}`);
    return { failure: { reason, message } };
  };
  if ("failure" in image) {
    // Upstream: the event carries the reason, the status the message.
    node.events.container(
      pod,
      container.name,
      "Warning",
      "Failed",
      `Error: ${image.failure.reason}`,
    );
    return image;
  }
  const unready = await imageVolumes(node, input);
  if (unready !== undefined) return unready;
  const refusal = rootRefusal(pod, container, image.image);
  if (refusal !== undefined) return failed("CreateContainerConfigError", refusal);
  let config: ReturnType<typeof containerConfig>;
  try {
    const attempt = await nextAttempt(node, input);
    const prepared = await prepare(node, input, attempt);
    config = containerConfig({
      targetId: targetOf(input),
      pod,
      container,
      attempt,
      imageReference: image.reference,
      image: image.image,
      ...prepared,
      memoryCapacityBytes: node.memoryCapacityBytes(),
      seccompDirectory: `${node.places.root}/seccomp`,
      owned: node.places.runtimeLabels,
    });
  } catch (error) {
    return failed("CreateContainerConfigError", textOf(error));
  }
  let containerId: string;
  try {
    containerId = await node.starting("container", () =>
      node.runtime.createContainer(input.sandboxId, config, input.sandbox),
    );
  } catch (error) {
    return failed("CreateContainerError", textOf(error));
  }
  node.claim(containerId, pod.metadata.uid);
  node.events.container(pod, container.name, "Normal", "Created", "Container created");
  try {
    await node.starting("container", () => node.runtime.startContainer(containerId));
  } catch (error) {
    return failed("RunContainerError", textOf(error));
  }
  node.events.container(pod, container.name, "Normal", "Started", "Container started");
  await linkLog(node, pod, container.name, containerId, config.attempt);
  return await afterStart(node, input, containerId);
}

/** Has the images that the container mounts; undefined: they are all here. */
async function imageVolumes(
  node: NodeServices,
  { pod, container, memory }: StartInput,
): Promise<StartOutcome | undefined> {
  const mounted = node.volumes.mounted(pod.metadata.uid);
  const names = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  for (const name of names) {
    const source = mounted.get(name)?.image;
    if (source === undefined) continue;
    const outcome = await node.images.ensureVolume(pod, source, memory.pulls);
    if (!("failure" in outcome)) continue;
    const said = `Error: ${outcome.failure.reason}`;
    node.events.container(pod, container.name, "Warning", "Failed", said);
    return outcome;
  }
  return undefined;
}

/** Environment, mounts, and the files that the kubelet makes for a container. */
async function prepare(
  node: NodeServices,
  input: StartInput,
  attempt: number,
): Promise<{ environment: ReadonlyMap<string, string>; mounts: readonly Mount[] }> {
  const { pod, container } = input;
  const { uid } = pod.metadata;
  const environment = await environmentOf({
    pod,
    container,
    podIps: input.podIps,
    node: node.figures(),
    references: node.references,
    services: await node.services(),
  });
  const mounts = await volumeMounts(
    container,
    node.volumes.mounted(uid),
    environment,
    (mount, subPath, mounted) => node.volumes.pathOf(mount, subPath, mounted),
  );
  const hasHosts = mounts.some((one) => one.containerPath === "/etc/hosts");
  // Each of these waits for the disk: together they wait once.
  const own = await Promise.all([
    node.host.makeDirectory(`${podLogsDirectory(node.places, pod)}/${container.name}`, 0o755),
    hasHosts ? undefined : hostsMount(node, input),
    terminationMount(node, input, attempt),
  ]);
  return { environment, mounts: [...mounts, ...own.filter((one) => one !== undefined)] };
}

async function hostsMount(node: NodeServices, input: StartInput): Promise<Mount> {
  const hostPath = await writeHostsFile(node, input);
  return { containerPath: "/etc/hosts", hostPath, propagation: "private" };
}

async function terminationMount(
  node: NodeServices,
  { pod, container }: StartInput,
  attempt: number,
): Promise<Mount | undefined> {
  const containerPath = container.terminationMessagePath ?? "";
  if (containerPath === "") return undefined;
  const { uid } = pod.metadata;
  await node.host.makeDirectory(containerDirectory(node.places, uid, container.name), 0o750);
  const hostPath = terminationLogPath(node.places, uid, container.name, attempt);
  // Whatever user the container runs as may write its last words.
  await node.host.write(hostPath, new Uint8Array(), { mode: 0o666, durable: false });
  return { containerPath, hostPath, propagation: "private" };
}

async function writeHostsFile(node: NodeServices, input: StartInput): Promise<string> {
  const { pod, podIps } = input;
  const path = hostsFilePath(node.places, pod.metadata.uid);
  const aliases = pod.spec.hostAliases;
  let text: string;
  if (isHostNetwork(pod)) {
    const bytes = await node.host.read("/etc/hosts");
    const own = bytes === undefined ? "" : new TextDecoder().decode(bytes);
    text = hostNetworkHostsFile(own, aliases);
  } else {
    text = podHostsFile(podHostname(pod, node.config.clusterDomain), podIps, aliases);
  }
  const bytes = new TextEncoder().encode(text);
  const before = await node.host.read(path);
  // A container that runs holds the file itself: it is replaced only when it must say something else.
  const same = before !== undefined && new TextDecoder().decode(before) === text;
  if (!same) await node.host.write(path, bytes, { mode: 0o644, durable: false });
  return path;
}

async function linkLog(
  node: NodeServices,
  pod: NodePod,
  container: string,
  containerId: string,
  attempt: number,
): Promise<void> {
  if (node.places.logLinks === undefined) return;
  const target = `${podLogsDirectory(node.places, pod)}/${containerLogPath(container, attempt)}`;
  const link = logLinkPath(node.places.logLinks, pod.metadata, container, containerId);
  try {
    await node.host.link(target, link);
  } catch (error) {
    // Only log collectors miss it.
    node.log.write("warn", "could not make the link to a container's log", {
      link,
      error: textOf(error),
    });
  }
}

async function afterStart(
  node: NodeServices,
  input: StartInput,
  containerId: string,
): Promise<StartOutcome> {
  const { pod, container } = input;
  const postStart = container.lifecycle?.postStart;
  if (postStart === undefined) return { containerId };
  const world = { ...node, userAgent: userAgent("lifecycle", node.version) };
  const failure = await runHook(world, postStart, {
    containerId,
    container,
    podName: formatPod(pod),
    podIp: input.podIps[0] ?? "",
  });
  if (failure === undefined) return { containerId };
  const about = "PostStartHook failed";
  node.events.container(pod, container.name, "Warning", "FailedPostStartHook", about);
  const record = recordOf(await node.runtime.containerStatus(containerId));
  await killContainer(node, pod, record, {
    message: "FailedPostStartHook",
    reason: "failedPostStart",
  });
  return { failure: { reason: "PostStartHookError", message: failure } };
}
