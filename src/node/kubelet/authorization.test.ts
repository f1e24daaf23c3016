/** What a request to the kubelet wants, in the words of access reviews. */
import { expect, test } from "vitest";
import { accessWanted } from "./authorization.ts";

test.each([
  ["GET", "/metrics/resource", "get", ["metrics"]],
  ["GET", "/metrics", "get", ["metrics"]],
  ["POST", "/stats/summary?only_cpu_and_memory=true", "create", ["stats"]],
  ["GET", "/pods/", "get", ["pods", "proxy"]],
  ["GET", "/runningpods/", "get", ["pods", "proxy"]],
  ["GET", "/healthz", "get", ["healthz", "proxy"]],
  ["GET", "/logs/", "get", ["log"]],
  ["POST", "/exec/default/web/main", "create", ["proxy"]],
  ["GET", "/metricsque", "get", ["proxy"]],
  ["GET", "/constructor", "get", ["proxy"]],
  ["DELETE", "/localVolumes/x", "delete", ["proxy"]],
])("%s %s", (method, target, verb, subresources) => {
  expect(accessWanted({ method, target })).toEqual({ verb, subresources });
});
