import { expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import { Lease } from "./lease.ts";

const lease = (spec: Lease["spec"]): Lease => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name: "l", namespace: "default" },
  spec,
});

test("what is wrong", () => {
  const bad = lease({
    leaseDurationSeconds: 0,
    leaseTransitions: -1,
    strategy: "Odd",
    preferredHolder: "x",
  });
  expect(Lease.strategy.validate?.(bad).map(formatFieldError)).toEqual([
    "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    'spec.strategy.strategy: Unsupported value: "Odd": supported values: "OldestEmulationVersion"',
  ]);
  const preferring = lease({ preferredHolder: "x" });
  expect(Lease.strategy.validate?.(preferring).map(formatFieldError)).toEqual([
    "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
  ]);
  expect(Lease.strategy.validate?.(lease({ strategy: "example.com/mine" }))).toEqual([]);
});

test("the holder's cell", () => {
  const holder = (spec: Lease["spec"]) => Lease.printerColumns[0]?.value(lease(spec), 0);
  expect(holder({ holderIdentity: "n1" })).toBe("n1");
  expect(holder({})).toBe("");
});
