/** Stories of the network: balancers, policies, and names, on simulated machines. */
import { afterEach, expect, test } from "vitest";
import { Event } from "#api/core/v1/event.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { ServiceCIDR } from "#api/networking/v1/servicecidr.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});
async function newWorld(nodes = 2): Promise<World> {
  world = await createWorld({ seed: 7, nodes, transport: "direct" });
  return world;
}

const namespace = "default";
const pod = (name: string, labels: string, more = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { ${labels} } }
spec: { ${more} containers: [{ name: web, image: "web:1", ports: [{ name: http, containerPort: 80 }] }] }
---`;
const service = (name: string, spec: string): string => `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: web }, ports: [{ port: 80 }], ${spec} }
---`;
async function untilReady(on: World, ...names: readonly string[]): Promise<void> {
  await on.until(async () => {
    const { items } = await on.client.list(Pod, { namespace });
    return names.every((name) => items.some((one) => one.metadata.name === name && isReady(one)));
  }, 60_000);
  await on.advance(500);
}
const addresses = async (on: World, name: string): Promise<(string | undefined)[]> => {
  const found = await on.run(on.client.get(Service, { name, namespace }));
  return (found.status.loadBalancer.ingress ?? []).map(({ ip }) => ip);
};

test("a LoadBalancer has the nodes' addresses at once, and answers there", async () => {
  const on = await newWorld();
  await on.apply(pod("web", "app: web") + service("web", "type: LoadBalancer"));
  await untilReady(on, "web");
  const own = [...on.nodes.values()].map(({ address }) => address);
  expect(await addresses(on, "web")).toEqual(own);
  for (const address of own) {
    expect((await on.get(`http://${address}/a`)).body).toBe("web GET /a\n");
    expect((await on.get(`http://${address}/a`, "default/web")).body).toBe("web GET /a\n");
  }
  // A second one on the same port has to wait, and says why.
  await on.apply(service("late", "type: LoadBalancer"));
  await on.advance(1000);
  expect(await addresses(on, "late")).toEqual([]);
  const events = await on.run(on.client.list(Event, { namespace }));
  expect(events.items.map(({ message }) => message)).toContain(
    "Error syncing load balancer: failed to ensure load balancer: port 80/TCP is in use by Service default/web",
  );
  await on.run(on.client.delete(Service, { name: "web", namespace }));
  await on.advance(1000);
  expect(await addresses(on, "late")).toEqual(own);
  // A node that fails is no address any more.
  await on.run(on.node("node-2").powerCut());
  await on.until(async () => (await addresses(on, "late")).length === 1, 120_000);
  expect(await addresses(on, "late")).toEqual(own.slice(0, 1));
});

const silent = async (on: World, url: string, from: string): Promise<void> => {
  await expect(on.get(url, from)).rejects.toThrow();
};

test("NetworkPolicies close pods and open them for those they name", async () => {
  const on = await newWorld();
  const spread = (node: string) => `nodeName: ${node},`;
  await on.apply(
    pod("web", "app: web", spread("node-1")) +
      pod("friend", "app: friend", spread("node-2")) +
      pod("stranger", "app: stranger", spread("node-1")) +
      service("web", "type: NodePort"),
  );
  await untilReady(on, "web", "friend", "stranger");
  for (const from of ["default/friend", "default/stranger"]) {
    expect((await on.get("http://web/", from)).status).toBe(200);
  }
  await on.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: friend } } }]
      ports: [{ port: http }]
`);
  await on.advance(500);
  expect((await on.get("http://web/", "default/friend")).status).toBe(200);
  await silent(on, "http://web/", "default/stranger");
  // The node reaches its own pods whatever the policies say: probes pass.
  await on.advance(30_000);
  await untilReady(on, "web");
  // Who gets the label becomes a friend.
  const labels = { app: "friend" };
  const ref = { name: "stranger", namespace };
  await on.run(on.client.patch(Pod, ref, "merge", { metadata: { labels } }));
  await on.advance(500);
  expect((await on.get("http://web/", "default/stranger")).status).toBe(200);
  await on.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: out }
spec:
  podSelector: { matchLabels: { app: friend } }
  policyTypes: [Egress]
`);
  await on.advance(500);
  const { spec } = await on.run(on.client.get(Service, { name: "web", namespace }));
  await silent(on, `http://${spec.clusterIP}/`, "default/friend");
  await silent(on, "http://web/", "default/friend");
  await on.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: out }
spec:
  podSelector: { matchLabels: { app: friend } }
  policyTypes: [Egress]
  egress:
    - to: [{ podSelector: { matchLabels: { app: web } } }]
    - to:
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } }
          podSelector: { matchLabels: { k8s-app: kube-dns } }
      ports: [{ port: 53, protocol: UDP }, { port: 53 }]
`);
  await on.advance(500);
  expect((await on.get("http://web/", "default/friend")).status).toBe(200);
});

test("the range of the Services' addresses is an object that is Ready", async () => {
  const on = await newWorld(1);
  const found = await on.run(on.client.get(ServiceCIDR, { name: "kubernetes" }));
  expect(found.spec.cidrs).toEqual(["10.96.0.0/16"]);
  expect(found.status.conditions?.[0]).toMatchObject({ type: "Ready", status: "True" });
});

test("what a load balancer wants of a node must be free there; it is held while it is wanted", async () => {
  const on = await newWorld(1);
  const { address } = on.node("node-1");
  const machine = on.network.host(address);
  const taken = await machine.serve(
    { host: "0.0.0.0", port: 80 },
    { bodyBytesMax: 0 },
    async () => ({
      status: 200,
      headers: {},
      body: new TextEncoder().encode("the machine's own"),
    }),
  );
  await on.apply(pod("web", "app: web") + service("web", "type: LoadBalancer"));
  await untilReady(on, "web");
  expect((await on.get(`http://${address}/`)).body).toBe("the machine's own");
  const events = await on.run(on.client.list(Event, { namespace }));
  expect(events.items.find(({ reason }) => reason === "PortInUse")?.message).toContain(
    `another program on node node-1 listens on ${address}:80/TCP`,
  );
  await on.run(taken.close(0));
  await on.advance(61_000);
  expect((await on.get(`http://${address}/`)).body).toBe("web GET /\n");
  const here = machine.connect({ host: "127.0.0.1", port: 80 }, {});
  (await on.run(here)).abort(new Error("seen"));
  const late = machine.listen({ host: address, port: 80 }, {}, () => {});
  await expect(late).rejects.toThrow("EADDRINUSE");
  await on.run(on.client.delete(Service, { name: "web", namespace }));
  await on.advance(1000);
  const free = await machine.listen({ host: address, port: 80 }, {}, () => {});
  await free.close(0);
});

test("balancers with externalTrafficPolicy Local tell where their endpoints are", async () => {
  const on = await newWorld();
  const local = "type: LoadBalancer, externalTrafficPolicy: Local";
  await on.apply(pod("web", "app: web", "nodeName: node-2,") + service("web", local));
  await untilReady(on, "web");
  const { address } = on.node("node-2");
  expect(await addresses(on, "web")).toEqual([address]);
  const { spec } = await on.run(on.client.get(Service, { name: "web", namespace }));
  const check = (name: string) =>
    on.get(`http://${on.node(name).address}:${spec.healthCheckNodePort}/healthz`);
  expect(await check("node-2")).toEqual({
    status: 200,
    body: '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 1,\n\t"serviceProxyHealthy": true\n}',
  });
  expect((await check("node-1")).status).toBe(503);
  await on.run(on.client.delete(Service, { name: "web", namespace }));
  await on.advance(1000);
  await expect(check("node-2")).rejects.toThrow("ECONNREFUSED");
});
