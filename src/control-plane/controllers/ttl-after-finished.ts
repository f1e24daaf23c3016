/**
 * TTL after finished: removes Jobs some time after they are over, with all that they own. Reads
 * and deletes Jobs.
 */
import { Job } from "#api/batch/v1/job.ts";
import { isFinished, jobCondition } from "#api/batch/v1/job-status.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import { requeueAfter } from "./controller.ts";
import { defineController } from "./runner.ts";

/** Milliseconds until it may go; undefined: it stays. */
export function expiresInMs(job: Stored<Job>, now: number): number | undefined {
  const { ttlSecondsAfterFinished: ttlSeconds } = job.spec;
  if (ttlSeconds === undefined || job.metadata.deletionTimestamp !== undefined) return undefined;
  if (!isFinished(job)) return undefined;
  const over = ["Complete", "Failed"]
    .map((type) => jobCondition(job, type))
    .find((one) => one?.status === "True");
  const at = parseTime(over?.lastTransitionTime ?? "");
  return at === undefined ? undefined : Math.max(0, at + ttlSeconds * 1000 - now);
}

export const ttlAfterFinishedController = defineController<Job>({
  name: "ttl-after-finished",
  reconciles: Job,
  async reconcile(job, context) {
    const waitMs = expiresInMs(job, context.now);
    if (waitMs === undefined) return {};
    if (waitMs > 0) return requeueAfter(waitMs);
    const { name, namespace = "", uid } = job.metadata;
    try {
      // The cache may be behind: the time to live can have been made longer.
      const fresh = await context.client.get(Job, { name, namespace });
      const leftMs = expiresInMs(fresh, context.now);
      if (leftMs === undefined) return {};
      if (leftMs > 0) return requeueAfter(leftMs);
      await context.client.delete(
        Job,
        { name, namespace },
        { propagationPolicy: "Foreground", preconditions: { uid } },
      );
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
    return {};
  },
});
