/**
 * What the runtime knows about one pod, in the kubelet's terms: sandboxes and containers, newest first. Reads the
 * Runtime port; writes nothing.
 */
import type { ContainerStatus, Runtime, SandboxStatus } from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import { annotations, labels, type RuntimeLabels } from "./labels.ts";

export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly hash: string;
  readonly restartCount: number;
  readonly image: string;
  readonly imageRef: string;
  readonly createdAtMs: number;
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly logPath: string;
  readonly terminationMessagePath: string;
  readonly terminationMessagePolicy: string;
  /** The annotations as the kubelet wrote them: what a kill needs when the pod is gone from the API. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface PodRuntimeStatus {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  /** Of the ready sandbox, empty for host network. */
  readonly ips: readonly string[];
  /** Newest first. */
  readonly sandboxes: readonly SandboxStatus[];
  /** Newest first. */
  readonly containers: readonly ContainerRecord[];
}

/** What the kubelet has just started in a pod: one sandbox and the containers in it. */
export interface Made {
  readonly sandboxId: string;
  readonly containerIds: readonly string[];
}

export const noRuntimeStatus = (pod: {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
}): PodRuntimeStatus => ({ ...pod, ips: [], sandboxes: [], containers: [] });

/** The latest container of that name, dead or alive. */
export const latestOf = (status: PodRuntimeStatus, name: string): ContainerRecord | undefined =>
  status.containers.find((container) => container.name === name);

/** The sandbox in which containers may run: the newest, if it is ready. */
export function activeSandbox(status: PodRuntimeStatus): SandboxStatus | undefined {
  const newest = status.sandboxes[0];
  return newest?.ready === true ? newest : undefined;
}

/** Those in the active sandbox. */
export function activeContainers(status: PodRuntimeStatus): readonly ContainerRecord[] {
  const sandbox = activeSandbox(status);
  if (sandbox === undefined) return [];
  return status.containers.filter((container) => container.sandboxId === sandbox.id);
}

export const runningContainers = (status: PodRuntimeStatus): readonly ContainerRecord[] =>
  status.containers.filter((one) => one.state === "running" || one.state === "unknown");

const newestFirst = (a: { createdAtMs: number; id: string }, b: typeof a): number =>
  b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1);

export function recordOf(status: ContainerStatus): ContainerRecord {
  const exited = status.state === "exited";
  const noted = status.annotations;
  return {
    id: status.id,
    sandboxId: status.sandboxId,
    name: status.labels[labels.containerName] ?? status.name,
    state: status.state,
    hash: noted[annotations.hash] ?? "",
    restartCount: Number(noted[annotations.restartCount] ?? 0) || 0,
    image: status.image,
    imageRef: status.imageRef,
    createdAtMs: status.createdAtMs,
    ...(status.startedAtMs === undefined ? {} : { startedAtMs: status.startedAtMs }),
    ...(exited && status.finishedAtMs !== undefined ? { finishedAtMs: status.finishedAtMs } : {}),
    exitCode: exited ? (status.exitCode ?? 0) : 0,
    // A runtime may report "OOMKilled" on a container that still runs (a child was killed): only the end counts.
    reason: exited ? (status.reason ?? "") : "",
    message: exited ? (status.message ?? "") : "",
    logPath: status.logPath,
    terminationMessagePath: noted[annotations.terminationMessagePath] ?? "",
    terminationMessagePolicy: noted[annotations.terminationMessagePolicy] ?? "",
    annotations: noted,
  };
}

/** Reads pods' runtime state. Remembers what can't change any more: containers that have ended. */
export class RuntimeReader {
  readonly #runtime: Runtime;
  readonly #owned: RuntimeLabels;
  readonly #lastWords: (podUid: string, record: ContainerRecord) => Promise<string>;
  /** Ended containers by id; entries go when the container does. */
  readonly #ended = new Map<string, ContainerRecord>();

  /** `lastWords`: the message of a container that ended. */
  constructor(
    runtime: Runtime,
    owned: RuntimeLabels,
    lastWords: (podUid: string, record: ContainerRecord) => Promise<string>,
  ) {
    this.#runtime = runtime;
    this.#owned = owned;
    this.#lastWords = lastWords;
  }

  /** The pod's whole state, or what exists of it. */
  async read(pod: {
    readonly uid: string;
    readonly name: string;
    readonly namespace: string;
  }): Promise<PodRuntimeStatus> {
    const mine = { ...this.#owned, [labels.podUid]: pod.uid };
    const [sandboxes, containers] = await Promise.all([
      this.#runtime.listSandboxes(mine),
      this.#runtime.listContainers(mine),
    ]);
    const statuses = await Promise.all(
      sandboxes.map((one) => unlessGone(this.#runtime.sandboxStatus(one.id))),
    );
    const records = await Promise.all(containers.map((one) => this.#record(pod.uid, one.id)));
    return assemble(pod, statuses, records);
  }

  /** As read(), without listing: the pod had what `before` says, and since then only `made` has come to be. */
  async readMade(before: PodRuntimeStatus, made: Made): Promise<PodRuntimeStatus> {
    const { uid, name, namespace } = before;
    const sandboxIds = new Set([...before.sandboxes.map((one) => one.id), made.sandboxId]);
    const containerIds = new Set([...before.containers.map((one) => one.id), ...made.containerIds]);
    const [statuses, records] = await Promise.all([
      Promise.all([...sandboxIds].map((id) => unlessGone(this.#runtime.sandboxStatus(id)))),
      Promise.all([...containerIds].map((id) => this.#record(uid, id))),
    ]);
    return assemble({ uid, name, namespace }, statuses, records);
  }

  forget(containerId: string): void {
    this.#ended.delete(containerId);
  }

  async #record(podUid: string, id: string): Promise<ContainerRecord | undefined> {
    const ended = this.#ended.get(id);
    if (ended !== undefined) return ended;
    const status = await unlessGone(this.#runtime.containerStatus(id));
    if (status === undefined) return undefined;
    const record = recordOf(status);
    if (record.state !== "exited") return record;
    const complete = { ...record, message: await this.#lastWords(podUid, record) };
    this.#ended.set(record.id, complete);
    return complete;
  }
}

function assemble(
  pod: Pick<PodRuntimeStatus, "uid" | "name" | "namespace">,
  sandboxes: readonly (SandboxStatus | undefined)[],
  containers: readonly (ContainerRecord | undefined)[],
): PodRuntimeStatus {
  const ordered = sandboxes.filter((one) => one !== undefined).toSorted(newestFirst);
  const ready = ordered[0]?.ready === true ? ordered[0] : undefined;
  return {
    ...pod,
    ips: ready?.ips ?? [],
    sandboxes: ordered,
    containers: containers.filter((one) => one !== undefined).toSorted(newestFirst),
  };
}

/** Undefined if it went between listing and asking. */
export async function unlessGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof RuntimeError && error.code === "notFound") return undefined;
    throw error;
  }
}
