import { expect, test } from "vitest";
import { Namespace } from "#api/core/v1/namespace.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { NetworkPolicy } from "#api/networking/v1/networkpolicy.ts";
import { decoded } from "#api/test-objects.ts";
import type { Stored } from "#machinery/meta.ts";
import { policyFacts } from "./policy-facts.ts";

const pod = (
  name: string,
  labels: object,
  podIP: string,
  more: { node?: string; namespace?: string; port?: number; hostNetwork?: boolean } = {},
): Stored<Pod> =>
  decoded(Pod, {
    metadata: { name, namespace: more.namespace ?? "shop", labels },
    spec: {
      nodeName: more.node ?? "n1",
      hostNetwork: more.hostNetwork,
      containers: [{ name: "a", ports: [{ name: "http", containerPort: more.port ?? 80 }] }],
    },
    status: { phase: "Running", podIP, podIPs: [{ ip: podIP }] },
  }) as Stored<Pod>;
const namespace = (name: string, labels: object = {}): Stored<Namespace> =>
  decoded(Namespace, { metadata: { name, labels } }) as Stored<Namespace>;

const pods = [
  pod("web1", { app: "web" }, "10.0.0.1"),
  pod("web2", { app: "web" }, "10.0.0.2", { port: 8080 }),
  pod("web3", { app: "web" }, "10.0.1.1", { node: "n2" }),
  pod("api", { app: "api" }, "10.0.0.3"),
  pod("host", { app: "web" }, "192.0.2.1", { hostNetwork: true }),
  pod("spy", { app: "web" }, "10.0.0.9", { namespace: "other" }),
];
const dns = [
  { address: "192.0.2.1", protocol: "UDP", port: 5353 },
  { address: "192.0.2.1", protocol: "TCP", port: 5353 },
];
const facts = (spec: object) => {
  const policy = decoded(NetworkPolicy, { metadata: { name: "p", namespace: "shop" }, spec });
  return policyFacts({
    nodeName: "n1",
    policies: [policy as Stored<NetworkPolicy>],
    namespaces: [namespace("shop"), namespace("other", { team: "x" }), namespace("kube-system")],
    podsIn: (name) => pods.filter(({ metadata }) => metadata.namespace === name),
    dns,
  });
};
const rules = (spec: object, direction = "ingress") => {
  const fact = facts({ podSelector: {}, ...spec }).get(`policy/shop/p/${direction}`);
  return fact?.type === "policy" ? fact.rules : undefined;
};

test("the pods of this node that a policy selects get a gate; others are free", () => {
  expect(Object.fromEntries(facts({ podSelector: { matchLabels: { app: "web" } } }))).toEqual({
    "policy/shop/p/ingress": { type: "policy", direction: "ingress", rules: [] },
    "gate/10.0.0.1/ingress": {
      type: "gate",
      direction: "ingress",
      address: "10.0.0.1",
      policies: ["policy/shop/p/ingress"],
    },
    "gate/10.0.0.2/ingress": {
      type: "gate",
      direction: "ingress",
      address: "10.0.0.2",
      policies: ["policy/shop/p/ingress"],
    },
  });
  expect(facts({ podSelector: { matchLabels: { app: "none" } } }).size).toBe(0);
});

test("peers are pods of the policy's namespace, of others, or blocks; none at all is anyone", () => {
  const addresses = (...from: object[]) => rules({ ingress: [{ from }] })?.[0]?.peers?.addresses;
  const api = { matchLabels: { app: "api" } };
  expect(addresses({ podSelector: api })).toEqual(["10.0.0.3"]);
  expect(addresses({ podSelector: {} })).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1"]);
  const namespaceSelector = { matchLabels: { team: "x" } };
  expect(addresses({ namespaceSelector })).toEqual(["10.0.0.9"]);
  expect(addresses({ namespaceSelector, podSelector: api })).toEqual([]);
  expect(addresses({ namespaceSelector: {}, podSelector: api })).toEqual(["10.0.0.3"]);
  expect(addresses({ podSelector: api }, { namespaceSelector })).toEqual(["10.0.0.3", "10.0.0.9"]);
  expect(rules({ ingress: [{}] })).toEqual([{}]);
  const ipBlock = { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] };
  expect(rules({ ingress: [{ from: [{ ipBlock }] }] })).toEqual([
    { peers: { addresses: [], blocks: [ipBlock] } },
  ]);
});

test("named ports are each pod's own", () => {
  expect(rules({ ingress: [{ ports: [{ port: "http" }, { port: 90, endPort: 99 }] }] })).toEqual([
    {
      ports: [
        { protocol: "TCP", range: [80, 80], at: ["10.0.0.1", "10.0.0.3"] },
        { protocol: "TCP", range: [8080, 8080], at: ["10.0.0.2"] },
        { protocol: "TCP", range: [90, 99] },
      ],
    },
  ]);
  const to = [{ podSelector: { matchLabels: { app: "web" } } }];
  const egress = [{ to, ports: [{ port: "http" }] }];
  expect(rules({ egress, policyTypes: ["Egress"] }, "egress")?.[0]?.ports).toEqual([
    { protocol: "TCP", range: [80, 80], at: ["10.0.0.1", "10.0.1.1"] },
    { protocol: "TCP", range: [8080, 8080], at: ["10.0.0.2"] },
  ]);
});

test("who may ask the pods that DNS is elsewhere may ask the nodes that it is here", () => {
  const out = (...egress: object[]) =>
    rules({ egress, policyTypes: ["Egress"] }, "egress")?.filter(
      ({ peers }) => peers?.addresses[0] === "192.0.2.1",
    );
  const udp = {
    peers: { addresses: ["192.0.2.1"], blocks: [] },
    ports: [{ protocol: "UDP", range: [5353, 5353] }],
  };
  const tcp = { ...udp, ports: [{ protocol: "TCP", range: [5353, 5353] }] };
  const port = { protocol: "UDP", port: 53 };
  const kubeDns = {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
    podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
  };
  expect(out({ to: [kubeDns], ports: [port] })).toEqual([udp]);
  expect(out({ to: [kubeDns] })).toEqual([udp, tcp]);
  expect(out({ ports: [port] })).toEqual([udp]);
  expect(out({ to: [kubeDns], ports: [{ port: "dns-tcp" }] })).toEqual([tcp]);
  expect(out({ to: [{ podSelector: {} }], ports: [port] })).toEqual([]);
  expect(out({ to: [kubeDns], ports: [{ port: 80 }] })).toEqual([]);
  expect(out({ to: [{ ipBlock: { cidr: "192.0.2.0/24" } }], ports: [port] })).toEqual([udp]);
  const except = { ipBlock: { cidr: "0.0.0.0/0", except: ["192.0.2.0/24"] } };
  expect(out({ to: [except], ports: [port] })).toEqual([]);
  expect(out()).toEqual([]);
});
