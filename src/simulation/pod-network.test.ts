import { expect, test } from "vitest";
import { candidates } from "./pod-network.ts";

test("names with few dots go through the search list first, others as they are", () => {
  const resolver = {
    servers: ["10.96.0.10"],
    searches: ["default.svc.cluster.local", "svc.cluster.local"],
    options: ["ndots:5"],
  };
  expect(candidates("web", resolver)).toEqual([
    "web.default.svc.cluster.local",
    "web.svc.cluster.local",
    "web",
  ]);
  expect(candidates("a.b.c.d.e.f", resolver)[0]).toBe("a.b.c.d.e.f");
  expect(candidates("example.org.", resolver)).toEqual(["example.org"]);
  expect(candidates("example.org", { ...resolver, options: [] })[0]).toBe("example.org");
});
