/** Descriptions of pods and of what makes them. */
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from "#api/generated/apps/v1.ts";
import type { CronJob, Job } from "#api/generated/batch/v1.ts";
import type { Container, Pod, ReplicationController } from "#api/generated/core/v1.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { controllerOf } from "#machinery/meta.ts";
import { equalObjects, type JsonObject } from "#machinery/object.ts";
import { formatQuantity, quantityOf } from "#machinery/quantity.ts";
import { parseTime } from "#machinery/time.ts";
import { objectsAt } from "../objects.ts";
import { pages } from "../selection.ts";
import { writeContainers, writePodTemplate, writeResourceList, writeSpread } from "./containers.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import {
  labelsOrNone,
  type Page,
  selectorOrNone,
  selectorText,
  writeAnnotations,
  writeConditions,
  writeController,
  writeHead,
  writeLabels,
  writeName,
  writeTolerations,
} from "./page.ts";
import { qosClass } from "./pod-resources.ts";
import { writeVolumes } from "./volumes.ts";

function writePodStatus(page: Page, pod: Pod): void {
  const { metadata, spec, status } = pod;
  const { phase = "" } = status;
  if (metadata.deletionTimestamp && !["Failed", "Succeeded"].includes(phase)) {
    page.line(0, `Status:\tTerminating (lasts ${page.ago(metadata.deletionTimestamp)})`);
    page.line(0, `Termination Grace Period:\t${metadata.deletionGracePeriodSeconds ?? 0}s`);
  } else page.line(0, `Status:\t${phase}`);
  if (status.reason) page.line(0, `Reason:\t${status.reason}`);
  if (status.message) page.line(0, `Message:\t${status.message}`);
  const seccomp = spec.securityContext?.seccompProfile;
  if (seccomp !== undefined) {
    page.line(0, `SeccompProfile:\t${seccomp.type}`);
    if (seccomp.type === "Localhost")
      page.line(0, `LocalhostProfile:\t${seccomp.localhostProfile ?? ""}`);
  }
  page.line(0, `IP:\t${status.podIP ?? ""}`);
  const ips = status.podIPs ?? [];
  page.line(0, ips.length === 0 ? "IPs:\t<none>" : "IPs:");
  for (const { ip } of ips) page.line(1, `IP:\t${ip}`);
}

export const describePod: Describe = async (page, object) => {
  const pod = object as unknown as Pod;
  const { metadata, spec, status } = pod;
  writeName(page, pod);
  if (spec.priority !== undefined) page.line(0, `Priority:\t${spec.priority}`);
  if (spec.priorityClassName) page.line(0, `Priority Class Name:\t${spec.priorityClassName}`);
  if (spec.runtimeClassName) page.line(0, `Runtime Class Name:\t${spec.runtimeClassName}`);
  if (spec.serviceAccountName) page.line(0, `Service Account:\t${spec.serviceAccountName}`);
  page.line(0, `Node:\t${spec.nodeName ? `${spec.nodeName}/${status.hostIP ?? ""}` : "<none>"}`);
  if (status.startTime) page.line(0, `Start Time:\t${page.time(status.startTime)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  writePodStatus(page, pod);
  writeController(page, pod);
  if (status.nominatedNodeName) page.line(0, `NominatedNodeName:\t${status.nominatedNodeName}`);
  if (spec.resources !== undefined) {
    page.line(0, "Resources:");
    writeResourceList(page, 1, "Limits", spec.resources.limits);
    writeResourceList(page, 1, "Requests", spec.resources.requests);
  }
  if ((spec.initContainers ?? []).length > 0) {
    writeContainers(
      page,
      "Init Containers",
      spec.initContainers ?? [],
      status.initContainerStatuses,
      pod,
    );
  }
  writeContainers(page, "Containers", spec.containers, status.containerStatuses, pod);
  const ephemeral = (spec.ephemeralContainers ?? []) as Container[];
  if (ephemeral.length > 0) {
    writeContainers(
      page,
      "Ephemeral Containers",
      ephemeral,
      status.ephemeralContainerStatuses,
      pod,
    );
  }
  const conditions = status.conditions ?? [];
  const gates = spec.readinessGates ?? [];
  if (gates.length > 0) page.line(0, "Readiness Gates:\n  Type\tStatus");
  for (const { conditionType } of gates) {
    const found = conditions.find(({ type }) => type === conditionType);
    page.line(1, `${conditionType} \t${found?.status ?? "<none>"} `);
  }
  if (conditions.length > 0) page.line(0, "Conditions:\n  Type\tStatus");
  for (const { type, status: state } of conditions) page.line(1, `${type} \t${state} `);
  writeVolumes(page, spec.volumes);
  page.line(0, `QoS Class:\t${status.qosClass ?? qosClass(pod)}`);
  writeLabels(page, "Node-Selectors", spec.nodeSelector);
  writeTolerations(page, "Tolerations", spec.tolerations);
  writeSpread(page, spec.topologySpreadConstraints, "");
  await writeEvents(page, object);
};

/** How many pods of a controller are in which phase. */
async function podCounts(
  page: Page,
  selector: object | undefined,
  namespace: string,
  uid: string,
): Promise<string> {
  const counts = { Running: 0, Pending: 0, Succeeded: 0, Failed: 0 };
  const query = [["labelSelector", selectorText(selector)]] as const;
  const path = `/api/v1/namespaces/${namespace}/pods`;
  for await (const list of pages(page.session, path, query, page.chunkSize)) {
    for (const pod of objectsAt(list, "items") as unknown as Pod[]) {
      if (controllerOf(pod)?.uid !== uid) continue;
      const phase = pod.status.phase ?? "";
      if (phase in counts) counts[phase as keyof typeof counts] += 1;
    }
  }
  return `${counts.Running} Running / ${counts.Pending} Waiting / ${counts.Succeeded} Succeeded / ${counts.Failed} Failed`;
}

const templateHash = "pod-template-hash";
function sameTemplate(a: object, b: object): boolean {
  const bare = (template: object): JsonObject => {
    const { metadata, spec } = template as {
      metadata?: { labels?: Record<string, string> };
      spec: object;
    };
    const { [templateHash]: _, ...labels } = metadata?.labels ?? {};
    const { creationTimestamp: _time, ...meta } = (metadata ?? {}) as JsonObject;
    return { metadata: { ...meta, labels }, spec };
  };
  return equalObjects(bare(a), bare(b));
}

async function replicaSetsOf(
  page: Page,
  deployment: Deployment,
): Promise<{ old: ReplicaSet[]; fresh: ReplicaSet | undefined }> {
  const { namespace = "", uid } = deployment.metadata;
  const query = [["labelSelector", selectorText(deployment.spec.selector)]] as const;
  const all: ReplicaSet[] = [];
  for await (const list of pages(
    page.session,
    `/apis/apps/v1/namespaces/${namespace}/replicasets`,
    query,
    page.chunkSize,
  )) {
    all.push(...(objectsAt(list, "items") as unknown as ReplicaSet[]));
  }
  const owned = all.filter((one) => controllerOf(one)?.uid === uid);
  const age = (one: ReplicaSet): string =>
    `${one.metadata.creationTimestamp ?? ""} ${one.metadata.name ?? ""}`;
  const byAge = owned.toSorted((a, b) => (age(a) < age(b) ? -1 : 1));
  const fresh = byAge.find((one) =>
    sameTemplate(one.spec.template ?? {}, deployment.spec.template),
  );
  return { old: byAge.filter((one) => one !== fresh), fresh };
}
const setsText = (sets: readonly ReplicaSet[]): string =>
  sets
    .map(
      ({ metadata, spec, status }) =>
        `${metadata.name ?? ""} (${status.replicas}/${spec.replicas ?? 1} replicas created)`,
    )
    .join(", ") || "<none>";

export const describeDeployment: Describe = async (page, object) => {
  const deployment = object as unknown as Deployment;
  const { metadata, spec, status } = deployment;
  writeName(page, deployment);
  page.line(0, `CreationTimestamp:\t${page.time(metadata.creationTimestamp)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Selector:\t${selectorText(spec.selector)}`);
  const {
    updatedReplicas = 0,
    replicas = 0,
    availableReplicas = 0,
    unavailableReplicas = 0,
  } = status;
  page.line(
    0,
    `Replicas:\t${spec.replicas ?? 1} desired | ${updatedReplicas} updated | ${replicas} total | ${availableReplicas} available | ${unavailableReplicas} unavailable`,
  );
  page.line(0, `StrategyType:\t${spec.strategy?.type ?? ""}`);
  page.line(0, `MinReadySeconds:\t${spec.minReadySeconds ?? 0}`);
  const rolling = spec.strategy?.rollingUpdate;
  if (rolling !== undefined) {
    page.line(
      0,
      `RollingUpdateStrategy:\t${rolling.maxUnavailable ?? 0} max unavailable, ${rolling.maxSurge ?? 0} max surge`,
    );
  }
  writePodTemplate(page, spec.template);
  writeConditions(page, status.conditions);
  const { old, fresh } = await replicaSetsOf(page, deployment);
  if (old.length > 0 || fresh !== undefined) {
    page.line(0, `OldReplicaSets:\t${setsText(old)}`);
    page.line(0, `NewReplicaSet:\t${setsText(fresh === undefined ? [] : [fresh])}`);
  }
  await writeEvents(page, object);
};

export const describeReplicaSet: Describe = async (page, object) => {
  const set = object as unknown as ReplicaSet;
  const { metadata, spec, status } = set;
  writeName(page, set);
  page.line(0, `Selector:\t${selectorOrNone(spec.selector)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  writeController(page, set);
  page.line(0, `Replicas:\t${status.replicas} current / ${spec.replicas ?? 1} desired`);
  const counts = await podCounts(page, spec.selector, metadata.namespace ?? "", metadata.uid ?? "");
  page.line(0, `Pods Status:\t${counts}`);
  writePodTemplate(page, spec.template);
  writeConditions(page, status.conditions);
  await writeEvents(page, object);
};

export const describeReplicationController: Describe = async (page, object) => {
  const controller = object as unknown as ReplicationController;
  const { metadata, spec, status } = controller;
  const selector = { matchLabels: spec.selector ?? {} };
  writeName(page, controller);
  page.line(0, `Selector:\t${selectorOrNone(selector)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Replicas:\t${status.replicas} current / ${spec.replicas ?? 1} desired`);
  const counts = await podCounts(page, selector, metadata.namespace ?? "", metadata.uid ?? "");
  page.line(0, `Pods Status:\t${counts}`);
  if (spec.template !== undefined) writePodTemplate(page, spec.template);
  writeConditions(page, status.conditions);
  await writeEvents(page, object);
};

export const describeStatefulSet: Describe = async (page, object) => {
  const set = object as unknown as StatefulSet;
  const { metadata, spec, status } = set;
  writeName(page, set);
  page.line(0, `CreationTimestamp:\t${page.time(metadata.creationTimestamp)}`);
  page.line(0, `Selector:\t${selectorText(spec.selector)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  if (spec.serviceName) page.line(0, `Service Name:\t${spec.serviceName}`);
  if (spec.podManagementPolicy) page.line(0, `Pod Management Policy:\t${spec.podManagementPolicy}`);
  page.line(0, `Replicas:\t${spec.replicas ?? 1} desired | ${status.replicas} total`);
  page.line(0, `Update Strategy:\t${spec.updateStrategy?.type ?? ""}`);
  const rolling = spec.updateStrategy?.rollingUpdate;
  if (rolling?.partition !== undefined) {
    page.line(1, `Partition:\t${rolling.partition}`);
    if (rolling.maxUnavailable !== undefined)
      page.line(1, `MaxUnavailable:\t${rolling.maxUnavailable}`);
  }
  const retention = spec.persistentVolumeClaimRetentionPolicy;
  if (retention !== undefined) {
    page.line(0, "Persistent Volume Claim Retention Policy:");
    page.line(1, `WhenDeleted:\t${retention.whenDeleted ?? ""}`);
    page.line(1, `WhenScaled:\t${retention.whenScaled ?? ""}`);
  }
  const counts = await podCounts(page, spec.selector, metadata.namespace ?? "", metadata.uid ?? "");
  page.line(0, `Pods Status:\t${counts}`);
  writePodTemplate(page, spec.template);
  const claims = spec.volumeClaimTemplates ?? [];
  page.line(0, claims.length === 0 ? "Volume Claims:\t<none>" : "Volume Claims:");
  for (const claim of claims) {
    page.line(1, `Name:\t${claim.metadata.name ?? ""}`);
    page.line(1, `StorageClass:\t${claim.spec.storageClassName ?? ""}`);
    writeLabels(page, "Labels", claim.metadata.labels, "  ");
    writeLabels(page, "Annotations", claim.metadata.annotations, "  ");
    const storage = claim.spec.resources?.requests?.["storage"];
    page.line(
      1,
      `Capacity:\t${storage === undefined ? "<default>" : formatQuantity(quantityOf(storage))}`,
    );
    page.line(1, `Access Modes:\t[${(claim.spec.accessModes ?? []).join(" ")}]`);
  }
  await writeEvents(page, object);
};

export const describeDaemonSet: Describe = async (page, object) => {
  const set = object as unknown as DaemonSet;
  const { metadata, spec, status } = set;
  writeName(page, set);
  page.line(0, `Selector:\t${selectorText(spec.selector)}`);
  page.line(0, `Node-Selector:\t${labelsOrNone(spec.template.spec.nodeSelector)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Desired Number of Nodes Scheduled: ${status.desiredNumberScheduled}`);
  page.line(0, `Current Number of Nodes Scheduled: ${status.currentNumberScheduled}`);
  page.line(
    0,
    `Number of Nodes Scheduled with Up-to-date Pods: ${status.updatedNumberScheduled ?? 0}`,
  );
  page.line(0, `Number of Nodes Scheduled with Available Pods: ${status.numberAvailable ?? 0}`);
  page.line(0, `Number of Nodes Misscheduled: ${status.numberMisscheduled}`);
  const counts = await podCounts(page, spec.selector, metadata.namespace ?? "", metadata.uid ?? "");
  page.line(0, `Pods Status:\t${counts}`);
  writePodTemplate(page, spec.template);
  await writeEvents(page, object);
};

function cappedIndexes(indexes: string): string {
  if (indexes === "") return "<none>";
  const end = indexes.indexOf(",", 50);
  return end < 0 ? indexes : `${indexes.slice(0, end + 1)}...`;
}

function writeJobTimes(page: Page, { spec, status }: Job): void {
  const { startTime, completionTime } = status;
  if (startTime) page.line(0, `Start Time:\t${page.time(startTime)}`);
  if (completionTime) page.line(0, `Completed At:\t${page.time(completionTime)}`);
  if (startTime && completionTime) {
    const lasted = (parseTime(completionTime) ?? 0) - (parseTime(startTime) ?? 0);
    page.line(0, `Duration:\t${humanDuration(lasted)}`);
  }
  if (spec.activeDeadlineSeconds !== undefined) {
    page.line(0, `Active Deadline Seconds:\t${spec.activeDeadlineSeconds}s`);
  }
}

export const describeJob: Describe = async (page, object) => {
  const job = object as unknown as Job;
  const { metadata, spec, status } = job;
  writeName(page, job);
  page.line(0, `Selector:\t${selectorText(spec.selector)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  writeController(page, job);
  if (spec.parallelism !== undefined) page.line(0, `Parallelism:\t${spec.parallelism}`);
  page.line(0, `Completions:\t${spec.completions ?? "<unset>"}`);
  if (spec.completionMode !== undefined) page.line(0, `Completion Mode:\t${spec.completionMode}`);
  if (spec.suspend !== undefined) page.line(0, `Suspend:\t${spec.suspend}`);
  if (spec.backoffLimit !== undefined) page.line(0, `Backoff Limit:\t${spec.backoffLimit}`);
  if (spec.ttlSecondsAfterFinished !== undefined) {
    page.line(0, `TTL Seconds After Finished:\t${spec.ttlSecondsAfterFinished}`);
  }
  writeJobTimes(page, job);
  const ready = status.ready === undefined ? "" : ` (${status.ready} Ready)`;
  page.line(
    0,
    `Pods Statuses:\t${status.active ?? 0} Active${ready} / ${status.succeeded ?? 0} Succeeded / ${status.failed ?? 0} Failed`,
  );
  if (spec.completionMode === "Indexed") {
    page.line(0, `Completed Indexes:\t${cappedIndexes(status.completedIndexes ?? "")}`);
  }
  writePodTemplate(page, spec.template);
  await writeEvents(page, object);
};

export const describeCronJob: Describe = async (page, object) => {
  const cron = object as unknown as CronJob;
  const { spec, status } = cron;
  writeHead(page, cron);
  page.line(0, `Schedule:\t${spec.schedule}`);
  page.line(0, `Concurrency Policy:\t${spec.concurrencyPolicy ?? ""}`);
  page.line(
    0,
    `Suspend:\t${spec.suspend === undefined ? "<unset>" : spec.suspend ? "True" : "False"}`,
  );
  page.line(0, `Time Zone:\t${spec.timeZone ?? "<unset>"}`);
  page.line(0, `Successful Job History Limit:\t${spec.successfulJobsHistoryLimit ?? "<unset>"}`);
  page.line(0, `Failed Job History Limit:\t${spec.failedJobsHistoryLimit ?? "<unset>"}`);
  const deadline = spec.startingDeadlineSeconds;
  page.line(
    0,
    `Starting Deadline Seconds:\t${deadline === undefined ? "<unset>" : `${deadline}s`}`,
  );
  const job = spec.jobTemplate.spec;
  page.line(0, `Selector:\t${job.selector === undefined ? "<unset>" : selectorText(job.selector)}`);
  page.line(0, `Parallelism:\t${job.parallelism ?? "<unset>"}`);
  page.line(0, `Completions:\t${job.completions ?? "<unset>"}`);
  if (job.activeDeadlineSeconds !== undefined)
    page.line(0, `Active Deadline Seconds:\t${job.activeDeadlineSeconds}s`);
  writePodTemplate(page, job.template);
  page.line(
    0,
    `Last Schedule Time:\t${status.lastScheduleTime ? page.time(status.lastScheduleTime) : "<unset>"}`,
  );
  const active = (status.active ?? []).map(({ name }) => name ?? "").join(", ");
  page.line(0, `Active Jobs:\t${active || "<none>"}`);
  await writeEvents(page, object);
};
