/**
 * Status manager: sends pods' statuses to the API server, only what changed, one request a pod at a time; and, when the
 * kubelet is through with a deleted pod, deletes it for good. Nobody else writes pod statuses from this node.
 */

import { Pod } from "#api/core/v1/pod.ts";
import { isPhaseTerminal } from "#api/core/v1/pod-status.ts";
import type { Client } from "#client/client.ts";
import { resourceVersionOf } from "#client/informer.ts";
import { equalObjects, isObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { isOwnCondition, ownConditions } from "./pod-conditions.ts";
import { type NodePod, nodePod } from "./pod-spec.ts";
import { trimMessages } from "./pod-status.ts";
import type { ReportedStatus } from "./reported-status.ts";

const retryMsMin = 500;
const retryMsMax = 10_000;

interface Entry {
  pod: NodePod;
  status: ReportedStatus;
  /** Its containers may still run: a terminal phase is not told yet. */
  mayRun: boolean;
  /** Everything on the node is cleaned up: a deleted pod may go. */
  finished: boolean;
  sending: boolean;
  dirty: boolean;
  retryMs: number;
  cancelRetry: () => void;
}

export class StatusManager {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #log: Log;
  /** By pod uid; forget() takes one out. */
  readonly #entries = new Map<string, Entry>();
  #stopped = false;

  constructor(client: Client, clock: Clock, log: Log) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
  }

  /** What was set last, whether sent or not. */
  get(podUid: string): ReportedStatus | undefined {
    return this.#entries.get(podUid)?.status;
  }

  set(pod: NodePod, status: ReportedStatus, mayRun: boolean): void {
    const trimmed = trimMessages(pod, status);
    const known = this.#entries.get(pod.metadata.uid);
    if (known === undefined) {
      const entry = this.#newEntry(pod, trimmed, mayRun);
      this.#entries.set(pod.metadata.uid, entry);
      this.#poke(entry);
      return;
    }
    const same = equalObjects(known.status, trimmed) && known.mayRun === mayRun;
    known.pod = newer(known.pod, pod);
    known.status = trimmed;
    known.mayRun = mayRun;
    if (!same) this.#poke(known);
  }

  /** The node is through with the pod: its final status stands, and if it is deleted it goes. */
  finish(pod: NodePod): void {
    const known = this.#entries.get(pod.metadata.uid);
    const entry = known ?? this.#newEntry(pod, pod.status, false);
    this.#entries.set(pod.metadata.uid, entry);
    entry.pod = newer(entry.pod, pod);
    entry.mayRun = false;
    entry.finished = true;
    this.#poke(entry);
  }

  /** The API has this version now. If somebody else changed what is ours to say, it is said again. */
  seen(pod: NodePod): void {
    const entry = this.#entries.get(pod.metadata.uid);
    if (entry === undefined || newer(entry.pod, pod) !== pod) return;
    entry.pod = pod;
    if (entry.sending) return;
    const wanted = statusToSend(pod, entry.status, entry.mayRun);
    if (statusPatch(pod.status, wanted) !== undefined) this.#poke(entry);
  }

  forget(podUid: string): void {
    this.#entries.get(podUid)?.cancelRetry();
    this.#entries.delete(podUid);
  }

  stop(): void {
    this.#stopped = true;
    for (const uid of this.#entries.keys()) this.forget(uid);
  }

  #newEntry(pod: NodePod, status: ReportedStatus, mayRun: boolean): Entry {
    return {
      pod,
      status,
      mayRun,
      finished: false,
      sending: false,
      dirty: false,
      retryMs: 0,
      cancelRetry: () => {},
    };
  }

  #poke(entry: Entry): void {
    entry.dirty = true;
    if (!entry.sending) void this.#send(entry);
  }

  async #send(entry: Entry): Promise<void> {
    entry.sending = true;
    entry.cancelRetry();
    try {
      while (entry.dirty && this.#isCurrent(entry)) {
        entry.dirty = false;
        await this.#write(entry);
        entry.retryMs = 0;
      }
    } catch (error) {
      if (!this.#isCurrent(entry)) return;
      entry.dirty = true;
      entry.retryMs = Math.min(Math.max(entry.retryMs * 2, retryMsMin), retryMsMax);
      this.#log.write("warn", "could not write a pod's status and will try again", {
        pod: `${entry.pod.metadata.namespace}/${entry.pod.metadata.name}`,
        error: error instanceof Error ? error.message : String(error),
      });
      entry.cancelRetry = this.#clock.after(entry.retryMs, () => {
        if (!entry.sending && this.#isCurrent(entry)) void this.#send(entry);
      });
    } finally {
      entry.sending = false;
    }
  }

  #isCurrent(entry: Entry): boolean {
    return !this.#stopped && this.#entries.get(entry.pod.metadata.uid) === entry;
  }

  async #write(entry: Entry): Promise<void> {
    const { pod } = entry;
    const { name, namespace, uid } = pod.metadata;
    const wanted = statusToSend(pod, entry.status, entry.mayRun);
    const patch = statusPatch(pod.status, wanted);
    let current = pod;
    if (patch !== undefined) {
      try {
        const answer = await this.#client.patch(
          Pod,
          { name, namespace },
          "strategic",
          { metadata: { uid }, status: patch },
          { subresource: "status" },
        );
        current = nodePod(answer) ?? pod;
        entry.pod = newer(entry.pod, current);
      } catch (error) {
        // It is gone, or another one has its name (the uid in the patch guards): nothing to report any more.
        if (isStatus(error, "NotFound") || isStatus(error, "Conflict")) return;
        throw error;
      }
    }
    if (!entry.finished || current.metadata.deletionTimestamp === undefined) return;
    if (!isPhaseTerminal(current.status.phase)) return;
    try {
      await this.#client.delete(
        Pod,
        { name, namespace },
        { gracePeriodSeconds: 0, preconditions: { uid } },
      );
    } catch (error) {
      if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
    }
  }
}

/** The later version of two; the second if there is no telling. */
const newer = (a: NodePod, b: NodePod): NodePod =>
  resourceVersionOf(a) > resourceVersionOf(b) ? a : b;

/** Pure: a pod whose containers may still run is not told to be over. */
export function statusToSend(
  pod: NodePod,
  status: ReportedStatus,
  mayRun: boolean,
): ReportedStatus {
  const old = pod.status;
  if (!mayRun || isPhaseTerminal(old.phase) || !isPhaseTerminal(status.phase)) return status;
  const { phase: _phase, reason: _reason, message: _message, ...rest } = status;
  return {
    ...rest,
    ...(old.phase === undefined ? {} : { phase: old.phase }),
    ...(old.reason === undefined ? {} : { reason: old.reason }),
    ...(old.message === undefined ? {} : { message: old.message }),
  };
}

const fields = [
  "observedGeneration",
  "phase",
  "reason",
  "message",
  "hostIP",
  "hostIPs",
  "podIP",
  "podIPs",
  "startTime",
  "qosClass",
  "initContainerStatuses",
  "containerStatuses",
  "ephemeralContainerStatuses",
] as const;

/** Without what is empty: an absent field and an empty one say the same here. */
function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (!isObject(value)) return value;
  const kept: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    const shown = bare(member);
    const empty =
      shown === null ||
      shown === undefined ||
      shown === "" ||
      (isObject(shown) && Object.keys(shown).length === 0) ||
      (Array.isArray(shown) && shown.length === 0);
    if (!empty) kept[key] = shown;
  }
  return kept;
}
const same = (a: unknown, b: unknown): boolean => equalObjects(bare({ a }), bare({ a: b }));

/** Merged by their key, so that others' entries stay: entries that are gone are named. */
function mergedByIp(
  before: readonly { readonly ip: string }[] | undefined,
  now: readonly { readonly ip: string }[] | undefined,
): object[] {
  const wanted = now ?? [];
  const gone = (before ?? []).filter(({ ip }) => wanted.every((one) => one.ip !== ip));
  return [...wanted, ...gone.map(({ ip }) => ({ $patch: "delete", ip }))];
}

/** Pure: a strategic merge patch that makes one status the other; undefined: they say the same. */
export function statusPatch(
  before: ReportedStatus,
  now: ReportedStatus,
): Record<string, unknown> | undefined {
  const patch: Record<string, unknown> = {};
  for (const field of fields) {
    if (same(before[field], now[field])) continue;
    if (field === "podIPs" || field === "hostIPs")
      patch[field] = mergedByIp(before[field], now[field]);
    else patch[field] = now[field] ?? null;
  }
  const conditions: object[] = [];
  for (const one of now.conditions ?? []) {
    const old = before.conditions?.find((other) => other.type === one.type);
    if (!isOwnCondition(one) || same(one, old)) continue;
    // A reason or message that no longer holds has to be taken back by name.
    const reason = one.reason === undefined && (old?.reason ?? "") !== "" ? { reason: null } : {};
    const message =
      one.message === undefined && (old?.message ?? "") !== "" ? { message: null } : {};
    conditions.push({ ...one, ...reason, ...message });
  }
  for (const { type } of before.conditions ?? []) {
    const isKept = now.conditions?.some((one) => one.type === type) ?? false;
    if (ownConditions.has(type) && !isKept) conditions.push({ $patch: "delete", type });
  }
  if (conditions.length > 0) patch["conditions"] = conditions;
  return Object.keys(patch).length === 0 ? undefined : patch;
}
