import { expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import type { StrategyContext } from "../../resource.ts";
import { EndpointSlice } from "./endpointslice.ts";

const context: StrategyContext = { now: 0, user: "u" };

function slice(parts: Partial<EndpointSlice>): EndpointSlice {
  const made: EndpointSlice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "s", namespace: "default" },
    addressType: "IPv4",
    endpoints: [],
    ports: [],
    ...parts,
  };
  EndpointSlice.strategy.defaults?.(made);
  return made;
}
const endpoint = (...addresses: string[]): EndpointSlice["endpoints"][number] => ({
  addresses,
  conditions: {},
});
const errorsOf = (one: EndpointSlice): string[] =>
  (EndpointSlice.strategy.validate?.(one) ?? []).map(formatFieldError);
const changeErrors = (one: EndpointSlice, old: EndpointSlice): string[] =>
  (EndpointSlice.strategy.validateUpdate?.(one, old) ?? []).map(formatFieldError);

test("addresses by type", () => {
  const errors = (addressType: string, ...addresses: string[]) =>
    errorsOf(slice({ addressType, endpoints: [endpoint(...addresses)] }));
  expect(errors("IPv4", "10.0.0.1")).toEqual([]);
  expect(errors("IPv4", "fd00::1")).toEqual([
    'endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address',
  ]);
  expect(errors("IPv6", "FD00::1")).toEqual([
    'endpoints[0].addresses[0]: Invalid value: "FD00::1": must be in canonical form ("fd00::1")',
  ]);
  expect(errors("FQDN", "a.example.", "localhost")).toEqual([
    'endpoints[0].addresses[1]: Invalid value: "localhost": should be a domain with at least two segments separated by dots',
  ]);
  expect(errors("Odd", "anything")).toEqual([
    'addressType: Unsupported value: "Odd": supported values: "FQDN", "IPv4", "IPv6"',
  ]);
  expect(errors("", "anything")).toEqual(["addressType: Required value"]);
  expect(errors("IPv4")).toEqual(["endpoints[0].addresses: Required value"]);
});

test("ports and hints", () => {
  const forZones = [{ name: "z" }, { name: "z" }];
  const one = slice({
    ports: [{ port: 1 }, { port: 2, protocol: "X" }],
    endpoints: [{ ...endpoint("10.0.0.1"), nodeName: "N", hints: { forZones } }],
  });
  expect(errorsOf(one)).toEqual([
    'ports[1].name: Duplicate value: ""',
    'ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
    expect.stringMatching(/^endpoints\[0\].nodeName: Invalid value: "N": a lowercase RFC 1123/),
    'endpoints[0].hints.forZones[1].name: Duplicate value: "z"',
  ]);
  const many = Array.from({ length: 1001 }, () => endpoint("10.0.0.1"));
  expect(errorsOf(slice({ endpoints: many }))).toEqual([
    "endpoints: Too many: 1001: must have at most 1000 items",
  ]);
});

test("what may stay, and what may not change", () => {
  const old = slice({ endpoints: [endpoint("127.0.0.1")] });
  expect(changeErrors(slice({ endpoints: [endpoint("127.0.0.1")] }), old)).toEqual([]);
  expect(changeErrors(slice({ endpoints: [endpoint("127.0.0.2")] }), old)).toHaveLength(1);
  expect(changeErrors(slice({ addressType: "" }), old)).toEqual([
    "addressType: Required value",
    "addressType: Invalid value: null: field is immutable",
  ]);
});

test("a node's name in the topology of old moves where it belongs", () => {
  const topology = { deprecatedTopology: { "kubernetes.io/hostname": "n1" } };
  const old = slice({ endpoints: [{ ...endpoint("10.0.0.1"), ...topology }] });
  const next = slice({ endpoints: [{ ...endpoint("10.0.0.2"), ...topology }] });
  EndpointSlice.strategy.prepareForUpdate?.(next, old, context);
  expect(next.endpoints).toEqual([{ ...endpoint("10.0.0.2"), nodeName: "n1" }]);
  const made = slice({ endpoints: [{ ...endpoint("10.0.0.2"), ...topology }] });
  EndpointSlice.strategy.prepareForCreate?.(made, context);
  expect(made.endpoints).toEqual([endpoint("10.0.0.2")]);
});

test("warnings", () => {
  const one = slice({ addressType: "FQDN", endpoints: [endpoint("a.b")] });
  expect(EndpointSlice.strategy.warnings?.(one, undefined)).toEqual([
    "spec.addressType: FQDN endpoints are deprecated",
  ]);
  expect(EndpointSlice.strategy.warnings?.(one, one)).toEqual([]);
});

test("cells", () => {
  const cells = (one: EndpointSlice) =>
    EndpointSlice.printerColumns.slice(0, 3).map(({ value }) => value(one, 0));
  expect(cells(slice({}))).toEqual(["IPv4", "<unset>", "<unset>"]);
  const ports = [{ port: 80 }, { name: "x" }];
  const endpoints = [endpoint("10.0.0.1", "10.0.0.2"), endpoint("10.0.0.3"), endpoint("10.0.0.4")];
  expect(cells(slice({ ports, endpoints }))).toEqual([
    "IPv4",
    "80,x",
    "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...",
  ]);
});
