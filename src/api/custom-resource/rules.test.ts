import { describe, expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import type { JsonObject } from "#machinery/object.ts";
import { validateRules } from "../apiextensions/v1/rule-validation.ts";
import type { Props } from "./pruning.ts";
import { rulesOf } from "./rules.ts";

const schema = (spec: Props): Props => ({ type: "object", properties: { spec } });
const spec = (
  properties: Record<string, Props>,
  ...rules: Props["x-kubernetes-validations"] & {}
) => schema({ type: "object", properties, "x-kubernetes-validations": rules });

function judge(props: Props, object: unknown, old?: unknown, warnings: string[] = []): string[] {
  const judgeRules = rulesOf(props);
  const wrapped = (value: unknown) => ({ kind: "W", spec: value }) as unknown as JsonObject;
  const before = old === undefined ? undefined : wrapped(old);
  const errors = judgeRules?.(wrapped(object), before, [], (text) => warnings.push(text)) ?? [];
  return errors.map(formatFieldError);
}

const number: Props = { type: "integer" };

describe("objects are judged", () => {
  test("a rule that fails, with the default message, a message, an expression for it", () => {
    const rule = "self.min <= self.max";
    const sizes = { min: number, max: number };
    const bad = { min: 3, max: 2 };
    expect(judge(spec(sizes, { rule }), bad)).toEqual([
      `spec: Invalid value: failed rule: ${rule}`,
    ]);
    expect(judge(spec(sizes, { rule, message: "min over max" }), bad)).toEqual([
      "spec: Invalid value: min over max",
    ]);
    const messageExpression = "'min ' + string(self.min) + ' over max'";
    expect(judge(spec(sizes, { rule, messageExpression }), bad)).toEqual([
      "spec: Invalid value: min 3 over max",
    ]);
    expect(judge(spec(sizes, { rule }), { min: 1, max: 2 })).toEqual([]);
  });

  test("reasons and field paths", () => {
    const rule = { rule: "self.a > 0", message: "no", fieldPath: ".a" };
    expect(
      judge(spec({ a: number }, { ...rule, reason: "FieldValueForbidden" }), { a: 0 }),
    ).toEqual(["spec.a: Forbidden: no"]);
    const props = schema({
      type: "object",
      properties: { a: { ...number, "x-kubernetes-validations": [{ rule: "self > 1" }] } },
    });
    expect(judge(props, { a: 1 })).toEqual(["spec.a: Invalid value: 1: failed rule: self > 1"]);
  });

  test("errors while a rule runs", () => {
    expect(judge(spec({ a: number }, { rule: "self.a > 0" }), {})).toEqual([
      'spec: Invalid value: "object": no such key: a evaluating rule: self.a > 0',
    ]);
  });

  test("transition rules, also without an old value", () => {
    const same = spec({ a: number }, { rule: "self.a == oldSelf.a", message: "fixed" });
    expect(judge(same, { a: 2 })).toEqual([]);
    expect(judge(same, { a: 2 }, { a: 1 })).toEqual(["spec: Invalid value: fixed"]);
    const optional = spec(
      { a: number },
      { rule: "oldSelf.hasValue() || self.a == 0", optionalOldSelf: true, message: "begin at 0" },
    );
    expect(judge(optional, { a: 2 })).toEqual(["spec: Invalid value: begin at 0"]);
    expect(judge(optional, { a: 2 }, { a: 0 })).toEqual([]);
  });

  test("what was so before is told as a warning", () => {
    const props = schema({
      type: "object",
      properties: {
        a: { ...number, "x-kubernetes-validations": [{ rule: "self > 1" }] },
        b: number,
      },
    });
    const warnings: string[] = [];
    expect(judge(props, { a: 1, b: 2 }, { a: 1, b: 1 }, warnings)).toEqual([]);
    expect(warnings).toEqual(["spec.a: Invalid value: 1: failed rule: self > 1"]);
    expect(judge(props, { a: 0 }, { a: 1 })).toHaveLength(1);
  });

  test("items of lists by key, members of maps, times and quantities of texts", () => {
    const item: Props = {
      type: "object",
      properties: { name: { type: "string" }, size: number },
      "x-kubernetes-validations": [{ rule: "self.size >= oldSelf.size", message: "grow" }],
    };
    const list: Props = {
      type: "array",
      items: item,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
    };
    const [a, b] = [
      { name: "a", size: 2 },
      { name: "b", size: 1 },
    ];
    expect(judge(schema(list), [{ ...b, size: 0 }, a], [a, b])).toEqual([
      "spec[0]: Invalid value: grow",
    ]);
    const when: Props = { type: "string", format: "date-time" };
    const rule = "self.at.getFullYear() > 2000 && self.__namespace__ == 'x'";
    const props = spec({ at: when, namespace: { type: "string" } }, { rule, message: "late" });
    expect(judge(props, { at: "1999-01-01T00:00:00Z", namespace: "x" })).toEqual([
      "spec: Invalid value: late",
    ]);
  });

  test("without rules there is nothing to do", () => {
    expect(rulesOf(schema({ type: "object", properties: { a: number } }))).toBeUndefined();
  });
});

describe("definitions are judged", () => {
  const problems = (props: Props): string[] => validateRules(props, "schema").map(formatFieldError);
  const at = "schema.properties[spec].x-kubernetes-validations[0]";

  test("rules that do not compile, or give no truth", () => {
    expect(problems(spec({ a: number }, { rule: "self.b > 0" }))).toEqual([
      `${at}.rule: Invalid value: {"Rule":"self.b \\u003e 0","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b > 0\n | ....^`,
    ]);
    expect(problems(spec({ a: number }, { rule: "self.a" }))[0]).toContain(
      "cel expression must evaluate to a bool",
    );
    expect(problems(spec({ a: number }, { rule: "true", messageExpression: "1" }))[0]).toContain(
      "messageExpression must evaluate to a string",
    );
  });

  test("oldSelf where items can not be told apart", () => {
    const rule = { rule: "self == oldSelf" };
    const items: Props = { ...number, "x-kubernetes-validations": [rule] };
    expect(problems(schema({ type: "array", maxItems: 3, items }))).toEqual([
      'schema.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec]',
    ]);
  });

  test("rules that may cost too much", () => {
    const names: Props = { type: "array", items: { type: "string" } };
    const rule = "self.names.all(x, self.names.all(y, x == y))";
    const errors = problems(spec({ names }, { rule }));
    expect(errors[0]).toBe(
      `${at}.rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`,
    );
    const small: Props = { type: "array", maxItems: 5, items: { type: "string", maxLength: 9 } };
    expect(problems(spec({ names: small }, { rule }))).toEqual([]);
  });
});
