/** What a Job's status may say, and what it may say next. Pure. */
import {
  duplicate,
  type FieldError,
  invalid,
  invalidWithoutValue,
  required,
} from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import type * as g from "../../generated/batch/v1.ts";
import { checkIndexes, overlapOf } from "./index-intervals.ts";
import { isIndexed } from "./job-validation.ts";

type Job = g.Job;

export const jobCondition = ({ status }: Job, type: string): g.JobCondition | undefined =>
  status.conditions?.find((one) => one.type === type);
export const isTrue = (job: Job, type: string): boolean =>
  jobCondition(job, type)?.status === "True";
export const isFinished = (job: Job): boolean => isTrue(job, "Complete") || isTrue(job, "Failed");

const refuse = (detail: string): FieldError => invalidWithoutValue("status.conditions", detail);

function validateUncounted({ uncountedTerminatedPods: uncounted }: g.JobStatus): FieldError[] {
  const seen = new Set<string>();
  const errors: FieldError[] = [];
  for (const which of ["succeeded", "failed"] as const) {
    (uncounted?.[which] ?? []).forEach((uid, index) => {
      const path = `status.uncountedTerminatedPods.${which}[${index}]`;
      if (uid === "") errors.push(invalid(path, uid, "must not be empty"));
      else if (seen.has(uid)) errors.push(duplicate(path, uid));
      seen.add(uid);
    });
  }
  return errors;
}

/** What changed between two statuses: only that is judged, so that others can be set right. */
function changesOf(job: Job, old: Job) {
  const differs = (of: (one: Job) => unknown): boolean => !equalObjects(of(job), of(old));
  const condition = (type: string) => differs((one) => isTrue(one, type));
  const field = (name: keyof g.JobStatus) => differs(({ status }) => status[name]);
  const number = (name: "active") => differs(({ status }) => status[name] ?? 0);
  return {
    finished: differs(isFinished),
    complete: condition("Complete"),
    failed: condition("Failed"),
    failureTarget: condition("FailureTarget"),
    successMet: condition("SuccessCriteriaMet"),
    completedIndexes: differs(({ status }) => status.completedIndexes ?? ""),
    failedIndexes: field("failedIndexes"),
    active: number("active"),
    startTime: field("startTime"),
    completionTime: field("completionTime"),
    uncounted: differs(({ status }) => status.uncountedTerminatedPods ?? {}),
    ready: field("ready"),
    terminating: field("terminating"),
  };
}
type Changes = ReturnType<typeof changesOf>;

function validateConditions(job: Job, changed: Changes): FieldError[] {
  const [complete, failed] = [isTrue(job, "Complete"), isTrue(job, "Failed")];
  const target = isTrue(job, "FailureTarget");
  const met = isTrue(job, "SuccessCriteriaMet");
  const errors: FieldError[] = [];
  if ((changed.complete || changed.failed) && complete && failed) {
    errors.push(refuse("cannot set Complete=True and Failed=true conditions"));
  }
  if ((changed.complete || changed.failureTarget) && complete && target) {
    errors.push(refuse("cannot set Complete=True and FailureTarget=true conditions"));
  }
  errors.push(...validateTimes(job, changed));
  if ((changed.failed || changed.failedIndexes) && failed && !target) {
    errors.push(
      refuse("cannot set Failed=True condition without the FailureTarget=true condition"),
    );
  }
  if ((changed.complete || changed.successMet) && complete && !met) {
    const detail =
      "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    errors.push(refuse(detail));
  }
  return errors;
}

function validateTimes({ status, ...job }: Job, changed: Changes): FieldError[] {
  const path = "status.completionTime";
  const { startTime, completionTime } = status;
  const complete = isTrue({ ...job, status }, "Complete");
  const errors: FieldError[] = [];
  const settled = changed.complete || changed.completionTime;
  if (settled && completionTime !== undefined && !complete) {
    const detail = "cannot set completionTime when there is no Complete=True condition";
    errors.push(invalid(path, completionTime, detail));
  }
  if (settled && completionTime === undefined && complete) {
    errors.push(required(path, "completionTime is required for Complete jobs"));
  }
  const early = (parseTime(completionTime ?? "") ?? Infinity) < (parseTime(startTime ?? "") ?? 0);
  if ((changed.startTime || changed.completionTime) && early) {
    errors.push(invalid(path, completionTime, "must be equal to or after `startTime`"));
  }
  return errors;
}

function validateWhenFinished(job: Job, changed: Changes): FieldError[] {
  if (!isFinished(job)) return [];
  const { spec, status } = job;
  const errors: FieldError[] = [];
  const { active = 0, startTime, uncountedTerminatedPods: uncounted } = status;
  if ((changed.finished || changed.active) && active > 0) {
    errors.push(invalid("status.active", active, "active>0 is invalid for finished job"));
  }
  const idle = spec.suspend === true && spec.completions === 0;
  if ((changed.finished || changed.startTime) && !idle && startTime === undefined) {
    errors.push(required("status.startTime", "startTime is required for finished job"));
  }
  const left = (uncounted?.failed?.length ?? 0) + (uncounted?.succeeded?.length ?? 0);
  if ((changed.finished || changed.uncounted) && left > 0) {
    const path = "status.uncountedTerminatedPods";
    errors.push(invalid(path, uncounted, "must be empty for finished job"));
  }
  return errors;
}

function validateIndexes({ spec, status }: Job, changed: Changes): FieldError[] {
  const { completions, backoffLimitPerIndex } = spec;
  const { completedIndexes = "", failedIndexes } = status;
  const errors: FieldError[] = [];
  const check = (name: "completedIndexes" | "failedIndexes", text: string) => {
    const { problem } = checkIndexes(text, completions ?? 0);
    if (problem === undefined) return;
    errors.push(invalid(`status.${name}`, text, `error parsing ${name}: ${problem}`));
  };
  if (changed.completedIndexes && completions !== undefined) {
    check("completedIndexes", completedIndexes);
  }
  const perIndex = backoffLimitPerIndex !== undefined;
  if (changed.failedIndexes && completions !== undefined && perIndex) {
    if (failedIndexes !== undefined) check("failedIndexes", failedIndexes);
  }
  if (changed.completedIndexes && completedIndexes !== "" && !isIndexed(spec)) {
    const detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
    errors.push(invalid("status.completedIndexes", completedIndexes, detail));
  }
  if (failedIndexes === undefined) return errors;
  if (changed.failedIndexes && !perIndex) {
    const detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
    errors.push(invalid("status.failedIndexes", failedIndexes, detail));
  }
  const both = overlapOf(completedIndexes, failedIndexes, completions ?? 0);
  if ((changed.failedIndexes || changed.completedIndexes) && both !== undefined) {
    const detail = `failedIndexes and completedIndexes overlap at index: ${both}`;
    errors.push(invalid("status.failedIndexes", failedIndexes, detail));
  }
  return errors;
}

function validateRest(job: Job, changed: Changes): FieldError[] {
  const { terminating = 0, ready = 0, active = 0 } = job.status;
  const errors: FieldError[] = [];
  if ((changed.finished || changed.terminating) && terminating > 0 && isFinished(job)) {
    const detail = "terminating>0 is invalid for finished job";
    errors.push(invalid("status.terminating", terminating, detail));
  }
  if ((changed.ready || changed.active) && ready > active) {
    errors.push(invalid("status.ready", ready, "cannot set more ready pods than active"));
  }
  const met = isTrue(job, "SuccessCriteriaMet");
  for (const type of ["Failed", "FailureTarget"]) {
    if (!met || !isTrue(job, type)) continue;
    errors.push(refuse(`cannot set SuccessCriteriaMet=True and ${type}=true conditions`));
  }
  if (job.spec.successPolicy !== undefined && !met && isTrue(job, "Complete")) {
    errors.push(
      refuse("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"),
    );
  }
  return errors;
}

/** Counters only grow, and what is over stays over. */
function validateTransition(job: Job, old: Job, changed: Changes): FieldError[] {
  const errors: FieldError[] = [];
  for (const type of ["Failed", "Complete", "FailureTarget"]) {
    if (!isTrue(old, type) || isTrue(job, type)) continue;
    errors.push(refuse(`cannot disable the terminal ${type}=True condition`));
  }
  const { status, spec } = job;
  const shrinks = (name: "failed" | "succeeded") => (status[name] ?? 0) < (old.status[name] ?? 0);
  if (shrinks("failed")) {
    const detail = "cannot decrease the failed counter";
    errors.push(invalid("status.failed", status.failed ?? 0, detail));
  }
  const elastic = isIndexed(spec) && spec.completions === spec.parallelism;
  if (!elastic && shrinks("succeeded")) {
    const detail = "cannot decrease the succeeded counter";
    errors.push(invalid("status.succeeded", status.succeeded ?? 0, detail));
  }
  const both = status.completionTime !== undefined && old.status.completionTime !== undefined;
  if (both && changed.completionTime) {
    const detail = "field is immutable";
    errors.push(invalid("status.completionTime", status.completionTime, detail));
  }
  const resumes = isTrue(old, "Suspended") && jobCondition(job, "Suspended")?.status === "False";
  const started = old.status.startTime !== undefined && spec.suspend !== true;
  if (changed.startTime && !resumes && started) {
    const detail = "field is immutable for unsuspended job once set";
    errors.push(invalid("status.startTime", status.startTime ?? null, detail));
  }
  const [met, wasMet] = [isTrue(job, "SuccessCriteriaMet"), isTrue(old, "SuccessCriteriaMet")];
  if (wasMet && !met) errors.push(refuse("cannot disable the SuccessCriteriaMet=True condition"));
  if (isTrue(old, "Complete") && !wasMet && met) {
    const detail =
      "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
    errors.push(refuse(detail));
  }
  return errors;
}

const counts = ["active", "succeeded", "failed", "ready", "terminating"] as const;

export function validateJobStatus(job: Job, old: Job): FieldError[] {
  const changed = changesOf(job, old);
  return [
    ...counts.flatMap((name) => nonNegative(`status.${name}`, job.status[name])),
    ...validateUncounted(job.status),
    ...validateConditions(job, changed),
    ...validateWhenFinished(job, changed),
    ...validateIndexes(job, changed),
    ...validateRest(job, changed),
    ...validateTransition(job, old, changed),
  ];
}
