import { expect, test } from "vitest";
import { readUrl } from "./url.ts";

test("takes a URL apart", () => {
  expect(readUrl("HTTPS://user:word@host.example.com:8443/check/a?b=c#d")).toEqual({
    scheme: "https",
    user: "user:word",
    host: "host.example.com:8443",
    path: "/check/a",
    query: "b=c",
    fragment: "d",
  });
});

test("takes almost any text, as a path", () => {
  const nothing = { scheme: "", host: "", query: "", fragment: "" };
  expect(readUrl("-Bad value!")).toEqual({ ...nothing, path: "-Bad value!" });
  expect(readUrl("")).toEqual({ ...nothing, path: "" });
  expect(readUrl("//[::1]:80")).toEqual({ ...nothing, host: "[::1]:80", path: "" });
});

test.each([
  [":a", 'parse ":a": missing protocol scheme'],
  ["1a:b", 'parse "1a:b": first path segment in URL cannot contain colon'],
  ["https://a:b/", 'parse "https://a:b/": invalid port ":b" after host'],
  ["https://a/%zz", 'parse "https://a/%zz": invalid URL escape "%zz"'],
  ["https://a b/", 'parse "https://a b/": invalid character " " in host name'],
])("says what it can't read in %s", (text, problem) => {
  expect(readUrl(text)).toEqual({ problem });
});
