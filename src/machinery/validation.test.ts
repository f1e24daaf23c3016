import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatFieldError } from "./field-error.ts";
import * as ip from "./ip.ts";
import {
  validateFieldManager,
  validateObjectMeta,
  validateObjectMetaUpdate,
} from "./meta-validation.ts";
import * as validation from "./validation.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

const checks: Record<string, (text: string) => string[]> = {
  label: validation.isDns1123Label,
  subdomain: validation.isDns1123Subdomain,
  label1035: validation.isDns1035Label,
  qualified: validation.isQualifiedName,
  value: validation.isLabelValue,
  env: validation.isEnvVarName,
  relaxed: validation.isRelaxedEnvVarName,
  port: validation.isPortName,
  percent: validation.isPercent,
  cmkey: validation.isConfigMapKey,
  wild: validation.isWildcardDns1123Subdomain,
  under: validation.isDns1123SubdomainWithUnderscore,
};

test("names are judged in upstream's words", () => {
  for (const row of golden<Record<string, string[]> & { input: string }>("names")) {
    for (const [name, check] of Object.entries(checks)) {
      expect(check(row.input), `${name} ${row.input}`).toEqual(row[name]);
    }
  }
});

test("judging names takes linear time", () => {
  // With nested repetition in a pattern, these would never end.
  const long = `${"a-".repeat(100_000)}=`;
  for (const check of Object.values(checks)) expect(check(long).length).toBeGreaterThan(0);
});

const texts = (errors: readonly Parameters<typeof formatFieldError>[0][]): string[] =>
  errors.map(formatFieldError);

test("addresses and blocks are judged in upstream's words", () => {
  expect(texts(validation.isValidIp("ip", "10.0.0.1"))).toEqual([]);
  expect(texts(validation.isValidIp("ip", "010.0.0.1"))).toEqual([
    'ip: Invalid value: "010.0.0.1": must not have leading 0s',
  ]);
  expect(texts(validation.isValidIp("ip", "2001:DB8::1"))).toEqual([
    'ip: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")',
  ]);
  expect(texts(validation.isValidIp("ip", "::ffff:1.2.3.4"))).toEqual([
    'ip: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
  ]);
  expect(texts(validation.isValidIp("ip", "1.2.3"))).toEqual([
    'ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
  ]);
  expect(texts(validation.isValidCidr("cidr", "10.0.0.1/8"))).toEqual([
    'cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length',
  ]);
  expect(texts(validation.isValidCidr("cidr", "10.0.0.0/33"))).toHaveLength(1);
  expect(texts(validation.isValidCidrForLegacyField("cidr", "10.0.0.1/08", false))).toEqual([]);
});

test("addresses read, print and count", () => {
  const family = fc.constantFrom(4 as const, 6 as const);
  fc.assert(
    fc.property(family, fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (kind, number) => {
      const value = kind === 4 ? number % 2n ** 32n : number;
      const address = { family: kind, value };
      expect(ip.parseIp(ip.formatIp(address))).toEqual(address);
    }),
  );
  const cidr = ip.parseCidr("10.1.2.0/23")?.cidr;
  if (cidr === undefined) throw new Error("no block");
  const shown = (address: ip.IpAddress | undefined): string | undefined =>
    address === undefined ? undefined : ip.formatIp(address);
  expect(shown(ip.nthAddress(cidr, 257))).toBe("10.1.3.1");
  expect(shown(ip.nthAddress(cidr, 512))).toBeUndefined();
  const inside = ip.parseIp("10.1.3.255");
  const outside = ip.parseIp("10.1.4.0");
  if (inside === undefined || outside === undefined) throw new Error("no address");
  expect(ip.cidrContains(cidr, inside)).toBe(true);
  expect(ip.cidrContains(cidr, outside)).toBe(false);
  expect(ip.addressIndex(cidr, inside)).toBe(511n);
  const second = ip.nthSubnet(cidr, 24, 1);
  expect(second === undefined ? undefined : ip.formatCidr(second)).toBe("10.1.3.0/24");
  expect(ip.nthSubnet(cidr, 24, 2)).toBeUndefined();
  expect([...ip.addressesOf(cidr)]).toHaveLength(512);
  expect(ip.canonicalIp("2001:0DB8:0:0:0:0:0:1")).toBe("2001:db8::1");
  expect(ip.reverseName({ family: 4, value: 0x0a000001n })).toBe("1.0.0.10.in-addr.arpa");
  for (const bad of ["", "1.2.3.4.5", "256.1.1.1", ":::", "1::2::3", "fe80::1%eth0", "12345::"]) {
    expect(ip.parseIp(bad), bad).toBeUndefined();
  }
});

test("metadata is judged as a whole", () => {
  const errors = validateObjectMeta(
    {
      generateName: "web-",
      namespace: "Default",
      labels: { "a b": "x" },
      annotations: { big: "x".repeat(256 * 1024) },
      finalizers: ["orphan", "foregroundDeletion", "a b"],
      ownerReferences: [
        { apiVersion: "v1", kind: "Event", name: "e", uid: "" },
        { apiVersion: "apps/v1", kind: "A", name: "a", uid: "1", controller: true },
        { apiVersion: "a/b/c", kind: "B", name: "b", uid: "2", controller: true },
      ],
      managedFields: [{ operation: "Merge", fieldsType: "X" }],
    },
    { namespaced: true },
  );
  expect(errors.map((error) => `${error.path} ${error.type}`)).toEqual([
    "metadata.name FieldValueRequired",
    "metadata.namespace FieldValueInvalid",
    "metadata.labels FieldValueInvalid",
    "metadata.annotations FieldValueTooLong",
    "metadata.ownerReferences[0].uid FieldValueRequired",
    "metadata.ownerReferences[0] FieldValueInvalid",
    "metadata.ownerReferences[2].apiVersion FieldValueInvalid",
    "metadata.ownerReferences FieldValueInvalid",
    "metadata.finalizers FieldValueInvalid",
    "metadata.finalizers FieldValueInvalid",
    "metadata.managedFields[0].operation FieldValueNotSupported",
    "metadata.managedFields[0].fieldsType FieldValueInvalid",
  ]);
  expect(texts(validateObjectMeta({ name: "a", namespace: "x" }, { namespaced: false }))).toEqual([
    "metadata.namespace: Forbidden: not allowed on this type",
  ]);
});

test("what may not change in metadata is said as upstream says it", () => {
  const old = {
    name: "a",
    namespace: "n",
    uid: "1",
    generation: 2,
    resourceVersion: "5",
    deletionTimestamp: "2024-01-01T00:00:00Z",
    finalizers: ["x/y"],
  };
  const next = {
    ...old,
    name: "b",
    uid: "2",
    generation: 1,
    finalizers: ["x/y", "x/z"],
    resourceVersion: "",
  };
  expect(texts(validateObjectMetaUpdate(next, old))).toEqual([
    'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"x/z"}',
    'metadata.resourceVersion: Invalid value: "": must be specified for an update',
    "metadata.generation: Invalid value: 1: must not be decremented",
    'metadata.name: Invalid value: "b": field is immutable',
    'metadata.uid: Invalid value: "2": field is immutable',
  ]);
  expect(validateObjectMetaUpdate(old, old)).toEqual([]);
});

test("field managers are short and printable", () => {
  expect(texts(validateFieldManager("a".repeat(129)))).toEqual([
    "fieldManager: Too long: may not be more than 128 bytes",
  ]);
  expect(texts(validateFieldManager("a\nb"))).toEqual([
    'fieldManager: Invalid value: "a\\nb": invalid character U+000A (at position 1)',
  ]);
});
