/** Waits for nodes to be Ready, at the start of a cluster. */
import { Node } from "#api/core/v1/node.ts";
import type { ControlPlane } from "#cluster/control-plane.ts";
import { findCondition } from "#machinery/conditions.ts";
import { parseTime } from "#machinery/time.ts";

/** Follows the nodes until each is Ready by its own word of this life: what the last one said may be stale. */
export async function allReady(
  controlPlane: ControlPlane,
  names: readonly string[],
  sinceMs: number,
): Promise<void> {
  const client = controlPlane.clientFor("system:kube-controller-manager");
  const waiting = new Set(names);
  const watch = await client.watch(Node, { sendInitialEvents: true, allowBookmarks: true });
  const since = Math.floor(sinceMs / 1000) * 1000;
  try {
    while (waiting.size > 0) {
      const events = await watch.next();
      if (events === undefined) throw new Error("the watch for nodes ended before they were ready");
      for (const { type, object } of events) {
        if (type !== "ADDED" && type !== "MODIFIED") continue;
        const ready = findCondition(object.status.conditions ?? [], "Ready");
        const saidMs = parseTime(ready?.lastHeartbeatTime ?? "") ?? 0;
        if (ready?.status === "True" && saidMs >= since) waiting.delete(object.metadata.name);
      }
    }
  } finally {
    watch.stop();
  }
}
