/**
 * Endpoints controller: the older, single object that says which addresses stand behind a Service,
 * for clients that still read it. Reads Services and Pods; writes Endpoints named after Services
 * with a selector.
 */
import { Endpoints } from "#api/core/v1/endpoints.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodReady, isPodTerminal } from "#api/core/v1/pod-status.ts";
import { Service } from "#api/core/v1/service.ts";
import type { EndpointAddress, EndpointPort, EndpointSubset } from "#api/generated/core/v1.ts";
import { namespaceIndex } from "#client/cache.ts";
import type { New } from "#client/client.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { compileLabelMap } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { type Controller, watch } from "./controller.ts";
import { targetPort } from "./endpointslice-plan.ts";
import { defineController, isEnding } from "./runner.ts";
import { changesEndpoints, servicesOf, Triggers } from "./service-pods.ts";

const managedByLabel = "endpoints.kubernetes.io/managed-by";
const managedBy = "endpoint-controller";
const headlessLabel = "service.kubernetes.io/headless";
const triggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";
const capacityAnnotation = "endpoints.kubernetes.io/over-capacity";
const addressesMax = 1000;

export const endpointsController: Controller = {
  name: "endpoint",
  start: (world) => loop(new Triggers()).start(world),
};

interface Member {
  readonly address: EndpointAddress;
  readonly ready: boolean;
}

function memberOf(service: Service, pod: Stored<Pod>): Member | undefined {
  const publishes = service.spec.publishNotReadyAddresses === true;
  if (isPodTerminal(pod)) return undefined;
  if (pod.metadata.deletionTimestamp !== undefined && !publishes) return undefined;
  const [family = "IPv4"] = service.spec.ipFamilies ?? [];
  const ip = (pod.status.podIPs ?? []).find(
    (one) => one.ip.includes(":") === (family === "IPv6"),
  )?.ip;
  if (ip === undefined) return undefined;
  const { namespace, name, uid } = pod.metadata;
  const { nodeName, hostname, subdomain } = pod.spec;
  return {
    address: {
      ip,
      ...(hostname && subdomain === service.metadata.name ? { hostname } : {}),
      ...(nodeName ? { nodeName } : {}),
      targetRef: { kind: "Pod", ...(namespace === undefined ? {} : { namespace }), name, uid },
    },
    ready: publishes || isPodReady(pod),
  };
}

const byText = (key: (port: EndpointPort) => string) => (a: EndpointPort, b: EndpointPort) =>
  compareUtf8(key(a), key(b));

/** Ports that lead to the very same addresses share a subset. */
export function subsetsOf(service: Service, pods: readonly Stored<Pod>[]): EndpointSubset[] {
  const byPort = new Map<
    string,
    { readonly port: EndpointPort | undefined; readonly members: Member[] }
  >();
  for (const pod of pods) {
    const member = memberOf(service, pod);
    if (member === undefined) continue;
    const ports: (EndpointPort | undefined)[] = (service.spec.ports ?? []).flatMap((one) => {
      const number = targetPort(pod, one);
      if (number === undefined) return [];
      const { name, protocol = "TCP", appProtocol } = one;
      return [
        {
          ...(name ? { name } : {}),
          port: number,
          protocol,
          ...(appProtocol === undefined ? {} : { appProtocol }),
        },
      ];
    });
    if ((service.spec.ports ?? []).length === 0 && service.spec.clusterIP === "None") {
      ports.push(undefined);
    }
    for (const port of ports) {
      const key = JSON.stringify([port?.protocol, port?.port, port?.name, port?.appProtocol]);
      const known = byPort.get(key);
      if (known === undefined) byPort.set(key, { port, members: [member] });
      else known.members.push(member);
    }
  }
  const subsets = new Map<
    string,
    { readonly ports: EndpointPort[]; readonly members: readonly Member[] }
  >();
  for (const { port, members } of byPort.values()) {
    const sorted = [...members].sort((a, b) => compareUtf8(a.address.ip, b.address.ip));
    const key = JSON.stringify(
      sorted.map((one) => [one.address.ip, one.address.targetRef?.uid, one.ready]),
    );
    const known = subsets.get(key) ?? { ports: [], members: sorted };
    if (port !== undefined) known.ports.push(port);
    subsets.set(key, known);
  }
  const keyed = [...subsets].sort(([a], [b]) => compareUtf8(a, b));
  return keyed.map(([, { ports, members }]) => {
    const addresses = members.filter((one) => one.ready).map((one) => one.address);
    const notReadyAddresses = members.filter((one) => !one.ready).map((one) => one.address);
    return {
      ...(addresses.length === 0 ? {} : { addresses }),
      ...(notReadyAddresses.length === 0 ? {} : { notReadyAddresses }),
      ...(ports.length === 0
        ? {}
        : { ports: ports.sort(byText((one) => `${one.protocol}/${one.name ?? ""}/${one.port}`)) }),
    };
  });
}

/** At most a thousand addresses, ready ones first; every subset keeps its share. */
export function truncate(subsets: readonly EndpointSubset[]): EndpointSubset[] {
  const count = (list: readonly unknown[] | undefined) => list?.length ?? 0;
  const ready = subsets.reduce((sum, one) => sum + count(one.addresses), 0);
  const unready = subsets.reduce((sum, one) => sum + count(one.notReadyAddresses), 0);
  if (ready + unready <= addressesMax) return [...subsets];
  const room = Math.max(0, addressesMax - ready);
  const readyRoom = Math.min(ready, addressesMax);
  const cut = (list: EndpointAddress[] | undefined, total: number, keep: number) =>
    (list ?? []).slice(0, total === 0 ? 0 : Math.floor((count(list) * keep) / total));
  return subsets.flatMap(({ ports, ...subset }) => {
    const addresses = cut(subset.addresses, ready, readyRoom);
    const notReadyAddresses = cut(subset.notReadyAddresses, unready, room);
    if (addresses.length + notReadyAddresses.length === 0) return [];
    return [
      {
        ...(addresses.length === 0 ? {} : { addresses }),
        ...(notReadyAddresses.length === 0 ? {} : { notReadyAddresses }),
        ...(ports === undefined ? {} : { ports }),
      },
    ];
  });
}

function wantedLabels(service: Stored<Service>): Record<string, string> {
  const { [headlessLabel]: _h, ...own } = service.metadata.labels ?? {};
  const { clusterIP = "" } = service.spec;
  const headless: Record<string, string> =
    clusterIP === "" || clusterIP === "None" ? { [headlessLabel]: "" } : {};
  return { ...own, ...headless, [managedByLabel]: managedBy };
}

const loop = (triggers: Triggers): Controller =>
  defineController<Service>({
    name: "endpoint",
    reconciles: Service,
    watches: [
      watch(Pod, servicesOf, changesEndpoints),
      // Endpoints that somebody wrote without a Service are theirs.
      watch(Endpoints, (one, lookup) => {
        const ours = one.metadata.labels?.[managedByLabel] === managedBy;
        return ours || lookup.cache(Service).get(keyOf(one)) !== undefined ? [keyOf(one)] : [];
      }),
    ],

    async reconcile(service, context) {
      const { selector, type } = service.spec;
      if (type === "ExternalName" || selector === undefined) return;
      if (service.metadata.deletionTimestamp !== undefined) return;
      const key = keyOf(service);
      const { namespace = "", name } = service.metadata;
      const selects = compileLabelMap(selector);
      const pods = context
        .cache(Pod)
        .byIndex(namespaceIndex, namespace)
        .filter((pod) => selects(pod.metadata.labels));
      const all = subsetsOf(service, pods);
      const subsets = truncate(all);
      const triggered = triggers.latest(key, service, pods);
      const old = context.cache(Endpoints).get(key);
      const labels = wantedLabels(service);
      const overCapacity = subsets.length !== all.length || !equalObjects(subsets, all);
      const {
        [capacityAnnotation]: wasOver,
        [triggerAnnotation]: _t,
        ...kept
      } = old?.metadata.annotations ?? {};
      if (
        old !== undefined &&
        equalObjects(old.subsets ?? [], subsets) &&
        equalObjects(old.metadata.labels ?? {}, labels) &&
        (wasOver !== undefined) === overCapacity
      ) {
        return;
      }
      const annotations = {
        ...kept,
        ...(triggered === undefined ? {} : { [triggerAnnotation]: triggered }),
        ...(overCapacity ? { [capacityAnnotation]: "truncated" } : {}),
      };
      try {
        if (old === undefined) {
          const fresh: New<Endpoints> = {
            metadata: { namespace, name, labels, annotations },
            subsets,
          };
          await context.client.create(Endpoints, fresh);
          return;
        }
        const metadata = { ...old.metadata, labels, annotations };
        await context.client.update(Endpoints, { ...old, metadata, subsets });
      } catch (error) {
        if (isEnding(error)) return;
        const why = error instanceof Error ? error.message : String(error);
        const verb = old === undefined ? "create" : "update";
        const reason = old === undefined ? "FailedToCreateEndpoint" : "FailedToUpdateEndpoint";
        const message = `Failed to ${verb} endpoint ${key}: ${why}`;
        context.event(service, "Warning", reason, message);
        throw error;
      }
    },
    async gone(key, context) {
      triggers.forget(key);
      const [namespace = "", name = ""] = key.split("/");
      try {
        await context.client.delete(Endpoints, { namespace, name });
      } catch (error) {
        if (!isStatus(error, "NotFound")) throw error;
      }
    },
  });
