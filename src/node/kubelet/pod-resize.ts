/**
 * In-place resize: what a pod's containers may use changes while they run. What the API wants (the spec) is first allocated, if the
 * node has room, then applied: to the pod's cgroup and to each container, which is restarted only where it asks for that. Writes
 * cgroups and the runtime's limits; the pod's status and conditions tell how far it is.
 */
import type { Container, ResourceRequirements } from "#api/generated/core/v1.ts";
import { equalObjects } from "#machinery/object.ts";
import type { CgroupLimits } from "#ports/host.ts";
import type { NodeServices } from "./node-services.ts";
import type { ContainerToKill } from "./pod-actions.ts";
import { initContainersOf, type NodePod } from "./pod-spec.ts";
import type { ReportedCondition } from "./reported-status.ts";
import { containerResources, podCgroup, podCgroupLimits } from "./resources.ts";
import type { ContainerRecord, PodRuntimeStatus } from "./runtime-status.ts";

/** Resources by container; the pod's own under "". */
type Allocation = ReadonlyMap<string, ResourceRequirements>;
const podKey = "";
const conditionTypes = { pending: "PodResizePending", inProgress: "PodResizeInProgress" } as const;

function wantedBy(pod: NodePod): Allocation {
  const all = [...initContainersOf(pod), ...pod.spec.containers];
  const entries = all.map(({ name, resources }) => [name, resources ?? {}] as const);
  const own = pod.spec.resources;
  return new Map([...entries, ...(own === undefined ? [] : [[podKey, own] as const])]);
}

const isSame = (a: Allocation, b: Allocation): boolean =>
  equalObjects(Object.fromEntries(a), Object.fromEntries(b));

/** The pod as it is allowed to run now. */
export function withAllocation(pod: NodePod, allocation: Allocation): NodePod {
  const wanted = wantedBy(pod);
  if (isSame(wanted, allocation)) return pod;
  const given = <C extends Container>(container: C): C => {
    const resources = allocation.get(container.name);
    return resources === undefined ? container : { ...container, resources };
  };
  const own = allocation.get(podKey);
  return {
    ...pod,
    spec: {
      ...pod.spec,
      containers: pod.spec.containers.map(given),
      ...(pod.spec.initContainers === undefined
        ? {}
        : { initContainers: pod.spec.initContainers.map(given) }),
      ...(own === undefined ? {} : { resources: own }),
    },
  };
}

/** What an earlier life of the kubelet had allocated: the status says it where the spec was not granted yet. */
export function knownAllocation(pod: NodePod): Allocation {
  const wanted = wantedBy(pod);
  const open = (pod.status.conditions ?? []).some(
    ({ type, status }) =>
      status === "True" && (type === conditionTypes.pending || type === conditionTypes.inProgress),
  );
  if (!open) return wanted;
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status;
  const reported = new Map(
    [...initContainerStatuses, ...containerStatuses].map(({ name, resources }) => [
      name,
      resources,
    ]),
  );
  return new Map([...wanted].map(([name, own]) => [name, reported.get(name) ?? own]));
}

/** Which of a container's resources two states give differently. */
const changedResources = (a: ResourceRequirements, b: ResourceRequirements): string[] =>
  ["cpu", "memory"].filter(
    (name) => a.requests?.[name] !== b.requests?.[name] || a.limits?.[name] !== b.limits?.[name],
  );

const restartsFor = ({ resizePolicy = [] }: Container, names: readonly string[]): boolean =>
  resizePolicy.some(
    ({ resourceName, restartPolicy }) =>
      restartPolicy === "RestartContainer" && names.includes(resourceName),
  );

/** Upstream: events carry the resources as JSON. */
function summary(pod: NodePod, error = ""): string {
  const list = (containers: readonly Container[]) =>
    containers.map(({ name, resources }) => ({ name, resources: resources ?? {} }));
  const init = list(initContainersOf(pod));
  return JSON.stringify({
    ...(init.length === 0 ? {} : { initContainers: init }),
    containers: list(pod.spec.containers),
    generation: pod.metadata.generation ?? 0,
    ...(error === "" ? {} : { error }),
  });
}

/** The larger of two limits, for the time in which both old and new containers are below it. */
function widest(before: CgroupLimits, now: CgroupLimits): CgroupLimits {
  const larger = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? undefined : Math.max(a, b);
  const cpuQuota = larger(before.cpuQuota, now.cpuQuota);
  const memoryLimitBytes = larger(before.memoryLimitBytes, now.memoryLimitBytes);
  return {
    ...(cpuQuota === undefined ? {} : { cpuQuota, cpuPeriod: now.cpuPeriod ?? 100_000 }),
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
  };
}

interface Applied {
  /** The container's id: another run has what it was started with. */
  readonly id: string;
  readonly resources: ResourceRequirements;
}

export class PodResize {
  readonly #node: NodeServices;
  #allocation: Allocation;
  readonly #applied = new Map<string, Applied>();
  /** What the status says of containers that an earlier life of the kubelet started, by id. */
  readonly #adopted: ReadonlyMap<string, ResourceRequirements>;
  #pending: { readonly reason: string; readonly message: string } | undefined;
  /** The generation whose resources are being applied. */
  #inProgress: number | undefined;
  #error = "";
  #announced = "";

  constructor(node: NodeServices, pod: NodePod) {
    this.#node = node;
    this.#allocation = knownAllocation(pod);
    const { containerStatuses = [], initContainerStatuses = [] } = pod.status;
    this.#adopted = new Map(
      [...initContainerStatuses, ...containerStatuses].flatMap(({ containerID = "", resources }) =>
        resources === undefined
          ? []
          : [[containerID.slice(containerID.indexOf("://") + 3), resources] as const],
      ),
    );
  }

  /** The node had no room for what the pod wants. */
  get isDeferred(): boolean {
    return this.#pending !== undefined;
  }
  allocated(pod: NodePod): NodePod {
    return withAllocation(pod, this.#allocation);
  }

  /** Grants what the spec wants, if the node can. */
  allocate(pod: NodePod): void {
    const wanted = wantedBy(pod);
    if (isSame(wanted, this.#allocation)) {
      this.#pending = undefined;
      return;
    }
    const { events } = this.#node;
    const verdict = this.#node.resizeVerdict(pod);
    const generation = pod.metadata.generation ?? 0;
    if (verdict.admitted) {
      this.#allocation = wanted;
      this.#pending = undefined;
      this.#inProgress = generation;
      this.#error = "";
      events.pod(pod, "Normal", "ResizeStarted", `Pod resize started: ${summary(pod)}`);
      return;
    }
    this.#pending = { reason: "Deferred", message: verdict.message };
    const announcement = `${generation} ${verdict.message}`;
    if (announcement === this.#announced) return;
    this.#announced = announcement;
    const text = `Pod resize Deferred: ${summary(pod, verdict.message)}`;
    events.pod(pod, "Warning", "ResizeDeferred", text);
  }

  /** What a container has now; undefined: it is not known to differ from what is allocated. */
  appliedTo(record: ContainerRecord): ResourceRequirements | undefined {
    const applied = this.#applied.get(record.name);
    return applied?.id === record.id ? applied.resources : undefined;
  }

  conditions(pod: NodePod): ReportedCondition[] {
    const generation = pod.metadata.generation;
    const observed = generation === undefined ? {} : { observedGeneration: generation };
    const found: ReportedCondition[] = [];
    if (this.#pending !== undefined) {
      found.push({ type: conditionTypes.pending, status: "True", ...this.#pending, ...observed });
    }
    if (this.#inProgress !== undefined) {
      const failed = this.#error === "" ? {} : { reason: "Error", message: this.#error };
      const type = conditionTypes.inProgress;
      const of = { observedGeneration: this.#inProgress };
      found.push({ type, status: "True", ...failed, ...of });
    }
    return found;
  }

  /** Brings what runs to what is allocated. `pod`: as allocated. Gives the containers that have to be restarted for it. */
  async apply(pod: NodePod, runtime: PodRuntimeStatus): Promise<readonly ContainerToKill[]> {
    const all = [...initContainersOf(pod), ...pod.spec.containers];
    const restart: ContainerToKill[] = [];
    const change: { readonly container: Container; readonly record: ContainerRecord }[] = [];
    for (const record of runtime.containers) {
      const container = all.find(({ name }) => name === record.name);
      if (container === undefined || record.state !== "running") continue;
      const wanted = container.resources ?? {};
      const known = this.#applied.get(record.name);
      if (known?.id !== record.id) {
        const resources = this.#adopted.get(record.id) ?? wanted;
        this.#applied.set(record.name, { id: record.id, resources });
      }
      const names = changedResources(this.appliedTo(record) ?? wanted, wanted);
      if (names.length === 0) continue;
      if (!restartsFor(container, names)) change.push({ container, record });
      else {
        const message = `Container ${container.name} resize requires restart`;
        restart.push({ record, container, message, reason: "changed" });
      }
    }
    if (change.length > 0) await this.#change(pod, change);
    if (this.#inProgress !== undefined && restart.length === 0) this.#complete(pod);
    return restart;
  }

  async #change(
    pod: NodePod,
    changes: readonly { readonly container: Container; readonly record: ContainerRecord }[],
  ): Promise<void> {
    const node = this.#node;
    const pidsMax = node.config.podPidsLimit;
    const before = withAllocation(
      pod,
      new Map([
        ...this.#allocation,
        ...[...this.#applied].map(([name, { resources }]) => [name, resources] as const),
      ]),
    );
    const limits = podCgroupLimits(pod, pidsMax);
    const cgroup = node.host.cgroup(podCgroup(node.places.cgroupRoot, pod));
    try {
      await cgroup.make(widest(podCgroupLimits(before, pidsMax), limits));
      for (const { container, record } of changes) {
        const resources = containerResources(pod, container, node.memoryCapacityBytes());
        await node.runtime.updateContainer(record.id, resources);
        this.#applied.set(record.name, { id: record.id, resources: container.resources ?? {} });
      }
      await cgroup.make(limits);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== this.#error) {
        const text = `Pod resize error: ${summary(pod, message)}`;
        node.events.pod(pod, "Warning", "ResizeError", text);
      }
      this.#error = message;
      throw error;
    }
  }

  #complete(pod: NodePod): void {
    this.#inProgress = undefined;
    this.#error = "";
    const text = `Pod resize completed: ${summary(pod)}`;
    this.#node.events.pod(pod, "Normal", "ResizeCompleted", text);
  }
}
