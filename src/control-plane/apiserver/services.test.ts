import { expect, test } from "vitest";
import type { Handler } from "#api/request.ts";
import { admin, ask, directly, itemsOf, makeWorld, objectOf, refusal } from "./api.contract.ts";

const services = "/api/v1/namespaces/default/services";
const port = { port: 80 };

const service = (name: string, spec: object): object => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec,
});

async function handler(): Promise<Handler> {
  const { as } = await makeWorld(directly);
  return await as(admin);
}
const specOf = async (answer: ReturnType<typeof ask>): Promise<Record<string, unknown>> =>
  objectOf(await answer).spec as Record<string, unknown>;

test("a Service gets an address, families, policies and a port to aim at", async () => {
  const as = await handler();
  const made = await specOf(ask(as, "POST", services, service("web", { ports: [port] })));
  expect(made).toMatchObject({
    type: "ClusterIP",
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    sessionAffinity: "None",
    internalTrafficPolicy: "Cluster",
    ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
  });
  expect(made.clusterIPs).toEqual([made.clusterIP]);
  expect(made).not.toHaveProperty("externalTrafficPolicy");
});

test("the cluster's network is put into words by address and by family", async () => {
  const as = await handler();
  const refused = async (spec: object) =>
    refusal(await ask(as, "POST", services, service("web", { ports: [port], ...spec })))[1];
  expect(await refused({ clusterIP: "fd00::1" })).toBe(
    'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
  );
  expect(await refused({ clusterIP: "192.168.0.1" })).toBe(
    'Service "web" is invalid: spec.clusterIPs: Invalid value: ["192.168.0.1"]: failed to allocate IP 192.168.0.1: the provided IP (192.168.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16',
  );
  expect(await refused({ ipFamilyPolicy: "RequireDualStack" })).toBe(
    'Service "web" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
  );
  expect(await refused({ clusterIPs: ["10.96.0.9"] })).toBe(
    'Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified',
  );
  expect(await refused({ clusterIP: "10.96.0.1" })).toMatch(/provided IP is already allocated$/);
});

test("headless without a selector has both families, with one the cluster's", async () => {
  const as = await handler();
  const free = await specOf(ask(as, "POST", services, service("free", { clusterIP: "None" })));
  expect(free).toMatchObject({
    clusterIPs: ["None"],
    ipFamilies: ["IPv4", "IPv6"],
    ipFamilyPolicy: "RequireDualStack",
  });
  const spec = { clusterIP: "None", selector: { app: "a" } };
  const own = await specOf(ask(as, "POST", services, service("own", spec)));
  expect(own).toMatchObject({ ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack" });
});

test("an update that says nothing of it keeps what was allocated; what it says against it is refused", async () => {
  const as = await handler();
  const name = `${services}/web`;
  const spec = { type: "NodePort", ports: [{ name: "http", ...port }] };
  const made = await specOf(ask(as, "POST", services, service("web", spec)));
  const again = await specOf(ask(as, "PUT", name, service("web", spec)));
  expect(again).toEqual(made);
  const moved = { ...spec, clusterIP: "10.96.0.200" };
  const odd = { ...moved, clusterIPs: ["10.96.0.201"] };
  const [code, message] = refusal(await ask(as, "PUT", name, service("web", odd)));
  expect(code).toBe(422);
  expect(message).toContain("first value must match `clusterIP`");
  expect(refusal(await ask(as, "PUT", name, service("web", moved)))[1]).toBe(
    'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.200"]: may not change once set',
  );
});

test("a change of type drops what it has no use for, and refuses what is asked for at the same time", async () => {
  const as = await handler();
  const name = `${services}/web`;
  const type = "application/merge-patch+json";
  await ask(as, "POST", services, service("web", { type: "NodePort", ports: [port] }));
  const plain = await specOf(ask(as, "PATCH", name, { spec: { type: "ClusterIP" } }, { type }));
  expect(plain).not.toHaveProperty("externalTrafficPolicy");
  expect((plain.ports as object[])[0]).not.toHaveProperty("nodePort");
  const asked = { spec: { ports: [{ port: 80, nodePort: 30080 }] } };
  expect(refusal(await ask(as, "PATCH", name, asked, { type }))[1]).toBe(
    "Service \"web\" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
  );
  const named = { spec: { type: "ExternalName", externalName: "example.com" } };
  const elsewhere = await specOf(ask(as, "PATCH", name, named, { type }));
  expect(elsewhere).not.toHaveProperty("clusterIP");
  expect(elsewhere).not.toHaveProperty("ipFamilies");
  const back = await specOf(ask(as, "PATCH", name, { spec: { type: "ClusterIP" } }, { type }));
  expect(back.clusterIPs).toHaveLength(1);
});

test("a new Service shares a node port between protocols, but never between ports", async () => {
  const as = await handler();
  const dns = [
    { name: "tcp", port: 53 },
    { name: "udp", port: 53, protocol: "UDP" },
  ];
  const { ports } = await specOf(
    ask(as, "POST", services, service("dns", { type: "NodePort", ports: dns })),
  );
  const [tcp, udp] = ports as { nodePort: number }[];
  expect(tcp?.nodePort).toBe(udp?.nodePort);
  const twice = dns.map((one, index) => ({ ...one, port: 53 + index, nodePort: 30053 }));
  const refused = await ask(
    as,
    "POST",
    services,
    service("no", { type: "NodePort", ports: twice }),
  );
  expect(refusal(refused)[1]).toBe(
    'Service "no" is invalid: spec.ports[1].nodePort: Invalid value: 30053: provided port is already allocated',
  );
});

test("a Service's name may start with a digit", async () => {
  const as = await handler();
  const answer = await ask(as, "POST", services, service("1-web", { ports: [port] }));
  expect(answer.status).toBe(201);
  expect(refusal(await ask(as, "POST", services, service("a.b", { ports: [port] })))[1]).toContain(
    "must not contain dots",
  );
});

test("services are selected by their fields", async () => {
  const as = await handler();
  await ask(as, "POST", services, service("web", { type: "NodePort", ports: [port] }));
  const found = itemsOf(await ask(as, "GET", `${services}?fieldSelector=spec.type%3DNodePort`));
  expect(found.map(({ metadata }) => metadata.name)).toEqual(["web"]);
});

test("every answer about Endpoints warns", async () => {
  const as = await handler();
  const warning =
    '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"';
  const { headers } = await ask(as, "GET", "/api/v1/endpoints");
  expect(JSON.stringify(headers)).toContain(JSON.stringify(warning).slice(1, -1));
});

test("a Node says its status when it is created", async () => {
  const as = await handler();
  const node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1" },
    spec: { podCIDR: "10.0.0.0/24", configSource: {} },
    status: { capacity: { cpu: "4" }, addresses: [{ type: "InternalIP", address: "192.0.2.9" }] },
  };
  const made = objectOf(await ask(as, "POST", "/api/v1/nodes", node));
  expect(made.spec).not.toHaveProperty("configSource");
  expect(made.spec).toMatchObject({ podCIDR: "10.0.0.0/24", podCIDRs: ["10.0.0.0/24"] });
  expect(made.status).toMatchObject({
    allocatable: { cpu: "4" },
    addresses: [{ type: "InternalIP", address: "192.0.2.9" }],
  });
  const moved = { ...node, spec: { podCIDR: "10.0.1.0/24" } };
  expect(refusal(await ask(as, "PUT", "/api/v1/nodes/n1", moved))[1]).toBe(
    'Node "n1" is invalid: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
  );
});

test("events.k8s.io selects by its own fields and is held to its own rules", async () => {
  const as = await handler();
  const path = "/apis/events.k8s.io/v1/namespaces/default/events";
  const event = {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "e" },
    eventTime: "2026-01-01T00:00:00.000000Z",
    reportingController: "example.com/c",
    reportingInstance: "c-1",
    action: "Act",
    reason: "Because",
    regarding: { kind: "Pod", name: "p", namespace: "default" },
    type: "Normal",
    note: "so it is",
  };
  expect((await ask(as, "POST", path, event)).status).toBe(201);
  const [, why] = refusal(await ask(as, "POST", path, { ...event, type: "Odd" }));
  expect(why).toContain('type: Invalid value: "": has invalid value: Odd');
  const found = itemsOf(await ask(as, "GET", `${path}?fieldSelector=regarding.name%3Dp`));
  expect(found).toHaveLength(1);
  expect(itemsOf(await ask(as, "GET", `${path}?fieldSelector=regarding.name%3Dq`))).toEqual([]);
  expect(refusal(await ask(as, "GET", `${path}?fieldSelector=involvedObject.name%3Dp`))[0]).toBe(
    400,
  );
});

test("an EndpointSlice counts its labels as well, and keeps its address type", async () => {
  const as = await handler();
  const path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "s" },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.0.0.1"] }],
    ports: [{ port: 80 }],
  };
  const made = objectOf(await ask(as, "POST", path, slice));
  expect(made.metadata.generation).toBe(1);
  expect(made.ports).toEqual([{ name: "", port: 80, protocol: "TCP" }]);
  const labelled = { ...slice, metadata: { name: "s", labels: { a: "b" } } };
  const next = objectOf(await ask(as, "PUT", `${path}/s`, labelled));
  expect(next.metadata.generation).toBe(2);
  const turned = { ...labelled, addressType: "FQDN", endpoints: [{ addresses: ["a.b"] }] };
  expect(refusal(await ask(as, "PUT", `${path}/s`, turned))[1]).toBe(
    'EndpointSlice.discovery.k8s.io "s" is invalid: addressType: Invalid value: null: field is immutable',
  );
});

test("a Lease is made by an update, but never changed blindly", async () => {
  const as = await handler();
  const path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
  const lease = {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "l" },
    spec: { holderIdentity: "me", strategy: "OldestEmulationVersion" },
  };
  const made = await ask(as, "PUT", path, lease);
  expect(made.status).toBe(201);
  expect(objectOf(made).spec).toEqual({ holderIdentity: "me" });
  expect(refusal(await ask(as, "PUT", path, lease))[1]).toBe(
    'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
  );
});
