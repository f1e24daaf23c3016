import { expect, test } from "vitest";
import { quote } from "./quote.ts";

test.each([
  ["plain, ünïcode 漢 😀", '"plain, ünïcode 漢 😀"'],
  ['a"b\\c', '"a\\"b\\\\c"'],
  ["\u0000\u0007\n\t\u007f", '"\\x00\\a\\n\\t\\x7f"'],
  ["\u00a0\u200b\u{e0001}", '"\\u00a0\\u200b\\U000e0001"'],
])("quotes %j", (text, quoted) => {
  expect(quote(text)).toBe(quoted);
});
