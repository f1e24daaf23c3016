/**
 * Ending containers: preStop hook, grace, stop; sidecars after the regular containers, in reverse order. Works from the
 * spec, or, where the pod is gone from the API, from what was noted on the container when it was made.
 */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import type { Container, LifecycleHandler } from "#api/generated/core/v1.ts";
import { isObject } from "#machinery/object.ts";
import { RuntimeError } from "#ports/runtime.ts";
import { userAgent } from "./config.ts";
import { runHook } from "./hooks.ts";
import { annotations } from "./labels.ts";
import type { NodeServices } from "./node-services.ts";
import type { KillReason } from "./pod-actions.ts";
import { containerNamed, formatPod, initContainersOf, type NodePod } from "./pod-spec.ts";
import {
  type ContainerRecord,
  type PodRuntimeStatus,
  runningContainers,
} from "./runtime-status.ts";

/** Nobody is killed without this much warning. */
const graceSecondsMin = 2;

export interface KillOptions {
  readonly message?: string;
  readonly reason?: KillReason | "podDeleted" | "failedPostStart";
  /** Instead of what spec and deletion say. */
  readonly graceSeconds?: number;
}

function probeGrace(
  container: Container | undefined,
  reason: KillOptions["reason"],
): number | undefined {
  if (reason === "startupProbe") return container?.startupProbe?.terminationGracePeriodSeconds;
  if (reason === "livenessProbe") return container?.livenessProbe?.terminationGracePeriodSeconds;
  return undefined;
}

/** Pure. */
export function gracePeriodSeconds(
  pod: NodePod | undefined,
  container: Container | undefined,
  record: ContainerRecord,
  options: KillOptions,
): number {
  if (options.graceSeconds !== undefined) return options.graceSeconds;
  if (pod !== undefined) {
    return (
      pod.metadata.deletionGracePeriodSeconds ??
      probeGrace(container, options.reason) ??
      pod.spec.terminationGracePeriodSeconds ??
      graceSecondsMin
    );
  }
  const noted =
    record.annotations[annotations.deletionGracePeriod] ??
    record.annotations[annotations.terminationGracePeriod];
  return noted === undefined ? graceSecondsMin : Number(noted) || graceSecondsMin;
}

function preStopOf(
  container: Container | undefined,
  record: ContainerRecord,
): LifecycleHandler | undefined {
  if (container !== undefined) return container.lifecycle?.preStop;
  const noted = record.annotations[annotations.preStopHandler];
  if (noted === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(noted);
    return isObject(parsed) ? parsed : undefined;
  } catch {
    // Somebody else's annotation under our key: there is no hook to run.
    return undefined;
  }
}

interface Ordering {
  /** Resolves when it is this container's turn. */
  turnOf(name: string): Promise<void>;
  ended(name: string): void;
}

/** Sidecars wait for all regular containers, and each for the sidecars after it. */
function terminationOrdering(pod: NodePod, running: readonly string[]): Ordering {
  const done = new Map<string, { readonly promise: Promise<void>; readonly end: () => void }>();
  for (const name of running) {
    let end = (): void => {};
    const promise = new Promise<void>((resolve) => {
      end = resolve;
    });
    done.set(name, { promise, end });
  }
  const sidecars = initContainersOf(pod).filter(isSidecar);
  return {
    async turnOf(name) {
      const index = sidecars.findIndex((container) => container.name === name);
      if (index < 0) return;
      for (const { name: before } of [...pod.spec.containers, ...sidecars.slice(index + 1)]) {
        await done.get(before)?.promise;
      }
    },
    ended(name) {
      done.get(name)?.end();
    },
  };
}

export async function killContainer(
  node: NodeServices,
  pod: NodePod | undefined,
  record: ContainerRecord,
  options: KillOptions,
  ordering?: Ordering,
): Promise<void> {
  const container = pod === undefined ? undefined : containerNamed(pod, record.name);
  const began = node.clock.monotonicMs();
  const left = (grace: number): number =>
    grace - Math.floor((node.clock.monotonicMs() - began) / 1000);
  const grace = gracePeriodSeconds(pod, container, record, options);
  if (pod !== undefined) {
    const message = options.message ?? `Stopping container ${record.name}`;
    node.events.container(pod, record.name, "Normal", "Killing", message);
  }
  const preStop = preStopOf(container, record);
  if (preStop !== undefined && grace > 0) await preStopHook(node, pod, record, preStop, grace);
  if (ordering !== undefined && left(grace) > 0) {
    await within(node, left(grace), ordering.turnOf(record.name));
  }
  try {
    await node.runtime.stopContainer(record.id, Math.max(left(grace), graceSecondsMin));
  } catch (error) {
    if (!(error instanceof RuntimeError && error.code === "notFound")) throw error;
  }
  ordering?.ended(record.name);
}

/** Resolves when the work does, at the latest after the time. */
async function within(node: NodeServices, seconds: number, work: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const cancel = node.clock.after(seconds * 1000, resolve);
    work.then(
      () => {
        cancel();
        resolve();
      },
      (error: unknown) => {
        cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}

async function preStopHook(
  node: NodeServices,
  pod: NodePod | undefined,
  record: ContainerRecord,
  handler: LifecycleHandler,
  graceSeconds: number,
): Promise<void> {
  const world = { ...node, userAgent: userAgent("lifecycle", node.version) };
  const container = pod === undefined ? undefined : containerNamed(pod, record.name);
  const podIp =
    pod === undefined ? "" : (node.statuses.get(pod.metadata.uid)?.podIP ?? pod.status.podIP ?? "");
  const work = async (): Promise<void> => {
    const failure = await runHook(world, handler, {
      containerId: record.id,
      container: container ?? { name: record.name, resources: {} },
      podName: pod === undefined ? "" : formatPod(pod),
      podIp,
    });
    // Upstream: the message stays out of the event, for a command's output may hold secrets.
    if (failure !== undefined && pod !== undefined) {
      const about = "PreStopHook failed";
      node.events.container(pod, record.name, "Warning", "FailedPreStopHook", about);
    }
  };
  await within(node, graceSeconds, work());
}

/** Stops all containers of a pod and its sandboxes. */
export async function killPod(
  node: NodeServices,
  pod: NodePod | undefined,
  status: PodRuntimeStatus,
  graceSeconds?: number,
): Promise<void> {
  const running = runningContainers(status);
  const sidecars = pod !== undefined && initContainersOf(pod).some(isSidecar);
  const ordering = sidecars
    ? terminationOrdering(
        pod,
        running.map((record) => record.name),
      )
    : undefined;
  const options: KillOptions = {
    reason: "podDeleted",
    ...(graceSeconds === undefined ? {} : { graceSeconds }),
  };
  const killed = await Promise.allSettled(
    running.map((record) => killContainer(node, pod, record, options, ordering)),
  );
  const failed = killed.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  for (const sandbox of status.sandboxes) await node.runtime.stopSandbox(sandbox.id);
}
