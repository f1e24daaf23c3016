/** Node: a machine that runs pods. */
import { cidrWarnings } from "#machinery/ip-warnings.ts";
import { compareUtf8 } from "#machinery/object.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateNode, validateNodeChange } from "./node-validation.ts";

export type Node = g.Node;

const roleLabelPrefix = "node-role.kubernetes.io/";
const roleLabel = "kubernetes.io/role";

/** The singular field is for clients that know but the one: where the two differ, it counts. */
function syncPodCidrs({ spec }: Node): void {
  const { podCIDR = "", podCIDRs = [] } = spec;
  if (podCIDR !== "" && podCIDRs[0] !== podCIDR) spec.podCIDRs = [podCIDR];
  else if (podCIDR === "" && podCIDRs[0] !== undefined) spec.podCIDR = podCIDRs[0];
}

/** What can be had is what there is, unless told otherwise. */
function setNodeDefaults(node: Node): void {
  const { status } = node;
  syncPodCidrs(node);
  if (status.allocatable === undefined && status.capacity !== undefined) {
    status.allocatable = { ...status.capacity };
  }
}

function statusCell({ spec, status }: Node): string {
  const ready = (status.conditions ?? []).findLast(({ type }) => type === "Ready");
  const words = [ready === undefined ? "Unknown" : ready.status === "True" ? "Ready" : "NotReady"];
  if (spec.unschedulable === true) words.push("SchedulingDisabled");
  return words.join(",");
}

function rolesCell({ metadata }: Node): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (key.startsWith(roleLabelPrefix)) roles.add(key.slice(roleLabelPrefix.length));
    else if (key === roleLabel) roles.add(value);
  }
  roles.delete("");
  return roles.size === 0 ? "<none>" : [...roles].sort(compareUtf8).join(",");
}

const addressCell =
  (type: string) =>
  ({ status }: Node): string =>
    status.addresses?.find((one) => one.type === type)?.address ?? "<none>";

const orUnknown = (text: string): string => (text === "" ? "<unknown>" : text);

function kernelCell({ status }: Node): string {
  const { kernelVersion, architecture } = status.nodeInfo;
  const version = orUnknown(kernelVersion);
  return architecture === "" ? version : `${version} (${architecture})`;
}

/** The kubelet's configuration from a ConfigMap is a feature of the past: it stays only where it stands. */
function dropDisabledFields(node: Node, old: Node | undefined): void {
  if (old?.spec.configSource === undefined) delete node.spec.configSource;
  if (old === undefined) delete node.status.config;
  if (old?.spec.podPreemptionPolicy === undefined) delete node.spec.podPreemptionPolicy;
}

function nodeWarnings({ spec }: Node): string[] {
  const warnings: string[] = [];
  if (spec.configSource !== undefined) {
    warnings.push("spec.configSource: the feature is removed");
  }
  if ((spec.externalID ?? "") !== "") {
    warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes");
  }
  for (const [index, cidr] of (spec.podCIDRs ?? []).entries()) {
    warnings.push(...cidrWarnings(`spec.podCIDRs[${index}]`, cidr));
  }
  return warnings;
}

export const Node = defineResource<g.Node>({
  group: "",
  version: "v1",
  plural: "nodes",
  storagePrefix: "/registry/minions",
  selectableFields: { "spec.unschedulable": ({ spec }) => String(spec.unschedulable ?? false) },
  printerColumns: [
    { name: "Status", value: statusCell },
    { name: "Roles", value: rolesCell },
    ageColumn,
    { name: "Version", value: ({ status }) => status.nodeInfo.kubeletVersion },
    { name: "Internal-IP", priority: 1, value: addressCell("InternalIP") },
    { name: "External-IP", priority: 1, value: addressCell("ExternalIP") },
    { name: "OS-Image", priority: 1, value: ({ status }) => orUnknown(status.nodeInfo.osImage) },
    { name: "Kernel-Version", priority: 1, value: kernelCell },
    {
      name: "Container-Runtime",
      priority: 1,
      value: ({ status }) => orUnknown(status.nodeInfo.containerRuntimeVersion),
    },
  ],
  strategy: {
    keepsStatusOnCreate: true,
    defaults: setNodeDefaults,
    prepareForCreate: (node) => dropDisabledFields(node, undefined),
    prepareForUpdate: dropDisabledFields,
    prepareForStatusUpdate(node, old) {
      if (old.status.config === undefined) delete node.status.config;
    },
    validate: validateNode,
    validateUpdate: (node, old) => [...validateNode(node), ...validateNodeChange(node, old)],
    validateStatusUpdate: validateNodeChange,
    warnings: nodeWarnings,
  },
});
