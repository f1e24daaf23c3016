/** Stories of those who make room: evictions judged by budgets. */
import { afterEach, describe, expect, test } from "vitest";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import { StatusError } from "#machinery/status-error.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
async function newWorld(): Promise<World> {
  world = await createWorld({ seed: 42, nodes: 3, transport: "direct" });
  return world;
}
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";

const database = `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  replicas: 3
  serviceName: db
  podManagementPolicy: Parallel
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: db, image: "nginx:1" }]
`;
const allReady = (on: World) =>
  on.until(async () => {
    const { status } = await on.client.get(StatefulSet, { namespace, name: "db" });
    return status.readyReplicas === 3 && status.replicas === 3;
  }, 120_000);

describe("PodDisruptionBudget", () => {
  const budget = (spec: string) => `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: db }
spec: { selector: { matchLabels: { app: db } }, ${spec} }
`;
  const evict = (on: World, name: string) =>
    on.run(
      on.client.post(Pod, { namespace, name }, "eviction", {
        apiVersion: "policy/v1",
        kind: "Eviction",
        metadata: { name, namespace },
      }),
    );
  const status = async (on: World) =>
    (await on.run(on.client.get(PodDisruptionBudget, { namespace, name: "db" }))).status;
  const left = (on: World, count: number) =>
    on.until(async () => {
      const found = await on.client.get(PodDisruptionBudget, { namespace, name: "db" });
      return found.status.disruptionsAllowed === count && found.status.observedGeneration === 1;
    }, 60_000);

  test("a drain takes the Pods one after the other, and never more than may be away", async () => {
    const on = await newWorld();
    await on.apply(database + "---" + budget("maxUnavailable: 1"));
    await allReady(on);
    await left(on, 1);
    expect(await status(on)).toMatchObject({
      currentHealthy: 3,
      desiredHealthy: 2,
      expectedPods: 3,
    });
    const [one] = await on.pods("app=db");
    const drained = one?.spec.nodeName ?? "";
    await on.run(
      on.client.patch(Node, { name: drained }, "merge", { spec: { unschedulable: true } }),
    );
    let fewest = 3;
    const there = async () =>
      (await on.pods("app=db")).filter((pod) => pod.spec.nodeName === drained);
    for (const { metadata } of await there()) {
      for (;;) {
        try {
          await evict(on, metadata.name);
          break;
        } catch (error) {
          expect(error).toBeInstanceOf(StatusError);
          const { code, status: told } = error as StatusError;
          expect([code, told.message]).toEqual([
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
          ]);
        }
        await on.advance(500);
        const pods = await on.pods("app=db");
        fewest = Math.min(fewest, pods.filter(isReady).length);
      }
    }
    // All at once: only one of them may go.
    await left(on, 1);
    const pods = await on.pods("app=db");
    const answers = await Promise.allSettled(pods.map((pod) => evict(on, pod.metadata.name)));
    const refusals = answers.flatMap((answer) =>
      answer.status === "rejected" ? [(answer.reason as StatusError).status] : [],
    );
    expect(refusals.map(({ code }) => code)).toEqual([429, 429]);
    for (const { details } of refusals) {
      expect(details?.causes).toEqual([
        {
          reason: "DisruptionBudget",
          message: "The disruption budget db does not allow evicting pods currently",
        },
      ]);
    }
    expect(fewest).toBeGreaterThanOrEqual(2);
    await allReady(on);
    expect(await there()).toEqual([]);
  });

  test("Pods that nobody manages are counted as they are, unready ones go by the policy", async () => {
    const on = await newWorld();
    const bare = `
apiVersion: v1
kind: Pod
metadata: { name: bare, labels: { app: db } }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - { name: c, image: busybox, command: [sleep, infinity], readinessProbe: { exec: { command: ["false"] } } }
`;
    await on.apply(`${bare}---${budget("minAvailable: 1")}`);
    await left(on, 0);
    await on.until(
      async () =>
        (await on.client.get(Pod, { namespace, name: "bare" })).status.phase === "Running",
      30_000,
    );
    await expect(evict(on, "bare")).rejects.toThrow("disruption budget");
    const allow = { spec: { unhealthyPodEvictionPolicy: "AlwaysAllow" } };
    await on.run(on.client.patch(PodDisruptionBudget, { namespace, name: "db" }, "merge", allow));
    await evict(on, "bare");
    await on.until(
      async () => (await on.client.list(Pod, { namespace })).items.length === 0,
      30_000,
    );
  });
});
