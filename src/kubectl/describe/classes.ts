/** Descriptions of classes, of address pools, and of what protects pods from disruption. */
import type { TopologySelectorTerm } from "#api/generated/core/v1.ts";
import type { IngressClass, IPAddress, ServiceCIDR } from "#api/generated/networking/v1.ts";
import type { PodDisruptionBudget } from "#api/generated/policy/v1.ts";
import type { CSINode, StorageClass, VolumeAttributesClass } from "#api/generated/storage/v1.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import { labelsOrNone, type Page, selectorOrNone, writeAnnotations, writeLabels } from "./page.ts";

const defaultClass = "storageclass.kubernetes.io/is-default-class";
const betaDefaultClass = "storageclass.beta.kubernetes.io/is-default-class";

function writeTopologies(page: Page, terms: readonly TopologySelectorTerm[]): void {
  page.write(0, "AllowedTopologies:\t");
  page.line(0, terms.length === 0 ? "<none>" : "");
  for (const [i, { matchLabelExpressions = [] }] of terms.entries()) {
    page.write(1, `Term ${i}:\t`);
    if (matchLabelExpressions.length === 0) page.line(0, "<none>");
    for (const [j, { key, values }] of matchLabelExpressions.entries()) {
      if (j > 0) page.write(1, "\t");
      page.line(0, values.length === 0 ? `${key} in` : `${key} in [${values.join(", ")}]`);
    }
  }
}

export const describeStorageClass: Describe = async (page, object) => {
  const one = object as unknown as StorageClass;
  const { name = "", annotations = {} } = one.metadata;
  const isDefault = [defaultClass, betaDefaultClass].some((key) => annotations[key] === "true");
  const expansion = one.allowVolumeExpansion;
  page.line(0, `Name:\t${name}`);
  page.line(0, `IsDefaultClass:\t${isDefault ? "Yes" : "No"}`);
  page.line(0, `Annotations:\t${labelsOrNone(annotations)}`);
  page.line(0, `Provisioner:\t${one.provisioner}`);
  page.line(0, `Parameters:\t${labelsOrNone(one.parameters)}`);
  // Upstream: "True" and "False" with capitals, as Python would.
  const allowed = expansion === undefined ? "<unset>" : expansion ? "True" : "False";
  page.line(0, `AllowVolumeExpansion:\t${allowed}`);
  const options = one.mountOptions ?? [];
  page.line(0, options.length === 0 ? "MountOptions:\t<none>" : "MountOptions:");
  for (const option of options) page.line(1, option);
  if (one.reclaimPolicy !== undefined) page.line(0, `ReclaimPolicy:\t${one.reclaimPolicy}`);
  if (one.volumeBindingMode !== undefined) {
    page.line(0, `VolumeBindingMode:\t${one.volumeBindingMode}`);
  }
  if (one.allowedTopologies !== undefined) writeTopologies(page, one.allowedTopologies);
  await writeEvents(page, object);
};

export const describeVolumeAttributesClass: Describe = async (page, object) => {
  const { metadata, driverName, parameters } = object as unknown as VolumeAttributesClass;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  page.line(0, `Annotations:\t${labelsOrNone(metadata.annotations)}`);
  page.line(0, `DriverName:\t${driverName}`);
  page.line(0, `Parameters:\t${labelsOrNone(parameters)}`);
  await writeEvents(page, object);
};

export const describeCsiNode: Describe = async (page, object) => {
  const { metadata, spec } = object as unknown as CSINode;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `CreationTimestamp:\t${page.time(metadata.creationTimestamp)}`);
  page.line(0, "Spec:");
  if (spec.drivers.length > 0) page.line(1, "Drivers:");
  for (const { name, nodeID, allocatable, topologyKeys } of spec.drivers) {
    page.line(2, `${name}:`);
    page.line(3, `Node ID:\t${nodeID}`);
    if (allocatable?.count !== undefined) {
      page.line(3, "Allocatables:");
      page.line(4, `Count:\t${allocatable.count}`);
    }
    if (topologyKeys) page.line(3, `Topology Keys:\t[${topologyKeys.join(" ")}]`);
  }
  await writeEvents(page, object);
};

export const describeIngressClass: Describe = async (page, object) => {
  const { metadata, spec } = object as unknown as IngressClass;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `Controller:\t${spec.controller ?? ""}`);
  if (spec.parameters !== undefined) {
    const { apiGroup, kind, name } = spec.parameters;
    page.line(0, "Parameters:");
    if (apiGroup !== undefined) page.line(1, `APIGroup:\t${apiGroup}`);
    page.line(1, `Kind:\t${kind}`);
    page.line(1, `Name:\t${name}`);
  }
  await writeEvents(page, object);
};

export const describeServiceCidr: Describe = async (page, object) => {
  const { metadata, spec, status } = object as unknown as ServiceCIDR;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  page.line(0, `CIDRs:\t${(spec.cidrs ?? []).join(", ")}`);
  const conditions = status.conditions ?? [];
  if (conditions.length > 0) {
    page.line(0, "Status:\nConditions:");
    page.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t------------------\t------\t-------");
  }
  for (const one of conditions) {
    const since = page.time(one.lastTransitionTime);
    page.line(1, `${one.type}\t${one.status}\t${since}\t${one.reason}\t${one.message}`);
  }
  await writeEvents(page, object);
};

export const describeIpAddress: Describe = async (page, object) => {
  const { metadata, spec } = object as unknown as IPAddress;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  writeLabels(page, "Labels", metadata.labels);
  writeAnnotations(page, "Annotations", metadata.annotations);
  if (spec.parentRef !== undefined && spec.parentRef !== null) {
    const { group = "", resource = "", namespace = "", name = "" } = spec.parentRef;
    page.line(0, "Parent Reference:");
    page.line(1, `Group:\t${group}`);
    page.line(1, `Resource:\t${resource}`);
    page.line(1, `Namespace:\t${namespace}`);
    page.line(1, `Name:\t${name}`);
  }
  await writeEvents(page, object);
};

export const describePodDisruptionBudget: Describe = async (page, object) => {
  const { metadata, spec, status } = object as unknown as PodDisruptionBudget;
  const { minAvailable, maxUnavailable, selector } = spec;
  page.line(0, `Name:\t${metadata.name ?? ""}`);
  page.line(0, `Namespace:\t${metadata.namespace ?? ""}`);
  if (minAvailable !== undefined) page.line(0, `Min available:\t${minAvailable}`);
  else if (maxUnavailable !== undefined) page.line(0, `Max unavailable:\t${maxUnavailable}`);
  page.line(0, `Selector:\t${selector === undefined ? "<unset>" : selectorOrNone(selector)}`);
  page.line(0, "Status:");
  page.line(2, `Allowed disruptions:\t${status.disruptionsAllowed}`);
  page.line(2, `Current:\t${status.currentHealthy}`);
  page.line(2, `Desired:\t${status.desiredHealthy}`);
  page.line(2, `Total:\t${status.expectedPods}`);
  await writeEvents(page, object);
};
