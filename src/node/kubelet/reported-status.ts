/**
 * The status that the kubelet reports: the API's types, but without the times that Go prints as null while nobody has set
 * them. Every status that comes from the API fits.
 */
import type {
  ContainerStateTerminated,
  ContainerStateWaiting,
  ContainerStatus,
  PodCondition,
  PodStatus,
} from "#api/generated/core/v1.ts";

export type ReportedCondition = Omit<PodCondition, "lastProbeTime" | "lastTransitionTime"> & {
  readonly lastTransitionTime?: string;
};
export type ContainerEnd = Omit<ContainerStateTerminated, "startedAt" | "finishedAt"> & {
  readonly startedAt?: string;
  readonly finishedAt?: string;
};
export interface ReportedState {
  readonly waiting?: ContainerStateWaiting;
  readonly running?: { readonly startedAt?: string };
  readonly terminated?: ContainerEnd;
}
export type ReportedContainer = Omit<ContainerStatus, "state" | "lastState"> & {
  readonly state?: ReportedState;
  readonly lastState?: ReportedState;
};
export type ReportedStatus = Omit<
  PodStatus,
  "conditions" | "containerStatuses" | "initContainerStatuses" | "ephemeralContainerStatuses"
> & {
  readonly conditions?: readonly ReportedCondition[];
  readonly containerStatuses?: readonly ReportedContainer[];
  readonly initContainerStatuses?: readonly ReportedContainer[];
  readonly ephemeralContainerStatuses?: readonly ReportedContainer[];
};
