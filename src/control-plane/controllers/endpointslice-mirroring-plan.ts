/** Which EndpointSlices mirror Endpoints that somebody wrote by hand, given those that are there. Pure. */
import { Endpoints } from "#api/core/v1/endpoints.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { EndpointPort as CorePort, EndpointAddress } from "#api/generated/core/v1.ts";
import type { Endpoint, EndpointPort } from "#api/generated/discovery/v1.ts";
import type { New } from "#client/client.ts";
import { canonicalIp } from "#machinery/ip.ts";
import type { Stored } from "#machinery/meta.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { controllerReference } from "./controller.ts";
import { managedByLabel, type SlicePlan, serviceNameLabel } from "./endpointslice-plan.ts";

export const mirroredBy = "endpointslicemirroring-controller.k8s.io";
const addressesMax = 1000;
const labelLengthMax = 63;
const skipLabel = "endpointslice.kubernetes.io/skip-mirror";
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader";
const notMirrored = [
  "endpoints.kubernetes.io/last-change-trigger-time",
  "kubectl.kubernetes.io/last-applied-configuration",
];

/** Whether Endpoints say of themselves that they are no Service's addresses. */
export const wantsMirror = ({ metadata }: Endpoints): boolean =>
  metadata.labels?.[skipLabel] !== "true" && metadata.annotations?.[leaderAnnotation] === undefined;

export const isMirror = ({ metadata }: EndpointSlice): boolean =>
  metadata.labels?.[managedByLabel] === mirroredBy;

export interface MirrorPlan extends SlicePlan {
  /** Addresses left out: no IP address, or beyond what a slice holds. */
  readonly invalid: number;
  readonly skipped: number;
}

interface Member {
  readonly address: EndpointAddress;
  ready: boolean;
}
interface Subset {
  readonly ports: CorePort[];
  readonly members: readonly Member[];
}

/** Ports that lead to the very same addresses belong together; what is not ready once is not ready. */
function canonicalSubsets(endpoints: Endpoints): readonly Subset[] {
  const byPort = new Map<string, { port?: CorePort; members: Map<string, Member> }>();
  for (const subset of endpoints.subsets ?? []) {
    const { ports = [] } = subset;
    for (const port of ports.length === 0 ? [undefined] : ports) {
      const key = JSON.stringify(port ?? {}, ["name", "port", "protocol", "appProtocol"]);
      const entry = byPort.get(key) ?? {
        ...(port === undefined ? {} : { port }),
        members: new Map<string, Member>(),
      };
      byPort.set(key, entry);
      const add = (address: EndpointAddress, ready: boolean): void => {
        const id = `${address.ip} ${address.targetRef?.uid ?? ""}`;
        const known = entry.members.get(id);
        if (known === undefined) entry.members.set(id, { address, ready });
        else known.ready &&= ready;
      };
      for (const address of subset.addresses ?? []) add(address, true);
      for (const address of subset.notReadyAddresses ?? []) add(address, false);
    }
  }
  const subsets = new Map<string, Subset>();
  for (const { port, members } of byPort.values()) {
    const sorted = [...members].sort(([a], [b]) => compareUtf8(a, b));
    const key = JSON.stringify(sorted.map(([id, { ready }]) => [id, ready]));
    const subset = subsets.get(key) ?? { ports: [], members: sorted.map(([, member]) => member) };
    if (port !== undefined) subset.ports.push(port);
    subsets.set(key, subset);
  }
  return [...subsets.values()];
}

const slicePort = ({ name, port, protocol, appProtocol }: CorePort): EndpointPort => ({
  name: name ?? "",
  port,
  protocol: protocol ?? "TCP",
  ...(appProtocol === undefined ? {} : { appProtocol }),
});

const sliceEndpoint = ({ address, ready }: Member, ip: string): Endpoint => ({
  addresses: [ip],
  conditions: { ready },
  ...(address.targetRef === undefined ? {} : { targetRef: address.targetRef }),
  ...(address.nodeName ? { nodeName: address.nodeName } : {}),
  ...(address.hostname ? { hostname: address.hostname } : {}),
});

type AddressType = "IPv4" | "IPv6";
interface Group {
  readonly type: AddressType;
  readonly ports: EndpointPort[];
  readonly endpoints: Endpoint[];
}

const groupKey = (type: string, ports: readonly EndpointPort[]): string =>
  JSON.stringify([
    type,
    ports
      .map(({ name = "", port, protocol, appProtocol }) =>
        JSON.stringify([name, port, protocol, appProtocol]),
      )
      .toSorted(compareUtf8),
  ]);

function desiredGroups(endpoints: Endpoints): {
  readonly groups: ReadonlyMap<string, Group>;
  readonly invalid: number;
  readonly skipped: number;
} {
  const groups = new Map<string, Group>();
  let invalid = 0;
  let skipped = 0;
  for (const { ports, members } of canonicalSubsets(endpoints)) {
    const mirrored = ports.map(slicePort);
    let added = 0;
    for (const member of [...members].sort((a, b) => Number(b.ready) - Number(a.ready))) {
      if (added >= addressesMax) {
        skipped += 1;
        continue;
      }
      const ip = canonicalIp(member.address.ip);
      if (ip === undefined) {
        invalid += 1;
        continue;
      }
      const type = ip.includes(":") ? "IPv6" : "IPv4";
      const key = groupKey(type, mirrored);
      const group: Group = groups.get(key) ?? { type, ports: mirrored, endpoints: [] };
      groups.set(key, group);
      group.endpoints.push(sliceEndpoint(member, ip));
      added += 1;
    }
  }
  return { groups, invalid, skipped };
}

function metadataOf(endpoints: Stored<Endpoints>) {
  const { name, labels, annotations } = endpoints.metadata;
  const kept = Object.entries(annotations ?? {}).filter(([key]) => !notMirrored.includes(key));
  return {
    labels: { ...labels, [serviceNameLabel]: name, [managedByLabel]: mirroredBy },
    annotations: Object.fromEntries(kept),
    ownerReferences: [controllerReference(Endpoints, endpoints)],
  };
}

const byAddress = (endpoints: readonly Endpoint[] | undefined): readonly Endpoint[] =>
  [...(endpoints ?? [])].sort((a, b) => compareUtf8(a.addresses[0] ?? "", b.addresses[0] ?? ""));

/** One slice for each set of ports and address family; slices that are no longer wanted are used again for new ones. */
export function planMirror(
  endpoints: Stored<Endpoints>,
  existing: readonly Stored<EndpointSlice>[],
): MirrorPlan {
  const { groups, invalid, skipped } = desiredGroups(endpoints);
  const metadata = metadataOf(endpoints);
  const { name, namespace } = endpoints.metadata;
  const update: Stored<EndpointSlice>[] = [];
  const remove: Stored<EndpointSlice>[] = [];
  const byKey = new Map<string, Stored<EndpointSlice>[]>();
  for (const slice of existing) {
    const key = groupKey(slice.addressType, slice.ports ?? []);
    byKey.set(key, [...(byKey.get(key) ?? []), slice]);
  }
  const missing: Group[] = [];
  const changed = (slice: Stored<EndpointSlice>, group: Group): Stored<EndpointSlice> => ({
    ...slice,
    metadata: { ...slice.metadata, ...metadata },
    endpoints: group.endpoints,
    ports: group.ports,
  });
  for (const [key, group] of groups) {
    const [slice, ...others] = byKey.get(key) ?? [];
    byKey.delete(key);
    remove.push(...others);
    if (slice === undefined) missing.push(group);
    else if (
      !equalObjects(byAddress(slice.endpoints), byAddress(group.endpoints)) ||
      !equalObjects(slice.metadata.labels ?? {}, metadata.labels) ||
      !equalObjects(slice.metadata.annotations ?? {}, metadata.annotations) ||
      slice.metadata.ownerReferences?.[0]?.uid !== endpoints.metadata.uid
    )
      update.push(changed(slice, group));
  }
  remove.push(...[...byKey.values()].flat());
  const create: New<EndpointSlice>[] = [];
  for (const group of missing) {
    const old = remove.findIndex(({ addressType }) => addressType === group.type);
    const [slice] = old === -1 ? [] : remove.splice(old, 1);
    if (slice !== undefined) update.push(changed(slice, group));
    else
      create.push({
        metadata: {
          generateName: name.length < labelLengthMax ? `${name}-` : name,
          ...(namespace === undefined ? {} : { namespace }),
          ...metadata,
        },
        addressType: group.type,
        endpoints: group.endpoints,
        ports: group.ports,
      });
  }
  return { create, update, remove, invalid, skipped };
}
