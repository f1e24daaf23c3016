import { expect, test } from "vitest";
import { compileNodeSelectorTerm } from "./node-selector.ts";

test("terms compare numbers, and names by field", () => {
  const matches = (expression: object, labels: Record<string, string>) =>
    compileNodeSelectorTerm({ matchExpressions: [expression as never] })("n", labels);
  const above = { key: "rank", operator: "Gt", values: ["3"] };
  expect([{ rank: "5" }, { rank: "3" }, { rank: "x" }].map((one) => matches(above, one))).toEqual([
    true,
    false,
    false,
  ]);
  expect(matches(above, {})).toBe(false);
  expect(matches({ key: "rank", operator: "Lt", values: ["3"] }, { rank: "1" })).toBe(true);
  expect(matches({ key: "rank", operator: "Like", values: ["3"] }, { rank: "3" })).toBe(false);
  const byName = { key: "metadata.name", operator: "In", values: ["n"] };
  expect(compileNodeSelectorTerm({ matchFields: [byName] })("n", undefined)).toBe(true);
  expect(compileNodeSelectorTerm({})("n", {})).toBe(false);
});
