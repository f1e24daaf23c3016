/**
 * The policy of forgetting: at each tick the store is compacted to the revision that was newest a tick earlier, so history
 * reaches back between one and two retention times. If nothing was written in between, nothing is done.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Store } from "#ports/store.ts";

/** As upstream's API server asks etcd. */
export const retentionMsDefault = 5 * 60 * 1000;

/** The result stops it. A compaction that failed is said to the log and made up for by the next. */
export function startCompaction(
  store: Store,
  clock: Clock,
  retentionMs: number = retentionMsDefault,
  log?: Log,
): () => void {
  let compacted = 0;
  let remembered: number | undefined;
  let stopped = false;
  let cancel = (): void => {};

  const tick = async (): Promise<void> => {
    try {
      if (remembered !== undefined && remembered > compacted) {
        await store.compact(remembered);
        compacted = remembered;
      }
      remembered = await store.revision();
    } catch (error) {
      if (!stopped)
        log?.write("error", "compacting the store failed; it will be tried again", {
          error: error instanceof Error ? error.message : String(error),
        });
    }
    arm();
  };
  const arm = (): void => {
    if (!stopped) cancel = clock.after(retentionMs, () => void tick());
  };

  void tick();
  return () => {
    stopped = true;
    cancel();
  };
}
