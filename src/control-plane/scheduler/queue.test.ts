import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { Stored } from "#machinery/meta.ts";
import type { ClusterEvent } from "./plugin.ts";
import { byPriority } from "./plugins/priority-sort.ts";
import { podInfoOf } from "./pod-info.ts";
import { defaultProfile } from "./profile.ts";
import { defaultBackoff, SchedulingQueue } from "./queue.ts";

const plugins = defaultProfile.plugins.map(({ plugin }) => plugin);
const queueOf = (clock: SteppedClock) =>
  new SchedulingQueue(clock, () => plugins, byPriority, defaultBackoff);
const pod = (name: string, spec: object = {}): Stored<Pod> =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", uid: name, resourceVersion: "1" },
    spec: { containers: [{ name: "c", resources: { requests: { cpu: "1" } } }], ...spec },
    status: {},
  }) as unknown as Stored<Pod>;
const node = (cpu: string): Stored<Node> =>
  ({
    metadata: { name: "n", uid: "n" },
    spec: {},
    status: { allocatable: { cpu, pods: "10" } },
  }) as unknown as Stored<Node>;
const added = (cpu: string): ClusterEvent => ({ on: "nodeAdded", node: node(cpu) });
const fit = new Set(["NodeResourcesFit"]);

test("higher priority first, then first come first served", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const queue = queueOf(clock);
  queue.add(podInfoOf(pod("a")));
  await clock.advance(1);
  queue.add(podInfoOf(pod("b", { priority: 10 })));
  queue.add(podInfoOf(pod("c")));
  const order = [await queue.next(), await queue.next(), await queue.next()];
  expect(order.map((one) => one?.info.uid)).toEqual(["b", "a", "c"]);
});

test("a rejected Pod sleeps until an event that its rejector takes for an answer", async () => {
  const queue = queueOf(new SteppedClock({ startMs: 0 }));
  queue.add(podInfoOf(pod("a")));
  const tried = await queue.next();
  if (tried === undefined) throw new Error("nothing queued");
  queue.reject(tried, fit);
  queue.happened(added("500m"));
  expect(queue.sizes).toEqual({ active: 0, backoff: 0, unschedulable: 1 });
  queue.happened(added("2"));
  expect(queue.sizes).toEqual({ active: 0, backoff: 1, unschedulable: 0 });
  // Nothing else waits: no reason to sit out the back-off.
  expect((await queue.next())?.attempts).toBe(2);
});

test("an error waits out its back-off, and what nobody wakes is tried after five minutes", async () => {
  const clock = new SteppedClock({ startMs: 0 });
  const queue = queueOf(clock);
  queue.add(podInfoOf(pod("a")));
  const tried = await queue.next();
  if (tried === undefined) throw new Error("nothing queued");
  queue.retry(tried);
  await clock.advance(999);
  expect(queue.sizes.backoff).toBe(1);
  await clock.advance(1);
  expect(queue.sizes.active).toBe(1);
  const again = await queue.next();
  if (again === undefined) throw new Error("nothing queued");
  queue.reject(again, fit);
  await clock.advance(299_999);
  expect(queue.sizes.unschedulable).toBe(1);
  await clock.advance(1);
  expect(queue.sizes.active).toBe(1);
});

test("gates hold a Pod back until the last is gone", async () => {
  const queue = queueOf(new SteppedClock({ startMs: 0 }));
  const gated = pod("a", { schedulingGates: [{ name: "wait" }] });
  queue.add(podInfoOf(gated));
  queue.happened(added("8"));
  expect(queue.sizes).toEqual({ active: 0, backoff: 0, unschedulable: 1 });
  const free = pod("a");
  queue.update(podInfoOf(free), { on: "itselfUpdated", pod: free, old: gated });
  expect((await queue.next())?.info.uid).toBe("a");
});
