/** All sequences, in the order in which they are played. */
import { clusterPaths } from "./cluster.ts";
import type { Sequence } from "./run.ts";
import { workloads } from "./workloads.ts";

export { play, type Seen } from "./run.ts";
export const sequences: readonly Sequence[] = [...workloads, ...clusterPaths];
