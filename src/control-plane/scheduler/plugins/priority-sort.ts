/** PrioritySort: higher priority first, then whoever waits longest. */
import { definePlugin } from "../plugin.ts";

export const prioritySort = definePlugin({
  name: "PrioritySort",
  compare: (a, b) => b.info.priority - a.info.priority || a.queuedMs - b.queuedMs,
});
