/** How docs/story is read by the test that runs it. */
import { expect, test } from "vitest";
import { clusterOf, isLook, prints, stepsOf } from "./machine/story-page.ts";

test("a page's console blocks are its steps", () => {
  const page = "# A\n```yaml\n$ no\n```\n```console\n$ one\nout\n$ two\n```\n";
  expect(stepsOf(page)).toEqual([
    { command: "one", expected: ["out"], line: 6 },
    { command: "two", expected: [], line: 8 },
  ]);
});

test("a page says which cluster it needs", () => {
  expect(clusterOf("# A\n```\nnpx wherry up --name a --nodes 3\n```\n")).toEqual([
    "--name",
    "a",
    "--nodes",
    "3",
  ]);
  expect(clusterOf("# A\nany `npx wherry up` will do\n")).toBeUndefined();
});

test("dots stand for what is not told, and for nothing else", () => {
  expect(prints("NAME   AGE\nweb-1  3s\n", ["NAME AGE", "web-… …"])).toBe(true);
  expect(prints("NAME   AGE\nweb-1  3s\n", ["NAME AGE"])).toBe(false);
  expect(prints("a\nb\nc\n", ["…", "c"])).toBe(true);
  expect(prints("a\nb\n", ["…", "c"])).toBe(false);
  expect(prints("a c\n", ["a … c"])).toBe(true);
  expect(prints("", [])).toBe(true);
  expect(prints("a\n", [])).toBe(false);
});

test("only what changes nothing is asked again", () => {
  expect(isLook("kubectl get pods")).toBe(true);
  expect(isLook("kubectl exec a -- node server.js ask http://api/")).toBe(true);
  expect(isLook("kubectl exec a -- node server.js ask http://127.0.0.1:8080/crash")).toBe(false);
  expect(isLook("kubectl delete pod a")).toBe(false);
});
