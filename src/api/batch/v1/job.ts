/** Job: work that ends. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import {
  compileLabelSelector,
  formatLabelSelector,
  requirementsOf,
  validateLabelSelector,
} from "#machinery/selector.ts";
import { parseTime } from "#machinery/time.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import { rulesFor } from "../../core/v1/pod-validation/relaxed-rules.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { nameWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/batch/v1.ts";
import type { PodSpec } from "../../generated/core/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { isTrue, validateJobStatus } from "./job-status.ts";
import { isIndexed, jobSpecWarnings, validateJobSpec } from "./job-validation.ts";

export type Job = g.Job;

const backoffLimitDefault = 6;
const noBackoffLimit = 2 ** 31 - 1;

export const jobNameLabel = "batch.kubernetes.io/job-name";
const controllerUidLabel = "batch.kubernetes.io/controller-uid";
/** Upstream: the labels of before, which scripts still select by. */
const legacyJobNameLabel = "job-name";
const legacyControllerUidLabel = "controller-uid";

/** What Jobs and the templates of CronJobs have in common. */
export function setJobSpecDefaults(spec: g.JobSpec): void {
  setPodTemplateDefaults(spec.template);
  for (const rule of spec.podFailurePolicy?.rules ?? []) {
    for (const pattern of rule.onPodConditions ?? []) pattern.status ||= "True";
  }
}

function setJobDefaults({ metadata, spec }: Job): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??=
    spec.backoffLimitPerIndex === undefined ? backoffLimitDefault : noBackoffLimit;
  const { labels } = spec.template.metadata ?? {};
  // Upstream: these are then the same labels, not only equal ones: what is generated into the one stands in the other.
  if (labels !== undefined && Object.keys(metadata.labels ?? {}).length === 0)
    metadata.labels = labels;
  spec.completionMode ??= "NonIndexed";
  spec.suspend ??= false;
  spec.podReplacementPolicy ??=
    spec.podFailurePolicy === undefined ? "TerminatingOrFailed" : "Failed";
  spec.manualSelector ??= false;
  setJobSpecDefaults(spec);
}

/** Unless the user selects by hand: labels that no other Job's Pods have, and a selector of them. */
function generateSelector({ metadata, spec }: Job): void {
  if (spec.manualSelector === true) return;
  const { name = "", uid = "" } = metadata;
  spec.template.metadata ??= {};
  const shared = metadata.labels === spec.template.metadata.labels;
  spec.template.metadata.labels = {
    [legacyJobNameLabel]: name,
    [jobNameLabel]: name,
    [legacyControllerUidLabel]: uid,
    [controllerUidLabel]: uid,
    ...spec.template.metadata.labels,
  };
  if (shared) metadata.labels = spec.template.metadata.labels;
  const matchLabels = { [controllerUidLabel]: uid, ...spec.selector?.matchLabels };
  spec.selector = { ...spec.selector, matchLabels };
}

function validateHasLabel(job: Job, key: string, expected: string): FieldError[] {
  const path = `spec.template.metadata.labels[${key}]`;
  const labels = job.spec.template.metadata?.labels;
  const actual = labels?.[key];
  if (actual === undefined) return [required(path, `must be '${expected}'`)];
  if (actual === expected) return [];
  return [invalid(path, labels, `must be '${expected}'`)];
}

function validateGeneratedSelector(job: Job): FieldError[] {
  const { metadata, spec } = job;
  if (spec.manualSelector === true || spec.selector === undefined) return [];
  const { name = "", uid = "" } = metadata;
  const expected = {
    [legacyControllerUidLabel]: uid,
    [legacyJobNameLabel]: name,
    [controllerUidLabel]: uid,
    [jobNameLabel]: name,
  };
  const errors = Object.entries(expected).flatMap(([key, value]) =>
    validateHasLabel(job, key, value),
  );
  if (!compileLabelSelector(spec.selector)(expected)) {
    errors.push(invalid("spec.selector", spec.selector, "`selector` not auto-generated"));
  }
  return errors;
}

function validateSpec({ spec }: Job, rules: PodRules): FieldError[] {
  const errors = validateJobSpec(spec, "spec", rules);
  const { selector } = spec;
  if (selector === undefined) errors.push(required("spec.selector"));
  else errors.push(...validateLabelSelector(selector, "spec.selector"));
  const { labels } = spec.template.metadata ?? {};
  const readable = selector === undefined || requirementsOf(selector) !== undefined;
  if (readable && !compileLabelSelector(selector)(labels)) {
    const detail = "`selector` does not match template `labels`";
    errors.push(invalid("spec.template.metadata.labels", labels, detail));
  }
  return errors;
}

/** The Pods' hostnames end with the index. */
function validateNameLength({ metadata: { name = "" }, spec }: Job): FieldError[] {
  if (!isIndexed(spec) || (spec.completions ?? 0) <= 0) return [];
  const longest = `${name}-${(spec.completions ?? 0) - 1}`;
  if (isDns1123Label(longest).length === 0) return [];
  const detail = `will not able to create pod with invalid DNS label: ${longest}`;
  return [invalid("metadata.name", name, detail)];
}

/** A Job that waits, and has nothing running, may be moved and resized. */
const isMutable = ({ spec, status }: Job): boolean =>
  spec.suspend === true &&
  (status.startTime === undefined || isTrue({ spec, status } as Job, "Suspended")) &&
  (status.active ?? 0) === 0;

function withDirectives(old: g.JobSpec["template"], now: g.JobSpec["template"]) {
  const template = cloneJson(old);
  const directives = ["nodeSelector", "tolerations", "schedulingGates"] as const;
  for (const name of directives) {
    if (now.spec[name] === undefined) delete template.spec[name];
    else Object.assign(template.spec, { [name]: now.spec[name] });
  }
  const { nodeAffinity } = now.spec.affinity ?? {};
  const { nodeAffinity: _, ...others } = template.spec.affinity ?? {};
  const affinity = { ...others, ...(nodeAffinity === undefined ? {} : { nodeAffinity }) };
  const empty = Object.keys(affinity).length === 0;
  if (empty && now.spec.affinity === undefined) delete template.spec.affinity;
  else template.spec.affinity = affinity;
  const { labels, annotations } = now.metadata ?? {};
  const { labels: _l, annotations: _a, ...metadata } = template.metadata ?? {};
  template.metadata = {
    ...metadata,
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  return template;
}

function withResources(old: PodSpec, now: PodSpec): PodSpec {
  const spec = cloneJson(old);
  for (const list of ["containers", "initContainers"] as const) {
    const next = now[list] ?? [];
    const own = spec[list] ?? [];
    if (next.length !== own.length) continue;
    own.forEach((container, index) => {
      const other = next[index];
      if (other?.name !== container.name) return;
      container.resources = other.resources;
    });
  }
  return spec;
}

function validateTemplateUpdate(job: Job, old: Job): FieldError[] {
  const { template } = job.spec;
  const mutable = isMutable(old);
  const past = mutable ? withDirectives(old.spec.template, template) : old.spec.template;
  if (!mutable) return validateImmutable(template, past, "spec.template");
  const resized = withResources(past.spec, template.spec);
  return validateImmutable(template.spec, resized, "spec.template.spec");
}

function validateCompletionsUpdate({ spec }: Job, old: Job): FieldError[] {
  const path = "spec.completions";
  const { completions, parallelism } = spec;
  if (!isIndexed(spec)) return validateImmutable(completions, old.spec.completions, path);
  if (completions === undefined || completions === old.spec.completions) return [];
  if (completions === parallelism) return [];
  const detail = "can only be modified in tandem with spec.parallelism";
  return [invalid(path, completions, detail)];
}

const fixed = [
  "completionMode",
  "podFailurePolicy",
  "backoffLimitPerIndex",
  "managedBy",
  "successPolicy",
] as const;

const validateUpdate = (job: Job, old: Job): FieldError[] => [
  ...validateSpec(job, rulesFor(old.spec.template, false)),
  ...validateCompletionsUpdate(job, old),
  ...validateImmutable(job.spec.selector, old.spec.selector, "spec.selector"),
  ...validateTemplateUpdate(job, old),
  ...fixed.flatMap((name) => validateImmutable(job.spec[name], old.spec[name], `spec.${name}`)),
  ...validateNameLength(job),
];

/** The gate WorkloadWithJob is off: it stays only where it stood. */
export function dropScheduling(spec: g.JobSpec, old: g.JobSpec | undefined): void {
  if (old?.scheduling === undefined) delete spec.scheduling;
}

function completionsCell({ spec, status }: Job): string {
  const { succeeded = 0 } = status;
  if (spec.completions !== undefined) return `${succeeded}/${spec.completions}`;
  const { parallelism = 0 } = spec;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function durationCell({ status }: Job, now: number): string {
  const start = parseTime(status.startTime ?? "");
  if (start === undefined) return "";
  return humanDuration((parseTime(status.completionTime ?? "") ?? now) - start);
}

function statusCell(job: Job): string {
  if (isTrue(job, "Complete")) return "Complete";
  if (isTrue(job, "Failed")) return "Failed";
  if (job.metadata.deletionTimestamp !== undefined) return "Terminating";
  const states = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
  return states.find((type) => isTrue(job, type)) ?? "Running";
}

export const Job = defineResource<Job>({
  group: "batch",
  version: "v1",
  plural: "jobs",
  selectableFields: { "status.successful": ({ status }) => String(status.succeeded ?? 0) },
  unknownFieldSelector: (field) => `field label ${JSON.stringify(field)} not supported for Job`,
  printerColumns: [
    { name: "Status", value: statusCell },
    { name: "Completions", value: completionsCell },
    { name: "Duration", value: durationCell },
    ageColumn,
    ...containerColumns<Job>(({ spec }) => spec.template.spec.containers),
    { name: "Selector", priority: 1, value: ({ spec }) => formatLabelSelector(spec.selector) },
  ],
  strategy: {
    tracksGeneration: true,
    orphansByDefault: true,
    unsaidPropagationWarning:
      "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
    defaults: setJobDefaults,
    prepareForCreate(job) {
      generateSelector(job);
      dropScheduling(job.spec, undefined);
      dropDisabledTemplateFields(job.spec.template, undefined);
    },
    prepareForUpdate({ spec }, old) {
      dropScheduling(spec, old.spec);
      dropDisabledTemplateFields(spec.template, old.spec.template);
    },
    validate: (job) => [
      ...validateGeneratedSelector(job),
      ...validateSpec(job, rulesFor(undefined, false)),
      ...validateNameLength(job),
    ],
    validateUpdate,
    validateStatusUpdate: validateJobStatus,
    warnings({ metadata, spec }, old) {
      if (old !== undefined && equalObjects(old.metadata.generation, metadata.generation))
        return [];
      const named =
        old === undefined ? nameWarnings(metadata.name ?? "", "Pod names and hostnames") : [];
      return [...named, ...jobSpecWarnings(spec, "spec")];
    },
  },
});
