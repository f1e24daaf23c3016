/**
 * The shape of a scheduler plugin: one file, any of the extension points below, one line in
 * profile.ts. A plugin decides; the scheduler acts. What a plugin learns once per cycle it returns
 * from preFilter or preScore and gets back in filter or score.
 */

import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { Kind } from "#api/resource.ts";
import type { Lister } from "#client/cache.ts";
import type { Client } from "#client/client.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import type { NodeInfo } from "./node-info.ts";
import type { PodInfo } from "./pod-info.ts";

/** Why not. `unresolvable`: removing other Pods from the node would not help. */
export interface Rejection {
  readonly rejected: true;
  /** Upstream's wording: they are counted and printed in the FailedScheduling event. */
  readonly reasons: readonly string[];
  readonly unresolvable: boolean;
}
export const reject = (...reasons: readonly string[]): Rejection => ({
  rejected: true,
  reasons,
  unresolvable: false,
});
export const rejectForGood = (...reasons: readonly string[]): Rejection => ({
  rejected: true,
  reasons,
  unresolvable: true,
});
export const isRejection = (value: unknown): value is Rejection =>
  typeof value === "object" && value !== null && (value as Partial<Rejection>).rejected === true;

/** What plugins may look at beyond their arguments. */
export interface SchedulerView {
  /** All nodes, in the order in which they are tried. */
  readonly nodes: readonly NodeInfo[];
  cache<T extends ApiObject>(kind: Kind<T>): Lister<T>;
  /** The nodes on which some Pod has affinity or anti-affinity to Pods at all, or anti-affinity that must be kept. */
  nodesWith(trait: "affinity" | "requiredAntiAffinity"): readonly NodeInfo[];
  /** Pods that are to go to a node once room is made for them there. */
  nominatedTo(nodeName: string): readonly PodInfo[];
  /** The node that a waiting Pod is nominated to. */
  nominationOf(uid: string): string | undefined;
  /** How many nodes hold an image, by normalized name. */
  imageNodes(image: string): number;
  /** What a plugin keeps from one cycle to the next: made once for each scheduler. */
  memory<T extends object>(plugin: string, make: () => T): T;
  /**
   * Waits until `check`, asked now and at each change of an object of these kinds, gives something. Rejects with what it throws, when
   * the time is over and when the scheduler stops. `what` begins the message.
   */
  waitFor<T>(
    what: string,
    kinds: readonly Kind[],
    check: () => T | undefined,
    msMax: number,
  ): Promise<T>;
}

/** What happened in the cluster, as far as it can make a rejected Pod fit. */
export type ClusterEvent =
  | { readonly on: "nodeAdded"; readonly node: Stored<Node> }
  | { readonly on: "nodeUpdated"; readonly node: Stored<Node>; readonly old: Stored<Node> }
  | { readonly on: "nodeRemoved"; readonly old: Stored<Node> }
  | { readonly on: "podAssigned"; readonly pod: Stored<Pod> }
  /** An assigned Pod was changed, or ended, or is gone: then `pod` is undefined. */
  | { readonly on: "podUpdated"; readonly pod: Stored<Pod>; readonly old: Stored<Pod> }
  | { readonly on: "podRemoved"; readonly old: Stored<Pod> }
  /** A claim, a volume, a class or what is known of a driver came or changed. */
  | {
      readonly on: "storageChanged";
      readonly kind: Kind;
      readonly object: Stored<ApiObject>;
    }
  /** The waiting Pod itself was changed. */
  | { readonly on: "itselfUpdated"; readonly pod: Stored<Pod>; readonly old: Stored<Pod> };

export interface PreFilterResult<S> {
  readonly state: S;
  /** Only these can fit; undefined: any may. */
  readonly nodeNames?: ReadonlySet<string>;
}

/** A node as it would be with other Pods on it: a copy, which nobody else sees. */
export interface Trial {
  readonly node: NodeInfo;
  add(pod: PodInfo): void;
  remove(pod: PodInfo): void;
  /** What the filters say of it now. */
  rejection(): Rejection | undefined;
}

/** A cycle that found no node. */
export interface FailedAttempt {
  readonly pod: PodInfo;
  /** What each node said; those that were not asked cannot be helped. */
  readonly rejections: ReadonlyMap<string, Rejection>;
  readonly view: SchedulerView;
  /** Uniform in 0 … 2^32-1. */
  readonly draw: () => number;
  readonly trial: (node: NodeInfo) => Trial;
}
/** What is to be done for a Pod that fits nowhere. */
export interface PostFilterResult {
  /** Ends the message. */
  readonly message: string;
  /** The node where it shall go next; "": none any more; undefined: as it was. */
  readonly nominate: string | undefined;
  /** Pods that must go from there first. */
  readonly victims: readonly PodInfo[];
}

export interface Plugin<S = unknown, P = unknown> {
  readonly name: string;
  /** Not yet: the Pod does not even enter the queue. */
  readonly preEnqueue?: (pod: Stored<Pod>) => Rejection | undefined;
  /** The queue's order; exactly one plugin of a profile has it. */
  readonly compare?: (a: QueuedPod, b: QueuedPod) => number;
  /** "skip": this plugin has nothing to say of this Pod; its filter is not called. */
  readonly preFilter?: (
    pod: PodInfo,
    view: SchedulerView,
  ) => PreFilterResult<S> | Rejection | "skip";
  readonly filter?: (pod: PodInfo, node: NodeInfo, state: S) => Rejection | undefined;
  /** What its filter would say if other Pods were there. */
  readonly whatIf?: {
    copy(state: S): S;
    /** `other` came to (1) or left (-1) the node. */
    change(state: S, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: 1 | -1): void;
  };
  /** Called when no node is left. */
  readonly postFilter?: (attempt: FailedAttempt) => PostFilterResult;
  /** "skip": its score is not called. */
  readonly preScore?: (
    pod: PodInfo,
    nodes: readonly NodeInfo[],
    view: SchedulerView,
  ) => { readonly state: P } | "skip";
  /** 0 … 100, unless normalize brings it there. */
  readonly score?: (pod: PodInfo, node: NodeInfo, state: P, view: SchedulerView) => number;
  readonly normalize?: (scores: number[], nodes: readonly NodeInfo[], state: P) => void;
  readonly reserve?: (pod: PodInfo, nodeName: string, view: SchedulerView) => Rejection | undefined;
  readonly unreserve?: (pod: PodInfo, nodeName: string, view: SchedulerView) => void;
  readonly preBind?: (
    pod: PodInfo,
    nodeName: string,
    client: Client,
    view: SchedulerView,
  ) => Promise<void>;
  /** Exactly one plugin of a profile has it. */
  readonly bind?: (pod: PodInfo, nodeName: string, client: Client) => Promise<void>;
  /** Whether an event may make fit what this plugin rejected. Without it: nothing ever does. */
  readonly wakes?: (pod: PodInfo, event: ClusterEvent) => boolean;
}

/** Types a plugin by its two states; the profile holds plugins of all kinds. */
export const definePlugin = <S = undefined, P = undefined>(plugin: Plugin<S, P>): Plugin =>
  plugin as unknown as Plugin;

export interface QueuedPod {
  info: PodInfo;
  /** When it last entered the active queue, for first come first served (monotonic). */
  queuedMs: number;
  attempts: number;
  /** Plugins that said no the last time. */
  rejectedBy: ReadonlySet<string>;
}

export const scoreMax = 100;

/** Scales scores to 0 … 100; reversed: the highest becomes the lowest. */
export function normalizeToMax(scores: number[], reversed: boolean): void {
  const highest = Math.max(0, ...scores);
  for (const [at, score] of scores.entries()) {
    if (highest === 0) scores[at] = reversed ? scoreMax : 0;
    else {
      const scaled = Math.floor((scoreMax * score) / highest);
      scores[at] = reversed ? scoreMax - scaled : scaled;
    }
  }
}
