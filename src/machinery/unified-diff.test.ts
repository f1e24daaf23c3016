import { expect, test } from "vitest";
import { unifiedDiff } from "./unified-diff.ts";

const lines = (...texts: string[]): string => texts.join("\n");

test("equal texts have no difference", () => {
  expect(unifiedDiff("a\nb", "a\nb")).toBe("");
});

test("a changed line stands between three lines of context", () => {
  const before = lines("1", "2", "3", "4", "5", "6", "7", "8", "9");
  const after = lines("1", "2", "3", "4", "x", "6", "7", "8", "9");
  expect(unifiedDiff(before, after)).toBe(
    `${lines("@@ -2,7 +2,7 @@", " 2", " 3", " 4", "-5", "+x", " 6", " 7", " 8")}\n`,
  );
});

test("changes far apart are told apart, near ones together", () => {
  const before = Array.from({ length: 20 }, (_, index) => String(index));
  const far = before.with(1, "x").with(18, "y");
  const near = before.with(5, "x").with(10, "y");
  const count = (after: string[]): number =>
    unifiedDiff(before.join("\n"), after.join("\n")).split("@@ -").length - 1;
  expect(count(far)).toBe(2);
  expect(count(near)).toBe(1);
});

test("added and removed lines; counts of one are left out", () => {
  expect(unifiedDiff("a", "a\nb")).toBe("@@ -1 +1,2 @@\n a\n+b\n");
  expect(unifiedDiff("a\nb\nc", "a\nc")).toBe("@@ -1,3 +1,2 @@\n a\n-b\n c\n");
});
