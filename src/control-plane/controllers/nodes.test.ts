import { expect, test } from "vitest";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { formatCidr, parseCidr } from "#machinery/ip.ts";
import type { Stored } from "#machinery/meta.ts";
import { freeBlock } from "./node-ipam.ts";
import { silentConditions, taintRate } from "./node-lifecycle.ts";
import { planNoSchedule } from "./node-taints.ts";
import { staysMs } from "./taint-eviction.ts";

const node = (name: string, ready: string, over: object = {}, zone = ""): Stored<Node> =>
  ({
    metadata: {
      name,
      uid: name,
      resourceVersion: "1",
      creationTimestamp: "2030-01-01T00:00:00Z",
      labels: { "topology.kubernetes.io/zone": zone },
    },
    spec: over,
    status: { conditions: [{ type: "Ready", status: ready }] },
  }) as unknown as Stored<Node>;
const block = (text: string) => {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(text);
  return parsed.cidr;
};

test("the first free block, beside blocks of other sizes, until none is left", () => {
  const whole = block("10.244.0.0/22");
  const next = (...used: string[]) => {
    const found = freeBlock(whole, 24, used.map(block));
    return found === undefined ? undefined : formatCidr(found);
  };
  expect(next()).toBe("10.244.0.0/24");
  expect(next("10.244.0.0/24", "10.244.2.0/24")).toBe("10.244.1.0/24");
  expect(next("10.244.0.0/23")).toBe("10.244.2.0/24");
  expect(next("10.244.0.0/22")).toBeUndefined();
});

test("NoSchedule taints follow conditions and the cordon", () => {
  const taints = [
    { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" },
    { key: "mine", effect: "NoSchedule" },
  ];
  expect(planNoSchedule(node("a", "Unknown", { taints, unschedulable: true }))).toEqual({
    add: [
      { key: "node.kubernetes.io/unreachable", effect: "NoSchedule" },
      { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" },
    ],
    remove: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }],
  });
});

test("a silent node's conditions become Unknown, once", () => {
  const conditions = silentConditions(node("a", "True"), 0);
  expect(conditions?.map(({ type, status, reason }) => [type, status, reason])).toEqual([
    ["Ready", "Unknown", "NodeStatusUnknown"],
    ["MemoryPressure", "Unknown", "NodeStatusNeverUpdated"],
    ["DiskPressure", "Unknown", "NodeStatusNeverUpdated"],
    ["PIDPressure", "Unknown", "NodeStatusNeverUpdated"],
  ]);
  const silent = { ...node("a", "True"), status: { conditions } } as unknown as Stored<Node>;
  expect(silentConditions(silent, 1)).toBeUndefined();
});

test("nodes are given up slowly, and not at all when everything is down", () => {
  const many = (count: number, ready: string, zone: string) =>
    Array.from({ length: count }, (_, at) => node(`${zone}${ready}${at}`, ready, {}, zone));
  expect(taintRate([...many(3, "True", "a"), ...many(1, "Unknown", "a")], "/a")).toBe(0.1);
  expect(taintRate([...many(3, "True", "a"), ...many(7, "Unknown", "a")], "/a")).toBe(0);
  expect(taintRate([...many(30, "True", "a"), ...many(70, "Unknown", "a")], "/a")).toBe(0.01);
  expect(taintRate([...many(3, "Unknown", "a"), ...many(3, "True", "b")], "/a")).toBe(0.1);
  expect(taintRate(many(3, "Unknown", "a"), "/a")).toBe(0);
});

test("a Pod stays as long as its shortest toleration allows", () => {
  const taint = { key: "node.kubernetes.io/unreachable", effect: "NoExecute" } as const;
  const stays = (...tolerations: object[]) =>
    staysMs({ spec: { tolerations } } as unknown as Pod, [taint]);
  const tolerates = { key: taint.key, operator: "Exists", effect: "NoExecute" };
  expect(stays()).toBe(0);
  expect(stays(tolerates)).toBe(Infinity);
  expect(stays(tolerates, { ...tolerates, tolerationSeconds: 300 })).toBe(300_000);
  expect(stays({ operator: "Exists" })).toBe(Infinity);
  expect(stays({ ...tolerates, key: "other" })).toBe(0);
});
