import fc from "fast-check";
import { expect, test } from "vitest";
import { compileRegexp, regexpProblem } from "./regexp.ts";

const matches = (source: string, text: string): boolean => compileRegexp(source).matches(text);

test("what patterns of definitions use", () => {
  expect(matches("^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$", "* * * * */5")).toBe(true);
  expect(matches("^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$", "* * * *")).toBe(false);
  expect(matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b-c")).toBe(true);
  expect(matches("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-")).toBe(false);
  expect(matches("(?i)^abc$", "ABC")).toBe(true);
  expect(matches("[[:alpha:]]{2,3}", "1ab2")).toBe(true);
  expect(matches("^\\p{Lu}\\pN$", "É7")).toBe(true);
  expect(matches("^a.c$", "a\nc")).toBe(false);
  expect(matches("(?s)^a.c$", "a\nc")).toBe(true);
  expect(matches("^\\Qa.b\\E$", "a.b")).toBe(true);
  expect(matches("\\bfoo\\b", "a foo b")).toBe(true);
  expect(matches("^x{,2}$", "x{,2}")).toBe(true);
  expect(matches("^\\x{1F600}$", "😀")).toBe(true);
});

test("what is no expression is said as Go says it", () => {
  expect(regexpProblem("a(b")).toBe("error parsing regexp: missing closing ): `a(b`");
  expect(regexpProblem("a)b")).toBe("error parsing regexp: unexpected ): `a)b`");
  expect(regexpProblem("[a")).toBe("error parsing regexp: missing closing ]: `[a`");
  expect(regexpProblem("*a")).toBe(
    "error parsing regexp: missing argument to repetition operator: `*`",
  );
  expect(regexpProblem("a**")).toBe(
    "error parsing regexp: invalid nested repetition operator: `**`",
  );
  expect(regexpProblem("(?=a)")).toBe(
    "error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
  );
  expect(regexpProblem("(a)\\1")).toBe("error parsing regexp: invalid escape sequence: `\\1`");
  expect(regexpProblem("a{1001}")).toBe("error parsing regexp: invalid repeat count: `{1001}`");
  expect(regexpProblem("[z-a]")).toBe("error parsing regexp: invalid character class range: `z-a`");
  expect(regexpProblem("(a{1000}){1000}")).toBe("error parsing regexp: expression too large");
});

test("a pattern that backtracking cannot finish is no trouble", () => {
  expect(matches("^(a+)+$", `${"a".repeat(5000)}b`)).toBe(false);
});

test("agrees with the language's own engine where the syntax is the same", () => {
  const atom = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab)", "a*", "b+", "(a|)");
  const source = fc
    .array(fc.tuple(atom, fc.constantFrom("", "?", "{2}", "{1,2}")), { maxLength: 5 })
    .map((parts) => parts.map(([one, count]) => `(?:${one})${count}`).join(""));
  fc.assert(
    fc.property(source, fc.stringMatching(/^[abc]{0,8}$/), (pattern, text) => {
      const anchored = `^${pattern}$`;
      expect(matches(anchored, text)).toBe(new RegExp(anchored).test(text));
      expect(matches(pattern, text)).toBe(new RegExp(pattern).test(text));
    }),
  );
});
