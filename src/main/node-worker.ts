/** The cluster's process and the thread of its real node: the thread, kept running. */
import { systemClock } from "#adapters/nodejs/clock.ts";
import { KeptWorker } from "./kept-worker.ts";
import type { FromNode, ToNode } from "./node-messages.ts";

export type NodeWorker = KeptWorker<ToNode, FromNode>;

/** Its own budget: what the kubelet, the proxy and DNS keep is small; a leak must not take the API server along. */
const heapMbMax = 256;

/** It waits for its orders once it is loaded. */
export const startNodeWorker = (): NodeWorker =>
  new KeptWorker({
    name: "the node's thread",
    program: new URL("./node-thread.mjs", import.meta.url),
    resourceLimits: { maxOldGenerationSizeMb: heapMbMax },
    clock: systemClock,
  });
