/**
 * Carries out a preemption: the victims get the DisruptionTarget condition and are deleted with their grace period, and Pods of lower
 * priority that were to go to the same node no longer are. Writes Pods and events; deciding is the plugin's.
 */
import { Pod } from "#api/core/v1/pod.ts";
import type { Client } from "#client/client.ts";
import type { EventRecorder } from "#client/events.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { PodInfo } from "./pod-info.ts";

export interface RoomMaker {
  readonly client: Client;
  readonly clock: Clock;
  readonly recorder: EventRecorder;
}

const refOf = ({ metadata: { name, namespace = "" } }: Stored<Pod>) => ({ name, namespace });

async function evict(
  { client, clock, recorder }: RoomMaker,
  preemptor: PodInfo,
  nodeName: string,
  { pod }: PodInfo,
): Promise<void> {
  // Somebody has deleted it already.
  if (pod.metadata.deletionTimestamp !== undefined) return;
  const { uid, generation } = pod.metadata;
  const by = preemptor.pod.spec.schedulerName ?? "default-scheduler";
  const condition = {
    type: "DisruptionTarget",
    status: "True",
    reason: "PreemptionByScheduler",
    message: `${by}: preempting to accommodate a higher priority pod`,
    lastProbeTime: null,
    lastTransitionTime: formatTime(clock.now()),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
  const status = { metadata: { uid }, status: { conditions: [condition] } };
  try {
    await client.patch(Pod, refOf(pod), "strategic", status, { subresource: "status" });
    await client.delete(Pod, refOf(pod), { preconditions: { uid } });
  } catch (error) {
    // Gone, or another of its name: that one is no victim.
    if (isStatus(error, "NotFound") || isStatus(error, "Conflict")) return;
    throw error;
  }
  const message = `Preempted by pod ${preemptor.uid} on node ${nodeName}`;
  recorder.event(pod, "Normal", "Preempted", message);
}

/** Takes a Pod's nomination back. */
async function withdraw({ client }: RoomMaker, { pod, uid }: PodInfo): Promise<void> {
  const status = { metadata: { uid }, status: { nominatedNodeName: null } };
  try {
    await client.patch(Pod, refOf(pod), "merge", status, { subresource: "status" });
  } catch (error) {
    if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
  }
}

/** Rejects with the first failure, once all was tried. */
export async function makeRoom(
  maker: RoomMaker,
  preemptor: PodInfo,
  nodeName: string,
  victims: readonly PodInfo[],
  outranked: readonly PodInfo[],
): Promise<void> {
  const results = await Promise.allSettled([
    ...outranked.map((one) => withdraw(maker, one)),
    ...victims.map((one) => evict(maker, preemptor, nodeName, one)),
  ]);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
