/** A node under pressure: what it says, whom it ends first, whom it refuses, and how it recovers. */
import { afterEach, expect, test } from "vitest";
import type { ProgramRule } from "#adapters/memory/runtime.ts";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  // Nothing is left that would ever happen.
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const mebibyte = 2 ** 20;
const pod = (name: string, resources = "{}", more = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 30
  containers: [{ name: c, image: ${name}, resources: ${resources} ${more} }]
`;
/** Uses as much as its image's name says. */
const users: ProgramRule = {
  matches: ({ image }) => /(small|large)/.test(image),
  program: {
    start(process) {
      process.onTerminate(() => process.exit(0));
      const { image } = process.surroundings.container;
      process.allocate((image.includes("large") ? 500 : 50) * mebibyte);
    },
  },
};

const get = (on: World, name: string) => on.client.get(Pod, { namespace, name });
const conditionOf = async (on: World, type: string) =>
  (await on.client.get(Node, { name: "node-1" })).status.conditions?.find(
    (one) => one.type === type,
  );
async function newWorld(): Promise<World> {
  world = await createWorld({
    seed: 5,
    nodes: 1,
    transport: "direct",
    programs: [users],
    node: () => ({ memoryBytes: 2048 * mebibyte }),
  });
  return world;
}
const untilReady = (on: World, name: string) =>
  on.until(async () => isReady(await get(on, name)), 60_000);

test("short of memory, the pod furthest above its requests goes, then the node recovers", async () => {
  const on = await newWorld();
  await on.apply(pod("large"));
  await on.apply(pod("small", "{ requests: { memory: 100Mi } }"));
  await untilReady(on, "large");
  await untilReady(on, "small");
  const { host } = on.node("node-1");
  host.otherMemoryBytes = 1430 * mebibyte;
  await on.until(async () => (await get(on, "large")).status.phase === "Failed", 120_000);
  const { status } = await get(on, "large");
  expect(status.reason).toBe("Evicted");
  expect(status.message).toMatch(
    /^The node was low on resource: memory\. Threshold quantity: 100Mi, available: \d+Mi\. Container c was using 500Mi, request is 0, has larger consumption of memory\. $/,
  );
  expect(status.conditions?.find(({ type }) => type === "DisruptionTarget")).toMatchObject({
    status: "True",
    reason: "TerminationByKubelet",
  });
  const { items } = await on.client.list(Event, { namespace });
  expect(items.map(({ reason }) => reason)).toContain("Evicted");
  expect(isReady(await get(on, "small"))).toBe(true);

  // Nobody who promises nothing comes while it lasts; the node says why.
  await on.until(async () => (await conditionOf(on, "MemoryPressure"))?.status === "True", 60_000);
  await on.until(
    async () =>
      (await on.client.get(Node, { name: "node-1" })).spec.taints?.some(
        ({ key }) => key === "node.kubernetes.io/memory-pressure",
      ) ?? false,
    60_000,
  );
  await on.client.create(Pod, {
    metadata: { name: "forced", namespace },
    spec: { nodeName: "node-1", containers: [{ name: "c", image: "small" }] },
  } as never);
  await on.until(async () => (await get(on, "forced")).status.phase === "Failed", 60_000);
  expect((await get(on, "forced")).status).toMatchObject({
    reason: "Evicted",
    message: "Pod was rejected: The node had condition: [MemoryPressure]. ",
  });
  host.otherMemoryBytes = 0;
  await on.until(
    async () => (await conditionOf(on, "MemoryPressure"))?.status === "False",
    600_000,
  );
  await on.apply(pod("small-again"));
  await untilReady(on, "small-again");
});
