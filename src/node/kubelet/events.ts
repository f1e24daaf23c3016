/** What the kubelet tells people by way of Event objects. The recorder behind it counts repetitions and sends them. */
import type { NodePod } from "./pod-spec.ts";

export type EventType = "Normal" | "Warning";

export interface EventSink {
  pod(pod: NodePod, type: EventType, reason: string, message: string): void;
  container(
    pod: NodePod,
    container: string,
    type: EventType,
    reason: string,
    message: string,
  ): void;
  node(type: EventType, reason: string, message: string): void;
}
