/** Node: a machine that runs pods. */
import { compareUtf8 } from "#machinery/object.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type Node = g.Node;

const roleLabelPrefix = "node-role.kubernetes.io/";
const roleLabel = "kubernetes.io/role";

/** What can be had is what there is, unless told otherwise. */
function setNodeDefaults({ status }: Node): void {
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

const orUnknown = (text: string | undefined): string => (text ?? "") || "<unknown>";

function kernelCell({ status }: Node): string {
  const { kernelVersion, architecture = "" } = status.nodeInfo;
  const version = orUnknown(kernelVersion);
  return architecture === "" ? version : `${version} (${architecture})`;
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
  strategy: { defaults: setNodeDefaults },
});
