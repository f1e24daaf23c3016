/**
 * The prober: a timer for each probe of each running container, the thresholds, and the results that pod statuses and
 * actions are made from. Told of each pod's status as it is computed; tells the pod's worker when a result changed.
 */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import { isPhaseTerminal } from "#api/core/v1/pod-status.ts";
import type { Container, Probe } from "#api/generated/core/v1.ts";
import { parseTime } from "#machinery/time.ts";
import type { Random } from "#ports/random.ts";
import type { EventSink } from "../events.ts";
import type { ProbeOutcome, ProbeResults } from "../pod-actions.ts";
import { initContainersOf, type NodePod } from "../pod-spec.ts";
import type { ReportedContainer, ReportedStatus } from "../reported-status.ts";
import { Semaphore } from "../semaphore.ts";
import { type ProbeWorld, runProbe, type Verdict } from "./probe.ts";
import { ProbeCounts, type Probed, probeMetrics } from "./probe-counts.ts";

export type ProbeType = "liveness" | "readiness" | "startup";
const probeTypes: readonly ProbeType[] = ["startup", "liveness", "readiness"];
const labels: Readonly<Record<ProbeType, Probed["probeType"]>> = {
  liveness: "Liveness",
  readiness: "Readiness",
  startup: "Startup",
};

/** More at once in one pod make the runtime stall for half a minute. */
const execsPerPodMax = 16;
/** A probe that could not be carried out (not one that failed) is tried so often. */
const triesMax = 3;
/** Containers that started this long before the kubelet keep the readiness they had. */
const restartGraceMs = 10_000;

function probeOf(container: Container, type: ProbeType): Probe | undefined {
  if (type === "liveness") return container.livenessProbe;
  return type === "readiness" ? container.readinessProbe : container.startupProbe;
}

interface Watch {
  readonly containerId: string;
  readonly type: ProbeType;
  readonly probe: Probe;
  readonly container: Container;
  pod: NodePod;
  podIp: string;
  run: number;
  last: "success" | "failure" | undefined;
  cancel: () => void;
  stopped: boolean;
}

interface PodProbes {
  /** By "type/container". */
  readonly watches: Map<string, Watch>;
  readonly execs: Semaphore;
  /** By the same; they outlast the container's restarts. */
  readonly counts: Map<string, ProbeCounts>;
}

export interface ProberPorts extends Omit<ProbeWorld, "exec"> {
  readonly random: Random;
  readonly events: EventSink;
  readonly startedAtMs: number;
}

export class Prober implements ProbeResults {
  readonly #ports: ProberPorts;
  readonly #changed: (podUid: string) => void;
  readonly #pods = new Map<string, PodProbes>();
  readonly #results: Readonly<Record<ProbeType, Map<string, ProbeOutcome>>> = {
    liveness: new Map(),
    readiness: new Map(),
    startup: new Map(),
  };

  constructor(ports: ProberPorts, changed: (podUid: string) => void) {
    this.#ports = ports;
    this.#changed = changed;
  }

  liveness(containerId: string): ProbeOutcome | undefined {
    return this.#results.liveness.get(containerId);
  }
  readiness(containerId: string): ProbeOutcome | undefined {
    return this.#results.readiness.get(containerId);
  }
  startup(containerId: string): ProbeOutcome | undefined {
    return this.#results.startup.get(containerId);
  }

  /** Brings the probes in line with what runs. */
  update(pod: NodePod, status: ReportedStatus): void {
    const { uid } = pod.metadata;
    if (isPhaseTerminal(status.phase)) {
      this.remove(uid);
      return;
    }
    const probed = [...pod.spec.containers, ...initContainersOf(pod).filter(isSidecar)].filter(
      (container) => probeTypes.some((type) => probeOf(container, type) !== undefined),
    );
    if (probed.length === 0) return;
    const all = [...(status.containerStatuses ?? []), ...(status.initContainerStatuses ?? [])];
    for (const container of probed) {
      const found = all.find((one) => one.name === container.name);
      for (const type of probeTypes) this.#align(pod, container, type, found, status.podIP ?? "");
    }
  }

  /** The pod is being stopped: only readiness is still of interest. */
  stopLivenessAndStartup(podUid: string): void {
    for (const watch of this.#pods.get(podUid)?.watches.values() ?? []) {
      if (watch.type === "readiness") continue;
      this.#stop(watch);
      this.#results[watch.type].set(watch.containerId, "success");
    }
  }

  remove(podUid: string): void {
    for (const watch of this.#pods.get(podUid)?.watches.values() ?? []) {
      this.#stop(watch);
      this.#results[watch.type].delete(watch.containerId);
    }
    this.#pods.delete(podUid);
  }

  stop(): void {
    for (const uid of this.#pods.keys()) this.remove(uid);
  }

  #align(
    pod: NodePod,
    container: Container,
    type: ProbeType,
    status: ReportedContainer | undefined,
    podIp: string,
  ): void {
    const probe = probeOf(container, type);
    if (probe === undefined) return;
    const { uid } = pod.metadata;
    const probes = this.#pods.get(uid) ?? {
      watches: new Map(),
      execs: new Semaphore(execsPerPodMax),
      counts: new Map(),
    };
    this.#pods.set(uid, probes);
    const key = `${type}/${container.name}`;
    const containerId = status?.containerID?.split("://")[1] ?? "";
    let watch = probes.watches.get(key);
    if (watch !== undefined && watch.containerId !== containerId) {
      this.#stop(watch);
      this.#results[type].delete(watch.containerId);
      probes.watches.delete(key);
      watch = undefined;
    }
    if (containerId === "") return;
    if (status?.state?.running === undefined) {
      if (watch !== undefined) this.#stop(watch);
      return;
    }
    if (watch !== undefined) {
      watch.pod = pod;
      watch.podIp = podIp;
      return;
    }
    const startedAtMs = parseTime(status.state.running.startedAt ?? "") ?? this.#ports.clock.now();
    const ranBefore = startedAtMs < this.#ports.startedAtMs - restartGraceMs;
    if (ranBefore && type === "startup" && status.started === true) {
      this.#results.startup.set(containerId, "success");
      return;
    }
    // A container that is not started yet is probed by its startup probe only.
    const hasStarted = status.started === true;
    if (type !== "startup" && !hasStarted) return;
    if (!ranBefore) this.#results[type].set(containerId, initial[type]);
    if (pod.metadata.deletionTimestamp !== undefined && type !== "readiness") return;
    watch = {
      containerId,
      type,
      probe,
      container,
      pod,
      podIp,
      run: 0,
      last: undefined,
      cancel: () => {},
      stopped: false,
    };
    probes.watches.set(key, watch);
    this.#schedule(watch, probes, this.#firstDelayMs(probe, startedAtMs, ranBefore));
  }

  #firstDelayMs(probe: Probe, startedAtMs: number, ranBefore: boolean): number {
    const now = this.#ports.clock.now();
    const delay = startedAtMs + (probe.initialDelaySeconds ?? 0) * 1000 - now;
    // After a restart of the kubelet all probes would fall due at once.
    const spread = ranBefore
      ? (this.#ports.random.uint32() / 2 ** 32) * (probe.periodSeconds ?? 10) * 1000
      : 0;
    return Math.max(delay, 0) + spread;
  }

  #schedule(watch: Watch, probes: PodProbes, delayMs: number): void {
    watch.cancel = this.#ports.clock.after(delayMs, () => {
      if (!watch.stopped) void this.#tick(watch, probes);
    });
  }

  #stop(watch: Watch): void {
    watch.stopped = true;
    watch.cancel();
  }

  async #tick(watch: Watch, probes: PodProbes): Promise<void> {
    const began = this.#ports.clock.monotonicMs();
    const verdict = await this.#probe(watch, probes);
    if (watch.stopped) return;
    this.#count(watch, probes, verdict, this.#ports.clock.monotonicMs() - began);
    const goOn = this.#judge(watch, verdict);
    if (!goOn || watch.stopped) return;
    const periodMs = (watch.probe.periodSeconds ?? 10) * 1000;
    const took = this.#ports.clock.monotonicMs() - began;
    this.#schedule(watch, probes, Math.max(periodMs - took, 0));
  }

  async #probe(watch: Watch, probes: PodProbes): Promise<Verdict> {
    const world: ProbeWorld = { ...this.#ports, exec: (work) => probes.execs.run(work) };
    let verdict: Verdict = { type: "error", output: "not tried" };
    for (let tries = 0; tries < triesMax && verdict.type === "error"; tries += 1) {
      verdict = await runProbe(world, watch.probe, watch);
    }
    return verdict;
  }

  #count({ type, pod, container }: Watch, { counts }: PodProbes, verdict: Verdict, tookMs: number) {
    const key = `${type}/${container.name}`;
    const { name, namespace, uid } = pod.metadata;
    const counted =
      counts.get(key) ??
      new ProbeCounts({
        probeType: labels[type],
        container: container.name,
        pod: name,
        namespace,
        podUid: uid,
      });
    counts.set(key, counted);
    const isKnown = verdict.type !== "error";
    const result = verdict.type === "failure" ? "failed" : isKnown ? "successful" : "unknown";
    counted.count(result, tookMs);
  }

  /** What /metrics/probes tells. */
  metrics(): string {
    const all = [...this.#pods.values()].flatMap(({ counts }) => [...counts.values()]);
    return probeMetrics(all, this.#ports.startedAtMs);
  }

  /** Whether to go on probing this container. */
  #judge(watch: Watch, verdict: Verdict): boolean {
    const { type, pod, container } = watch;
    const tell = (reason: string, message: string): void => {
      this.#ports.events.container(pod, container.name, "Warning", reason, message);
    };
    const label = labels[type];
    if (verdict.type === "error") {
      tell("Unhealthy", `${label} probe errored and resulted in unknown state: ${verdict.output}`);
      return true;
    }
    if (verdict.type === "warning")
      tell("ProbeWarning", `${label} probe warning: ${verdict.output}`);
    if (verdict.type === "failure") tell("Unhealthy", `${label} probe failed: ${verdict.output}`);
    const result = verdict.type === "failure" ? "failure" : "success";
    watch.run = watch.last === result ? watch.run + 1 : 1;
    watch.last = result;
    const threshold =
      result === "failure"
        ? (watch.probe.failureThreshold ?? 3)
        : (watch.probe.successThreshold ?? 1);
    if (watch.run < threshold) return true;
    const before = this.#results[type].get(watch.containerId);
    this.#results[type].set(watch.containerId, result);
    if (before !== result) this.#changed(pod.metadata.uid);
    // A failed container is replaced, and a started one stays started: its successor gets probes of its own.
    return !(type === "startup" || (type === "liveness" && result === "failure"));
  }
}

const initial: Readonly<Record<ProbeType, ProbeOutcome>> = {
  liveness: "success",
  readiness: "failure",
  startup: "unknown",
};
