/**
 * HorizontalPodAutoscaler controller: every 15 seconds each autoscaler's metrics are looked at, and its workload's scale is set to
 * what they ask for, within bounds. Reads autoscalers, Pods, scales and the metrics APIs; writes scales and the autoscalers' status.
 */
import { HorizontalPodAutoscaler } from "#api/autoscaling/v2/horizontalpodautoscaler.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Scale } from "#api/generated/autoscaling/v1.ts";
import type {
  HorizontalPodAutoscalerCondition,
  HorizontalPodAutoscalerStatus,
  MetricStatus,
} from "#api/generated/autoscaling/v2.ts";
import type { Kind } from "#api/resource.ts";
import { namespaceIndex } from "#client/cache.ts";
import { pathOf } from "#client/client.ts";
import { findCondition, setCondition } from "#machinery/conditions.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { quantityOf, quantityToNumber } from "#machinery/quantity.ts";
import { type LabelMatcher, parseLabelSelectorText } from "#machinery/selector.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Controller, ControllerSettings, Outcome, ReconcileContext } from "./controller.ts";
import { kindsNamed, readPath } from "./discovery.ts";
import { limitReplicas, ScaleHistory } from "./horizontal-pod-autoscaler-limits.ts";
import type { Tolerances } from "./horizontal-pod-autoscaler-replicas.ts";
import { type Asked, askSource, type Unknown } from "./horizontal-pod-autoscaler-sources.ts";
import { MetricsApis, type Problem } from "./metrics-apis.ts";
import { defineController } from "./runner.ts";

const rescaleAttemptsMax = 5;

export const horizontalPodAutoscalerController: Controller = {
  name: "horizontalpodautoscaler",
  start: (world) => {
    const known = new Known(world.settings);
    return defineController<HorizontalPodAutoscaler>({
      name: "horizontalpodautoscaler",
      account: "horizontal-pod-autoscaler",
      eventSource: "horizontal-pod-autoscaler",
      reconciles: HorizontalPodAutoscaler,
      reads: [Pod],
      // Its own status is written every pass, and is no reason for another.
      changed: (object, old) => object.metadata.generation !== old.metadata.generation,
      async reconcile(autoscaler, context): Promise<Outcome> {
        await new Pass(autoscaler, known, context).run();
        return { requeueAfterMs: world.settings.autoscalerSyncPeriodMs };
      },
      gone(key): Promise<void> {
        known.forget(key);
        return Promise.resolve();
      },
    }).start(world);
  },
};

/** What is remembered of autoscalers between passes. Bounded by their number. */
class Known {
  readonly settings: ControllerSettings;
  readonly #histories = new Map<string, ScaleHistory>();
  readonly #selectors = new Map<string, { readonly namespace: string; matches: LabelMatcher }>();
  constructor(settings: ControllerSettings) {
    this.settings = settings;
  }
  historyOf(key: string): ScaleHistory {
    let history = this.#histories.get(key);
    if (history === undefined) {
      history = new ScaleHistory();
      this.#histories.set(key, history);
    }
    return history;
  }
  selects(key: string, namespace: string, matches: LabelMatcher): void {
    this.#selectors.set(key, { namespace, matches });
  }
  /** The autoscalers that select one of these Pods. */
  selecting(namespace: string, pods: readonly Stored<Pod>[]): readonly string[] {
    return [...this.#selectors]
      .filter(
        ([, one]) =>
          one.namespace === namespace && pods.some((pod) => one.matches(pod.metadata.labels)),
      )
      .map(([key]) => key)
      .sort();
  }
  forget(key: string): void {
    this.#histories.delete(key);
    this.#selectors.delete(key);
  }
}

interface Found {
  readonly kind: Kind;
  readonly scale: Scale;
}
interface Wish {
  readonly replicas: number;
  readonly metric: string;
}

class Pass {
  readonly #autoscaler: Stored<HorizontalPodAutoscaler>;
  readonly #known: Known;
  readonly #context: ReconcileContext;
  readonly #key: string;
  readonly #namespace: string;
  #status: HorizontalPodAutoscalerStatus;

  constructor(
    autoscaler: Stored<HorizontalPodAutoscaler>,
    known: Known,
    context: ReconcileContext,
  ) {
    this.#autoscaler = autoscaler;
    this.#known = known;
    this.#context = context;
    this.#key = keyOf(autoscaler);
    this.#namespace = autoscaler.metadata.namespace ?? "";
    this.#status = autoscaler.status;
  }

  async run(): Promise<void> {
    const found = await this.#findScale();
    if ("problem" in found) {
      this.#warn("FailedGetScale", found.problem);
      const before = "the HPA controller was unable to get the target's current scale";
      this.#condition("AbleToScale", false, "FailedGetScale", `${before}: ${found.problem}`);
      await this.#save();
      return;
    }
    const got = "the HPA controller was able to get the target's current scale";
    this.#condition("AbleToScale", true, "SucceededGetScale", got);
    const history = this.#known.historyOf(this.#key);
    const current = found.scale.spec.replicas ?? 0;
    if (history.isEmpty) history.recommended(current, this.#context.now);
    await this.#decide(found, current, history);
  }

  #warn(reason: string, message: string): void {
    this.#context.event(this.#autoscaler, "Warning", reason, message);
  }

  #condition(type: string, isTrue: boolean, reason: string, message: string): void {
    const status = isTrue ? "True" : "False";
    const now = formatTime(this.#context.now);
    const condition = { type, status, reason, message, lastTransitionTime: now };
    const { conditions } = this.#status;
    const list = setCondition<HorizontalPodAutoscalerCondition>(conditions, condition, now);
    this.#status = { ...this.#status, conditions: [...list] };
  }

  async #findScale(): Promise<Found | Problem> {
    const { scaleTargetRef } = this.#autoscaler.spec;
    const { apiVersion = "", kind, name } = scaleTargetRef;
    const parsed = parseApiVersion(apiVersion);
    if (parsed === undefined) {
      return { problem: `unexpected GroupVersion string: ${apiVersion}` };
    }
    try {
      const kinds = await kindsNamed(this.#context.client, parsed.group, kind);
      const [first] = kinds;
      if (first === undefined) return noMatches(parsed.group, kind);
      return { kind: first, scale: await this.#readScale(first, name) };
    } catch (error) {
      if (error instanceof StatusError) return { problem: error.message };
      throw error;
    }
  }

  #readScale(kind: Kind, name: string): Promise<Scale> {
    const path = pathOf(kind, { namespace: this.#namespace, name, subresource: "scale" });
    return readPath<Scale>(this.#context.client, path, [], { resource: kind.plural, name });
  }

  async #decide(found: Found, current: number, history: ScaleHistory): Promise<void> {
    const { spec } = this.#autoscaler;
    const { minReplicas: min = 1, maxReplicas: max } = spec;
    const wasZeroed = findCondition(this.#status.conditions, "ScaledToZero")?.status === "True";
    if (current === 0 && !(wasZeroed && (min !== 0 || this.#canScaleToZero()))) {
      const message = "scaling is disabled since the replica count of the target is zero";
      this.#condition("ScalingActive", false, "ScalingDisabled", message);
      await this.#finish(current, current, null);
      return;
    }
    if (current > max) {
      const why = "Current number of replicas above Spec.MaxReplicas";
      await this.#rescale(found, current, max, why, null, history);
      return;
    }
    if (current !== 0 && current < min) {
      const why = "Current number of replicas below Spec.MinReplicas";
      await this.#rescale(found, current, min, why, null, history);
      return;
    }
    await this.#followMetrics(found, current, history, current === 0 && min !== 0 ? min : 0);
  }

  /** Only what is measured outside the Pods tells when they are wanted again. */
  #canScaleToZero(): boolean {
    const { metrics = [] } = this.#autoscaler.spec;
    return metrics.some(({ type }) => type === "Object" || type === "External");
  }

  /** `least`: what it shall have at once, wherever the metrics are. */
  async #followMetrics(
    found: Found,
    current: number,
    history: ScaleHistory,
    least: number,
  ): Promise<void> {
    const { spec } = this.#autoscaler;
    const asked = await this.#askMetrics(found.scale);
    const statuses = asked.statuses;
    if ("problem" in asked) {
      this.#setStatus(current, this.#status.desiredReplicas, statuses, false);
      await this.#save();
      this.#warn("FailedComputeMetricsReplicas", asked.problem);
      return;
    }
    const { replicas: wanted, metric } = asked.wish;
    let why = "";
    if (wanted > current) why = `${metric} above target`;
    if (wanted < current) why = "All metrics below target";
    const limited = limitReplicas(
      {
        replicas: current,
        wanted,
        min: spec.minReplicas ?? 1,
        max: spec.maxReplicas,
        behavior: spec.behavior,
        downscaleStabilizationMs: this.#known.settings.autoscalerStabilizationMs,
        now: this.#context.now,
      },
      history,
    );
    const { able, limit } = limited;
    this.#condition("AbleToScale", true, able.reason, able.message);
    this.#condition("ScalingLimited", limit.isLimited, limit.reason, limit.message);
    const desired = Math.max(limited.replicas, least);
    if (desired !== limited.replicas && why === "") {
      why = "Current number of replicas below Spec.MinReplicas";
    }
    if (desired === current) await this.#finish(current, current, statuses);
    else await this.#rescale(found, current, desired, why, statuses, history);
  }

  /** The highest wish of all metrics. Fewer replicas only if every metric says so. */
  async #askMetrics(
    scale: Scale,
  ): Promise<
    | { readonly wish: Wish; readonly statuses: MetricStatus[] }
    | (Problem & { readonly statuses: MetricStatus[] | null })
  > {
    const selector = scale.status.selector ?? "";
    const pods = this.#selectPods(selector);
    if ("problem" in pods) return { problem: pods.problem, statuses: null };
    const { metrics = [], behavior } = this.#autoscaler.spec;
    const { settings } = this.#known;
    const toleranceOf = (text: string | undefined): number =>
      text === undefined ? settings.autoscalerTolerance : quantityToNumber(quantityOf(text));
    const tolerances: Tolerances = {
      up: toleranceOf(behavior?.scaleUp?.tolerance),
      down: toleranceOf(behavior?.scaleDown?.tolerance),
    };
    const answers: (Asked | Unknown)[] = [];
    for (const spec of metrics) {
      const answer = await askSource(spec, {
        apis: new MetricsApis(this.#context.client),
        namespace: this.#namespace,
        selector,
        pods: pods.selected,
        specReplicas: scale.spec.replicas ?? 0,
        statusReplicas: scale.status.replicas,
        tolerances,
        warmup: {
          cpuInitializationMs: settings.autoscalerCpuInitializationMs,
          initialReadinessDelayMs: settings.autoscalerInitialReadinessDelayMs,
        },
        now: this.#context.now,
        resourceOf: (group, kind) => this.#resourceOf(group, kind),
      });
      if ("problem" in answer) this.#warn(answer.reason, answer.problem);
      answers.push(answer);
    }
    return this.#weigh(answers, scale.spec.replicas ?? 0);
  }

  #weigh(
    answers: readonly (Asked | Unknown)[],
    current: number,
  ):
    | { readonly wish: Wish; readonly statuses: MetricStatus[] }
    | (Problem & { readonly statuses: MetricStatus[] }) {
    // Upstream: a metric that could not be had has an entry all the same, without a type.
    const statuses = answers.map(
      (one): MetricStatus => ("problem" in one ? { type: "" } : one.status),
    );
    let wish: Wish = { replicas: 0, metric: "" };
    for (const one of answers) {
      if ("problem" in one) continue;
      if (wish.replicas === 0 || one.replicas > wish.replicas) wish = one;
    }
    const unknown = answers.filter((one): one is Unknown => "problem" in one);
    const [first] = unknown;
    const all = unknown.length >= answers.length;
    if (first !== undefined && (all || wish.replicas < current)) {
      const before = "the HPA was unable to compute the replica count";
      this.#condition("ScalingActive", false, first.reason, `${before}: ${first.problem}`);
      const count = `${unknown.length} invalid out of ${answers.length}`;
      return { problem: `invalid metrics (${count}), first error is: ${first.told}`, statuses };
    }
    const message = `the HPA was able to successfully calculate a replica count from ${wish.metric}`;
    this.#condition("ScalingActive", true, "ValidMetricFound", message);
    return { wish: { replicas: wish.replicas, metric: wish.metric }, statuses };
  }

  #selectPods(text: string): { readonly selected: readonly Stored<Pod>[] } | Problem {
    const refuse = (event: string, reason: string, problem: string, message = problem) => {
      this.#warn(event, problem);
      this.#condition("ScalingActive", false, reason, message);
      return { problem };
    };
    if (text === "") {
      const message = "the HPA target's scale is missing a selector";
      return refuse("SelectorRequired", "InvalidSelector", "selector is required", message);
    }
    const parsed = parseLabelSelectorText(text);
    if ("problem" in parsed) {
      const before = "couldn't convert selector into a corresponding internal selector object";
      return refuse("InvalidSelector", "InvalidSelector", `${before}: ${parsed.problem}`);
    }
    const { matches } = parsed.query;
    this.#known.selects(this.#key, this.#namespace, matches);
    const selected = this.#context
      .cache(Pod)
      .byIndex(namespaceIndex, this.#namespace)
      .filter((pod) => matches(pod.metadata.labels));
    const others = this.#known.selecting(this.#namespace, selected);
    if (others.length <= 1) return { selected };
    const some = others.slice(0, 2).join(" ");
    const problem = `pods by selector ${text} are controlled by more than one HPA (e.g. [${some}])`;
    return refuse("AmbiguousSelector", "AmbiguousSelector", problem);
  }

  async #resourceOf(group: string, kind: string): Promise<string | Problem> {
    try {
      const [found] = await kindsNamed(this.#context.client, group, kind);
      if (found === undefined) return noMatches(group, kind);
      return group === "" ? found.plural : `${found.plural}.${group}`;
    } catch (error) {
      if (error instanceof StatusError) return { problem: error.message };
      throw error;
    }
  }

  async #rescale(
    found: Found,
    current: number,
    desired: number,
    why: string,
    statuses: MetricStatus[] | null,
    history: ScaleHistory,
  ): Promise<void> {
    const problem = await this.#writeScale(found, desired);
    if (problem !== undefined) {
      this.#warn("FailedRescale", `New size: ${desired}; reason: ${why}; error: ${problem}`);
      const before = "the HPA controller was unable to update the target scale";
      this.#condition("AbleToScale", false, "FailedUpdateScale", `${before}: ${problem}`);
      this.#setStatus(current, this.#status.desiredReplicas, statuses, false);
      await this.#save();
      return;
    }
    const done = `the HPA controller was able to update the target scale to ${desired}`;
    this.#condition("AbleToScale", true, "SucceededRescale", done);
    const told = `New size: ${desired}; reason: ${why}`;
    this.#context.event(this.#autoscaler, "Normal", "SuccessfulRescale", told);
    const { behavior, minReplicas } = this.#autoscaler.spec;
    if (behavior !== undefined) history.scaled(current, desired, this.#context.now);
    if (current > 0 && desired === 0 && minReplicas === 0 && this.#canScaleToZero()) {
      const message = "the HPA controller scaled the workload to zero";
      this.#condition("ScaledToZero", true, "ScaledToZero", message);
    } else {
      const message = "the HPA controller did not scale the workload to zero";
      this.#condition("ScaledToZero", false, "NotScaledToZero", message);
    }
    await this.#finish(current, desired, statuses, true);
  }

  /** What was refused, if it was. Somebody else may have written the scale meanwhile: then what they wrote is written over. */
  async #writeScale({ kind, scale }: Found, replicas: number): Promise<string | undefined> {
    const { client } = this.#context;
    const { name } = this.#autoscaler.spec.scaleTargetRef;
    let latest = scale;
    for (let attempt = 1; ; attempt++) {
      const body = { ...latest, ...scaleKind, spec: { ...latest.spec, replicas } };
      try {
        await client.updateSubresource<Scale>(kind as Kind<Scale>, body, "scale");
        return undefined;
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        if (!isStatus(error, "Conflict") || attempt === rescaleAttemptsMax) return error.message;
        latest = await this.#readScale(kind, name).catch((failure: unknown) => {
          if (failure instanceof StatusError) return latest;
          throw failure;
        });
      }
    }
  }

  async #finish(
    current: number,
    desired: number,
    statuses: MetricStatus[] | null,
    rescaled = false,
  ): Promise<void> {
    this.#setStatus(current, desired, statuses, rescaled);
    await this.#save();
  }

  #setStatus(
    currentReplicas: number,
    desiredReplicas: number,
    statuses: MetricStatus[] | null,
    rescaled: boolean,
  ): void {
    const { conditions = [], lastScaleTime: before } = this.#status;
    const lastScaleTime = rescaled ? formatTime(this.#context.now) : before;
    const { generation } = this.#autoscaler.metadata;
    this.#status = {
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
      currentReplicas,
      desiredReplicas,
      // Null where nothing was measured: as Go prints a list that was never made.
      currentMetrics: statuses as MetricStatus[],
      conditions,
    };
  }

  async #save(): Promise<void> {
    const status = this.#status;
    if (equalObjects(this.#autoscaler.status, status)) return;
    try {
      await this.#context.client.updateStatus(HorizontalPodAutoscaler, {
        ...this.#autoscaler,
        status,
      });
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#warn("FailedUpdateStatus", error.message);
      this.#context.log.write("warn", "an autoscaler's status could not be written", {
        key: this.#key,
        error: error.message,
      });
    }
  }
}

/** The body is of this kind, whatever the workload's is. */
const scaleKind = { apiVersion: "autoscaling/v1", kind: "Scale" };

function noMatches(group: string, kind: string): Problem {
  return {
    problem: `no matches for kind ${JSON.stringify(kind)} in group ${JSON.stringify(group)}`,
  };
}
