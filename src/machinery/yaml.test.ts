import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readYaml, readYamlDocuments, YamlError } from "./yaml.ts";
import { printYaml } from "./yaml-print.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

test("plain words mean what they mean to kubectl", () => {
  for (const row of golden<{ text: string; value?: unknown; error?: string }>("yaml-read")) {
    if (row.error === undefined) expect(readYaml(row.text), row.text).toEqual(row.value);
    else expect(() => readYaml(row.text), row.text).toThrow(row.error);
  }
});

test("objects print byte for byte as kubectl prints them", () => {
  for (const row of golden<{ value: unknown; text: string }>("yaml-printed")) {
    expect(printYaml(row.value)).toBe(row.text);
  }
});

test("what is printed reads back", () => {
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.string({ unit: "grapheme-ascii" }),
      fc.constantFrom(
        "yes",
        "0777",
        "1:30",
        "a: b",
        "- x",
        "line\n",
        " x",
        "#",
        "null",
        "~",
        "1e3",
      ),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: "grapheme-ascii", maxLength: 20 }), tie("value"), {
        maxKeys: 4,
      }),
    ),
  })).value;
  fc.assert(
    fc.property(value, (one) => {
      expect(readYaml(printYaml(one))).toEqual(one);
    }),
  );
});

test("a stream has many documents, and empty ones do not count", () => {
  const documents = readYamlDocuments("---\na: 1\n---\n# nothing\n---\n- b\n...\n");
  expect(documents.map((one) => one.value)).toEqual([{ a: 1 }, ["b"]]);
  expect(readYaml("")).toBeNull();
});

test("keys that occur twice are told with their line", () => {
  const [document] = readYamlDocuments("a: 1\nb: 2\na: 3\n");
  expect(document?.value).toEqual({ a: 3, b: 2 });
  expect(document?.duplicates).toEqual(['line 3: key "a" already set in map']);
});

test("an alias bomb is refused", () => {
  const lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"];
  for (let i = 1; i < 10; i++) {
    lines.push(`a${i}: &a${i} [${Array.from({ length: 9 }, () => `*a${i - 1}`).join(",")}]`);
  }
  expect(() => readYaml(lines.join("\n"))).toThrow("document contains excessive aliasing");
});

test("keys that JavaScript treats specially are just keys", () => {
  const value = readYaml("__proto__: {polluted: 1}\nconstructor: x\n");
  expect(Object.keys(value as object)).toEqual(["__proto__", "constructor"]);
  expect("polluted" in {}).toBe(false);
});

test("errors name the line", () => {
  expect(() => readYaml("a: 1\nb: [1\nc: 2\n")).toThrow(YamlError);
  expect(() => readYaml("a: 1\nb: c: d\n")).toThrow(
    "yaml: line 2: mapping values are not allowed in this context",
  );
});

test("text nested without bounds is refused before it can end the stack", () => {
  for (const opener of ["[", "- ", "? ", "{a: ", '["]", '])
    expect(() => readYaml(opener.repeat(20_000)), opener).toThrow("exceeded max depth");
  const levels = Array.from({ length: 300 }, (_, depth) => `${" ".repeat(depth)}a:\n`).join("");
  expect(() => readYaml(levels)).toThrow("exceeded max depth");
  const real = Array.from({ length: 100 }, (_, depth) => `${"  ".repeat(depth)}a:\n`).join("");
  expect(() => readYaml(`${real}${"  ".repeat(100)}b: 1\n`.repeat(3))).not.toThrow();
  const wide = '- {a: [1, 2], b: "[[[["}\n'.repeat(2000);
  expect(readYaml(wide)).toHaveLength(2000);
});
