import { expect, test } from "vitest";
import { compileRoutes, hostName, matchedPath, type Route } from "./http-route.ts";

const prefix = (path: string, backend = path): Route => ({ match: "prefix", path, backend });
const exact = (path: string, backend = `=${path}`): Route => ({ match: "exact", path, backend });
const of = (...routes: Route[]) => {
  const router = compileRoutes([{ host: "", routes }]);
  return (target: string) => router("any", target);
};

// The table of upstream's documentation ("Ingress": path types, examples).
test.each([
  [prefix("/"), "/anything", true],
  [exact("/foo"), "/foo", true],
  [exact("/foo"), "/bar", false],
  [exact("/foo"), "/foo/", false],
  [exact("/foo/"), "/foo", false],
  [prefix("/foo"), "/foo", true],
  [prefix("/foo"), "/foo/", true],
  [prefix("/foo/"), "/foo", true],
  [prefix("/foo/"), "/foo/", true],
  [prefix("/aaa/bb"), "/aaa/bbb", false],
  [prefix("/aaa/bbb"), "/aaa/bbb", true],
  [prefix("/aaa/bbb/"), "/aaa/bbb", true],
  [prefix("/aaa/bbb"), "/aaa/bbb/", true],
  [prefix("/aaa/bbb"), "/aaa/bbb/ccc", true],
  [prefix("/aaa/bbb"), "/aaa/bbbxyz", false],
  [prefix("/foo"), "/FOO", false],
])("%o and %s: %s", (route, target, matches) => {
  expect(of(route)(target) !== undefined).toBe(matches);
});

test("the longest path wins; of equals the exact one; of twins the first", () => {
  const find = of(prefix("/"), prefix("/a"), prefix("/a/b"), exact("/a"), prefix("/a", "later"));
  expect(["/x", "/a", "/a/", "/a/c", "/a/b/c?d=/a"].map(find)).toEqual([
    "/",
    "=/a",
    "/a",
    "/a",
    "/a/b",
  ]);
});

test("a host's own routes answer for it, then its wildcard's, then everybody's", () => {
  const router = compileRoutes([
    { host: "a.example", routes: [prefix("/one", "own")] },
    { host: "*.example", routes: [prefix("/", "wild")] },
    { host: "", routes: [prefix("/", "any")] },
  ]);
  expect(router("a.example", "/one")).toBe("own");
  expect(router("a.example", "/two")).toBeUndefined();
  expect(router("b.example", "/")).toBe("wild");
  expect(router("c.b.example", "/")).toBe("any");
  expect(router("example", "/")).toBe("any");
  expect(router("", "/")).toBe("any");
});

test("hosts are compared without port and case; paths without query and detours", () => {
  expect(["A.Example:80", "a.example.", "[::1]:80", "1.2.3.4"].map(hostName)).toEqual([
    "a.example",
    "a.example",
    "[::1]",
    "1.2.3.4",
  ]);
  expect(
    ["/a?x", "/a/../b", "/a/./b/", "/../..", "/a/..", "/a/.hidden", "http://h/a", "*"].map(
      matchedPath,
    ),
  ).toEqual(["/a", "/b", "/a/b/", "/", "/", "/a/.hidden", "/a", "/"]);
});
