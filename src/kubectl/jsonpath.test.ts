import { expect, test } from "vitest";
import { parseJsonPath, relaxedPath } from "./jsonpath.ts";

const value = {
  kind: "List",
  items: [
    { name: "a", ports: [80, 443], labels: { "x.y/z": "1" }, on: true },
    { name: "b", ports: [], labels: {}, on: false },
  ],
};
const text = (template: string, allowMissing = true): string =>
  parseJsonPath(template, allowMissing).text(value);

test.each([
  ["{.kind}", "List"],
  ["{$.kind} {@.kind}", "List List"],
  ["kinds: {.kind}", "kinds: List"],
  ["{.items[*].name}", "a b"],
  ["{.items[0].name}", "a"],
  ["{.items[-1].name}", "b"],
  ["{.items[0:1].name}", "a"],
  ["{.items[0].ports[0,1]}", "80 443"],
  ["{.items[0]['name','on']}", "a true"],
  ["{.items[0].labels.x\\.y/z}", "1"],
  ["{.items[0].labels['x\\.y/z']}", "1"],
  ["{.items[0].ports}", "[80,443]"],
  ["{.items[0].labels}", '{"x.y/z":"1"}'],
  ['{.items[?(@.name=="b")].on}', "false"],
  ["{.items[?(@.on==true)].name}", "a"],
  ["{.items[?(@.ports[0]>79)].name}", "a"],
  ["{.items[?(@.nope)].name}", ""],
  ['{range .items[*]}{.name}{"\\t"}{end}!', "a\tb\t!"],
  ["{range .items[*]}{range .ports[*]}<{@}>{end};{end}", "<80><443>;;"],
  ["{..name}", "a b"],
  ["{.nope}", ""],
])("%s", (template, expected) => {
  expect(text(template)).toBe(expected);
});

test.each([
  ["{.kind", "error parsing jsonpath {.kind, unclosed action"],
  ["{.items[}", "error parsing jsonpath {.items[}, unterminated array"],
  ["{.items[x]}", "error parsing jsonpath {.items[x]}, invalid array index x"],
  ["{.items[?(@.a]}", "error parsing jsonpath {.items[?(@.a]}, unterminated filter"],
])("%s is refused", (template, message) => {
  expect(() => parseJsonPath(template)).toThrow(message);
});

test("what is missing is an error where it is asked for", () => {
  expect(() => text("{.nope}", false)).toThrow("nope is not found");
  expect(() => text("{.items[7]}")).toThrow("array index out of bounds: index 7, length 2");
});

test("relaxed paths", () => {
  expect(["a.b", ".a.b", "{a.b}", "{.a.b}"].map(relaxedPath)).toEqual(Array(4).fill("{.a.b}"));
  expect(() => relaxedPath("{a}{b}")).toThrow("unexpected path string");
});
