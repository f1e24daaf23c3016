import { expect, test } from "vitest";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { decoded } from "#api/test-objects.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { type BalancerWorld, planBalancer } from "./service-load-balancer-plan.ts";

const node = (name: string, ip: string, more: { ready?: string; labels?: object } = {}) =>
  decoded(Node, {
    metadata: { name, labels: more.labels ?? {} },
    status: {
      addresses: [{ type: "InternalIP", address: ip }],
      conditions: [{ type: "Ready", status: more.ready ?? "True" }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
    },
  }) as Stored<Node>;
const balancer = (name: string, ports: readonly object[], spec: object = {}, second = 0) =>
  decoded(Service, {
    metadata: { name, namespace: "shop", creationTimestamp: `2030-01-01T00:00:0${second}Z` },
    spec: { type: "LoadBalancer", clusterIP: "10.96.0.9", ports, ...spec },
  }) as Stored<Service>;
const slice = (service: string, port: number, nodeName: string, address = "10.0.0.1") =>
  decoded(EndpointSlice, {
    metadata: { name: service.replace("/", "-"), namespace: service.split("/")[0] },
    addressType: "IPv4",
    ports: [{ name: "", port, protocol: "TCP" }],
    endpoints: [{ addresses: [address], conditions: { ready: true }, nodeName }],
  }) as Stored<EndpointSlice>;

const web = balancer("web", [{ port: 80 }], {}, 5);
function plan(service: Stored<Service>, world: Partial<BalancerWorld> = {}) {
  return planBalancer(service, {
    services: [service],
    nodes: [node("n1", "192.0.2.1"), node("n2", "192.0.2.2")],
    podsOn: () => [],
    slicesOf: () => [],
    onNodes: ["default/kubernetes"],
    ...world,
  });
}
const ips = (...args: Parameters<typeof plan>) => plan(...args).ingress.map(({ ip }) => ip);
const refused = (what: string) => ({ ingress: [], problem: `port 80/TCP is in use by ${what}` });

test("every node that is ready and not excluded answers", () => {
  expect(plan(web)).toEqual({
    ingress: [
      { ip: "192.0.2.1", ipMode: "VIP" },
      { ip: "192.0.2.2", ipMode: "VIP" },
    ],
    problem: "",
  });
  const labels = { "node.kubernetes.io/exclude-from-external-load-balancers": "" };
  const others = [
    node("n3", "192.0.2.3", { ready: "Unknown" }),
    node("n4", "192.0.2.4", { labels }),
  ];
  expect(plan(web, { nodes: others }).problem).toBe("no node is ready to serve it");
});

test("with externalTrafficPolicy Local only where it has endpoints", () => {
  const local = balancer("web", [{ port: 80 }], { externalTrafficPolicy: "Local" });
  expect(ips(local)).toEqual([]);
  const slicesOf = (key: string) => (key === keyOf(local) ? [slice("shop/web", 80, "n2")] : []);
  expect(ips(local, { slicesOf })).toEqual(["192.0.2.2"]);
});

test("an address that is asked for is given if a node has it", () => {
  const asked = (loadBalancerIP: string) =>
    plan(balancer("web", [{ port: 80 }], { loadBalancerIP }));
  expect(asked("192.0.2.2").ingress).toEqual([{ ip: "192.0.2.2", ipMode: "VIP" }]);
  expect(asked("192.0.2.9").problem).toBe(
    "spec.loadBalancerIP 192.0.2.9 is no address of a ready node",
  );
});

test("the older of two balancers keeps the port; with another protocol both have it", () => {
  const older = balancer("api", [{ port: 80 }], {}, 1);
  expect(plan(web, { services: [older, web] })).toEqual(refused("Service shop/api"));
  expect(ips(older, { services: [older, web] }).length).toBe(2);
  const udp = balancer("api", [{ port: 80, protocol: "UDP" }], {}, 1);
  expect(ips(web, { services: [udp, web] }).length).toBe(2);
  const foreign = balancer("api", [{ port: 80 }], { loadBalancerClass: "a/b" }, 1);
  expect(ips(web, { services: [foreign, web] }).length).toBe(2);
});

test("node ports, host ports and the node's own programs keep theirs", () => {
  const nodePort = balancer("api", [{ port: 81, nodePort: 80 }]);
  expect(plan(web, { services: [nodePort] })).toEqual(refused("node port of Service shop/api"));
  const pod = decoded(Pod, {
    metadata: { name: "p", namespace: "shop" },
    spec: { containers: [{ name: "a", ports: [{ containerPort: 1, hostPort: 80 }] }] },
  }) as Stored<Pod>;
  const podsOn = (name: string) => (name === "n1" ? [pod] : []);
  expect(ips(web, { podsOn })).toEqual(["192.0.2.2"]);
  const [n1] = [node("n1", "192.0.2.1")];
  expect(plan(web, { podsOn, nodes: [n1] })).toEqual(refused("Pod shop/p"));
  const kubelet = balancer("k", [{ port: 10_250 }]);
  expect(plan(kubelet).problem).toBe("port 10250/TCP is in use by the kubelet");
  const api = slice("default/kubernetes", 80, "", "192.0.2.1");
  const slicesOf = (key: string) => (key === "default/kubernetes" ? [api] : []);
  expect(plan(web, { slicesOf, nodes: [n1] })).toEqual(refused("Service default/kubernetes"));
});
