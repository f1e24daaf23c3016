/** Removing what is over: dead containers with their logs, sandboxes, cgroups. Keeps one dead container for `--previous`. */
import { RuntimeError } from "#ports/runtime.ts";
import type { NodeServices } from "./node-services.ts";
import { logLinkPath } from "./paths.ts";
import { podCgroupsOf } from "./resources.ts";
import type { ContainerRecord, PodRuntimeStatus } from "./runtime-status.ts";

interface PodIdentity {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
}

async function ignoringMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof RuntimeError && error.code === "notFound")) throw error;
  }
}

/** The container, its log with what rotation left of it, and the link to it. */
export async function removeContainer(
  node: NodeServices,
  pod: PodIdentity,
  record: ContainerRecord,
): Promise<void> {
  await ignoringMissing(node.runtime.removeContainer(record.id));
  node.reader.forget(record.id);
  const slash = record.logPath.lastIndexOf("/");
  const directory = record.logPath.slice(0, slash);
  const file = record.logPath.slice(slash + 1);
  for (const { name } of slash > 0 ? ((await node.host.list(directory)) ?? []) : []) {
    if (name === file || name.startsWith(`${file}.`))
      await node.host.remove(`${directory}/${name}`);
  }
  if (node.places.logLinks !== undefined) {
    await node.host.remove(logLinkPath(node.places.logLinks, pod, record.name, record.id));
  }
}

/** Dead containers that nobody needs: all but the newest dead one of each name. Pure. */
export function superfluousContainers(status: PodRuntimeStatus): readonly ContainerRecord[] {
  const kept = new Set<string>();
  return status.containers.filter((record) => {
    if (record.state === "running") return false;
    const isFirst = !kept.has(record.name);
    kept.add(record.name);
    return !isFirst;
  });
}

/** What can go while the pod lives on. */
export async function collectGarbage(node: NodeServices, status: PodRuntimeStatus): Promise<void> {
  const removed = new Set<string>();
  for (const record of superfluousContainers(status)) {
    await removeContainer(node, status, record);
    removed.add(record.id);
  }
  const left = status.containers.filter((record) => !removed.has(record.id));
  for (const sandbox of status.sandboxes.slice(1)) {
    const empty = left.every((record) => record.sandboxId !== sandbox.id);
    if (!sandbox.ready && empty) await ignoringMissing(node.runtime.removeSandbox(sandbox.id));
  }
}

/** Everything that the runtime holds of a pod whose containers have ended, with its logs. */
export async function removePod(node: NodeServices, status: PodRuntimeStatus): Promise<void> {
  for (const record of status.containers) await removeContainer(node, status, record);
  for (const sandbox of status.sandboxes) {
    await ignoringMissing(node.runtime.removeSandbox(sandbox.id));
  }
  const { namespace, name, uid } = status;
  await node.host.remove(`${node.places.logs}/${namespace}_${name}_${uid}`);
}

/** cgroup v1 leaves a pod's directory in every hierarchy when its sandbox is removed. */
export async function removePodCgroups(node: NodeServices, uid: string): Promise<void> {
  for (const path of podCgroupsOf(node.places.cgroupRoot, uid)) {
    await node.host.cgroup(path).remove();
  }
}
