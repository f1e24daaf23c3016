import { expect, test } from "vitest";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import { planSlices, type SlicePlan } from "./endpointslice-plan.ts";

const meta = (name: string, over: object = {}) => ({
  name,
  namespace: "default",
  uid: `uid-${name}`,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  ...over,
});
const service = (spec: object = {}): Stored<Service> =>
  ({
    apiVersion: "v1",
    kind: "Service",
    metadata: meta("web", { labels: { team: "x" } }),
    spec: {
      clusterIP: "10.96.0.9",
      ipFamilies: ["IPv4"],
      selector: { app: "web" },
      ports: [{ name: "http", port: 80, targetPort: "http", protocol: "TCP" }],
      ...spec,
    },
    status: {},
  }) as unknown as Stored<Service>;
const pod = (name: string, over: { ready?: boolean; deleting?: boolean; port?: number } = {}) =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: meta(name, over.deleting ? { deletionTimestamp: "2030-01-01T00:00:01Z" } : {}),
    spec: {
      nodeName: "n",
      containers: [{ name: "c", ports: [{ name: "http", containerPort: over.port ?? 8080 }] }],
    },
    status: {
      phase: "Running",
      podIPs: [{ ip: `10.244.0.${name.length}` }],
      conditions: [{ type: "Ready", status: over.ready === false ? "False" : "True" }],
    },
  }) as unknown as Stored<Pod>;
const zone: Node = {
  metadata: { labels: { "topology.kubernetes.io/zone": "z" } },
} as unknown as Node;
const plan = (
  one: Stored<Service>,
  pods: readonly Stored<Pod>[],
  slices: readonly Stored<EndpointSlice>[] = [],
) => planSlices(one, pods, slices, () => zone, "2030-01-01T00:00:00Z");

let serial = 0;
const stored = (made: SlicePlan): Stored<EndpointSlice>[] =>
  made.create.map((slice) => {
    serial += 1;
    const metadata = { ...slice.metadata, ...meta(`web-${serial}`) };
    return { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", ...slice, metadata };
  }) as Stored<EndpointSlice>[];

test("one slice with marks, port numbers, zone and conditions", () => {
  const made = plan(service(), [
    pod("a"),
    pod("bb", { ready: false }),
    pod("ccc", { deleting: true }),
  ]);
  expect(made.create).toHaveLength(1);
  expect(made.create[0]).toMatchObject({
    metadata: {
      generateName: "web-",
      labels: {
        team: "x",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      },
      annotations: { "endpoints.kubernetes.io/last-change-trigger-time": "2030-01-01T00:00:00Z" },
    },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: [
      { conditions: { ready: true, serving: true, terminating: false }, zone: "z", nodeName: "n" },
      { conditions: { ready: false, serving: false, terminating: false } },
      { conditions: { ready: false, serving: true, terminating: true } },
    ],
  });
});

test("headless and publishNotReadyAddresses", () => {
  const made = plan(service({ clusterIP: "None", publishNotReadyAddresses: true }), [
    pod("a", { ready: false }),
  ]);
  expect(made.create[0]?.metadata.labels).toHaveProperty(["service.kubernetes.io/headless"], "");
  expect(made.create[0]?.endpoints[0]?.conditions.ready).toBe(true);
});

test("Pods with another port number get a slice of their own", () => {
  const made = plan(service(), [pod("a"), pod("bb", { port: 9090 })]);
  expect(made.create.map((slice) => slice.ports[0]?.port)).toEqual([8080, 9090]);
});

test("nobody: one empty slice stays", () => {
  const empty = plan(service(), []);
  expect(empty.create).toMatchObject([{ endpoints: [], ports: [] }]);
  expect(plan(service(), [], stored(empty))).toEqual({ create: [], update: [], remove: [] });
});

test("at most 100 a slice; changes touch as few as they can", () => {
  const pods = Array.from({ length: 250 }, (_, at) => pod(`p${at}`));
  const slices = stored(plan(service(), pods));
  expect(slices.map((slice) => slice.endpoints.length)).toEqual([100, 100, 50]);
  expect(plan(service(), pods, slices)).toEqual({ create: [], update: [], remove: [] });
  const fewer = plan(service(), pods.slice(1), slices);
  expect(fewer.update.map((slice) => slice.endpoints.length)).toEqual([99]);
  const swapped = plan(service(), [...pods.slice(1), pod("fresh")], slices);
  expect(swapped.update).toHaveLength(1);
  expect(swapped.update[0]?.endpoints).toHaveLength(100);
  const more = plan(service(), [...pods, pod("fresh")], slices);
  expect(more.update.map((slice) => slice.endpoints.length)).toEqual([51]);
});
