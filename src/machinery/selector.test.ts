import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  compileFieldSelector,
  compileLabelMap,
  compileLabelSelector,
  exactMatch,
  formatFieldRequirements,
  formatLabelSelector,
  formatRequirements,
  matchesSelector,
  parseFieldSelectorText,
  parseLabelSelectorText,
  validateLabelSelector,
} from "./selector.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

interface Row {
  readonly input: string;
  readonly text?: string;
  readonly error?: string;
}

test("label queries parse, print and fail as upstream's do", () => {
  for (const row of golden<Row>("label-selectors")) {
    const parsed = parseLabelSelectorText(row.input);
    const shown =
      "query" in parsed
        ? { input: row.input, text: formatRequirements(parsed.query.requirements) }
        : { input: row.input, error: parsed.problem };
    expect(shown).toEqual(row);
  }
});

test("field queries parse, print and fail as upstream's do", () => {
  for (const row of golden<Row>("field-selectors")) {
    const parsed = parseFieldSelectorText(row.input);
    const shown =
      "requirements" in parsed
        ? { input: row.input, text: formatFieldRequirements(parsed.requirements) }
        : { input: row.input, error: parsed.problem };
    expect(shown).toEqual(row);
  }
});

const matches = (query: string, labels: Record<string, string> | undefined): boolean => {
  const parsed = parseLabelSelectorText(query);
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed.query.matches(labels);
};

test("queries select by labels", () => {
  const labels = { app: "web", tier: "front", weight: "5" };
  expect(matches("", undefined)).toBe(true);
  expect(matches("app=web,tier in (front,back)", labels)).toBe(true);
  expect(matches("app!=web", labels)).toBe(false);
  expect(matches("app!=web", {})).toBe(true);
  expect(matches("x notin (a)", labels)).toBe(true);
  expect(matches("!x", labels)).toBe(true);
  expect(matches("!app", labels)).toBe(false);
  expect(matches("weight>4,weight<6", labels)).toBe(true);
  expect(matches("app>4", labels)).toBe(false);
  expect(matches("constructor", labels)).toBe(false);
});

test("the empty selector selects all, the absent one nothing", () => {
  expect(matchesSelector({}, { a: "b" })).toBe(true);
  expect(matchesSelector(undefined, { a: "b" })).toBe(false);
  expect(matchesSelector(null, {})).toBe(false);
  expect(compileLabelMap({})({ a: "b" })).toBe(false);
  expect(compileLabelMap({ a: "b" })({ a: "b", c: "d" })).toBe(true);
});

test("selector objects select by expressions", () => {
  const selects = compileLabelSelector({
    matchLabels: { app: "web" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["front", "back"] },
      { key: "gone", operator: "DoesNotExist" },
    ],
  });
  expect(selects({ app: "web", tier: "back" })).toBe(true);
  expect(selects({ app: "web", tier: "back", gone: "" })).toBe(false);
  expect(selects({ app: "web" })).toBe(false);
  expect(matchesSelector({ matchExpressions: [{ key: "a", operator: "Near" }] }, { a: "" })).toBe(
    false,
  );
});

test("a selector that may still change is not remembered", () => {
  const selector = { matchLabels: { app: "web" } };
  expect(matchesSelector(selector, { app: "web" })).toBe(true);
  selector.matchLabels.app = "api";
  expect(matchesSelector(selector, { app: "web" })).toBe(false);
});

test("selector objects print as kubectl shows them", () => {
  expect(formatLabelSelector(undefined)).toBe("<none>");
  const matchExpressions = [{ key: "b", operator: "NotIn", values: ["y", "x"] }];
  expect(formatLabelSelector({ matchLabels: { c: "d" }, matchExpressions })).toBe(
    "b notin (x,y),c=d",
  );
});

test("indexes learn the one value of a label", () => {
  const parsed = parseLabelSelectorText("a=b,c in (d),e in (f,g)");
  if ("problem" in parsed) throw new Error(parsed.problem);
  const { requirements } = parsed.query;
  expect(["a", "c", "e"].map((key) => exactMatch(requirements, key))).toEqual([
    "b",
    "d",
    undefined,
  ]);
});

test("field selectors compare strings", () => {
  const parsed = parseFieldSelectorText("metadata.name=x,spec.nodeName!=");
  if ("problem" in parsed) throw new Error(parsed.problem);
  const selects = compileFieldSelector(
    parsed.requirements,
    (object: Record<string, string>, field) => object[field] ?? "",
  );
  expect(selects({ "metadata.name": "x", "spec.nodeName": "n" })).toBe(true);
  expect(selects({ "metadata.name": "x" })).toBe(false);
});

test("bad selectors are named by field", () => {
  const matchExpressions = [
    { key: "a", operator: "In" },
    { key: "-", operator: "Exists", values: ["x"] },
    { key: "a", operator: "near" },
  ];
  expect(
    validateLabelSelector({ matchExpressions }, "spec.selector").map((error) => error.path),
  ).toEqual([
    "spec.selector.matchExpressions[0].values",
    "spec.selector.matchExpressions[1].values",
    "spec.selector.matchExpressions[1].key",
    "spec.selector.matchExpressions[2].operator",
  ]);
});
