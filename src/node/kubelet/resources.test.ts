import { expect, test } from "vitest";
import type { Container, PodSpec } from "#api/generated/core/v1.ts";
import type { NodePod } from "./pod-spec.ts";
import {
  containerResources,
  oomScoreAdj,
  podCgroup,
  podCgroupLimits,
  podRequests,
} from "./resources.ts";

type Amounts = Record<string, string>;
const container = (
  requests: Amounts,
  limits: Amounts,
  more: Partial<Container> = {},
): Container => ({
  name: "a",
  resources: { requests, limits },
  ...more,
});
const podOf = (containers: Container[], more: Partial<PodSpec> = {}): NodePod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "n", uid: "u1" },
  spec: { containers, ...more },
  status: {},
});
const gib = 1024 ** 3;
const both = { cpu: "500m", memory: "1Gi" };

test("a pod's cgroup stands where its class says, with its limits", () => {
  const guaranteed = podOf([container(both, both)]);
  expect(podCgroup("/kubepods", guaranteed)).toBe("/kubepods/podu1");
  expect(podCgroupLimits(guaranteed, 100)).toEqual({
    cpuShares: 512,
    cpuQuota: 50_000,
    cpuPeriod: 100_000,
    memoryLimitBytes: gib,
    pidsMax: 100,
  });
  const open = podOf([container(both, both), container({}, {})]);
  expect(podCgroup("/kubepods", open)).toBe("/kubepods/burstable/podu1");
  expect(podCgroupLimits(open, undefined)).toEqual({ cpuShares: 512 });
  expect(podCgroupLimits(podOf([container({}, {})]), undefined)).toEqual({ cpuShares: 2 });
});

test("a pod asks for its peak: regular containers, or an init container beside earlier sidecars", () => {
  const pod = podOf([container({ cpu: "100m" }, {})], {
    initContainers: [
      container({ cpu: "200m" }, {}, { restartPolicy: "Always" }),
      container({ cpu: "1" }, {}),
    ],
    overhead: { cpu: "10m" },
  });
  expect(podRequests(pod).get("cpu")).toBe(1210);
});

test("a container's share, quota and limit", () => {
  const pod = podOf([container({ cpu: "250m" }, { cpu: "1", memory: "64Mi" })]);
  expect(containerResources(pod, pod.spec.containers[0] as Container, 16 * gib)).toEqual({
    cpuPeriod: 100_000,
    cpuQuota: 100_000,
    cpuShares: 256,
    memoryLimitBytes: 64 * 1024 ** 2,
    oomScoreAdj: 999,
  });
});

test("who dies first when memory runs out", () => {
  const score = (pod: NodePod) => oomScoreAdj(pod, pod.spec.containers[0] as Container, 10 * gib);
  expect(score(podOf([container(both, both)]))).toBe(-997);
  expect(score(podOf([container({}, {})]))).toBe(1000);
  expect(score(podOf([container({ memory: "1Gi" }, {})]))).toBe(900);
  expect(score(podOf([container({ memory: "100Gi" }, {})]))).toBe(3);
  expect(score(podOf([container({ cpu: "1" }, {})]))).toBe(999);
  expect(score(podOf([container({}, {})], { priority: 2_000_001_000 }))).toBe(-997);
});
