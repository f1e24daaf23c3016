/** Whom a short node ends first, and what it says. */
import { expect, test } from "vitest";
import { defaultConfig } from "./config.ts";
import {
  type Candidate,
  evictionMessage,
  limitedVolumes,
  pressureRefusal,
  rankForEviction,
  shortagesOf,
  volumeLimitMessage,
} from "./eviction-plan.ts";
import type { NodePod } from "./pod-spec.ts";

const mebibyte = 2 ** 20;
const disk = { capacityBytes: 1000, availableBytes: 500, inodes: 100, inodesFree: 50 };
const pod = (name: string, requests: object = {}, spec: object = {}): NodePod =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "n", uid: name },
    spec: { containers: [{ name: "c", image: "i", resources: { requests } }], ...spec },
    status: {},
  }) as unknown as NodePod;
const using = (one: NodePod, mebibytes: number): Candidate => ({
  pod: one,
  containers: new Map([["c", mebibytes * mebibyte]]),
  otherBytes: 0,
});

test("what is short, as the thresholds have it", () => {
  const enough = { disk, memoryAvailableBytes: 200 * mebibyte };
  expect(shortagesOf(enough, defaultConfig)).toEqual([]);
  const short = { disk: { ...disk, availableBytes: 99 }, memoryAvailableBytes: 50 * mebibyte };
  expect(shortagesOf(short, defaultConfig)).toEqual([
    { resource: "memory", condition: "MemoryPressure", threshold: "100Mi", available: "50Mi" },
    { resource: "ephemeral-storage", condition: "DiskPressure", threshold: "100", available: "99" },
  ]);
  const inodes = { ...enough, disk: { ...disk, inodesFree: 4 } };
  expect(shortagesOf(inodes, defaultConfig)).toMatchObject([{ threshold: "5", available: "4" }]);
});

test("above their requests before below, then by priority, then by how far above", () => {
  const candidates = [
    using(pod("below", { memory: "900Mi" }), 800),
    using(pod("important", {}, { priority: 10 }), 700),
    using(pod("little"), 10),
    using(pod("much"), 20),
    using(pod("critical", {}, { priority: 2_000_000_000 }), 900),
  ];
  const order = rankForEviction(candidates, "memory").map((one) => one.pod.metadata.name);
  expect(order).toEqual(["much", "little", "important", "below"]);
});

test("messages say what was short and who used more than it asked for", () => {
  const shortage = {
    resource: "memory",
    condition: "MemoryPressure",
    threshold: "100Mi",
    available: "50Mi",
  } as const;
  expect(evictionMessage(using(pod("p", { memory: "64Mi" }), 128), shortage)).toBe(
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 128Mi, request is 64Mi, has larger consumption of memory. ",
  );
  expect(volumeLimitMessage("cache", "1Mi")).toBe(
    'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". ',
  );
});

test("under pressure only those come that promise something, or are critical", () => {
  const memory = ["MemoryPressure"] as const;
  const refused = "The node had condition: [MemoryPressure]. ";
  expect(pressureRefusal(pod("besteffort"), memory)).toBe(refused);
  expect(pressureRefusal(pod("burstable", { memory: "1Mi" }), memory)).toBeUndefined();
  const tolerations = [{ key: "node.kubernetes.io/memory-pressure", operator: "Exists" }];
  expect(pressureRefusal(pod("tolerant", {}, { tolerations }), memory)).toBeUndefined();
  expect(pressureRefusal(pod("burstable", { memory: "1Mi" }), ["DiskPressure"])).toBe(
    "The node had condition: [DiskPressure]. ",
  );
  const critical = pod("critical", {}, { priority: 2_000_001_000 });
  expect(pressureRefusal(critical, ["DiskPressure"])).toBeUndefined();
});

test("limits of volumes on disk are watched, those in memory keep themselves", () => {
  const volumes = [
    { name: "disk", emptyDir: { sizeLimit: "1Mi" } },
    { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
    { name: "free", emptyDir: {} },
  ];
  expect(limitedVolumes(pod("p", {}, { volumes }))).toEqual([{ name: "disk", limit: "1Mi" }]);
});
