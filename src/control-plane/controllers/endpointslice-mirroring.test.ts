import { expect, test } from "vitest";
import type { Endpoints } from "#api/core/v1/endpoints.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import { type MirrorPlan, planMirror, wantsMirror } from "./endpointslice-mirroring-plan.ts";

const meta = (name: string, over: object = {}) => ({
  name,
  namespace: "default",
  uid: `uid-${name}`,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  ...over,
});
const endpoints = (subsets: readonly object[], over: object = {}): Stored<Endpoints> =>
  ({
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: meta("db", { labels: { team: "x" }, ...over }),
    subsets,
  }) as unknown as Stored<Endpoints>;
const port = { name: "", port: 5432, protocol: "TCP" };

let serial = 0;
const stored = ({ create, update }: MirrorPlan): Stored<EndpointSlice>[] =>
  [
    ...update,
    ...create.map((slice) => {
      serial += 1;
      const metadata = { ...slice.metadata, ...meta(`db-${serial}`) };
      return { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", ...slice, metadata };
    }),
  ] as Stored<EndpointSlice>[];

test("addresses become a slice that the Endpoints own, once", () => {
  const own = endpoints([{ addresses: [{ ip: "192.0.2.1", nodeName: "n" }], ports: [port] }], {
    annotations: { a: "1", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
  });
  const plan = planMirror(own, []);
  expect(plan.create).toMatchObject([
    {
      addressType: "IPv4",
      metadata: {
        generateName: "db-",
        labels: {
          team: "x",
          "kubernetes.io/service-name": "db",
          "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        },
        annotations: { a: "1" },
        ownerReferences: [{ kind: "Endpoints", uid: "uid-db" }],
      },
      endpoints: [{ addresses: ["192.0.2.1"], conditions: { ready: true }, nodeName: "n" }],
      ports: [port],
    },
  ]);
  const again = planMirror(own, stored(plan));
  expect(again).toMatchObject({ create: [], update: [], remove: [] });
});

test("subsets split by family and ports; what is not ready anywhere is not ready", () => {
  const two = { ...port, name: "b", port: 1 };
  const plan = planMirror(
    endpoints([
      { addresses: [{ ip: "192.0.2.1" }, { ip: "2001:DB8::1" }], ports: [port] },
      { addresses: [{ ip: "192.0.2.1" }], notReadyAddresses: [{ ip: "192.0.2.2" }], ports: [two] },
      { notReadyAddresses: [{ ip: "192.0.2.1" }], ports: [port] },
    ]),
    [],
  );
  const seen = plan.create.map(({ addressType, endpoints: list, ports }) => [
    addressType,
    ports?.map((one) => one.port),
    list.map(({ addresses, conditions }) => `${addresses[0]} ${conditions?.ready}`),
  ]);
  expect(seen).toEqual([
    ["IPv6", [5432], ["2001:db8::1 true"]],
    ["IPv4", [5432], ["192.0.2.1 false"]],
    ["IPv4", [1], ["192.0.2.1 true", "192.0.2.2 false"]],
  ]);
});

test("a slice whose ports are gone is used for the new ones, and emptied Endpoints leave none", () => {
  const first = stored(
    planMirror(endpoints([{ addresses: [{ ip: "192.0.2.1" }], ports: [port] }]), []),
  );
  const other = [{ addresses: [{ ip: "192.0.2.1" }], ports: [{ ...port, port: 1 }] }];
  const moved = planMirror(endpoints(other), first);
  expect(moved).toMatchObject({ create: [], remove: [] });
  expect(moved.update[0]?.ports).toEqual([{ ...port, port: 1 }]);
  expect(planMirror(endpoints([]), first).remove).toEqual(first);
});

test("addresses beyond the bound are counted", () => {
  const addresses = Array.from({ length: 1001 }, (_, i) => ({ ip: `10.0.${i >> 8}.${i & 255}` }));
  const plan = planMirror(endpoints([{ addresses, ports: [port] }]), []);
  expect(plan.create[0]?.endpoints).toHaveLength(1000);
  expect(plan.skipped).toBe(1);
});

test("a leader's record and what asks not to be mirrored are left alone", () => {
  expect(wantsMirror(endpoints([]))).toBe(true);
  expect(
    wantsMirror(endpoints([], { labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } })),
  ).toBe(false);
  expect(
    wantsMirror(
      endpoints([], { annotations: { "control-plane.alpha.kubernetes.io/leader": "{}" } }),
    ),
  ).toBe(false);
});
