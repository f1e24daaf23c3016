/**
 * The shape of a controller, and what the runner hands it. Most are a level-triggered loop around
 * one kind: `reconcile` gets the object as the cache has it, never an event, and brings the world a
 * step closer to it. The few that are something else (a graph, a monitor) give `start` themselves;
 * the list in index.ts can't tell.
 */
import type { Kind } from "#api/resource.ts";
import { apiVersionOf } from "#api/resource.ts";
import type { IndexBy, Lister } from "#client/cache.ts";
import type { Client, New } from "#client/client.ts";
import type { EventType, ObjectReference } from "#client/events.ts";
import type { Informers } from "#client/informer.ts";
import { type WorkQueueMetrics, workQueueMetrics } from "#client/work-queue-metrics.ts";
import { type ApiObject, controllerOf, type OwnerReference, type Stored } from "#machinery/meta.ts";
import type { Metrics } from "#machinery/metrics.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { CertificateSigner } from "./certificates.ts";

/** What a controller lives in. */
export interface ControllerWorld {
  /** A client with an identity: "system:serviceaccount:kube-system:replicaset-controller". */
  readonly clientFor: (identity: string) => Client;
  /** Shared by all controllers of the process. */
  readonly informers: Informers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings: ControllerSettings;
  /** Undefined: nothing is counted. */
  readonly metrics?: Metrics;
}

/** What is counted of a controller's queue. */
export const queueMetrics = (
  { metrics }: Pick<ControllerWorld, "metrics">,
  name: string,
): WorkQueueMetrics | undefined =>
  metrics === undefined ? undefined : workQueueMetrics(metrics, name);

/** What an administrator may set; upstream's flags in milliseconds and numbers. */
export interface ControllerSettings {
  /** Which addresses nodes get for their Pods; undefined: allocated by someone else. */
  readonly clusterCidr?: string;
  readonly nodeCidrMaskSize: number;
  readonly nodeMonitorPeriodMs: number;
  readonly nodeMonitorGraceMs: number;
  readonly nodeStartupGraceMs: number;
  /** How many Pods that have ended are kept. */
  readonly terminatedPodsMax: number;
  /** PEM of the cluster's CA, published to every namespace; undefined: not published. */
  readonly rootCa?: string;
  /** Issues the certificates of the built-in signers; undefined: someone else does. */
  readonly signer?: CertificateSigner;
  /** How often an autoscaler's metrics are looked at. */
  readonly autoscalerSyncPeriodMs: number;
  /** How long a workload keeps what was recommended lately, where its autoscaler does not say. */
  readonly autoscalerStabilizationMs: number;
  /** A usage that is so near to its target changes nothing. */
  readonly autoscalerTolerance: number;
  readonly autoscalerCpuInitializationMs: number;
  readonly autoscalerInitialReadinessDelayMs: number;
}
export const defaultSettings: ControllerSettings = {
  nodeCidrMaskSize: 24,
  nodeMonitorPeriodMs: 5_000,
  nodeMonitorGraceMs: 50_000,
  nodeStartupGraceMs: 60_000,
  terminatedPodsMax: 12_500,
  autoscalerSyncPeriodMs: 15_000,
  autoscalerStabilizationMs: 300_000,
  autoscalerTolerance: 0.1,
  autoscalerCpuInitializationMs: 300_000,
  autoscalerInitialReadinessDelayMs: 30_000,
};

export interface Running {
  /** Resolves when no work of it is under way any more. */
  stop(): Promise<void>;
}

/** One line of the list. */
export interface Controller {
  readonly name: string;
  start(world: ControllerWorld): Running;
}

/** Come again later, or undefined: at the next event. */
export interface Outcome {
  readonly requeueAfterMs?: number;
}
/** Infinity means: nothing to wait for but the next event. */
export const requeueAfter = (ms: number): Outcome => (ms < Infinity ? { requeueAfterMs: ms } : {});

export interface ReconcileContext {
  /** Milliseconds since the epoch when this pass began. */
  readonly now: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /**
   * Speaks as this controller. Its writes are waited for in the cache before the key's next pass.
   */
  readonly client: Client;
  /**
   * The shared cache of a kind that this controller names in reconciles, owns, watches or reads.
   */
  cache<T extends ApiObject>(kind: Kind<T>): Lister<T>;
  event(
    object: ApiObject | ObjectReference,
    type: EventType,
    reason: string,
    message: string,
  ): void;
  /**
   * The objects that this owner manages: its own, plus matching orphans (adopted), minus its own
   * that no longer match (released). `candidates`: all that could be either.
   */
  claim<T extends ApiObject>(
    kind: Kind<T>,
    owner: Stored<ApiObject>,
    candidates: Iterable<Stored<T>>,
    matches: (object: Stored<T>) => boolean,
  ): Promise<readonly Stored<T>[]>;
  /**
   * Creates in batches that double from one as long as all succeed, so that a hopeless thousand
   * costs one refusal. Gives what was created, and the first refusal.
   */
  createEach<T extends ApiObject>(
    kind: Kind<T>,
    objects: readonly New<T>[],
  ): Promise<{ readonly created: readonly Stored<T>[]; readonly error?: unknown }>;
}

export interface Watch {
  readonly kind: Kind;
  /** Keys of the reconciled kind that an event concerns. Called for old and new. */
  readonly keys: (object: Stored<never>, lookup: Lookup) => readonly string[];
  /** Whether an update matters; default: always. */
  readonly changed?: (object: Stored<never>, old: Stored<never>) => boolean;
}
export interface Lookup {
  cache<T extends ApiObject>(kind: Kind<T>): Lister<T>;
}

/** Types a watch by its kind. */
export const watch = <T extends ApiObject>(
  kind: Kind<T>,
  keys: (object: Stored<T>, lookup: Lookup) => readonly string[],
  changed?: (object: Stored<T>, old: Stored<T>) => boolean,
): Watch => ({
  kind,
  keys,
  ...(changed === undefined ? {} : { changed }),
});

export interface Index {
  readonly kind: Kind;
  readonly name: string;
  readonly by: IndexBy<never>;
}
export const index = <T extends ApiObject>(kind: Kind<T>, name: string, by: IndexBy<T>): Index => ({
  kind,
  name,
  by,
});

export interface ControllerDefinition<T extends ApiObject> {
  /** "replicaset": its identity is system:serviceaccount:kube-system:replicaset-controller. */
  readonly name: string;
  /** Where upstream's ServiceAccount is not NAME-controller. */
  readonly account?: string;
  /** Who its events are from, where upstream's is not the account's name. */
  readonly eventSource?: string;
  readonly reconciles: Kind<T>;
  /** Whether an update of an object that it reconciles matters; default: always. */
  readonly changed?: (object: Stored<T>, old: Stored<T>) => boolean;
  /** Kinds whose objects name one of ours as their controller: their events concern that owner. */
  readonly owns?: readonly Kind[];
  /**
   * Whether an owner would adopt an orphan of a kind that it owns; without it orphans concern
   * nobody.
   */
  readonly adopts?: (owner: Stored<T>, orphan: Stored<ApiObject>) => boolean;
  readonly watches?: readonly Watch[];
  /** Kinds that are only looked up. */
  readonly reads?: readonly Kind[];
  readonly indexes?: readonly Index[];
  /** How many keys at once; default 5. */
  readonly workers?: number;
  /**
   * How often a key may fail before it is left alone until its next event; undefined: without end.
   */
  readonly retriesMax?: number;
  readonly reconcile: (object: Stored<T>, context: ReconcileContext) => Promise<Outcome | void>;
  /** The key's object is not there any more. */
  readonly gone?: (key: string, context: ReconcileContext) => Promise<Outcome | void>;
}

/** The reference that makes `owner` the managing controller of what carries it. */
export const controllerReference = (kind: Kind, owner: Stored<ApiObject>): OwnerReference => ({
  apiVersion: apiVersionOf(kind),
  kind: kind.kind,
  name: owner.metadata.name,
  uid: owner.metadata.uid,
  controller: true,
  blockOwnerDeletion: true,
});

/** Under this name objects are found by the uid of their controller, orphans by their namespace. */
export const controllerIndex = "controller";
export const byController: IndexBy<ApiObject> = (object) => [
  controllerOf(object)?.uid ?? orphansOf(object.metadata.namespace),
];
const orphansOf = (namespace: string | undefined): string => `orphans/${namespace ?? ""}`;

/** All that an owner may claim: its own, and the orphans of its namespace. */
export const claimable = <T extends ApiObject>(
  cache: Lister<T>,
  owner: Stored<ApiObject>,
): readonly Stored<T>[] => [
  ...cache.byIndex(controllerIndex, owner.metadata.uid),
  ...cache.byIndex(controllerIndex, orphansOf(owner.metadata.namespace)),
];

/** An object's key from its parts. */
export const keyFor = (namespace: string | undefined, name: string): string =>
  namespace ? `${namespace}/${name}` : name;

export const accountOf = (name: string): string => `system:serviceaccount:kube-system:${name}`;
