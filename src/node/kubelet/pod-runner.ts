/** Performs what computePodActions decided: kills, makes the sandbox, starts containers. One pod at a time, one run at a time. */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import type { Container } from "#api/generated/core/v1.ts";
import type { SandboxConfig } from "#ports/runtime.ts";
import { newStartMemory, type StartMemory, startContainer } from "./container-start.ts";
import { podDns } from "./dns.ts";
import { removeContainer } from "./garbage.ts";
import { kernelHostname, podHostname } from "./hostname.ts";
import { killContainer, killPod } from "./kill.ts";
import type { NodeServices } from "./node-services.ts";
import { podLogsDirectory } from "./paths.ts";
import type { PodActions } from "./pod-actions.ts";
import { initContainersOf, isHostNetwork, type NodePod } from "./pod-spec.ts";
import type { StartFailure } from "./pod-status.ts";
import { podCgroup, podCgroupLimits } from "./resources.ts";
import type { ContainerRecord, Made, PodRuntimeStatus } from "./runtime-status.ts";
import { sandboxConfig } from "./sandbox-config.ts";

export interface RunOutcome {
  /** Something was started, stopped or removed: the runtime's state is worth another look. */
  readonly acted: boolean;
  /** When to try again what could not be done yet; infinity: nothing waits. */
  readonly retryAtMs: number;
  /** What came to be. Absent: more happened than starts that went well; ask the runtime what there is. */
  readonly made?: Made;
}

/** After a failure that has no back-off of its own: doubled from here to there. */
const retryMsMin = 1000;
const retryMsMax = 60_000;

interface Wait {
  readonly untilMs: number;
  readonly failures: number;
}

const never = Number.POSITIVE_INFINITY;
const sandboxKey = "";

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class PodRunner {
  readonly #node: NodeServices;
  readonly #memory: StartMemory;
  /** Why containers are not running, by name: part of the pod's status. */
  readonly failures = new Map<string, StartFailure>();
  /** What failed and is not tried again yet: the sandbox, or containers by name and image. */
  readonly #waits = new Map<string, Wait>();

  constructor(node: NodeServices) {
    this.#node = node;
    this.#memory = newStartMemory(node);
  }

  /** What a failed start was missing may be there now. */
  retryNow(): void {
    this.#waits.clear();
  }

  /** Undefined: go ahead. */
  #waitOf(key: string): number | undefined {
    const wait = this.#waits.get(key);
    return wait !== undefined && wait.untilMs > this.#node.clock.now() ? wait.untilMs : undefined;
  }
  #noteFailure(key: string, untilMs: number | undefined): number {
    const failures = (this.#waits.get(key)?.failures ?? 0) + 1;
    const waitMs = Math.min(retryMsMin * 2 ** (failures - 1), retryMsMax);
    const until = untilMs ?? this.#node.clock.now() + waitMs;
    this.#waits.set(key, { untilMs: until, failures });
    return until;
  }

  async run(pod: NodePod, status: PodRuntimeStatus, actions: PodActions): Promise<RunOutcome> {
    const node = this.#node;
    if (actions.createSandbox && actions.sandboxId !== undefined) {
      const message = "Pod sandbox changed, it will be killed and re-created.";
      node.events.pod(pod, "Normal", "SandboxChanged", message);
    }
    let acted = false;
    if (actions.killPod) {
      if (status.sandboxes.length > 0) {
        await killPod(node, pod, status);
        acted = true;
      }
      if (actions.createSandbox) await this.#purgeInitContainers(pod, status);
    }
    for (const { record, message, reason } of actions.containersToKill) {
      if (actions.killPod) break;
      await killContainer(node, pod, record, { message, reason });
      acted = true;
    }
    const { made, ...started } = await this.#start(pod, status, actions);
    if (acted || made === undefined) return { ...started, acted: acted || started.acted };
    return { ...started, made };
  }

  async #start(pod: NodePod, status: PodRuntimeStatus, actions: PodActions): Promise<RunOutcome> {
    const wanted =
      actions.ephemeralContainersToStart.length +
      actions.initContainersToStart.length +
      actions.containersToStart.length;
    if (wanted === 0 && !actions.createSandbox) return { acted: false, retryAtMs: never };
    const wait = actions.createSandbox ? this.#waitOf(sandboxKey) : undefined;
    if (wait !== undefined) return { acted: false, retryAtMs: wait };
    const sandbox = await this.#sandboxConfig(pod, actions.attempt);
    let sandboxId = actions.sandboxId;
    let podIps: readonly string[] = status.ips;
    if (actions.createSandbox) {
      const made = await this.#makeSandbox(pod, sandbox);
      if (made === undefined) {
        return { acted: true, retryAtMs: this.#noteFailure(sandboxKey, undefined) };
      }
      this.#waits.delete(sandboxKey);
      sandboxId = made.id;
      podIps = made.ips;
    }
    if (isHostNetwork(pod)) podIps = this.#node.figures().hostIps;
    if (sandboxId === undefined) return { acted: true, retryAtMs: never };
    return await this.#startAll(pod, status, actions, { sandboxId, sandbox, podIps });
  }

  async #startAll(
    pod: NodePod,
    status: PodRuntimeStatus,
    actions: PodActions,
    place: {
      readonly sandboxId: string;
      readonly sandbox: SandboxConfig;
      readonly podIps: readonly string[];
    },
  ): Promise<RunOutcome> {
    let retryAtMs = never;
    let acted = actions.createSandbox;
    let failed = false;
    const containerIds: string[] = [];
    const start = async (container: Container): Promise<boolean> => {
      const key = `${container.name}/${container.image ?? ""}`;
      const wait = this.#waitOf(key);
      if (wait !== undefined) {
        retryAtMs = Math.min(retryAtMs, wait);
        return false;
      }
      const input = { pod, container, status, memory: this.#memory, ...place };
      const outcome = await startContainer(this.#node, input);
      if ("containerId" in outcome) {
        this.failures.delete(container.name);
        this.#waits.delete(key);
        acted = true;
        containerIds.push(outcome.containerId);
        return true;
      }
      failed = true;
      this.failures.set(container.name, outcome.failure);
      retryAtMs = Math.min(retryAtMs, this.#noteFailure(key, outcome.retryAtMs));
      // It may have got as far as being created.
      acted = true;
      return false;
    };
    for (const container of actions.ephemeralContainersToStart) await start(container);
    for (const container of actions.initContainersToStart) {
      // What comes after needs it; a sidecar that fails is tried again beside the others.
      if (!(await start(container)) && !isSidecar(container)) break;
    }
    for (const container of actions.containersToStart) await start(container);
    const made = { sandboxId: place.sandboxId, containerIds };
    return failed ? { acted, retryAtMs } : { acted, retryAtMs, made };
  }

  async #makeSandbox(
    pod: NodePod,
    config: SandboxConfig,
  ): Promise<{ readonly id: string; readonly ips: readonly string[] } | undefined> {
    const node = this.#node;
    try {
      const { runtimeClassName } = pod.spec;
      const handler =
        runtimeClassName === undefined
          ? {}
          : { runtimeHandler: await node.runtimeHandler(runtimeClassName) };
      const cgroup = node.host.cgroup(podCgroup(node.places.cgroupRoot, pod));
      const [id] = await Promise.all([
        node.starting("sandbox", async () => {
          await cgroup.make(podCgroupLimits(pod, node.config.podPidsLimit));
          return await node.runtime.runSandbox({ ...config, ...handler });
        }),
        node.host.makeDirectory(config.logDirectory, 0o755),
      ]);
      node.claim(id, pod.metadata.uid);
      const { ips } = await node.runtime.sandboxStatus(id);
      return { id, ips };
    } catch (error) {
      const message = `Failed to create pod sandbox: ${textOf(error)}`;
      node.events.pod(pod, "Warning", "FailedCreatePodSandBox", message);
      return undefined;
    }
  }

  async #sandboxConfig(pod: NodePod, attempt: number): Promise<SandboxConfig> {
    const node = this.#node;
    const dns = podDns(pod, await node.dns());
    for (const { reason, message } of dns.warnings) {
      node.events.pod(pod, "Warning", reason, message);
    }
    const name = kernelHostname(pod, podHostname(pod, node.config.clusterDomain));
    if ("problem" in name) throw new Error(name.problem);
    return sandboxConfig({
      pod,
      attempt,
      hostname: name.hostname,
      dns: dns.settings,
      logDirectory: podLogsDirectory(node.places, pod),
      cgroupParent: podCgroup(node.places.cgroupRoot, pod),
      owned: node.places.runtimeLabels,
    });
  }

  /** A new sandbox starts from the beginning: init containers run again. */
  async #purgeInitContainers(pod: NodePod, status: PodRuntimeStatus): Promise<void> {
    const names = new Set(initContainersOf(pod).map((container) => container.name));
    const old: readonly ContainerRecord[] = status.containers.filter((one) => names.has(one.name));
    for (const record of old) await removeContainer(this.#node, pod.metadata, record);
  }
}
