import fc from "fast-check";
import { expect, test } from "vitest";
import { linkThrough, rewriteLinks } from "./html-links.ts";

const prefix = "/api/v1/namespaces/default/pods/web/proxy";
const through = linkThrough(prefix, ["10.0.0.1:80", "127.0.0.1:6443"]);

test.each([
  ["/page", `${prefix}/page`],
  ["/page/?a=1#b", `${prefix}/page/?a=1#b`],
  ["page", "page"],
  ["?a=1", "?a=1"],
  ["", ""],
  ["http://10.0.0.1:80/page", `${prefix}/page`],
  ["https://127.0.0.1:6443/page", `${prefix}/page`],
  [`https://127.0.0.1:6443${prefix}/page`, `${prefix}/page`],
  ["http://elsewhere/page", "http://elsewhere/page"],
  ["//elsewhere/page", "//elsewhere/page"],
  ["mailto:someone", "mailto:someone"],
  ["javascript:/x/.test(y)", "javascript:/x/.test(y)"],
])("the link %s becomes %s", (link, expected) => {
  expect(through(link)).toBe(expected);
});

test.each([
  [`<a href="/x">test</a>`, `<a href="P/x">test</a>`],
  [`<a  class=b href='/x' >`, `<a  class=b href="P/x" >`],
  [`<IMG SRC=/x alt="/y">`, `<IMG SRC="P/x" alt="/y">`],
  [`<img src="/x?a=1&amp;b=2"/>`, `<img src="P/x?a=1&amp;b=2"/>`],
  [`<p href="/x">`, `<p href="/x">`],
  [`<!-- <a href="/x"> --><a href="/y">`, `<!-- <a href="/x"> --><a href="P/y">`],
  [
    `<script src="/s">"<a href='/x'>"</script><a href="/y">`,
    `<script src="P/s">"<a href='/x'>"</script><a href="P/y">`,
  ],
  [`1 < 2 <a href="/x"`, `1 < 2 <a href="P/x"`],
  [`<!-- open <a href="/x">`, `<!-- open <a href="/x">`],
])("in %s", (page, expected) => {
  expect(rewriteLinks(page, (link) => `P${link}`)).toBe(expected);
});

test("a page without links that change stays as it is, whatever it holds", () => {
  const piece = fc.constantFrom(
    "<",
    ">",
    "a ",
    "href",
    "=",
    '"',
    "'",
    "/x",
    "<!--",
    "-->",
    "script",
    "&",
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const page = pieces.join("");
      expect(rewriteLinks(page, (link) => link)).toBe(page);
    }),
  );
});
