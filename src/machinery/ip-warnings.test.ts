import { expect, test } from "vitest";
import { cidrWarnings, ipWarnings } from "./ip-warnings.ts";

test("addresses that are fine, or none at all, need no warning", () => {
  for (const ip of ["10.0.0.1", "fd00::1", "nonsense"]) expect(ipWarnings("p", ip)).toEqual([]);
  for (const cidr of ["10.0.0.0/8", "fd00::/64", "x"]) expect(cidrWarnings("p", cidr)).toEqual([]);
});

test("other ways to write an address", () => {
  expect(ipWarnings("p", "010.0.0.1")).toEqual([
    'p: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"',
  ]);
  expect(ipWarnings("p", "::ffff:1.2.3.4")).toEqual([
    'p: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"',
  ]);
  expect(ipWarnings("p", "FD00:0::1")).toEqual([
    'p: IPv6 address "FD00:0::1" should be in RFC 5952 canonical format ("fd00::1")',
  ]);
});

test("other ways to write a block", () => {
  expect(cidrWarnings("p", "10.1.2.3/8")).toEqual([
    'p: CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)',
  ]);
  expect(cidrWarnings("p", "010.0.0.0/8")).toEqual([
    'p: non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"',
  ]);
  expect(cidrWarnings("p", "FD00::/64")).toEqual([
    'p: IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format ("fd00::/64")',
  ]);
});
