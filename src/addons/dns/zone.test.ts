import { expect, test } from "vitest";
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import { type ResourceRecord, recordTypes } from "./message.ts";
import { answerFromZone, type ZoneData } from "./zone.ts";

const metadata = (name: string, labels: Record<string, string> = {}) => ({
  name,
  namespace: "shop",
  uid: name,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  labels,
});
const service = (name: string, spec: Partial<Service["spec"]>): Stored<Service> => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: metadata(name),
  spec: { ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec } as Service["spec"],
  status: { loadBalancer: {} },
});
const services = [
  service("web", { clusterIP: "10.96.0.7", clusterIPs: ["10.96.0.7"] }),
  service("db", { clusterIP: "None", clusterIPs: ["None"] }),
  service("empty", { clusterIP: "None", clusterIPs: ["None"] }),
  service("docs", { type: "ExternalName", externalName: "Docs.Example.org." }),
];
const slice: Stored<EndpointSlice> = {
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: metadata("db-1", { "kubernetes.io/service-name": "db" }),
  addressType: "IPv4",
  ports: [{ name: "http", port: 5432, protocol: "TCP" }],
  endpoints: [
    { addresses: ["10.244.0.4"], conditions: { ready: true }, hostname: "db-0" },
    { addresses: ["10.244.0.5"], conditions: { ready: true } },
    { addresses: ["10.244.0.6"], conditions: { ready: false } },
  ],
};
const data: ZoneData = {
  service: (namespace, name) =>
    services.find((one) => namespace === "shop" && one.metadata.name === name),
  slices: (_, name) => (name === "db" ? [slice] : []),
  namespaceExists: (name) => name === "shop",
  servicesAt: (address) => services.filter((one) => one.spec.clusterIPs?.includes(address)),
  slicesAt: (address) =>
    slice.endpoints?.some((e) => e.addresses.includes(address)) ? [slice] : [],
};
const show = (record: ResourceRecord): string => {
  if ("address" in record) return record.address;
  if (record.type === "SRV") return `${record.port} ${record.target}`;
  if (record.type === "TXT") return record.text;
  return "target" in record ? record.target : record.type;
};
/** "NXDOMAIN", "elsewhere", or the answers. */
function ask(name: string, type: keyof typeof recordTypes = "A"): string | string[] {
  const answer = answerFromZone(data, "cluster.local", name, recordTypes[type]);
  if (answer === undefined) return "elsewhere";
  return answer.code === 3 ? "NXDOMAIN" : answer.answers.map(show);
}

test("a Service has its cluster IP", () => {
  expect(ask("web.shop.svc.cluster.local")).toEqual(["10.96.0.7"]);
  expect(ask("web.shop.svc.cluster.local", "AAAA")).toEqual([]);
  expect(ask("_http._tcp.web.shop.svc.cluster.local", "SRV")).toEqual([
    "80 web.shop.svc.cluster.local",
  ]);
  expect(ask("_tcp.web.shop.svc.cluster.local", "SRV")).toEqual([]);
});

test("a headless Service has its ready endpoints, each under its name", () => {
  expect(ask("db.shop.svc.cluster.local")).toEqual(["10.244.0.4", "10.244.0.5"]);
  expect(ask("db-0.db.shop.svc.cluster.local")).toEqual(["10.244.0.4"]);
  expect(ask("10-244-0-5.db.shop.svc.cluster.local")).toEqual(["10.244.0.5"]);
  expect(ask("_http._tcp.db.shop.svc.cluster.local", "SRV")).toEqual([
    "5432 db-0.db.shop.svc.cluster.local",
    "5432 10-244-0-5.db.shop.svc.cluster.local",
  ]);
  expect(ask("empty.shop.svc.cluster.local")).toEqual([]);
});

test("SRV answers bring their targets' addresses", () => {
  const answer = answerFromZone(data, "cluster.local", "_http._tcp.db.shop.svc.cluster.local", 33);
  expect(answer?.additional.map(show)).toEqual(["10.244.0.4", "10.244.0.5"]);
});

test("ExternalName is an alias, whatever is asked", () => {
  expect(ask("docs.shop.svc.cluster.local")).toEqual(["docs.example.org"]);
  expect(ask("docs.shop.svc.cluster.local", "AAAA")).toEqual(["docs.example.org"]);
});

test("pods by address, as CoreDNS's `pods insecure`", () => {
  expect(ask("10-244-0-9.shop.pod.cluster.local")).toEqual(["10.244.0.9"]);
  expect(ask("10-244-0-9.nowhere.pod.cluster.local")).toBe("NXDOMAIN");
});

test("what does not exist is NXDOMAIN; what only has children is not", () => {
  for (const name of ["x.shop.svc", "a.web.shop.svc", "nowhere.svc", "x.y", "web.shop.svc.svc"]) {
    expect(ask(`${name}.cluster.local`), name).toBe("NXDOMAIN");
  }
  for (const name of ["shop.svc", "svc", "pod"])
    expect(ask(`${name}.cluster.local`), name).toEqual([]);
  expect(ask("cluster.local")).toEqual([]);
  expect(ask("dns-version.cluster.local", "TXT")).toEqual(["1.1.0"]);
});

test("addresses lead back to names", () => {
  expect(ask("7.0.96.10.in-addr.arpa", "PTR")).toEqual(["web.shop.svc.cluster.local"]);
  expect(ask("4.0.244.10.in-addr.arpa", "PTR")).toEqual(["db-0.db.shop.svc.cluster.local"]);
  expect(ask("1.2.3.4.in-addr.arpa", "PTR")).toBe("elsewhere");
});

test("other names are not ours", () => {
  expect(ask("example.org")).toBe("elsewhere");
  expect(ask("notcluster.local")).toBe("elsewhere");
});
