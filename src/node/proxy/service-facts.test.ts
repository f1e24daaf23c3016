import { expect, test } from "vitest";
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import { serviceFacts } from "./service-facts.ts";

const metadata = {
  name: "web",
  namespace: "shop",
  uid: "u",
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
};
const service = (
  spec: Partial<Service["spec"]>,
  status: Partial<Service["status"]> = {},
): Stored<Service> => ({
  apiVersion: "v1",
  kind: "Service",
  metadata,
  spec: {
    type: "ClusterIP",
    clusterIP: "10.96.0.7",
    clusterIPs: ["10.96.0.7"],
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
    ...spec,
  } as Service["spec"],
  status: { loadBalancer: {}, ...status },
});
type Endpoint = NonNullable<EndpointSlice["endpoints"]>[number];
const slice = (...endpoints: Endpoint[]): EndpointSlice => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: "web-1", namespace: "shop" },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints,
});
const endpoint = (
  address: string,
  conditions: Endpoint["conditions"],
  nodeName = "n1",
): Endpoint => ({
  addresses: [address],
  conditions,
  nodeName,
});
const ready = { ready: true, serving: true, terminating: false };
const ending = { ready: false, serving: true, terminating: true };
const dead = { ready: false, serving: false, terminating: true };
const only = (facts: ReturnType<typeof serviceFacts>) => [...facts.values()][0];

test("one fact a port, keyed by Service and port", () => {
  const ports = [
    { name: "http", port: 80, protocol: "TCP", targetPort: 8080 },
    { name: "dns", port: 53, protocol: "UDP", targetPort: 53 },
  ];
  const facts = serviceFacts(service({ ports }), [slice(endpoint("10.244.0.4", ready))], "n1");
  expect([...facts.keys()]).toEqual([
    "service/shop/web:http/TCP/80",
    "service/shop/web:dns/UDP/53",
  ]);
  expect(only(facts)).toMatchObject({
    addresses: ["10.96.0.7"],
    backends: [{ address: "10.244.0.4", port: 8080, local: true }],
  });
  expect(facts.get("service/shop/web:dns/UDP/53")?.backends).toEqual([]);
});

test("ready endpoints serve; where there is none, those that still serve while they end", () => {
  const a = endpoint("10.244.0.4", ready, "n2");
  const b = endpoint("10.244.0.5", ending);
  const c = endpoint("10.244.0.6", dead);
  const backends = (...endpoints: Endpoint[]) =>
    only(serviceFacts(service({}), [slice(...endpoints)], "n1"))?.backends.map(
      (one) => one.address,
    );
  expect(backends(a, b, c)).toEqual(["10.244.0.4"]);
  expect(backends(b, c)).toEqual(["10.244.0.5"]);
  expect(backends(c)).toEqual([]);
});

test("headless and ExternalName Services mean nothing to packets", () => {
  expect(serviceFacts(service({ clusterIP: "None", clusterIPs: ["None"] }), [], "n1").size).toBe(0);
  expect(serviceFacts(service({ type: "ExternalName", externalName: "x" }), [], "n1").size).toBe(0);
});

test("node port, external addresses, policies and affinity carry over", () => {
  const spec: Partial<Service["spec"]> = {
    type: "LoadBalancer",
    ports: [{ name: "http", port: 80, protocol: "TCP", targetPort: 8080, nodePort: 30_080 }],
    externalIPs: ["192.0.2.9"],
    externalTrafficPolicy: "Local",
    internalTrafficPolicy: "Local",
    sessionAffinity: "ClientIP",
    loadBalancerSourceRanges: ["10.0.0.0/8"],
  };
  const ingress = [
    { ip: "192.0.2.10", ipMode: "VIP" },
    { ip: "192.0.2.11", ipMode: "Proxy" },
  ];
  expect(only(serviceFacts(service(spec, { loadBalancer: { ingress } }), [], "n1"))).toMatchObject({
    nodePort: 30_080,
    externalAddresses: ["192.0.2.9"],
    balancerAddresses: ["192.0.2.10"],
    externalLocal: true,
    internalLocal: true,
    affinitySeconds: 10_800,
    sourceRanges: ["10.0.0.0/8"],
  });
});

test("endpoints of several slices are told once, in one order", () => {
  const slices = [
    slice(endpoint("10.244.0.9", ready), endpoint("10.244.0.4", ready)),
    slice(endpoint("10.244.0.4", ready)),
  ];
  const forth = serviceFacts(service({}), slices, "n1");
  const back = serviceFacts(service({}), slices.toReversed(), "n1");
  expect(only(forth)?.backends.map((one) => one.address)).toEqual(["10.244.0.4", "10.244.0.9"]);
  expect(back).toEqual(forth);
});
