/** Descriptions of nodes, namespaces, quotas, limits and storage. */

import type { Lease } from "#api/generated/coordination/v1.ts";
import type {
  Event,
  LimitRange,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ResourceQuota,
} from "#api/generated/core/v1.ts";
import type { JsonObject } from "#machinery/object.ts";
import { isObject } from "#machinery/object.ts";
import {
  formatQuantity,
  type Quantity,
  quantityOf,
  toMilli,
  toWhole,
  zeroQuantity,
} from "#machinery/quantity.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import { objectsAt } from "../objects.ts";
import { pages } from "../selection.ts";
import type { Describe } from "./describe.ts";
import { searchEvents, writeEventList, writeEvents } from "./events.ts";
import { type Page, writeAnnotations, writeLabels } from "./page.ts";
import { type Amounts, addAmounts, podAmounts } from "./pod-resources.ts";
import { writeHostPath, writeSource } from "./volumes.ts";

const quantityText = (text: string | undefined): string => formatQuantity(quantityOf(text ?? "0"));

function writeAmounts(
  page: Page,
  title: string,
  list: Readonly<Record<string, string>> | undefined,
): void {
  const entries = Object.entries(list ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return;
  page.line(0, `${title}:`);
  for (const [name, quantity] of entries) page.line(0, `  ${name}:\t${quantityText(quantity)}`);
}

const rolePrefix = "node-role.kubernetes.io/";
function rolesOf({ metadata }: Node): string {
  const roles = Object.entries(metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix))
      return key.length > rolePrefix.length ? [key.slice(rolePrefix.length)] : [];
    return key === "kubernetes.io/role" && value !== "" ? [value] : [];
  });
  return [...new Set(roles)].toSorted().join(",") || "<none>";
}

async function writeLease(page: Page, name: string): Promise<void> {
  const rest = await page.session.rest();
  try {
    const path = `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${name}`;
    const { spec } = await rest.json<Lease>("GET", path);
    page.line(0, "Lease:");
    page.line(1, `HolderIdentity:\t${spec.holderIdentity ?? "<unset>"}`);
    page.line(1, `AcquireTime:\t${spec.acquireTime ? page.time(spec.acquireTime) : "<unset>"}`);
    page.line(1, `RenewTime:\t${spec.renewTime ? page.time(spec.renewTime) : "<unset>"}`);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    page.line(0, `Lease:\tFailed to get lease: ${error.message}`);
  }
}

const percent = (part: Quantity, whole: Quantity | undefined, cpu: boolean): number => {
  const measure = cpu ? toMilli : toWhole;
  const all = measure(whole ?? zeroQuantity);
  return all === 0 ? 0 : Math.trunc((measure(part) / all) * 100);
};

function writeNodePods(page: Page, node: Node, pods: readonly Pod[]): void {
  page.line(0, `Non-terminated Pods:\t(${pods.length} in total)`);
  page.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
  page.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
  const list =
    Object.keys(node.status.allocatable ?? {}).length > 0
      ? node.status.allocatable
      : node.status.capacity;
  const allocatable: Amounts = new Map(
    Object.entries(list ?? {}).map(([name, text]) => [name, quantityOf(text)]),
  );
  const cell = (amounts: Amounts, name: string): string => {
    const amount = amounts.get(name) ?? zeroQuantity;
    return `${formatQuantity(amount)} (${percent(amount, allocatable.get(name), name === "cpu")}%)`;
  };
  const requests: Amounts = new Map();
  const limits: Amounts = new Map();
  for (const pod of pods) {
    const own = { requests: podAmounts(pod, "requests"), limits: podAmounts(pod, "limits") };
    addAmounts(requests, own.requests);
    addAmounts(limits, own.limits);
    const { namespace = "", name = "", creationTimestamp } = pod.metadata;
    page.line(
      1,
      `${namespace}\t${name}\t\t${cell(own.requests, "cpu")}\t${cell(own.limits, "cpu")}\t${cell(own.requests, "memory")}\t${cell(own.limits, "memory")}\t${page.ago(creationTimestamp)}`,
    );
  }
  page.line(
    0,
    "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)",
  );
  page.line(1, "Resource\tRequests\tLimits");
  page.line(1, "--------\t--------\t------");
  const huge = [...allocatable.keys()].filter((name) => name.startsWith("hugepages-")).toSorted();
  for (const name of ["cpu", "memory", "ephemeral-storage", ...huge]) {
    page.line(1, `${name}\t${cell(requests, name)}\t${cell(limits, name)}`);
  }
  const known = new Set(["cpu", "memory", "ephemeral-storage", "pods", "storage", ...huge]);
  for (const name of [...allocatable.keys()].filter((one) => !known.has(one)).toSorted()) {
    page.line(
      1,
      `${name}\t${formatQuantity(requests.get(name) ?? zeroQuantity)}\t${formatQuantity(limits.get(name) ?? zeroQuantity)}`,
    );
  }
}

async function podsOfNode(page: Page, name: string): Promise<Pod[] | undefined> {
  const selector = `spec.nodeName=${name},status.phase!=Succeeded,status.phase!=Failed`;
  const found: Pod[] = [];
  try {
    for await (const list of pages(
      page.session,
      "/api/v1/pods",
      [["fieldSelector", selector]],
      page.chunkSize,
    )) {
      found.push(...(objectsAt(list, "items") as unknown as Pod[]));
    }
    return found;
  } catch (error) {
    if (isStatus(error, "Forbidden")) return undefined;
    throw error;
  }
}

const systemFacts = [
  ["Machine ID", "machineID"],
  ["System UUID", "systemUUID"],
  ["Boot ID", "bootID"],
  ["Kernel Version", "kernelVersion"],
  ["OS Image", "osImage"],
  ["Operating System", "operatingSystem"],
  ["Architecture", "architecture"],
  ["Container Runtime Version", "containerRuntimeVersion"],
  ["Kubelet Version", "kubeletVersion"],
] as const;

export const describeNode: Describe = async (page, object) => {
  const node = object as unknown as Node;
  const { metadata, spec, status } = node;
  const name = metadata.name ?? "";
  page.line(0, `Name:\t${name}`);
  page.line(0, `Roles:\t${rolesOf(node)}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `CreationTimestamp:\t${page.time(metadata.creationTimestamp)}`);
  const taints = (spec.taints ?? []).toSorted((a, b) =>
    `${a.effect},${a.key}` < `${b.effect},${b.key}` ? -1 : 1,
  );
  const texts = taints.map(
    ({ key, value = "", effect }) => `${key}${value === "" ? "" : `=${value}`}:${effect}`,
  );
  page.line(0, `Taints:\t${texts.length === 0 ? "<none>" : texts.join("\n\t")}`);
  page.line(0, `Unschedulable:\t${spec.unschedulable === true}`);
  await writeLease(page, name);
  const conditions = status.conditions ?? [];
  if (conditions.length > 0) {
    page.line(
      0,
      "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage",
    );
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
  }
  for (const one of conditions) {
    page.line(
      1,
      `${one.type} \t${one.status} \t${page.time(one.lastHeartbeatTime)} \t${page.time(one.lastTransitionTime)} \t${one.reason ?? ""} \t${one.message ?? ""}`,
    );
  }
  page.line(0, "Addresses:");
  for (const { type, address } of status.addresses ?? []) page.line(1, `${type}:\t${address}`);
  writeAmounts(page, "Capacity", status.capacity);
  writeAmounts(page, "Allocatable", status.allocatable);
  page.line(0, "System Info:");
  for (const [label, field] of systemFacts)
    page.line(0, `  ${label}:\t${status.nodeInfo?.[field] ?? ""}`);
  if (spec.podCIDR) page.line(0, `PodCIDR:\t${spec.podCIDR}`);
  if ((spec.podCIDRs ?? []).length > 0)
    page.line(0, `PodCIDRs:\t${(spec.podCIDRs ?? []).join(",")}`);
  if (spec.providerID) page.line(0, `ProviderID:\t${spec.providerID}`);
  const pods = await podsOfNode(page, name);
  if (pods === undefined) page.line(0, "Pods:\tnot authorized");
  else writeNodePods(page, node, pods);
  if (!page.withEvents) return;
  // Upstream: the kubelet names a node in its events by the node's name instead of its UID; both are looked for.
  const events: Event[] = [
    ...(await searchEvents(page.session, object, page.chunkSize)),
    ...(await searchEvents(page.session, object, page.chunkSize, name)),
  ];
  writeEventList(page, events);
};

const scopeHelp: Readonly<Record<string, string>> = {
  Terminating:
    "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system.",
  NotTerminating:
    "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate.",
  BestEffort:
    "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service.",
  NotBestEffort:
    "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service.",
};

function writeQuotaBody(page: Page, quota: ResourceQuota, level: number): void {
  const scopes = (quota.spec.scopes ?? []).toSorted();
  if (scopes.length > 0) page.line(level, `Scopes:\t${scopes.join(", ")}`);
  for (const scope of scopes) {
    if (scopeHelp[scope] !== undefined)
      page.line(level, ` * ${scopeHelp[scope]}`.slice(level === 0 ? 0 : 1));
  }
  page.line(level, "Resource\tUsed\tHard");
  page.line(level, level === 0 ? "--------\t----\t----" : "--------\t---\t---");
  const hard = Object.entries(quota.status.hard ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, quantity] of hard) {
    page.line(
      level,
      `${name}\t${quantityText(quota.status.used?.[name])}\t${quantityText(quantity)}`,
    );
  }
}

function writeLimits(page: Page, range: LimitRange, prefix: string): void {
  for (const item of range.spec.limits) {
    const lists = [
      item.min,
      item.max,
      item.defaultRequest,
      item.default,
      item.maxLimitRequestRatio,
    ];
    const names = [...new Set(lists.flatMap((list) => Object.keys(list ?? {})))].toSorted();
    for (const name of names) {
      const cells = lists.map((list) =>
        list?.[name] === undefined ? "-" : quantityText(list[name]),
      );
      page.line(0, `${prefix}${item.type}\t${name}\t${cells.join("\t")}`);
    }
  }
}
const limitColumns =
  "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio";
const limitRule =
  "----\t--------\t---\t---\t---------------\t-------------\t-----------------------";

/** Undefined: the server does not know the kind. */
async function listOf<T>(page: Page, path: string): Promise<T[] | undefined> {
  try {
    const found: T[] = [];
    for await (const list of pages(page.session, path, [], page.chunkSize)) {
      found.push(...(objectsAt(list, "items") as unknown as T[]));
    }
    return found;
  } catch (error) {
    if (isStatus(error, "NotFound")) return undefined;
    throw error;
  }
}

export const describeNamespace: Describe = async (page, object) => {
  const { metadata, status } = object as unknown as Namespace;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Status:\t${status.phase ?? ""}`);
  const conditions = status.conditions ?? [];
  if (conditions.length > 0) {
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t------------------\t------\t-------");
  }
  for (const one of conditions) {
    page.line(
      1,
      `${one.type}\t${one.status}\t${page.time(one.lastTransitionTime)}\t${one.reason ?? ""}\t${one.message ?? ""}`,
    );
  }
  const inside = `/api/v1/namespaces/${metadata.name ?? ""}`;
  const quotas = await listOf<ResourceQuota>(page, `${inside}/resourcequotas`);
  if (quotas !== undefined) {
    page.line(0, "");
    page.line(0, quotas.length === 0 ? "No resource quota." : "Resource Quotas");
    for (const quota of quotas.toSorted((a, b) =>
      (a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1,
    )) {
      page.line(1, `Name:\t${quota.metadata.name ?? ""}`);
      writeQuotaBody(page, quota, 1);
    }
  }
  const ranges = await listOf<LimitRange>(page, `${inside}/limitranges`);
  if (ranges === undefined) return;
  page.line(0, "");
  page.line(
    0,
    ranges.length === 0
      ? "No LimitRange resource."
      : `Resource Limits\n ${limitColumns}\n ${limitRule}`,
  );
  for (const range of ranges) writeLimits(page, range, " ");
};

export const describeResourceQuota: Describe = (page, object) => {
  const quota = object as unknown as ResourceQuota;
  page.line(0, `Name:\t${quota.metadata.name ?? ""}`);
  page.line(0, `Namespace:\t${quota.metadata.namespace ?? ""}`);
  writeQuotaBody(page, quota, 0);
  return Promise.resolve();
};

export const describeLimitRange: Describe = (page, object) => {
  const range = object as unknown as LimitRange;
  page.line(0, `Name:\t${range.metadata.name ?? ""}`);
  page.line(0, `Namespace:\t${range.metadata.namespace ?? ""}`);
  page.line(0, `${limitColumns}\n${limitRule}`);
  writeLimits(page, range, "");
  return Promise.resolve();
};

const modeNames: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};
const modesText = (modes: readonly string[] | undefined): string =>
  Object.keys(modeNames)
    .filter((mode) => modes?.includes(mode))
    .map((mode) => modeNames[mode])
    .join(",");
const classOf = (
  metadata: { annotations?: Record<string, string> },
  name: string | undefined,
): string => metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ?? name ?? "";
const finalizersText = (finalizers: readonly string[] | undefined): string =>
  `[${(finalizers ?? []).join(" ")}]`;

export const describePersistentVolume: Describe = async (page, object) => {
  const { metadata, spec, status } = object as unknown as PersistentVolume;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Finalizers:\t${finalizersText(metadata.finalizers)}`);
  page.line(0, `StorageClass:\t${classOf(metadata, spec.storageClassName)}`);
  page.line(
    0,
    `Status:\t${metadata.deletionTimestamp ? `Terminating (lasts ${page.ago(metadata.deletionTimestamp)})` : (status.phase ?? "")}`,
  );
  page.line(
    0,
    `Claim:\t${spec.claimRef === undefined ? "" : `${spec.claimRef.namespace ?? ""}/${spec.claimRef.name ?? ""}`}`,
  );
  page.line(0, `Reclaim Policy:\t${spec.persistentVolumeReclaimPolicy ?? ""}`);
  page.line(0, `Access Modes:\t${modesText(spec.accessModes)}`);
  if (spec.volumeMode !== undefined) page.line(0, `VolumeMode:\t${spec.volumeMode}`);
  page.line(0, `Capacity:\t${quantityText(spec.capacity?.["storage"])}`);
  const required = spec.nodeAffinity?.required;
  page.line(0, `Node Affinity:\t${required === undefined ? "<none>" : ""}`);
  if (required !== undefined) {
    const terms = required.nodeSelectorTerms;
    page.line(1, `Required Terms:\t${terms.length === 0 ? "<none>" : ""}`);
    for (const [i, { matchExpressions = [] }] of terms.entries()) {
      page.write(2, `Term ${i}:\t`);
      if (matchExpressions.length === 0) page.line(0, "<none>");
      for (const [at, { key, operator, values = [] }] of matchExpressions.entries()) {
        const list = values.length === 0 ? "" : ` [${values.join(", ")}]`;
        page.line(
          at === 0 ? 0 : 2,
          `${at === 0 ? "" : "\t"}${key} ${operator.toLowerCase()}${list}`,
        );
      }
    }
  }
  page.line(0, `Message:\t${status.message ?? ""}`);
  page.line(0, "Source:");
  const source = spec as unknown as JsonObject;
  if (isObject(source["hostPath"])) writeHostPath(page, source["hostPath"]);
  else if (!writeSource(page, source)) page.line(1, "<unknown>");
  await writeEvents(page, object);
};

export const describePersistentVolumeClaim: Describe = async (page, object) => {
  const { metadata, spec, status } = object as unknown as PersistentVolumeClaim;
  const { name = "", namespace = "" } = metadata;
  page.line(0, `Name:\t${name}`);
  page.line(0, `Namespace:\t${namespace}`);
  page.line(0, `StorageClass:\t${classOf(metadata, spec.storageClassName)}`);
  page.line(
    0,
    `Status:\t${metadata.deletionTimestamp ? `Terminating (lasts ${page.ago(metadata.deletionTimestamp)})` : (status.phase ?? "")}`,
  );
  page.line(0, `Volume:\t${spec.volumeName ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Finalizers:\t${finalizersText(metadata.finalizers)}`);
  const isBound = Boolean(spec.volumeName);
  page.line(0, `Capacity:\t${isBound ? quantityText(status.capacity?.["storage"]) : ""}`);
  page.line(0, `Access Modes:\t${isBound ? modesText(status.accessModes) : ""}`);
  if (spec.volumeMode !== undefined) page.line(0, `VolumeMode:\t${spec.volumeMode}`);
  if (spec.dataSource !== undefined) {
    page.line(0, "DataSource:");
    if (spec.dataSource.apiGroup !== undefined)
      page.line(1, `APIGroup:\t${spec.dataSource.apiGroup}`);
    page.line(1, `Kind:\t${spec.dataSource.kind}`);
    page.line(1, `Name:\t${spec.dataSource.name}`);
  }
  const pods = (await listOf<Pod>(page, `/api/v1/namespaces/${namespace}/pods`)) ?? [];
  const users = pods.filter((pod) =>
    (pod.spec.volumes ?? []).some(
      (volume) =>
        volume.persistentVolumeClaim?.claimName === name ||
        (volume.ephemeral !== undefined && name === `${pod.metadata.name ?? ""}-${volume.name}`),
    ),
  );
  const names = users.map((pod) => pod.metadata.name ?? "").toSorted();
  page.line(0, `Used By:\t${names.length === 0 ? "<none>" : names.join("\n\t")}`);
  const conditions = status.conditions ?? [];
  if (conditions.length > 0) {
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
  }
  for (const one of conditions) {
    page.line(
      1,
      `${one.type} \t${one.status} \t${page.time(one.lastProbeTime)} \t${page.time(one.lastTransitionTime)} \t${one.reason ?? ""} \t${one.message ?? ""}`,
    );
  }
  await writeEvents(page, object);
};
