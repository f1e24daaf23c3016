/** When a CronJob's next Job is due, and which of its Jobs it has no more use for. Pure. */
import type { CronJob } from "#api/batch/v1/cronjob.ts";
import type { Job } from "#api/batch/v1/job.ts";
import { isTrue } from "#api/batch/v1/job-status.ts";
import type { CronSchedule, OffsetMs } from "#machinery/cron.ts";
import type { Stored } from "#machinery/meta.ts";
import { compareUtf8 } from "#machinery/object.ts";
import { formatTime, parseTime } from "#machinery/time.ts";

const secondMs = 1000;
const minuteMs = 60 * secondMs;
/** A little late, so that it is not a little early. */
const lateMs = 100;
const manyMissed = 100;

export interface Due {
  /** The latest time that has come and was not met; undefined: none. */
  readonly at?: number;
  readonly missedMany: boolean;
  readonly missedAny: boolean;
  /** From where was counted. */
  readonly since: number;
}

/** Undefined: the schedule has no two times. */
function dueAt(
  { metadata, spec, status }: Stored<CronJob>,
  schedule: CronSchedule,
  offsetMs: OffsetMs,
  now: number,
  withDeadline: boolean,
): Due | undefined {
  let since = parseTime(status.lastScheduleTime ?? metadata.creationTimestamp) ?? 0;
  const { startingDeadlineSeconds: deadlineSeconds } = spec;
  if (withDeadline && deadlineSeconds !== undefined) {
    since = Math.max(since, now - deadlineSeconds * secondMs);
  }
  const first = schedule.next(since, offsetMs);
  const second = first === undefined ? undefined : schedule.next(first, offsetMs);
  if (first === undefined || second === undefined) return undefined;
  const none = { missedMany: false, missedAny: false, since };
  if (now < first) return none;
  if (now < second) return { ...none, at: first };
  const between = Math.round((second - first) / secondMs) * secondMs;
  if (between < secondMs) return undefined;
  const missed = Math.floor((now - first) / between) + 1;
  // Only the last of them counts: there is no need to go through all.
  let at: number | undefined;
  for (
    let next = schedule.next(first + (missed - 2) * between, offsetMs);
    next !== undefined && next <= now;
    next = schedule.next(next, offsetMs)
  ) {
    at = next;
  }
  const found = { missedMany: missed > manyMissed, missedAny: true, since };
  return at === undefined ? found : { ...found, at };
}

export const dueNow = (
  cronJob: Stored<CronJob>,
  schedule: CronSchedule,
  offsetMs: OffsetMs,
  now: number,
): Due | undefined => dueAt(cronJob, schedule, offsetMs, now, true);

export function nextDueInMs(
  cronJob: Stored<CronJob>,
  schedule: CronSchedule,
  offsetMs: OffsetMs,
  now: number,
): number {
  const due = dueAt(cronJob, schedule, offsetMs, now, false);
  const from = due === undefined || (due.at === undefined && due.missedAny) ? now : due.since;
  const next = schedule.next(due?.at ?? from, offsetMs);
  return next === undefined ? Infinity : next + lateMs - now;
}

/** The same minute, the same name: a Job is never started twice. */
export const jobNameFor = (cronJob: Stored<CronJob>, at: number): string =>
  `${cronJob.metadata.name}-${Math.floor(at / minuteMs)}`;

const twoDigits = (value: number): string => String(value).padStart(2, "0");

/** "2030-07-01T05:00:00+02:00" */
export function formatZoned(at: number, offset: number): string {
  const local = formatTime(at + offset);
  if (offset === 0) return local;
  const minutes = Math.abs(Math.trunc(offset / minuteMs));
  const sign = offset < 0 ? "-" : "+";
  const zone = `${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`;
  return `${local.slice(0, -1)}${sign}${zone}`;
}

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** "Tue, 01 Jan 2030 05:00:00 +0000" */
export function formatMailTime(at: number): string {
  const [date = "", time = ""] = formatTime(at).slice(0, -1).split("T");
  const [year, month, day] = date.split("-");
  const weekday = weekdays[(Math.floor(at / (24 * 60 * minuteMs)) + 4) % 7];
  return `${weekday}, ${day} ${months[Number(month) - 1]} ${year} ${time} +0000`;
}

const byStart = (a: Stored<Job>, b: Stored<Job>): number => {
  const start = (job: Stored<Job>) => parseTime(job.status.startTime ?? "") ?? Infinity;
  const [one, other] = [start(a), start(b)];
  return one === other ? compareUtf8(a.metadata.name, b.metadata.name) : one - other;
};

/** Of those that are over, the oldest beyond the limits. */
export function surplusJobs(
  { spec }: CronJob,
  jobs: readonly Stored<Job>[],
): readonly Stored<Job>[] {
  const beyond = (type: "Complete" | "Failed", limit: number | undefined) => {
    const over = jobs.filter((job) => isTrue(job, type)).sort(byStart);
    return limit === undefined ? [] : over.slice(0, Math.max(0, over.length - limit));
  };
  return [
    ...beyond("Complete", spec.successfulJobsHistoryLimit),
    ...beyond("Failed", spec.failedJobsHistoryLimit),
  ];
}
