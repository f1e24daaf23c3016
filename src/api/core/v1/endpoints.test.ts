import { expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import { Endpoints } from "./endpoints.ts";

function endpoints(subsets: Endpoints["subsets"], labels: Record<string, string> = {}): Endpoints {
  const made: Endpoints = {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { name: "e", namespace: "default", labels },
    subsets: subsets ?? [],
  };
  Endpoints.strategy.defaults?.(made);
  return made;
}
const cell = (one: Endpoints): unknown => Endpoints.printerColumns[0]?.value(one, 0);

test("what is wrong, and what may stay", () => {
  const bad = endpoints([
    {},
    {
      addresses: [{ ip: "127.0.0.1", hostname: "A" }, { ip: "x" }],
      ports: [
        { port: 0, name: "a" },
        { port: 1, protocol: "X" },
      ],
    },
  ]);
  expect(Endpoints.strategy.validate?.(bad).map(formatFieldError)).toEqual([
    "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    expect.stringMatching(/^subsets\[1\].addresses\[0\].hostname: Invalid value: "A": a lowercase/),
    'subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    'subsets[1].addresses[1].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    'subsets[1].addresses[1].ip: Invalid value: "x": must be a valid IP address',
    "subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    "subsets[1].ports[1].name: Required value",
    'subsets[1].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
  ]);
  expect(Endpoints.strategy.validateUpdate?.(bad, structuredClone(bad))).toEqual([]);
  expect(Endpoints.strategy.validateUpdate?.(bad, endpoints([]))).toHaveLength(8);
});

test("warnings, but not about what the controller wrote", () => {
  const subsets = [{ notReadyAddresses: [{ ip: "FD00::1" }] }];
  expect(Endpoints.strategy.warnings?.(endpoints(subsets), undefined)).toEqual([
    'subsets[0].notReadyAddresses[0].ip: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")',
  ]);
  const labels = { "endpoints.kubernetes.io/managed-by": "endpoint-controller" };
  expect(Endpoints.strategy.warnings?.(endpoints(subsets, labels), undefined)).toEqual([]);
});

test("cells", () => {
  const addresses = ["10.0.0.1", "10.0.0.2"].map((ip) => ({ ip }));
  expect(cell(endpoints([]))).toBe("<none>");
  expect(cell(endpoints([{ addresses, ports: [{ port: 80 }] }]))).toBe("10.0.0.1:80,10.0.0.2:80");
  expect(cell(endpoints([{ addresses, ports: [{ port: 80 }, { port: 81 }] }]))).toBe(
    "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...",
  );
  expect(cell(endpoints([{ addresses: [{ ip: "fd00::1" }] }]))).toBe("fd00::1");
  expect(cell(endpoints([{ addresses: [{ ip: "fd00::1" }], ports: [{ port: 1 }] }]))).toBe(
    "[fd00::1]:1",
  );
});
