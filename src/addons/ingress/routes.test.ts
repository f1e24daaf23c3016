import { expect, test } from "vitest";
import { Secret } from "#api/core/v1/secret.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { Ingress } from "#api/networking/v1/ingress.ts";
import { decoded } from "#api/test-objects.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import type { Stored } from "#machinery/meta.ts";
import { planIngress } from "./routes.ts";

const namespace = "shop";
const ingress = (name: string, spec: object, second = 0) =>
  decoded(Ingress, {
    metadata: { name, namespace, uid: name, creationTimestamp: `2030-01-01T00:00:0${second}Z` },
    spec,
  }) as Stored<Ingress>;
const backend = (name: string, port: object = { number: 80 }) => ({ service: { name, port } });
const rule = (host: string, ...paths: readonly [string, string, string?][]) => ({
  host,
  http: {
    paths: paths.map(([path, name, pathType = "Prefix"]) => ({
      path,
      pathType,
      backend: backend(name),
    })),
  },
});
const service = (name: string, port: object = {}, spec: object = {}) =>
  decoded(Service, {
    metadata: { name, namespace },
    spec: { clusterIP: "10.96.0.1", ports: [{ port: 80, name: "http", ...port }], ...spec },
  }) as Stored<Service>;
type Endpoints = readonly [address: string, conditions: object][];
const slice = (...endpoints: Endpoints) =>
  decoded(EndpointSlice, {
    metadata: { name: "s", namespace },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints: endpoints.map(([address, conditions]) => ({ addresses: [address], conditions })),
  });
const b64 = (text: string) => encodeBase64(new TextEncoder().encode(text));
const secret = (name: string, chain: string) =>
  decoded(Secret, {
    metadata: { name, namespace },
    type: "kubernetes.io/tls",
    data: { "tls.crt": b64(chain), "tls.key": b64("key") },
  }) as Stored<Secret>;

function plan(
  ingresses: readonly Stored<Ingress>[],
  world: {
    services?: readonly Stored<Service>[];
    slices?: readonly EndpointSlice[];
    secrets?: readonly Stored<Secret>[];
  } = {},
) {
  const { services = [service("web"), service("api")], slices = [], secrets = [] } = world;
  const find = <T extends { metadata: { name: string } }>(list: readonly T[], key: string) =>
    list.find(({ metadata }) => key === `${namespace}/${metadata.name}`);
  return planIngress({
    ingresses,
    service: (key) => find(services, key),
    slicesOf: () => slices,
    secret: (key) => find(secrets, key),
    isCertificate: (chain, key) => chain.startsWith("good") && key === "key",
  });
}
const routes = (...all: Parameters<typeof plan>) =>
  plan(...all).table.hosts.map(({ host, routes: list }) => [
    host,
    ...list.map(({ match, path, backend: key }) => `${match} ${path} ${key.split("/")[1]}`),
  ]);

test("rules become routes; ImplementationSpecific is Prefix; no path is every path", () => {
  const one = ingress("one", {
    rules: [rule("a.example", ["/x", "web", "Exact"], ["", "api", "ImplementationSpecific"])],
  });
  expect(routes([one])).toEqual([["a.example", "exact /x web:80", "prefix / api:80"]]);
});

test("the older Ingress keeps what both want", () => {
  const old = ingress("z", { rules: [rule("a.example", ["/", "web"])] }, 1);
  const young = ingress("a", { rules: [rule("a.example", ["/", "api"], ["/b", "api"])] }, 2);
  expect(routes([young, old])).toEqual([["a.example", "prefix / web:80", "prefix /b api:80"]]);
});

test("a default backend takes what is left of its hosts, and every other host", () => {
  const one = ingress("one", {
    defaultBackend: backend("api"),
    rules: [rule("a.example", ["/x", "web"]), { host: "b.example" }],
  });
  expect(routes([one])).toEqual([
    ["", "prefix / api:80"],
    ["a.example", "prefix /x web:80", "prefix / api:80"],
    ["b.example", "prefix / api:80"],
  ]);
});

test("endpoints are those that are ready, or that still serve while they end", () => {
  const one = ingress("one", { defaultBackend: backend("web", { name: "http" }) });
  const backends = (...endpoints: Endpoints) =>
    [...plan([one], { slices: [slice(...endpoints)] }).backends.values()][0]?.endpoints.map(
      ({ address, port }) => `${address}:${port}`,
    );
  const ending = { ready: false, serving: true, terminating: true };
  expect(backends(["10.0.0.2", { ready: true }], ["10.0.0.1", {}], ["10.0.0.3", ending])).toEqual([
    "10.0.0.1:8080",
    "10.0.0.2:8080",
  ]);
  expect(backends(["10.0.0.3", ending], ["10.0.0.4", { ready: false }])).toEqual(["10.0.0.3:8080"]);
});

test("how a backend is spoken to is its port's appProtocol", () => {
  const one = ingress("one", { defaultBackend: backend("web") });
  const protocol = (appProtocol: string) =>
    plan([one], { services: [service("web", { appProtocol })] }).backends.get("shop/web:80")
      ?.protocol;
  expect(
    ["kubernetes.io/h2c", "https", "kubernetes.io/wss", "kubernetes.io/ws"].map(protocol),
  ).toEqual(["h2c", "https", "https", "http"]);
});

test("certificates are those of the Secrets; hosts without one are told", () => {
  const one = ingress("one", {
    rules: [rule("a.example", ["/", "web"]), rule("b.example", ["/", "web"])],
    tls: [
      { hosts: ["a.example"], secretName: "a" },
      { secretName: "b" },
      { hosts: ["c.example"], secretName: "c" },
      { hosts: ["d.example"] },
    ],
  });
  const { table, problems } = plan([one], {
    secrets: [secret("a", "good a"), secret("b", "good b"), secret("c", "bad")],
  });
  expect(table.certificates).toEqual([
    { hosts: ["a.example"], chain: "good a", key: "key" },
    { hosts: ["b.example"], chain: "good b", key: "key" },
  ]);
  expect(problems.map(({ message }) => message.split(";")[0])).toEqual([
    "the Secret shop/c holds no certificate with its key in tls.crt and tls.key",
  ]);
});

test("what cannot be led anywhere is told", () => {
  const resource = { kind: "Bucket", name: "b" };
  const one = ingress("one", {
    rules: [
      rule("a.example", ["/1", "none"], ["/2", "name"]),
      { http: { paths: [{ path: "/", pathType: "Prefix", backend: { resource } }] } },
    ],
    defaultBackend: backend("web", { number: 81 }),
  });
  const name = service("name", {}, { type: "ExternalName", externalName: "x.example" });
  expect(
    plan([one], { services: [service("web"), name] }).problems.map(({ message }) => message),
  ).toEqual([
    "there is no Service shop/none",
    "the Service shop/name is of type ExternalName; this controller leads to endpoints only",
    "the backend Bucket b is a resource; this controller leads to Services only",
    "the Service shop/web has no port 81",
  ]);
});
