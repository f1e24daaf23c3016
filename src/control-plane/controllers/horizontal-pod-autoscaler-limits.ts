/**
 * How far and how fast a workload may be scaled: the bounds of its HorizontalPodAutoscaler, the policies of its behavior, and the
 * stabilization by what was recommended before. Keeps what each autoscaler recommended and did; takes the time as an argument.
 */
import type {
  HorizontalPodAutoscalerBehavior,
  HPAScalingRules,
} from "#api/generated/autoscaling/v2.ts";

interface Recommendation {
  readonly replicas: number;
  readonly atMs: number;
}
interface Change {
  /** How many were added or taken away. */
  readonly replicas: number;
  readonly atMs: number;
}

/** Nothing older is ever asked for: the longest window, and the longest period of a policy. */
const windowMsMax = 3_600_000;
const periodMsMax = 1_800_000;

/** What one autoscaler recommended and did lately. */
export class ScaleHistory {
  #recommendations: Recommendation[] = [];
  #additions: Change[] = [];
  #removals: Change[] = [];

  get recommendations(): readonly Recommendation[] {
    return this.#recommendations;
  }
  get isEmpty(): boolean {
    return this.#recommendations.length === 0;
  }
  recommended(replicas: number, atMs: number): void {
    const kept = this.#recommendations.filter((one) => one.atMs >= atMs - windowMsMax);
    this.#recommendations = [...kept, { replicas, atMs }];
  }
  scaled(from: number, to: number, atMs: number): void {
    const recent = (list: readonly Change[]) =>
      list.filter((one) => one.atMs >= atMs - periodMsMax);
    const change = { replicas: Math.abs(to - from), atMs };
    if (to > from) this.#additions = [...recent(this.#additions), change];
    else this.#removals = [...recent(this.#removals), change];
  }
  /** How many there were when the period began, given how many there are. */
  atStart(replicas: number, periodSeconds: number, now: number): number {
    const sinceMs = now - periodSeconds * 1000;
    const sum = (list: readonly Change[]) =>
      list.reduce((total, one) => (one.atMs > sinceMs ? total + one.replicas : total), 0);
    return replicas - sum(this.#additions) + sum(this.#removals);
  }
}

export interface LimitsQuestion {
  readonly replicas: number;
  /** What the metrics ask for. */
  readonly wanted: number;
  readonly min: number;
  readonly max: number;
  readonly behavior: HorizontalPodAutoscalerBehavior | undefined;
  /** Where the behavior does not say how long to look back before replicas are taken away. */
  readonly downscaleStabilizationMs: number;
  readonly now: number;
}

interface Because {
  readonly reason: string;
  readonly message: string;
}
export interface Limited {
  readonly replicas: number;
  /** Of the condition AbleToScale. */
  readonly able: Because;
  /** Of the condition ScalingLimited. */
  readonly limit: Because & { readonly isLimited: boolean };
}

const ready: Because = {
  reason: "ReadyForNewScale",
  message: "recommended size matches current size",
};
const downStabilized: Because = {
  reason: "ScaleDownStabilized",
  message:
    "recent recommendations were higher than current one, applying the highest recent recommendation",
};
const upStabilized: Because = {
  reason: "ScaleUpStabilized",
  message:
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
};
const within: Because = {
  reason: "DesiredWithinRange",
  message: "the desired count is within the acceptable range",
};
const tooFast: Because = {
  reason: "ScaleUpLimit",
  message: "the desired replica count is increasing faster than the maximum scale rate",
};
const tooMany: Because = {
  reason: "TooManyReplicas",
  message: "the desired replica count is more than the maximum replica count",
};
const tooFastDown: Because = {
  reason: "ScaleDownLimit",
  message: "the desired replica count is decreasing faster than the maximum scale rate",
};
const tooFew: Because = {
  reason: "TooFewReplicas",
  message: "the desired replica count is less than the minimum replica count",
};

/** What becomes of the wish. Notes it in the history. */
export function limitReplicas(question: LimitsQuestion, history: ScaleHistory): Limited {
  const { wanted, behavior, now } = question;
  const stable = stabilize(question, history);
  history.recommended(wanted, now);
  const direction =
    behavior !== undefined && wanted >= question.replicas ? upStabilized : downStabilized;
  const able = stable === wanted ? ready : direction;
  const { replicas, ...because } =
    behavior === undefined
      ? withinBounds(question, stable)
      : withinPolicies(question, stable, behavior, history);
  return { replicas, able, limit: { ...because, isLimited: replicas !== stable } };
}

const windowMs = (rules: HPAScalingRules | undefined, otherwiseMs: number): number =>
  rules?.stabilizationWindowSeconds === undefined
    ? otherwiseMs
    : rules.stabilizationWindowSeconds * 1000;

/** Down no further than the highest recent recommendation; with a behavior, also up no further than the lowest. */
function stabilize(question: LimitsQuestion, { recommendations }: ScaleHistory): number {
  const { wanted, replicas, behavior, downscaleStabilizationMs, now } = question;
  if (behavior === undefined) {
    const sinceMs = now - downscaleStabilizationMs;
    const recent = recommendations.filter(({ atMs }) => atMs >= sinceMs);
    return Math.max(wanted, ...recent.map((one) => one.replicas));
  }
  const since = (ms: number): number[] =>
    recommendations.filter(({ atMs }) => atMs > now - ms).map((one) => one.replicas);
  const lowest = Math.min(wanted, ...since(windowMs(behavior.scaleUp, 0)));
  const downMs = windowMs(behavior.scaleDown, downscaleStabilizationMs);
  const highest = Math.max(wanted, ...since(downMs));
  return Math.min(Math.max(replicas, lowest), highest);
}

type Bounded = Because & { readonly replicas: number };

/** Without a behavior: at most twice as many, or four. */
function withinBounds({ replicas, min, max }: LimitsQuestion, wanted: number): Bounded {
  const fastest = Math.max(2 * replicas, 4);
  if (wanted < min) return { replicas: min, ...tooFew };
  if (max > fastest && wanted > fastest) return { replicas: fastest, ...tooFast };
  if (wanted > max) return { replicas: max, ...tooMany };
  return { replicas: wanted, ...within };
}

function withinPolicies(
  { replicas, min, max, now }: LimitsQuestion,
  wanted: number,
  behavior: HorizontalPodAutoscalerBehavior,
  history: ScaleHistory,
): Bounded {
  const startOf = (periodSeconds: number) => history.atStart(replicas, periodSeconds, now);
  if (wanted > replicas) {
    const fastest = Math.max(upLimit(replicas, behavior.scaleUp, startOf), replicas);
    const [most, why] = max > fastest ? [fastest, tooFast] : [max, tooMany];
    if (wanted > most) return { replicas: most, ...why };
  } else if (wanted < replicas) {
    const fastest = Math.min(downLimit(replicas, behavior.scaleDown, startOf), replicas);
    const [least, why] = min < fastest ? [fastest, tooFastDown] : [min, tooFew];
    if (wanted < least) return { replicas: least, ...why };
  }
  return { replicas: wanted, ...within };
}

type StartOf = (periodSeconds: number) => number;

function upLimit(replicas: number, rules: HPAScalingRules = {}, startOf: StartOf): number {
  const { selectPolicy, policies = [] } = rules;
  if (selectPolicy === "Disabled") return replicas;
  const limits = policies.map(({ type, value, periodSeconds }) => {
    const start = startOf(periodSeconds);
    // Rounded up: else a few replicas would never become more.
    return type === "Pods" ? start + value : Math.ceil(start * (1 + value / 100));
  });
  return selectPolicy === "Min" ? Math.min(...limits) : Math.max(...limits);
}

function downLimit(replicas: number, rules: HPAScalingRules = {}, startOf: StartOf): number {
  const { selectPolicy, policies = [] } = rules;
  if (selectPolicy === "Disabled") return replicas;
  const limits = policies.map(({ type, value, periodSeconds }) => {
    const start = startOf(periodSeconds);
    return type === "Pods" ? start - value : Math.trunc(start * (1 - value / 100));
  });
  return selectPolicy === "Min" ? Math.max(...limits) : Math.min(...limits);
}
