/** PrioritySort: higher priority first, then whoever waits longest. */
import { definePlugin, type QueuedPod } from "../plugin.ts";

export const byPriority = (a: QueuedPod, b: QueuedPod): number =>
  b.info.priority - a.info.priority || a.queuedMs - b.queuedMs;

export const prioritySort = definePlugin({ name: "PrioritySort", compare: byPriority });
