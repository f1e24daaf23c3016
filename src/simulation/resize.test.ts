/** Pods that change their resources while they run: in place, by a restart, later, not at all. */
import { afterEach, expect, test } from "vitest";
import { Event } from "#api/core/v1/event.ts";
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
const pod = (name: string, cpu: string, policy = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: busybox
      command: [sleep, infinity]
      resources: { requests: { cpu: ${cpu}, memory: 64Mi }, limits: { cpu: ${cpu}, memory: 64Mi } }
      ${policy}
`;
const get = (on: World, name: string) => on.client.get(Pod, { namespace, name });
const resize = (on: World, name: string, resources: object) =>
  on.client.patch(
    Pod,
    { namespace, name },
    "strategic",
    { spec: { containers: [{ name: "c", resources }] } },
    { subresource: "resize" },
  );
const both = (amounts: object) => ({ requests: amounts, limits: amounts });
const condition = async (on: World, name: string, type: string) =>
  (await get(on, name)).status.conditions?.find((one) => one.type === type);
async function reasons(on: World, name: string): Promise<string[]> {
  const { items } = await on.client.list(Event, { namespace });
  return items
    .filter((event) => event.involvedObject.name === name)
    .map(({ reason }) => reason ?? "");
}

async function newWorld(): Promise<World> {
  world = await createWorld({ seed: 3, nodes: 1, transport: "direct", node: () => ({ cpus: 2 }) });
  return world;
}
const untilReady = (on: World, name: string) =>
  on.until(async () => isReady(await get(on, name)), 60_000);

test("a container gets more without a restart, and the status says what it has", async () => {
  const on = await newWorld();
  await on.apply(pod("p", "500m"));
  await untilReady(on, "p");
  const before = (await get(on, "p")).status.containerStatuses?.[0];
  await resize(on, "p", both({ cpu: "1", memory: "128Mi" }));
  const amounts = { cpu: "1", memory: "128Mi" };
  await on.until(async () => {
    const status = (await get(on, "p")).status.containerStatuses?.[0];
    return status?.resources?.limits?.["memory"] === "128Mi";
  }, 60_000);
  await on.advance(2000);
  const after = (await get(on, "p")).status.containerStatuses?.[0];
  expect(after).toMatchObject({
    containerID: before?.containerID,
    restartCount: 0,
    allocatedResources: amounts,
    resources: both(amounts),
  });
  expect(await condition(on, "p", "PodResizeInProgress")).toBeUndefined();
  expect(await reasons(on, "p")).toEqual(
    expect.arrayContaining(["ResizeStarted", "ResizeCompleted"]),
  );
});

test("a container that asks for it is restarted for its new memory", async () => {
  const on = await newWorld();
  const policy = "resizePolicy: [{ resourceName: memory, restartPolicy: RestartContainer }]";
  await on.apply(pod("p", "500m", policy));
  await untilReady(on, "p");
  await resize(on, "p", both({ memory: "128Mi" }));
  await on.until(async () => {
    const status = (await get(on, "p")).status.containerStatuses?.[0];
    return status?.restartCount === 1 && status.resources?.limits?.["memory"] === "128Mi";
  }, 60_000);
  await on.until(async () => (await reasons(on, "p")).includes("ResizeCompleted"), 10_000);
});

test("without room it waits until another pod has left; more than the node has is refused", async () => {
  const on = await newWorld();
  await on.apply(pod("p", "500m"));
  await on.apply(pod("q", "800m"));
  await untilReady(on, "p");
  await untilReady(on, "q");
  await resize(on, "p", both({ cpu: "1500m" }));
  await on.until(
    async () => (await condition(on, "p", "PodResizePending"))?.reason === "Deferred",
    60_000,
  );
  const pending = await condition(on, "p", "PodResizePending");
  expect(pending?.message).toMatch(/^Node didn't have enough resource: cpu, requested: 1500, /);
  const waiting = (await get(on, "p")).status.containerStatuses?.[0];
  expect(waiting?.allocatedResources).toMatchObject({ cpu: "500m" });
  await on.client.delete(Pod, { namespace, name: "q" });
  await on.until(async () => {
    const status = (await get(on, "p")).status.containerStatuses?.[0];
    return status?.resources?.limits?.["cpu"] === "1500m";
  }, 60_000);
  expect(await condition(on, "p", "PodResizePending")).toBeUndefined();
  await expect(resize(on, "p", both({ cpu: "64" }))).rejects.toThrow(
    /node didn't have enough allocatable resources: cpu, requested: 64000, allocatable: \d+/,
  );
});
