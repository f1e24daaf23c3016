import { expect, test } from "vitest";
import { createErrors, decoded, prepared, updateErrors } from "../../test-objects.ts";
import { Ingress } from "./ingress.ts";
import { IngressClass } from "./ingressclass.ts";
import { IPAddress } from "./ipaddress.ts";
import { NetworkPolicy } from "./networkpolicy.ts";
import { ServiceCIDR } from "./servicecidr.ts";

const metadata = { name: "one", namespace: "shop" };
const backend = { service: { name: "web", port: { number: 80 } } };
const ingress = (spec: object) => ({ metadata, spec });
const withPath = (path: object) =>
  ingress({ rules: [{ host: "a.example", http: { paths: [{ backend, ...path }] } }] });

test("an Ingress needs a rule or a default backend, and backends that say where", () => {
  expect(createErrors(Ingress, ingress({}))).toEqual([
    "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
  ]);
  const defaultBackend = (one: object) => createErrors(Ingress, ingress({ defaultBackend: one }));
  expect(defaultBackend(backend)).toEqual([]);
  expect(defaultBackend({})).toEqual([
    'spec.defaultBackend: Invalid value: "": resource or service backend is required',
  ]);
  expect(defaultBackend({ ...backend, resource: { kind: "A", name: "b" } })).toEqual([
    'spec.defaultBackend: Invalid value: "": cannot set both resource and service backends',
  ]);
  expect(defaultBackend({ service: { name: "web", port: {} } })).toEqual([
    "spec.defaultBackend: Required value: port name or number is required",
  ]);
  expect(defaultBackend({ service: { name: "web", port: { name: "a", number: 1 } } })).toEqual([
    'spec.defaultBackend: Invalid value: "": cannot set both port name & port number',
  ]);
});

test("paths of an Ingress are absolute and in one form", () => {
  const at = "spec.rules[0].http.paths[0]";
  const path = (pathType: string, one: string) =>
    createErrors(Ingress, withPath({ pathType, path: one }));
  expect(path("Prefix", "/a")).toEqual([]);
  expect(path("ImplementationSpecific", "")).toEqual([]);
  expect(path("Exact", "a//b/..")).toEqual([
    `${at}.path: Invalid value: "a//b/..": must be an absolute path`,
    `${at}.path: Invalid value: "a//b/..": must not contain '//'`,
    `${at}.path: Invalid value: "a//b/..": cannot end with '/..'`,
  ]);
  expect(path("Other", "/")).toEqual([
    `${at}.pathType: Unsupported value: "Other": supported values: "Exact", "ImplementationSpecific", "Prefix"`,
  ]);
  expect(createErrors(Ingress, withPath({ path: "/" }))).toEqual([
    `${at}.pathType: Required value: pathType must be specified`,
  ]);
});

test("hosts of an Ingress are names, wildcards only in front", () => {
  const host = (one: string) =>
    createErrors(Ingress, ingress({ rules: [{ host: one }] })).map((error) => error.slice(0, 60));
  expect(host("*.example.com")).toEqual([]);
  expect(host("10.0.0.1")).toEqual([
    'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS',
  ]);
  expect(host("a.*.com")[0]).toContain('spec.rules[0].host: Invalid value: "a.*.com": a wildcard');
  expect(createErrors(Ingress, ingress({ rules: [{ http: { paths: [] } }] }))).toEqual([
    "spec.rules[0].http.paths: Required value",
  ]);
});

test("the class of an Ingress: annotation and field must agree; the annotation alone is old", () => {
  const annotations = { "kubernetes.io/ingress.class": "a" };
  const old = { metadata: { ...metadata, annotations }, spec: { defaultBackend: backend } };
  expect(Ingress.strategy.warnings?.(decoded(Ingress, old), undefined)).toEqual([
    "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
  ]);
  const both = { ...old, spec: { ...old.spec, ingressClassName: "b" } };
  expect(createErrors(Ingress, both)).toEqual([
    'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` when both are specified',
  ]);
});

test("the cells of an Ingress", () => {
  const rules = ["a", "b", "c", "d", "e"].map((name) => ({ host: `${name}.example` }));
  const object = prepared(Ingress, ingress({ rules, tls: [{}], ingressClassName: "wherry" }));
  object.status = { loadBalancer: { ingress: [{ ip: "192.0.2.2" }, { ip: "192.0.2.1" }] } };
  const cells = Ingress.printerColumns.slice(0, 4).map(({ value }) => value(object, 0));
  expect(cells).toEqual([
    "wherry",
    "a.example,b.example,c.example + 2 more...",
    "192.0.2.1,192.0.2.2",
    "80, 443",
  ]);
});

test("an IngressClass keeps its controller; its parameters have a scope", () => {
  const of = (spec: object) => ({ metadata: { name: "one" }, spec });
  expect(createErrors(IngressClass, of({ controller: "wherry.io/ingress" }))).toEqual([]);
  expect(
    updateErrors(IngressClass, of({ controller: "a.b/c" }), of({ controller: "a.b/d" })),
  ).toEqual(['spec.controller: Invalid value: "a.b/d": field is immutable']);
  const parameters = { kind: "K", name: "n", scope: "Namespace" };
  expect(createErrors(IngressClass, of({ controller: "a.b/c", parameters }))).toEqual([
    "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
  ]);
});

test("a NetworkPolicy is for incoming traffic, and for outgoing if it says something of it", () => {
  const types = (spec: object) =>
    decoded(NetworkPolicy, { metadata, spec: { podSelector: {}, ...spec } }).spec.policyTypes;
  expect(types({})).toEqual(["Ingress"]);
  expect(types({ egress: [{}] })).toEqual(["Ingress", "Egress"]);
  expect(types({ egress: [{}], policyTypes: ["Egress"] })).toEqual(["Egress"]);
});

test("what is wrong with a NetworkPolicy", () => {
  const from = (...peers: object[]) => ({
    metadata,
    spec: { podSelector: {}, ingress: [{ from: peers }] },
  });
  const ports = (...all: object[]) => ({
    metadata,
    spec: { podSelector: {}, egress: [{ ports: all }] },
  });
  expect(createErrors(NetworkPolicy, from({}))).toEqual([
    "spec.ingress[0].from[0]: Required value: must specify a peer",
  ]);
  const ipBlock = { cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/16"] };
  expect(createErrors(NetworkPolicy, from({ ipBlock, podSelector: {} }))).toEqual([
    'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
    'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
    "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
  ]);
  expect(
    createErrors(
      NetworkPolicy,
      ports(
        { port: 80, endPort: 79 },
        { port: "http", endPort: 80 },
        { endPort: 1 },
        { protocol: "X" },
      ),
    ),
  ).toEqual([
    "spec.egress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
    "spec.egress[0].ports[1].endPort: Invalid value: 80: may not be specified when `port` is non-numeric",
    "spec.egress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is not specified",
    'spec.egress[0].ports[3].protocol: Unsupported value: "X": supported values: "TCP", "UDP", "SCTP"',
  ]);
  const loose = from({ ipBlock: { cidr: "10.0.0.1/8" } });
  expect(createErrors(NetworkPolicy, loose)).toEqual([
    'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length',
  ]);
  expect(updateErrors(NetworkPolicy, loose, loose)).toEqual([]);
});

test("an IPAddress is named by an address, and belongs to somebody for good", () => {
  expect(IPAddress.strategy.nameProblems?.("10.0.0.1")).toEqual([]);
  expect(IPAddress.strategy.nameProblems?.("10.0.0.01")).toEqual(["must not have leading 0s"]);
  expect(IPAddress.strategy.nameProblems?.("2001:DB8::1")).toEqual([
    'must be in canonical form ("2001:db8::1")',
  ]);
  const of = (parentRef?: object) => ({ metadata: { name: "10.0.0.1" }, spec: { parentRef } });
  const parent = { resource: "services", namespace: "shop", name: "web" };
  expect(createErrors(IPAddress, of())).toEqual(["spec.parentRef: Required value"]);
  expect(createErrors(IPAddress, of({ name: "web" }))).toEqual([
    "spec.parentRef.resource: Required value",
  ]);
  const cell = IPAddress.printerColumns[0]?.value(decoded(IPAddress, of(parent)), 0);
  expect(cell).toBe("services/shop/web");
  expect(updateErrors(IPAddress, of(parent), of({ ...parent, name: "b" })).length).toBe(1);
});

test("a ServiceCIDR has one range a family, and may get its second one later", () => {
  const of = (...cidrs: string[]) => ({ metadata: { name: "one" }, spec: { cidrs } });
  expect(createErrors(ServiceCIDR, of())).toEqual([
    "spec.cidrs: Required value: at least one CIDR required",
  ]);
  expect(createErrors(ServiceCIDR, of("10.0.0.0/16", "10.1.0.0/16"))).toEqual([
    'spec.cidrs: Invalid value: ["10.0.0.0/16","10.1.0.0/16"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
  ]);
  expect(updateErrors(ServiceCIDR, of("10.0.0.0/16"), of("10.0.0.0/16", "fd00::/112"))).toEqual([]);
  expect(updateErrors(ServiceCIDR, of("10.0.0.0/16"), of("10.1.0.0/16"))).toEqual([
    'spec.cidrs[0]: Invalid value: "10.1.0.0/16": field is immutable',
  ]);
});
