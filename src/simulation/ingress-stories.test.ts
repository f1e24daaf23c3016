/** Stories of the ingress on simulated machines. */
import { afterEach, expect, test } from "vitest";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { Event } from "#api/core/v1/event.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { Ingress } from "#api/networking/v1/ingress.ts";
import { get } from "./http.ts";
import { createWorld, outside, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});
async function newWorld(nodes = 2): Promise<World> {
  world = await createWorld({ seed: 11, nodes, transport: "direct" });
  return world;
}
const namespace = "default";
const web = (name: string, replicas = 2): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec: { containers: [{ name: web, image: "${name}:1", ports: [{ containerPort: 80 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${name} }, ports: [{ port: 80 }] }
---`;
const ingress = (name: string, spec: string): string => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: ${name} }
spec: ${spec}
---`;
const path = (name: string): string =>
  `{ path: /, pathType: Prefix, backend: { service: { name: ${name}, port: { number: 80 } } } }`;
const forHost = (host: string, name: string): string =>
  `{ rules: [{ host: ${host}, http: { paths: [${path(name)}] } }] }`;
const addresses = async (on: World, name: string): Promise<(string | undefined)[]> => {
  const found = await on.run(on.client.get(Ingress, { name, namespace }));
  return (found.status.loadBalancer.ingress ?? []).map(({ ip }) => ip);
};
async function untilReady(on: World, name: string, count: number): Promise<void> {
  await on.until(async () => {
    const labelSelector = `kubernetes.io/service-name=${name}`;
    const { items } = await on.client.list(EndpointSlice, { namespace, labelSelector });
    const ready = items.flatMap(({ endpoints }) => endpoints ?? []);
    return ready.filter(({ conditions }) => conditions.ready === true).length === count;
  }, 60_000);
  await on.advance(1000);
}
/** As a browser that finds `host` at that address. */
async function visit(on: World, address: string, host: string, target = "/"): Promise<string> {
  const place = await on.run(on.placeOf(outside));
  const client = place.http({ host: address, port: 80 }, { version: 1 });
  const asked = client.send({ method: "GET", target, headers: { host } });
  const { status, body } = await on.run(asked);
  const text = (await on.run(body.next()))?.map((one) => new TextDecoder().decode(one)).join("");
  client.close();
  return status === 200 ? (text ?? "") : String(status);
}

test("an Ingress without a class is ours; every node answers for it, and its status says where", async () => {
  const on = await newWorld();
  const [one = "", two = ""] = [...on.nodes.values()].map(({ address }) => address);
  // Nobody listens while there is nothing to answer for.
  await expect(on.get(`http://${one}/`)).rejects.toThrow("ECONNREFUSED");
  await on.apply(web("web") + web("api") + ingress("web", forHost("web.example", "web")));
  await untilReady(on, "web", 2);
  await untilReady(on, "api", 2);
  expect(await addresses(on, "web")).toEqual([one, two]);
  for (const address of [one, two]) {
    expect(await visit(on, address, "web.example", "/a")).toMatch(/^web-.* GET \/a\n$/);
    expect(await visit(on, address, "api.example")).toBe("404");
  }
  await on.apply(ingress("api", forHost('"*.example"', "api")));
  await on.advance(500);
  expect(await visit(on, one, "api.example")).toMatch(/^api-/);
  expect(await visit(on, one, "web.example")).toMatch(/^web-/);
  for (const name of ["web", "api"]) await on.run(on.client.delete(Ingress, { name, namespace }));
  await on.advance(15_000);
  await expect(on.get(`http://${one}/`)).rejects.toThrow("ECONNREFUSED");
});

test("no request is lost while the backends roll", async () => {
  const on = await newWorld();
  const [address = ""] = [...on.nodes.values()].map((node) => node.address);
  await on.apply(
    web("web", 3) +
      ingress("web", `{ defaultBackend: { service: { name: web, port: { number: 80 } } } }`),
  );
  await untilReady(on, "web", 3);
  const load = await on.load(`http://${address}/`, outside, 20);
  const patch = {
    spec: { template: { spec: { containers: [{ name: "web", image: "web:2" }] } } },
  };
  await on.run(on.client.patch(Deployment, { name: "web", namespace }, "strategic", patch));
  await on.advance(60_000);
  const { answered, failures, bodies } = load.stop();
  await on.advance(10_000);
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(2000);
  expect(bodies.size).toBe(6);
});

test("another program's port stays its own; the status says what stands in for it", async () => {
  const on = await newWorld(1);
  const { address } = on.node("node-1");
  const machine = on.network.host(address);
  const taken = await machine.listen({ host: "0.0.0.0", port: 80 }, {}, () => {});
  await on.apply(web("web") + ingress("web", forHost("web.example", "missing")));
  await untilReady(on, "web", 2);
  const found = await on.run(on.client.get(Ingress, { name: "web", namespace }));
  expect(found.status.loadBalancer.ingress).toEqual([
    {
      ip: address,
      ports: [
        { port: 8080, protocol: "TCP" },
        { port: 443, protocol: "TCP" },
        { port: 80, protocol: "TCP", error: "PortInUse" },
      ],
    },
  ]);
  const answer = on.run(
    get(await on.run(on.placeOf(outside)), on.clock, `http://${address}:8080/`, 1000),
  );
  expect((await answer).status).toBe(404);
  const { items } = await on.run(on.client.list(Event, { namespace }));
  expect(items.map(({ message }) => message)).toContain("there is no Service default/missing");
  await taken.close(0);
});

test("an ingress of another class is left alone", async () => {
  const on = await newWorld(1);
  await on.apply(
    web("web") +
      ingress("web", forHost("a.example", "web").replace("{", "{ ingressClassName: nginx,")),
  );
  await untilReady(on, "web", 2);
  expect(await addresses(on, "web")).toEqual([]);
  await expect(on.get(`http://${on.node("node-1").address}/`)).rejects.toThrow("ECONNREFUSED");
});
