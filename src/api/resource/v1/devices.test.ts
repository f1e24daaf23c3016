/** testdata/refused.json: objects with everything wrong, and each cause that the original's API server gave for refusing them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Resource } from "../../resource.ts";
import { createErrors, decoded, formatted, prepared, testContext } from "../../test-objects.ts";
import { compileSelector } from "./device-expressions.ts";
import { DeviceClass } from "./deviceclass.ts";
import { DeviceTaintRule } from "./devicetaintrule.ts";
import { ResourceClaim } from "./resourceclaim.ts";
import { ResourceClaimTemplate } from "./resourceclaimtemplate.ts";
import { ResourceSlice } from "./resourceslice.ts";

const kinds = { DeviceClass, ResourceClaim, ResourceSlice };
const refused = JSON.parse(
  readFileSync(join(import.meta.dirname, "testdata/refused.json"), "utf8"),
) as readonly {
  readonly kind: keyof typeof kinds;
  readonly spec: object;
  readonly causes: readonly string[];
}[];

describe("all that is wrong with", () => {
  for (const { kind, spec, causes } of refused) {
    test(kind, () => {
      const found = new Set(createErrors(kinds[kind] as unknown as Resource, { spec }));
      // Of a map's keys, the original takes any first.
      expect([...found].sort()).toEqual([...causes].sort());
      const first = (from: Iterable<string>): string | undefined =>
        [...from].find((text) => !text.includes("attributes"));
      expect(first(found)).toBe(first(causes));
    });
  }
});

test("selectors are held to a cost", () => {
  const nested = (depth: number, body: string): string =>
    depth === 0 ? body : `device.attributes.all(v${depth}, ${nested(depth - 1, body)})`;
  const spec = (expression: string) => ({ spec: { selectors: [{ cel: { expression } }] } });
  expect(createErrors(DeviceClass, spec(nested(2, "v1 == v2")))).toEqual([]);
  expect(createErrors(DeviceClass, spec(nested(4, "v1 + v2 == v3 + v4")))).toEqual([
    "spec.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit",
  ]);
  expect(createErrors(DeviceClass, spec("true".padEnd(10_241)))).toEqual([
    "spec.selectors[0].cel.expression: Too long: may not be more than 10240 bytes",
  ]);
});

test("cel.bind names a value", () => {
  const compiled = compileSelector('cel.bind(gpu, device.attributes["a.com"], gpu.fast)');
  expect(compiled).toHaveProperty("program");
  expect(compileSelector("cel.bind(1, 2, true)")).toEqual({
    problem:
      "compilation failed: ERROR: <input>:1:10: cel.bind() variable names must be simple identifiers\n | cel.bind(1, 2, true)\n | .........^",
  });
});

const claim = (status: object = {}): ResourceClaim => {
  const requests = [{ name: "one", exactly: { deviceClassName: "a" } }];
  const made = prepared(ResourceClaim, {
    metadata: { name: "c" },
    spec: { devices: { requests } },
  });
  return { ...made, status: decoded(ResourceClaim, { ...made, status }).status };
};
const result = { request: "one", driver: "a.com", pool: "p", device: "d" };
const allocation = { devices: { results: [result] } };
const statusErrors = (next: ResourceClaim, old: ResourceClaim): string[] => {
  const { strategy } = ResourceClaim;
  strategy.prepareForStatusUpdate?.(next, old, testContext);
  return formatted(strategy.validateStatusUpdate?.(next, old));
};

test("what is allocated stays, and goes as a whole", () => {
  const old = claim({ allocation });
  const other = { devices: { results: [{ ...result, device: "e" }] } };
  expect(statusErrors(claim({ allocation: other }), old)).toEqual([
    "status.allocation: Invalid value: null: field cannot be modified once set",
  ]);
  expect(statusErrors(claim(), old)).toEqual([]);
  expect(statusErrors(claim({ allocation: {} }), claim())).toEqual([]);
  const wrong = {
    devices: { results: [{ ...result, request: "two", pool: "a//b", shareID: "x" }] },
  };
  expect(statusErrors(claim({ allocation: wrong }), claim())).toEqual([
    "status.allocation.devices.results[0].request: Invalid value: \"two\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
    'status.allocation.devices.results[0].pool: Invalid value: "a//b": segment 1: must not be empty',
    'status.allocation.devices.results[0].shareID: Invalid value: "x": must be a lowercase UUID in 8-4-4-4-12 format',
  ]);
});

test("who may use the devices, and what drivers say of them", () => {
  const user = { resource: "pods", name: "p", uid: "u" };
  expect(statusErrors(claim({ reservedFor: [user] }), claim())).toEqual([
    "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
  ]);
  const going = claim({ allocation, reservedFor: [user] });
  going.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
  expect(statusErrors(going, claim({ allocation }))).toEqual([
    "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
  ]);
  const { request: _request, ...device } = result;
  const told = claim({ allocation, devices: [{ ...device, networkData: { ips: ["10.0.0.1"] } }] });
  expect(statusErrors(told, claim({ allocation }))).toEqual([
    'status.devices[0].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)',
  ]);
  const freed = claim({ devices: [device] });
  expect(statusErrors(freed, claim({ allocation, devices: [device] }))).toEqual([]);
  expect(freed.status.devices).toBeUndefined();
});

test("the state of a claim in a table", () => {
  const state = (one: ResourceClaim): unknown =>
    ResourceClaim.printerColumns.find(({ name }) => name === "State")?.value(one, 0);
  const reservedFor = [{ resource: "pods", name: "p", uid: "u" }];
  expect(state(claim())).toBe("pending");
  expect(state(claim({ allocation, reservedFor }))).toBe("allocated,reserved");
  const going = claim({ allocation });
  going.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
  expect(state(going)).toBe("deleted,allocated");
});

test("a template's claim is as a claim, and stays", () => {
  const made = prepared(ResourceClaimTemplate, { metadata: { name: "t" }, spec: { spec: {} } });
  const next = structuredClone(made);
  next.spec.metadata = { labels: { "a b": "c" } };
  const errors = formatted(ResourceClaimTemplate.strategy.validateUpdate?.(next, made));
  expect(errors.map((text) => text.slice(0, 40))).toEqual([
    'spec.metadata.labels: Invalid value: "a ',
    'spec: Invalid value: {"metadata":{"label',
  ]);
});

test("a taint counts from when its effect began", () => {
  const rule = (effect: string, timeAdded?: string): DeviceTaintRule =>
    decoded(DeviceTaintRule, {
      metadata: { name: "r" },
      spec: { taint: { key: "k", effect, ...(timeAdded === undefined ? {} : { timeAdded }) } },
    });
  const old = rule("None", "2001-01-01T00:00:00Z");
  const since = (next: DeviceTaintRule): string | undefined => {
    DeviceTaintRule.strategy.prepareForUpdate?.(next, old, testContext);
    return next.spec.taint.timeAdded;
  };
  expect(since(rule("None", "2001-01-01T00:00:00Z"))).toBe("2001-01-01T00:00:00Z");
  expect(since(rule("NoExecute", "2001-01-01T00:00:00Z"))).toBe("2001-09-09T01:46:40Z");
  expect(since(rule("NoExecute", "2002-01-01T00:00:00Z"))).toBe("2002-01-01T00:00:00Z");
});
