/** CronJob: Jobs by the clock. */
import { parseCron } from "#machinery/cron.ts";
import {
  declared,
  type FieldError,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { formatLabelSelector } from "#machinery/selector.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import { rulesFor } from "../../core/v1/pod-validation/relaxed-rules.ts";
import { nameWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/batch/v1.ts";
import { ageColumn, ageOf, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { dropScheduling, setJobSpecDefaults } from "./job.ts";
import { jobSpecWarnings, validateJobSpec } from "./job-validation.ts";

export type CronJob = g.CronJob;

/** A Job's name is the CronJob's, a dash, and the minute as ten digits. */
const nameLengthMax = 52;
const policies = ["Allow", "Forbid", "Replace"];

type IsTimeZone = (name: string) => boolean;

function validateSchedule(
  { schedule, timeZone }: g.CronJobSpec,
  mayNameZone: boolean,
  isTimeZone: IsTimeZone,
): FieldError[] {
  const path = "spec.schedule";
  if (schedule === "") return [declared(required(path))];
  const errors: FieldError[] = [];
  const parsed = parseCron(schedule, isTimeZone);
  if ("problem" in parsed) errors.push(invalid(path, schedule, parsed.problem));
  if (!schedule.includes("TZ")) return errors;
  if (!mayNameZone) {
    const detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
    errors.push(invalid(path, schedule, detail));
  } else if (timeZone !== undefined) {
    const detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
    errors.push(invalid(path, schedule, detail));
  }
  return errors;
}

function validateTimeZone(zone: string | undefined, isTimeZone: IsTimeZone): FieldError[] {
  const path = "spec.timeZone";
  if (zone === undefined) return [];
  if (zone === "") return [invalid(path, zone, "timeZone must be nil or non-empty string")];
  const wellFormed = zone
    .split("/")
    .every((part) => /^(?!-)[A-Za-z.\-_0-9+]{1,14}$/.test(part) && part !== "." && part !== "..");
  if (!wellFormed) return [invalid(path, zone, `unknown time zone ${zone}`)];
  if (zone.toLowerCase() === "local") {
    const detail =
      "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    const errors = [invalid(path, zone, detail)];
    return zone === "Local"
      ? errors
      : [...errors, invalid(path, zone, `unknown time zone ${zone}`)];
  }
  return isTimeZone(zone) ? [] : [invalid(path, zone, `unknown time zone ${zone}`)];
}

function validateTemplate({ jobTemplate }: g.CronJobSpec, old: CronJob | undefined): FieldError[] {
  const path = "spec.jobTemplate.spec";
  const rules = rulesFor(old?.spec.jobTemplate.spec.template, false);
  const { selector, manualSelector } = jobTemplate.spec;
  const errors = validateJobSpec(jobTemplate.spec, path, rules);
  if (selector !== undefined) {
    errors.push(invalid(`${path}.selector`, selector, "`selector` will be auto-generated"));
  }
  if (manualSelector === true) {
    errors.push(notSupported(`${path}.manualSelector`, manualSelector, ["nil", "false"]));
  }
  return errors;
}

function validateSpec(
  { spec }: CronJob,
  old: CronJob | undefined,
  isTimeZone: IsTimeZone,
): FieldError[] {
  const { concurrencyPolicy: policy = "" } = spec;
  const mayNameZone = old?.spec.schedule.includes("TZ") === true;
  const errors = [
    ...validateSchedule(spec, mayNameZone, isTimeZone),
    ...nonNegative("spec.startingDeadlineSeconds", spec.startingDeadlineSeconds),
  ];
  if (old === undefined || old.spec.timeZone !== spec.timeZone) {
    errors.push(...validateTimeZone(spec.timeZone, isTimeZone));
  }
  if (policy === "") errors.push(required("spec.concurrencyPolicy"));
  else if (!policies.includes(policy)) {
    errors.push(notSupported("spec.concurrencyPolicy", policy, policies));
  }
  return [
    ...errors,
    ...validateTemplate(spec, old),
    ...nonNegative("spec.successfulJobsHistoryLimit", spec.successfulJobsHistoryLimit),
    ...nonNegative("spec.failedJobsHistoryLimit", spec.failedJobsHistoryLimit),
  ];
}

function validateName({ metadata: { name = "" } }: CronJob): FieldError[] {
  if (name.length <= nameLengthMax) return [];
  return [invalid("metadata.name", name, `must be no more than ${nameLengthMax} characters`)];
}

const unknownZones: IsTimeZone = () => false;

function boolText(value: boolean | undefined): string {
  if (value === undefined) return "<unset>";
  return value ? "True" : "False";
}

export const CronJob = defineResource<CronJob>({
  group: "batch",
  version: "v1",
  plural: "cronjobs",
  printerColumns: [
    { name: "Schedule", value: ({ spec }) => spec.schedule },
    { name: "Timezone", value: ({ spec }) => spec.timeZone ?? "<none>" },
    { name: "Suspend", type: "boolean", value: ({ spec }) => boolText(spec.suspend) },
    { name: "Active", type: "integer", value: ({ status }) => status.active?.length ?? 0 },
    {
      name: "Last Schedule",
      value: ({ status }, now) =>
        status.lastScheduleTime === undefined ? "<none>" : ageOf(status.lastScheduleTime, now),
    },
    ageColumn,
    ...containerColumns<CronJob>(({ spec }) => spec.jobTemplate.spec.template.spec.containers),
    {
      name: "Selector",
      priority: 1,
      value: ({ spec }) => formatLabelSelector(spec.jobTemplate.spec.selector),
    },
  ],
  strategy: {
    tracksGeneration: true,
    defaults({ spec }) {
      spec.concurrencyPolicy ||= "Allow";
      spec.suspend ??= false;
      spec.successfulJobsHistoryLimit ??= 3;
      spec.failedJobsHistoryLimit ??= 1;
      setJobSpecDefaults(spec.jobTemplate.spec);
    },
    prepareForCreate({ spec: { jobTemplate } }) {
      dropScheduling(jobTemplate.spec, undefined);
      dropDisabledTemplateFields(jobTemplate.spec.template, undefined);
    },
    prepareForUpdate({ spec: { jobTemplate } }, old) {
      dropScheduling(jobTemplate.spec, old.spec.jobTemplate.spec);
      dropDisabledTemplateFields(jobTemplate.spec.template, old.spec.jobTemplate.spec.template);
    },
    validate: (job, context) => [
      ...validateSpec(job, undefined, context?.isTimeZone ?? unknownZones),
      ...validateName(job),
    ],
    validateUpdate: (job, old, context) =>
      validateSpec(job, old, context?.isTimeZone ?? unknownZones),
    warnings({ metadata, spec }, old) {
      const path = "spec.jobTemplate.spec";
      const told = jobSpecWarnings(spec.jobTemplate.spec, path);
      if (old === undefined) {
        return [...nameWarnings(metadata.name ?? "", "Pod names and hostnames"), ...told];
      }
      const list = old.metadata.generation === metadata.generation ? [] : told;
      if (!spec.schedule.includes("TZ")) return list;
      // Upstream: the path says "spec" twice.
      const where =
        "use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
      return [...list, `cannot use TZ or CRON_TZ in spec.spec.schedule, ${where}`];
    },
  },
});
