/**
 * Which EndpointSlices a Service should have, given its Pods and the slices that are there; touches
 * as few as it can. Pure.
 */

import type { Node } from "#api/core/v1/node.ts";
import { isPodReady, isPodTerminal } from "#api/core/v1/pod-status.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { ServicePort } from "#api/generated/core/v1.ts";
import type { Endpoint, EndpointPort } from "#api/generated/discovery/v1.ts";
import type { New } from "#client/client.ts";
import { canonicalIp } from "#machinery/ip.ts";
import type { Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { controllerReference } from "./controller.ts";

export const serviceNameLabel = "kubernetes.io/service-name";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
export const managedBy = "endpointslice-controller.k8s.io";
const headlessLabel = "service.kubernetes.io/headless";
const triggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";
const endpointsMax = 100;

export interface SlicePlan {
  readonly create: readonly New<EndpointSlice>[];
  readonly update: readonly Stored<EndpointSlice>[];
  readonly remove: readonly Stored<EndpointSlice>[];
}

type AddressType = "IPv4" | "IPv6";

function addressTypesOf(service: Service): readonly AddressType[] {
  const families = service.spec.ipFamilies ?? [];
  if (families.length > 0)
    return (["IPv4", "IPv6"] as const).filter((one) => families.includes(one));
  const { clusterIP = "" } = service.spec;
  if (clusterIP === "" || clusterIP === "None") return ["IPv4", "IPv6"];
  return [clusterIP.includes(":") ? "IPv6" : "IPv4"];
}

/** The number behind a Service's port; a name is looked up in the Pod's containers and sidecars. */
export function targetPort(pod: Pod, port: ServicePort): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target;
  const { containers, initContainers = [] } = pod.spec;
  const sidecars = initContainers.filter((container) => container.restartPolicy === "Always");
  for (const container of [...containers, ...sidecars]) {
    const found = (container.ports ?? []).find(
      (one) => one.name === target && (one.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (found !== undefined) return found.containerPort;
  }
  return undefined;
}

const portsOf = (service: Service, pod: Pod): EndpointPort[] =>
  (service.spec.ports ?? []).flatMap((port) => {
    const number = targetPort(pod, port);
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? "",
        port: number,
        protocol: port.protocol ?? "TCP",
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });

function endpointOf(
  service: Service,
  pod: Stored<Pod>,
  addresses: string[],
  node: Node | undefined,
): Endpoint {
  const serving = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const zone = node?.metadata.labels?.["topology.kubernetes.io/zone"];
  const { hostname = "", subdomain, nodeName } = pod.spec;
  const { namespace, name, uid } = pod.metadata;
  return {
    addresses,
    conditions: {
      ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    targetRef: { kind: "Pod", ...(namespace === undefined ? {} : { namespace }), name, uid },
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
    ...(hostname !== "" && subdomain === service.metadata.name ? { hostname } : {}),
  };
}

const podAddresses = (pod: Pod, type: AddressType): string[] =>
  (pod.status.podIPs ?? [])
    .map((one) => one.ip)
    .filter((ip) => ip.includes(":") === (type === "IPv6"))
    .map((ip) => canonicalIp(ip) ?? ip);

/** Endpoints with the same ports share slices. */
interface Group {
  readonly type: AddressType;
  readonly ports: EndpointPort[];
  /** By the Pod's uid. */
  readonly endpoints: Map<string, Endpoint>;
}
const groupKey = (type: string, ports: readonly EndpointPort[]): string =>
  JSON.stringify([
    type,
    ports.map(({ name, port, protocol, appProtocol }) => [name, port, protocol, appProtocol]),
  ]);

function desiredGroups(
  service: Stored<Service>,
  pods: readonly Stored<Pod>[],
  nodeOf: (name: string) => Node | undefined,
): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const type of addressTypesOf(service)) {
    for (const pod of pods) {
      if (isPodTerminal(pod)) continue;
      const addresses = podAddresses(pod, type);
      const node = nodeOf(pod.spec.nodeName ?? "");
      // Without its node the zone would be missing; the node's event brings the next pass.
      if (addresses.length === 0 || node === undefined) continue;
      const ports = portsOf(service, pod);
      const key = groupKey(type, ports);
      const group = groups.get(key) ?? { type, ports, endpoints: new Map<string, Endpoint>() };
      group.endpoints.set(pod.metadata.uid, endpointOf(service, pod, addresses, node));
      groups.set(key, group);
    }
  }
  return groups;
}

function labelsOf(service: Stored<Service>): Record<string, string> {
  const {
    [headlessLabel]: _h,
    [serviceNameLabel]: _s,
    [managedByLabel]: _m,
    ...own
  } = service.metadata.labels ?? {};
  const { clusterIP = "" } = service.spec;
  const headless: Record<string, string> =
    clusterIP === "" || clusterIP === "None" ? { [headlessLabel]: "" } : {};
  return {
    ...own,
    ...headless,
    [serviceNameLabel]: service.metadata.name,
    [managedByLabel]: managedBy,
  };
}

/** `triggered`: when the change happened that this pass answers to, as the annotation says it. */
export function planSlices(
  service: Stored<Service>,
  pods: readonly Stored<Pod>[],
  existing: readonly Stored<EndpointSlice>[],
  nodeOf: (name: string) => Node | undefined,
  triggered: string | undefined,
): SlicePlan {
  const groups = desiredGroups(service, pods, nodeOf);
  const writer = sliceWriter(service, triggered);
  const create: New<EndpointSlice>[] = [];
  const update: Stored<EndpointSlice>[] = [];
  const remove: Stored<EndpointSlice>[] = [];
  const types = addressTypesOf(service);
  for (const type of types) {
    const ofType = existing.filter((slice) => slice.addressType === type);
    const wanted = [...groups].filter(([, group]) => group.type === type);
    if (wanted.length === 0) {
      // One empty slice says that the Service is known and has nobody.
      const [keep, ...rest] = ofType;
      remove.push(...rest);
      if (keep === undefined) create.push(writer.fresh(type, [], []));
      else if (writer.differs(keep, [], [])) update.push(writer.changed(keep, [], []));
      continue;
    }
    for (const [key, group] of wanted) {
      const same = ofType.filter((slice) => groupKey(type, slice.ports ?? []) === key);
      const plan = planGroup(group, same, writer);
      create.push(...plan.create);
      update.push(...plan.update);
      remove.push(...plan.remove);
    }
    const known = new Set(wanted.map(([key]) => key));
    remove.push(...ofType.filter((slice) => !known.has(groupKey(type, slice.ports ?? []))));
  }
  remove.push(...existing.filter((slice) => !types.some((type) => type === slice.addressType)));
  return { create, update, remove };
}

interface SliceWriter {
  fresh(type: AddressType, ports: EndpointPort[], endpoints: Endpoint[]): New<EndpointSlice>;
  changed(
    slice: Stored<EndpointSlice>,
    ports: EndpointPort[],
    endpoints: Endpoint[],
  ): Stored<EndpointSlice>;
  differs(slice: EndpointSlice, ports: EndpointPort[], endpoints: Endpoint[]): boolean;
}

function sliceWriter(service: Stored<Service>, triggered: string | undefined): SliceWriter {
  const labels = labelsOf(service);
  const { name, namespace } = service.metadata;
  const annotate = (old: Record<string, string> | undefined): Record<string, string> => {
    const { [triggerAnnotation]: _, ...rest } = old ?? {};
    return triggered === undefined ? rest : { ...rest, [triggerAnnotation]: triggered };
  };
  return {
    fresh: (addressType, ports, endpoints) => ({
      metadata: {
        generateName: `${name}-`,
        ...(namespace === undefined ? {} : { namespace }),
        labels,
        annotations: annotate(undefined),
        ownerReferences: [controllerReference(Service, service)],
      },
      addressType,
      endpoints,
      ports,
    }),
    changed: (slice, ports, endpoints) => ({
      ...slice,
      metadata: { ...slice.metadata, labels, annotations: annotate(slice.metadata.annotations) },
      endpoints,
      ports,
    }),
    differs: (slice, ports, endpoints) =>
      !equalObjects(slice.metadata.labels ?? {}, labels) ||
      !equalObjects(slice.ports ?? [], ports) ||
      !equalObjects(slice.endpoints ?? [], endpoints),
  };
}

/**
 * Keeps every endpoint in the slice where it is; what is new goes first into slices that change
 * anyway.
 */
function planGroup(
  group: Group,
  existing: readonly Stored<EndpointSlice>[],
  writer: SliceWriter,
): SlicePlan {
  const left = new Map(group.endpoints);
  const drafts = existing.map((slice) => {
    const endpoints = (slice.endpoints ?? []).flatMap((old) => {
      const uid = old.targetRef?.uid ?? "";
      const now = left.get(uid);
      if (now === undefined) return [];
      left.delete(uid);
      return [now];
    });
    return { slice, endpoints };
  });
  const isTouched = (draft: (typeof drafts)[number]) =>
    writer.differs(draft.slice, group.ports, draft.endpoints);
  const waiting = [...left.values()];
  const create: New<EndpointSlice>[] = [];
  const byFullness = [...drafts].sort((a, b) => b.endpoints.length - a.endpoints.length);
  for (const draft of byFullness.filter(isTouched)) {
    draft.endpoints.push(...waiting.splice(0, endpointsMax - draft.endpoints.length));
  }
  while (waiting.length > 0) {
    const room = byFullness.find(
      (draft) => !isTouched(draft) && draft.endpoints.length + waiting.length <= endpointsMax,
    );
    if (room !== undefined) room.endpoints.push(...waiting.splice(0));
    else create.push(writer.fresh(group.type, group.ports, waiting.splice(0, endpointsMax)));
  }
  const empty = drafts.filter((draft) => draft.endpoints.length === 0);
  return {
    create,
    update: drafts
      .filter((draft) => draft.endpoints.length > 0 && isTouched(draft))
      .map((draft) => writer.changed(draft.slice, group.ports, draft.endpoints)),
    remove: empty.map((draft) => draft.slice),
  };
}
