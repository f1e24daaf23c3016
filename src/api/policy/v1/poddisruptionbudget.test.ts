import { expect, test } from "vitest";
import { createErrors, decoded } from "../../test-objects.ts";
import { PodDisruptionBudget } from "./poddisruptionbudget.ts";

const budget = (spec: object) => ({ metadata: { name: "b", namespace: "ns" }, spec });

test.each<[string, object, string[]]>([
  ["a good one", { minAvailable: "50%", selector: { matchLabels: { a: "b" } } }, []],
  [
    "both bounds",
    { minAvailable: 1, maxUnavailable: 1 },
    [
      'spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable cannot be both set',
    ],
  ],
  [
    "more than all",
    { maxUnavailable: "101%" },
    ['spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
  ],
  [
    "fewer than none",
    { minAvailable: -1 },
    ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
  ],
  [
    "an unknown policy",
    { unhealthyPodEvictionPolicy: "Never" },
    [
      'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"',
    ],
  ],
])("%s", (_name, spec, expected) => {
  expect(createErrors(PodDisruptionBudget, budget(spec))).toEqual(expected);
});

test("columns", () => {
  const one = decoded(PodDisruptionBudget, budget({ maxUnavailable: 1 }));
  const cells = PodDisruptionBudget.printerColumns.slice(0, 3).map(({ value }) => value(one, 0));
  expect(cells).toEqual(["N/A", "1", 0]);
});
