import { expect, test } from "vitest";
import { decoded, formatted, prepared, testContext, updateErrors } from "../../test-objects.ts";
import { CronJob } from "./cronjob.ts";
import { checkIndexes, formatIndexes, missingIndexes, readIndexes } from "./index-intervals.ts";
import { Job } from "./job.ts";

const template = {
  spec: { restartPolicy: "Never", containers: [{ name: "a", image: "x:1" }] },
};
const job = (spec: object = {}, status: object = {}) => ({
  metadata: { name: "j", namespace: "ns", uid: "u", generation: 1 },
  spec: { template, ...spec },
  status,
});
const createErrors = (object: object) =>
  formatted(Job.strategy.validate?.(prepared(Job, object), testContext));

test("defaults, and a selector of its own", () => {
  const { spec, metadata } = prepared(Job, job());
  expect(spec).toMatchObject({
    completions: 1,
    parallelism: 1,
    backoffLimit: 6,
    completionMode: "NonIndexed",
    suspend: false,
    podReplacementPolicy: "TerminatingOrFailed",
    manualSelector: false,
    selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "u" } },
  });
  expect(spec.template.metadata.labels).toEqual({
    "batch.kubernetes.io/controller-uid": "u",
    "batch.kubernetes.io/job-name": "j",
    "controller-uid": "u",
    "job-name": "j",
  });
  // Upstream: without labels of its own a Job gets those of its template.
  expect(metadata.labels).toEqual(spec.template.metadata.labels);
  expect(decoded(Job, job({ parallelism: 3 })).spec.completions).toBeUndefined();
});

test.each<[string, object, string[]]>([
  ["a good one", {}, []],
  [
    "pods that always run",
    { template: { spec: { containers: template.spec.containers } } },
    ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
  ],
  [
    "fewer than none",
    { parallelism: -1, backoffLimit: -1 },
    [
      "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
      "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
    ],
  ],
  [
    "indexes without a number",
    { completionMode: "Indexed", parallelism: 1 },
    ["spec.completions: Required value: when completion mode is Indexed"],
  ],
  [
    "numbers of indexes without indexes",
    { backoffLimitPerIndex: 1, maxFailedIndexes: 1 },
    [
      "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
      "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
    ],
  ],
  [
    "a rule for failures that says nothing",
    { podFailurePolicy: { rules: [{ action: "FailJob" }] } },
    [
      "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
    ],
  ],
  [
    "exit codes out of order",
    {
      podFailurePolicy: {
        rules: [
          {
            action: "Ignore",
            onExitCodes: { operator: "In", values: [2, 1, 0], containerName: "b" },
          },
        ],
      },
    },
    [
      'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "b": must be one of the container or initContainer names in the pod template',
      "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
      "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered",
    ],
  ],
  [
    "a success of indexes that there are not",
    {
      completionMode: "Indexed",
      completions: 3,
      successPolicy: { rules: [{ succeededIndexes: "1,5" }] },
    },
    [
      'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "1,5": error parsing succeededIndexes: too large index: "5"',
    ],
  ],
  [
    "a manager without a domain",
    { managedBy: "me" },
    ['spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'],
  ],
  [
    "another Job's selector",
    { selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "other" } } },
    [
      'spec.selector: Invalid value: {"matchLabels":{"batch.kubernetes.io/controller-uid":"other"}}: `selector` not auto-generated',
      expect.stringMatching(
        /^spec\.template\.metadata\.labels: .*: `selector` does not match template `labels`$/,
      ),
    ],
  ],
])("Job: %s", (_name, spec, expected) => {
  expect(createErrors(job(spec))).toEqual(expected);
});

test("a Job keeps what it works on; one that waits may be moved", () => {
  const spec = prepared(Job, job()).spec;
  const next = (more: object) => ({ ...job(), spec: { ...spec, ...more } });
  const moved = { ...spec.template, spec: { ...spec.template.spec, nodeSelector: { a: "b" } } };
  expect(updateErrors(Job, job(), next({ parallelism: 5 }))).toEqual([]);
  expect(updateErrors(Job, job(), next({ completions: 5 }))).toEqual([
    "spec.completions: Invalid value: 5: field is immutable",
  ]);
  const [error] = updateErrors(Job, job(), next({ template: moved }));
  expect(error).toMatch(/^spec\.template: .*: field is immutable$/s);
  expect(updateErrors(Job, job({ suspend: true }), next({ template: moved }))).toEqual([]);
});

test("a status does not take back what it said", () => {
  const condition = (type: string) => ({ type, status: "True" });
  const done = { startTime: "2030-01-01T00:00:00Z", completionTime: "2030-01-01T00:00:01Z" };
  const over = { ...done, conditions: [condition("SuccessCriteriaMet"), condition("Complete")] };
  const check = (old: object, next: object) =>
    updateErrors(Job, job({}, old), job({}, next), "status");
  expect(check({}, over)).toEqual([]);
  expect(check({ failed: 2 }, { failed: 1 })).toEqual([
    "status.failed: Invalid value: 1: cannot decrease the failed counter",
  ]);
  expect(check({}, { ...over, active: 1 })).toEqual([
    "status.active: Invalid value: 1: active>0 is invalid for finished job",
  ]);
  expect(check({}, { ...done, conditions: [condition("Complete")] })).toEqual([
    "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
  ]);
});

const cronJob = (spec: object = {}, name = "c") => ({
  metadata: { name, namespace: "ns" },
  spec: { schedule: "* * * * *", jobTemplate: { spec: { template } }, ...spec },
});
const context = { ...testContext, isTimeZone: (zone: string) => zone === "Europe/Berlin" };
const cronErrors = (object: object) =>
  formatted(CronJob.strategy.validate?.(prepared(CronJob, object), context));

test.each<[string, object, string[]]>([
  ["a good one", cronJob({ timeZone: "Europe/Berlin" }), []],
  [
    "no schedule",
    cronJob({ schedule: "soon" }),
    ['spec.schedule: Invalid value: "soon": expected exactly 5 fields, found 1: [soon]'],
  ],
  [
    "a zone in the schedule",
    cronJob({ schedule: "TZ=Europe/Berlin * * * * *" }),
    [
      'spec.schedule: Invalid value: "TZ=Europe/Berlin * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead',
    ],
  ],
  [
    "an unknown zone",
    cronJob({ timeZone: "Mars/Olympus" }),
    ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'],
  ],
  [
    "an unknown policy",
    cronJob({ concurrencyPolicy: "Maybe" }),
    [
      'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
    ],
  ],
  [
    "a long name",
    cronJob({}, "c".repeat(53)),
    [`metadata.name: Invalid value: "${"c".repeat(53)}": must be no more than 52 characters`],
  ],
])("CronJob: %s", (_name, object, expected) => {
  expect(cronErrors(object)).toEqual(expected);
});

test("columns", () => {
  const now = 1_000_000_000_000;
  const made = decoded(Job, job({}, { startTime: "2001-09-09T01:45:40Z", succeeded: 0 }));
  expect(Job.printerColumns.slice(0, 3).map(({ value }) => value(made, now))).toEqual([
    "Running",
    "0/1",
    "60s",
  ]);
  const cron = decoded(CronJob, cronJob());
  expect(CronJob.printerColumns.slice(0, 5).map(({ value }) => value(cron, now))).toEqual([
    "* * * * *",
    "<none>",
    "False",
    0,
    "<none>",
  ]);
});

test("indexes as text", () => {
  expect(formatIndexes(readIndexes("0,1,2,5-9,11,12", 12))).toBe("0-2,5-9,11");
  expect(formatIndexes(readIndexes("0,1,3", 12))).toBe("0,1,3");
  expect(missingIndexes(readIndexes("0,2-4", 9), 3, 9)).toEqual([1, 5, 6]);
  expect(missingIndexes([], 3, 2)).toEqual([0, 1]);
  expect(checkIndexes("1-3,2", 9).problem).toBe("non-increasing order, previous: 3, current: 2");
});
