/** Stories of a crowded cluster: who has to go so that a more important Pod can run, who is kept apart, who waits. */
import { afterEach, expect, test } from "vitest";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { toMilli } from "#machinery/quantity.ts";
import { createWorld, type World } from "./world.ts";

let world: World | undefined;
async function newWorld(nodes: number): Promise<World> {
  world = await createWorld({ seed: 7, nodes, transport: "direct" });
  return world;
}
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const classes = `
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: { name: urgent }
value: 1000
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: { name: patient }
value: 1000
preemptionPolicy: Never
`;
const pod = (name: string, milliCpu: number, more = "", finalizers = "") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name.split("-")[0]} }, finalizers: [${finalizers}] }
spec:
  terminationGracePeriodSeconds: 5
  containers: [{ name: c, image: "nginx:1", resources: { requests: { cpu: ${milliCpu}m } } }]
${more}`;
/** How much CPU Pods can ask of a node, in thousandths. */
async function room(on: World): Promise<number> {
  const { items } = await on.run(on.client.list(Node));
  return Math.min(...items.map((node) => toMilli(node.status.allocatable?.["cpu"] ?? "0")));
}
const get = (on: World, name: string) => on.client.get(Pod, { namespace, name });
const running = (on: World, name: string) =>
  on.until(async () => (await get(on, name)).status.phase === "Running", 120_000);
async function said(on: World, reason: string): Promise<string[]> {
  const { items } = await on.run(on.client.list(Event, { namespace }));
  return items.filter((event) => event.reason === reason).map(({ message }) => message ?? "");
}

test("a more important Pod takes the place of a lesser one, which ends in peace", async () => {
  const on = await newWorld(2);
  await on.apply(classes);
  const most = Math.floor((await room(on)) * 0.6);
  await on.apply(pod("low-a", most, "", "example.com/kept"));
  await on.apply(pod("low-b", most, "", "example.com/kept"));
  await running(on, "low-a");
  await running(on, "low-b");
  await on.apply(pod("high", most, "  priorityClassName: urgent\n"));
  await running(on, "high");
  // Their finalizer keeps them, so that what they were told can be read.
  const { items } = await on.run(on.client.list(Pod, { namespace }));
  const victims = items.filter((one) => one.metadata.deletionTimestamp !== undefined);
  expect(victims.length).toBe(1);
  const told = victims[0]?.status.conditions?.find(({ type }) => type === "DisruptionTarget");
  expect(told).toMatchObject({
    status: "True",
    reason: "PreemptionByScheduler",
    message: "default-scheduler: preempting to accommodate a higher priority pod",
  });
  const high = await on.run(get(on, "high"));
  expect(high.status.nominatedNodeName).toBeUndefined();
  const [failed = ""] = await said(on, "FailedScheduling");
  expect(failed).toBe(
    "0/2 nodes are available: 2 Insufficient cpu.".concat(
      ` preemption: found a potential placement for pod on node ${high.spec.nodeName}, preempting 1 victims`,
    ),
  );
  expect(await said(on, "Preempted")).toEqual([
    `Preempted by pod ${high.metadata.uid} on node ${high.spec.nodeName}`,
  ]);
});

test("who preempts never waits, and comes in when there is room", async () => {
  const on = await newWorld(1);
  await on.apply(classes);
  const most = Math.floor((await room(on)) * 0.6);
  await on.apply(pod("low", most));
  await running(on, "low");
  await on.apply(pod("patient", most, "  priorityClassName: patient\n"));
  await on.until(
    async () =>
      (await said(on, "FailedScheduling")).includes(
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
      ),
    60_000,
  );
  expect((await on.run(get(on, "low"))).metadata.deletionTimestamp).toBeUndefined();
  await on.run(on.client.delete(Pod, { namespace, name: "low" }));
  await running(on, "patient");
});

test("Pods that keep apart do not share a node, and one that wants company finds it", async () => {
  const on = await newWorld(2);
  const terms = (field: string, app: string) => `  affinity:
    ${field}:
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: kubernetes.io/hostname
          labelSelector: { matchLabels: { app: ${app} } }
`;
  await on.apply(pod("loner-a", 10, terms("podAntiAffinity", "loner")));
  await on.apply(pod("loner-b", 10, terms("podAntiAffinity", "loner")));
  await running(on, "loner-a");
  await running(on, "loner-b");
  const [a, b] = [await on.run(get(on, "loner-a")), await on.run(get(on, "loner-b"))];
  expect(a.spec.nodeName).not.toBe(b.spec.nodeName);
  await on.apply(pod("loner-c", 10, terms("podAntiAffinity", "loner")));
  await on.until(
    async () =>
      (await said(on, "FailedScheduling")).some((one) =>
        one.startsWith(
          "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption:",
        ),
      ),
    60_000,
  );
  await on.apply(pod("follower", 10, terms("podAffinity", "star")));
  await on.apply(pod("star", 10));
  await running(on, "star");
  await running(on, "follower");
  const [star, follower] = [await on.run(get(on, "star")), await on.run(get(on, "follower"))];
  expect(follower.spec.nodeName).toBe(star.spec.nodeName);
  // When one of them goes, the third has a place.
  await on.run(on.client.delete(Pod, { namespace, name: "loner-a" }));
  await running(on, "loner-c");
});
