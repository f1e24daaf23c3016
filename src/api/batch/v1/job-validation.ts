/** What is wrong with a Job's spec, alone or in a CronJob's template. Pure. */
import {
  duplicate,
  type FieldError,
  invalid,
  invalidWithoutValue,
  notSupported,
  required,
  tooLong,
  tooMany,
} from "#machinery/field-error.ts";
import { isDomainPrefixedPath, isQualifiedName } from "#machinery/validation.ts";
import { each, nonNegative } from "../../core/v1/pod-validation/fields.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { validatePodTemplate } from "../../core/v1/pod-validation/spec.ts";
import { templateWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/batch/v1.ts";
import { checkIndexes } from "./index-intervals.ts";

const parallelismMax = 100_000;
const failedIndexesMax = 100_000;
/** Beyond so many completions the numbers of indexes that may fail or run at once are smaller. */
const manyCompletions = 100_000;
const parallelismOfManyMax = 10_000;
const failedIndexesOfManyMax = 10_000;
const rulesMax = 20;
const exitCodesMax = 255;
const patternsMax = 20;
const managedByLengthMax = 63;
const succeededIndexesLengthMax = 64 * 1024;

const quotedList = (values: readonly string[]): string =>
  `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;

export const isIndexed = ({ completionMode }: g.JobSpec): boolean => completionMode === "Indexed";

function validateIndexedNumbers(spec: g.JobSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { completions, parallelism = 0, maxFailedIndexes, backoffLimitPerIndex } = spec;
  if (completions === undefined) {
    errors.push(required(`${path}.completions`, "when completion mode is Indexed"));
  }
  const tooLarge = (name: "parallelism" | "maxFailedIndexes", detail: string) => {
    errors.push(invalid(`${path}.${name}`, spec[name], `must be less than or equal to ${detail}`));
  };
  if (parallelism > parallelismMax) {
    tooLarge("parallelism", `${parallelismMax} when completion mode is Indexed`);
  }
  if (completions !== undefined && (maxFailedIndexes ?? 0) > completions) {
    tooLarge("maxFailedIndexes", "completions");
  }
  if ((maxFailedIndexes ?? 0) > failedIndexesMax) {
    tooLarge("maxFailedIndexes", String(failedIndexesMax));
  }
  if ((completions ?? 0) <= manyCompletions || backoffLimitPerIndex === undefined) return errors;
  const when = `when completions are above ${manyCompletions} and used with backoff limit per index`;
  if (maxFailedIndexes === undefined) {
    const detail = `must be specified when completions is above ${manyCompletions}`;
    errors.push(required(`${path}.maxFailedIndexes`, detail));
  }
  if (parallelism > parallelismOfManyMax) {
    tooLarge("parallelism", `${parallelismOfManyMax} ${when}`);
  }
  if ((maxFailedIndexes ?? 0) > failedIndexesOfManyMax) {
    tooLarge("maxFailedIndexes", `${failedIndexesOfManyMax} ${when}`);
  }
  return errors;
}

const actions = ["Count", "FailIndex", "FailJob", "Ignore"];
const operators = ["In", "NotIn"];
const statuses = ["False", "True", "Unknown"];

/** Given and known. */
function validateChoice(value: string, path: string, known: readonly string[]): FieldError[] {
  if (value === "") return [required(path, `valid values: ${quotedList(known)}`)];
  return known.includes(value) ? [] : [notSupported(path, value, known)];
}

function validateExitCodes(
  requirement: g.PodFailurePolicyOnExitCodesRequirement,
  path: string,
  containers: ReadonlySet<string>,
): FieldError[] {
  const { operator, containerName } = requirement;
  const values = requirement.values ?? [];
  const errors = validateChoice(operator, `${path}.operator`, operators);
  if (containerName !== undefined && !containers.has(containerName)) {
    const detail = "must be one of the container or initContainer names in the pod template";
    errors.push(invalid(`${path}.containerName`, containerName, detail));
  }
  const at = `${path}.values`;
  if (values.length === 0)
    errors.push(invalid(at, requirement.values, "at least one value is required"));
  else if (values.length > exitCodesMax) errors.push(tooMany(at, values.length, exitCodesMax));
  values.forEach((value, index) => {
    if (operator === "In" && value === 0) {
      errors.push(invalid(`${at}[${index}]`, value, "must not be 0 for the In operator"));
    }
    if (values.indexOf(value) < index) errors.push(duplicate(`${at}[${index}]`, value));
  });
  if (values.some((value, index) => index > 0 && (values[index - 1] ?? 0) > value)) {
    errors.push(invalid(at, values, "must be ordered"));
  }
  return errors;
}

function validateFailureRule(
  rule: g.PodFailurePolicyRule,
  spec: g.JobSpec,
  path: string,
  containers: ReadonlySet<string>,
): FieldError[] {
  const { action, onExitCodes } = rule;
  const onPodConditions = rule.onPodConditions ?? [];
  const errors: FieldError[] = [];
  if (action === "FailIndex") {
    if (spec.backoffLimitPerIndex === undefined) {
      const detail = "requires the backoffLimitPerIndex to be set";
      errors.push(invalid(`${path}.action`, action, detail));
    }
  } else errors.push(...validateChoice(action, `${path}.action`, actions));
  if (onExitCodes !== undefined) {
    errors.push(...validateExitCodes(onExitCodes, `${path}.onExitCodes`, containers));
  }
  if (onPodConditions.length > patternsMax) {
    errors.push(tooMany(`${path}.onPodConditions`, onPodConditions.length, patternsMax));
  }
  onPodConditions.forEach(({ type, status }, index) => {
    const at = `${path}.onPodConditions[${index}]`;
    errors.push(...each(`${at}.type`, type, isQualifiedName(type)));
    errors.push(...validateChoice(status, `${at}.status`, statuses));
  });
  const given = Number(onExitCodes !== undefined) + Number(onPodConditions.length > 0);
  if (given === 2) {
    const detail = "specifying both OnExitCodes and OnPodConditions is not supported";
    errors.push(invalidWithoutValue(path, detail));
  } else if (given === 0) {
    const detail = "specifying one of OnExitCodes and OnPodConditions is required";
    errors.push(invalidWithoutValue(path, detail));
  }
  return errors;
}

function validateFailurePolicy(spec: g.JobSpec, path: string): FieldError[] {
  if (spec.podFailurePolicy === undefined) return [];
  const rules = spec.podFailurePolicy.rules ?? [];
  const at = `${path}.podFailurePolicy.rules`;
  const errors = rules.length > rulesMax ? [tooMany(at, rules.length, rulesMax)] : [];
  const { containers, initContainers = [] } = spec.template.spec;
  const names = new Set([...(containers ?? []), ...initContainers].map(({ name }) => name));
  rules.forEach((rule, index) => {
    errors.push(...validateFailureRule(rule, spec, `${at}[${index}]`, names));
  });
  return errors;
}

function validateSuccessRule(
  { succeededCount, succeededIndexes }: g.SuccessPolicyRule,
  completions: number,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  if (succeededCount === undefined && succeededIndexes === undefined) {
    const detail = "at least one of succeededCount or succeededIndexes must be specified";
    errors.push(required(path, detail));
  }
  let total = 0;
  if (succeededIndexes !== undefined) {
    const at = `${path}.succeededIndexes`;
    if (succeededIndexes.length > succeededIndexesLengthMax) {
      errors.push(tooLong(at, succeededIndexesLengthMax));
    }
    const checked = checkIndexes(succeededIndexes, completions);
    total = checked.total;
    if (checked.problem !== undefined) {
      const detail = `error parsing succeededIndexes: ${checked.problem}`;
      errors.push(invalid(at, succeededIndexes, detail));
    }
  }
  if (succeededCount === undefined) return errors;
  const at = `${path}.succeededCount`;
  errors.push(...nonNegative(at, succeededCount));
  const atMost = (max: number, what: string) =>
    `must be less than or equal to ${max} (the number of ${what})`;
  if (succeededCount > completions) {
    errors.push(invalid(at, succeededCount, atMost(completions, "specified completions")));
  }
  if (succeededIndexes !== undefined && succeededCount > total) {
    const what = "indexes in the specified succeededIndexes field";
    errors.push(invalid(at, succeededCount, atMost(total, what)));
  }
  return errors;
}

function validateSuccessPolicy(spec: g.JobSpec, path: string): FieldError[] {
  if (spec.successPolicy === undefined) return [];
  const at = `${path}.successPolicy`;
  if (!isIndexed(spec)) {
    return [invalid(at, spec.successPolicy, "requires indexed completion mode")];
  }
  const rules = spec.successPolicy.rules ?? [];
  const errors: FieldError[] = [];
  if (rules.length === 0) {
    const detail = "at least one rules must be specified when the successPolicy is specified";
    errors.push(required(`${at}.rules`, detail));
  }
  if (rules.length > rulesMax) errors.push(tooMany(`${at}.rules`, rules.length, rulesMax));
  rules.forEach((rule, index) => {
    errors.push(...validateSuccessRule(rule, spec.completions ?? 0, `${at}.rules[${index}]`));
  });
  return errors;
}

function validateReplacement(spec: g.JobSpec, path: string): FieldError[] {
  const { podReplacementPolicy: policy, podFailurePolicy } = spec;
  if (policy === undefined) return [];
  const known = podFailurePolicy === undefined ? ["Failed", "TerminatingOrFailed"] : ["Failed"];
  return known.includes(policy)
    ? []
    : [notSupported(`${path}.podReplacementPolicy`, policy, known)];
}

function validateManager({ managedBy }: g.JobSpec, path: string): FieldError[] {
  if (managedBy === undefined) return [];
  const at = `${path}.managedBy`;
  const errors = isDomainPrefixedPath(at, managedBy);
  return managedBy.length > managedByLengthMax
    ? [...errors, tooLong(at, managedByLengthMax)]
    : errors;
}

function validateMode(spec: g.JobSpec, path: string): FieldError[] {
  const { completionMode: mode, backoffLimitPerIndex, maxFailedIndexes } = spec;
  const known = ["NonIndexed", "Indexed"];
  const errors: FieldError[] = [];
  if (mode !== undefined && !known.includes(mode)) {
    errors.push(notSupported(`${path}.completionMode`, mode, known));
  }
  if (mode === "Indexed") errors.push(...validateIndexedNumbers(spec, path));
  if (mode !== undefined && mode !== "NonIndexed") return errors;
  const detail = "requires indexed completion mode";
  if (backoffLimitPerIndex !== undefined) {
    errors.push(invalid(`${path}.backoffLimitPerIndex`, backoffLimitPerIndex, detail));
  }
  if (maxFailedIndexes !== undefined) {
    errors.push(invalid(`${path}.maxFailedIndexes`, maxFailedIndexes, detail));
  }
  return errors;
}

function validateRestartPolicy(spec: g.JobSpec, path: string): FieldError[] {
  const at = `${path}.template.spec.restartPolicy`;
  const { restartPolicy = "" } = spec.template.spec;
  if (restartPolicy === "" || restartPolicy === "Always") {
    return [required(at, 'valid values: "OnFailure", "Never"')];
  }
  if (restartPolicy !== "OnFailure" && restartPolicy !== "Never") {
    return [notSupported(at, restartPolicy, ["OnFailure", "Never"])];
  }
  if (spec.podFailurePolicy === undefined || restartPolicy === "Never") return [];
  const detail = 'only "Never" is supported when podFailurePolicy is specified';
  return [invalid(at, restartPolicy, detail)];
}

const numbers = [
  "parallelism",
  "completions",
  "activeDeadlineSeconds",
  "backoffLimit",
  "ttlSecondsAfterFinished",
  "backoffLimitPerIndex",
  "maxFailedIndexes",
] as const;

/** All but the selector: a CronJob's template has none. */
export function validateJobSpec(spec: g.JobSpec, path: string, rules: PodRules): FieldError[] {
  const errors = numbers.flatMap((name) => nonNegative(`${path}.${name}`, spec[name]));
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined) {
    errors.push(required(`${path}.backoffLimitPerIndex`, "when maxFailedIndexes is specified"));
  }
  return [
    ...errors,
    ...validateManager(spec, path),
    ...validateMode(spec, path),
    ...validateFailurePolicy(spec, path),
    ...validateSuccessPolicy(spec, path),
    ...validateReplacement(spec, path),
    ...validatePodTemplate(spec.template, `${path}.template`, rules),
    ...validateRestartPolicy(spec, path),
  ];
}

export function jobSpecWarnings(spec: g.JobSpec, path: string): string[] {
  const { completions = 0, parallelism = 0 } = spec;
  const tooMuch =
    isIndexed(spec) && completions > manyCompletions && parallelism > parallelismOfManyMax;
  const told = tooMuch
    ? [
        `${path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail`,
      ]
    : [];
  return [...told, ...templateWarnings(spec.template, `${path}.template.`)];
}
