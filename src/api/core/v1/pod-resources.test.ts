import { expect, test } from "vitest";
import { decoded } from "../../test-objects.ts";
import { Pod } from "./pod.ts";
import {
  defaultPodLevelResources,
  effectiveLimits,
  effectiveRequests,
  podQosClass,
} from "./pod-resources.ts";

const container = (
  name: string,
  requests: object = {},
  limits: object = {},
  extra: object = {},
) => ({
  name,
  resources: { requests, limits },
  ...extra,
});
const pod = (spec: object) => decoded(Pod, { metadata: { name: "p" }, spec });
const sidecar = { restartPolicy: "Always" };

test.each<[string, object, string]>([
  ["nothing asked for", { containers: [container("a")] }, "BestEffort"],
  ["requests", { containers: [container("a", { cpu: "1" })] }, "Burstable"],
  ["only cpu guaranteed", { containers: [container("a", {}, { cpu: "1" })] }, "Burstable"],
  [
    "all guaranteed",
    { containers: [container("a", {}, { cpu: "1", memory: "1Gi" })] },
    "Guaranteed",
  ],
  [
    "one of two",
    { containers: [container("a", {}, { cpu: "1", memory: "1Gi" }), container("b")] },
    "Burstable",
  ],
  ["zero is nothing", { containers: [container("a", { cpu: "0" })] }, "BestEffort"],
  [
    "other resources do not count",
    { containers: [container("a", { "x.y/z": "1" })] },
    "BestEffort",
  ],
  [
    "the pod's own win",
    {
      containers: [container("a")],
      resources: { requests: { cpu: "1", memory: "1Gi" }, limits: { cpu: "1", memory: "1Gi" } },
    },
    "Guaranteed",
  ],
])("class: %s", (_name, spec, expected) => {
  expect(podQosClass(pod(spec))).toBe(expected);
});

test("the sum, or an init container's peak beside the sidecars before it", () => {
  const spec = {
    containers: [container("a", { cpu: "100m" }), container("b", { cpu: "200m" })],
    initContainers: [
      container("s", { cpu: "50m" }, {}, sidecar),
      container("i", { cpu: "1", memory: "1Mi" }),
      container("t", { cpu: "10m" }, {}, sidecar),
    ],
    overhead: { cpu: "5m" },
  };
  expect(effectiveRequests(pod(spec))).toEqual({ cpu: "1055m", memory: "1Mi" });
});

test("the pod's own amounts replace the sum; overhead only adds to limits that there are", () => {
  const spec = {
    containers: [container("a", { cpu: "100m" }, { cpu: "1" })],
    resources: { requests: { cpu: "300m" }, limits: { cpu: "2" } },
    overhead: { cpu: "100m", memory: "1Mi" },
  };
  expect(effectiveRequests(pod(spec))).toEqual({ cpu: "400m", memory: "1Mi" });
  expect(effectiveLimits(pod(spec))).toEqual({ cpu: "2100m" });
});

test("the pod's own amounts are completed from its containers'", () => {
  const one = pod({
    containers: [container("a", { cpu: "100m" }, { memory: "64Mi" })],
    resources: { limits: { cpu: "1" } },
  });
  defaultPodLevelResources(one.spec);
  expect(one.spec.resources).toEqual({
    requests: { cpu: "100m", memory: "64Mi" },
    limits: { cpu: "1", memory: "64Mi" },
  });
});
