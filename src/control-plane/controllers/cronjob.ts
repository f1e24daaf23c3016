/**
 * CronJob controller: starts Jobs by the clock, and removes those that are history. Reads CronJobs
 * and Jobs; writes Jobs and the CronJob's status.
 */
import { CronJob } from "#api/batch/v1/cronjob.ts";
import { Job } from "#api/batch/v1/job.ts";
import { isFinished, isTrue } from "#api/batch/v1/job-status.ts";
import type { ObjectReference } from "#api/generated/core/v1.ts";
import type { New } from "#client/client.ts";
import { type CronSchedule, parseCron } from "#machinery/cron.ts";
import { controllerOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import {
  controllerIndex,
  controllerReference,
  type ReconcileContext,
  requeueAfter,
} from "./controller.ts";
import {
  dueNow,
  formatMailTime,
  formatZoned,
  jobNameFor,
  nextDueInMs,
  surplusJobs,
} from "./cronjob-plan.ts";
import { defineController } from "./runner.ts";

const scheduledAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";

export const cronJobController = defineController<CronJob>({
  name: "cronjob",
  reconciles: CronJob,
  owns: [Job],
  async reconcile(cronJob, context) {
    const jobs = context.cache(Job).byIndex(controllerIndex, cronJob.metadata.uid);
    const pass = new Pass(cronJob, context);
    let failure: unknown;
    let againInMs = Infinity;
    try {
      await pass.look(jobs);
      againInMs = await pass.start();
    } catch (error) {
      failure = error;
    }
    for (const job of surplusJobs(cronJob, jobs)) await pass.remove(job);
    await pass.save();
    if (failure !== undefined) throw failure;
    return requeueAfter(againInMs);
  },
});

const refOf = ({ name = "", namespace }: { name?: string; namespace?: string }) => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
});
const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

class Pass {
  readonly #cronJob: Stored<CronJob>;
  readonly #context: ReconcileContext;
  #active: ObjectReference[];
  #lastScheduleTime: string | undefined;
  #lastSuccessfulTime: string | undefined;

  constructor(cronJob: Stored<CronJob>, context: ReconcileContext) {
    this.#cronJob = cronJob;
    this.#context = context;
    const { active = [], lastScheduleTime, lastSuccessfulTime } = cronJob.status;
    this.#active = [...active];
    this.#lastScheduleTime = lastScheduleTime;
    this.#lastSuccessfulTime = lastSuccessfulTime;
  }

  #tell(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#context.event(this.#cronJob, type, reason, message);
  }
  #forget(uid: string): void {
    this.#active = this.#active.filter((one) => one.uid !== uid);
  }

  /** Brings the list of running Jobs up to date. */
  async look(jobs: readonly Stored<Job>[]): Promise<void> {
    for (const job of jobs) {
      const { name, uid } = job.metadata;
      const listed = this.#active.some((one) => one.uid === uid);
      if (!isFinished(job)) {
        if (listed) continue;
        const message = `Saw a job that the controller did not create or forgot: ${name}`;
        this.#tell("Warning", "UnexpectedJob", message);
        continue;
      }
      const complete = isTrue(job, "Complete");
      if (listed) {
        this.#forget(uid);
        const condition = complete ? "Complete" : "Failed";
        const message = `Saw completed job: ${name}, condition: ${condition}`;
        this.#tell("Normal", "SawCompletedJob", message);
      }
      const { completionTime } = job.status;
      if (!complete || completionTime === undefined) continue;
      const last = parseTime(this.#lastSuccessfulTime ?? "") ?? -Infinity;
      if ((parseTime(completionTime) ?? 0) > last) this.#lastSuccessfulTime = completionTime;
    }
    const known = new Set(jobs.map((job) => job.metadata.uid));
    for (const { uid = "", name = "", namespace } of this.#active) {
      if (known.has(uid)) continue;
      try {
        const ref = refOf({ name, ...(namespace === undefined ? {} : { namespace }) });
        await this.#context.client.get(Job, ref);
      } catch (error) {
        if (!isStatus(error, "NotFound")) throw error;
        this.#tell("Normal", "MissingJob", `Active job went missing: ${name}`);
        this.#forget(uid);
      }
    }
  }

  /** The schedule; undefined: it cannot be followed, and why was told. */
  #schedule(): CronSchedule | undefined {
    const { schedule, timeZone } = this.#cronJob.spec;
    const { clock, now } = this.#context;
    const isZone = (zone: string) => clock.offsetMs(zone, now) !== undefined;
    if (timeZone !== undefined && !isZone(timeZone)) {
      const message = `invalid timeZone: ${JSON.stringify(timeZone)}: unknown time zone ${timeZone}`;
      this.#tell("Warning", "UnknownTimeZone", message);
      return undefined;
    }
    let text = schedule;
    if (schedule.includes("TZ")) {
      const where =
        "see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
      const message = `CRON_TZ or TZ used in schedule ${JSON.stringify(schedule)} is not officially supported, ${where}`;
      this.#tell("Warning", "UnsupportedSchedule", message);
    } else if (timeZone !== undefined) text = `TZ=${timeZone} ${schedule}`;
    const parsed = parseCron(text, isZone);
    if ("schedule" in parsed) return parsed.schedule;
    const message = `unparseable schedule: ${JSON.stringify(schedule)} : ${parsed.problem}`;
    this.#tell("Warning", "UnparseableSchedule", message);
    return undefined;
  }

  /** Starts a Job if one is due. Gives when the next will be. */
  async start(): Promise<number> {
    const cronJob = this.#cronJob;
    const { spec, metadata } = cronJob;
    const { now, clock } = this.#context;
    if (metadata.deletionTimestamp !== undefined) return Infinity;
    if (spec.suspend === true && this.#zoneIsFine()) return Infinity;
    const schedule = this.#schedule();
    if (schedule === undefined) return Infinity;
    const offsetMs = clock.offsetMs.bind(clock);
    const next = (from: Stored<CronJob> = cronJob) => nextDueInMs(from, schedule, offsetMs, now);
    const due = dueNow(cronJob, schedule, offsetMs, now);
    if (due === undefined) {
      const why = "time difference between two schedules is less than 1 second";
      this.#tell("Warning", "InvalidSchedule", `invalid schedule: ${spec.schedule} : ${why}`);
      return Infinity;
    }
    if (due.at === undefined) return next();
    if (due.missedMany) {
      const message =
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
      this.#tell("Warning", "TooManyMissedTimes", message);
    }
    if (!this.#mayStart(due.at)) return next();
    if (spec.concurrencyPolicy === "Replace") await this.#removeActive();
    const started = await this.#create(due.at);
    if (!started) return Infinity;
    const lastScheduleTime = formatTime(due.at);
    this.#lastScheduleTime = lastScheduleTime;
    return next({ ...cronJob, status: { ...cronJob.status, lastScheduleTime } });
  }

  #zoneIsFine(): boolean {
    const { timeZone } = this.#cronJob.spec;
    const { clock, now } = this.#context;
    return timeZone === undefined || clock.offsetMs(timeZone, now) !== undefined;
  }

  #mayStart(at: number): boolean {
    const { spec } = this.#cronJob;
    const { startingDeadlineSeconds: deadlineSeconds } = spec;
    if (deadlineSeconds !== undefined && at + deadlineSeconds * 1000 < this.#context.now) {
      const message = `Missed scheduled time to start a job: ${formatMailTime(at)}`;
      this.#tell("Warning", "MissSchedule", message);
      return false;
    }
    const name = jobNameFor(this.#cronJob, at);
    if (this.#active.some((one) => one.name === name)) return false;
    if (parseTime(this.#lastScheduleTime ?? "") === at) return false;
    if (spec.concurrencyPolicy === "Forbid" && this.#active.length > 0) {
      const message =
        "Not starting job because prior execution is running and concurrency policy is Forbid";
      this.#tell("Normal", "JobAlreadyActive", message);
      return false;
    }
    return true;
  }

  async #removeActive(): Promise<void> {
    for (const { name = "", namespace } of this.#active) {
      let job: Stored<Job>;
      try {
        const ref = refOf({ name, ...(namespace === undefined ? {} : { namespace }) });
        job = await this.#context.client.get(Job, ref);
      } catch (error) {
        this.#tell("Warning", "FailedGet", `Get job: ${messageOf(error)}`);
        throw error;
      }
      if (await this.remove(job)) continue;
      throw new Error(`could not replace job ${namespace}/${name}`);
    }
  }

  /** Gives whether it is gone. */
  async remove(job: Stored<Job>): Promise<boolean> {
    const { metadata } = job;
    try {
      const options = { propagationPolicy: "Background" } as const;
      await this.#context.client.delete(Job, refOf(metadata), options);
    } catch (error) {
      this.#tell("Warning", "FailedDelete", `Deleted job: ${messageOf(error)}`);
      return false;
    }
    this.#forget(metadata.uid);
    this.#tell("Normal", "SuccessfulDelete", `Deleted job ${metadata.name}`);
    return true;
  }

  #template(at: number): New<Job> {
    const { metadata, spec } = this.#cronJob;
    const { labels, annotations } = spec.jobTemplate.metadata ?? {};
    const offset = this.#context.clock.offsetMs(spec.timeZone ?? "UTC", at) ?? 0;
    return {
      metadata: {
        ...refOf({
          name: jobNameFor(this.#cronJob, at),
          ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        }),
        ...(labels === undefined ? {} : { labels }),
        annotations: { ...annotations, [scheduledAnnotation]: formatZoned(at, offset) },
        ownerReferences: [controllerReference(CronJob, this.#cronJob)],
      },
      spec: spec.jobTemplate.spec,
    };
  }

  /** False: somebody else's Job has the name, or it is known already. */
  async #create(at: number): Promise<boolean> {
    const wanted = this.#template(at);
    let job: Stored<Job>;
    try {
      job = await this.#context.client.create(Job, wanted);
      this.#tell("Normal", "SuccessfulCreate", `Created job ${job.metadata.name}`);
    } catch (error) {
      if (!isStatus(error, "AlreadyExists")) {
        this.#tell("Warning", "FailedCreate", `Error creating job: ${messageOf(error)}`);
        throw error;
      }
      job = await this.#context.client.get(Job, refOf(wanted.metadata));
      if (controllerOf(job)?.uid !== this.#cronJob.metadata.uid) return false;
      if (this.#active.some((one) => one.uid === job.metadata.uid)) return false;
    }
    const { name, namespace, uid, resourceVersion } = job.metadata;
    this.#active.push({
      apiVersion: "batch/v1",
      kind: "Job",
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid,
      resourceVersion,
    });
    return true;
  }

  async save(): Promise<void> {
    const status = {
      ...(this.#active.length === 0 ? {} : { active: this.#active }),
      ...(this.#lastScheduleTime === undefined ? {} : { lastScheduleTime: this.#lastScheduleTime }),
      ...(this.#lastSuccessfulTime === undefined
        ? {}
        : { lastSuccessfulTime: this.#lastSuccessfulTime }),
    };
    const { active = [], ...rest } = this.#cronJob.status;
    if (equalObjects({ active: [], ...status }, { active, ...rest })) return;
    await this.#context.client.updateStatus(CronJob, { ...this.#cronJob, status });
  }
}
