/** Stories of workloads beyond Deployments: order, one per node, work that ends. */
import { afterEach, describe, expect, test } from "vitest";
import { ControllerRevision } from "#api/apps/v1/controllerrevision.ts";
import { DaemonSet } from "#api/apps/v1/daemonset.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import { createWorld, isReady, type World, type WorldOptions } from "./world.ts";

let world: World | undefined;
async function newWorld(more: Partial<WorldOptions> = {}): Promise<World> {
  world = await createWorld({ seed: 42, nodes: 3, transport: "direct", ...more });
  return world;
}
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const names = (pods: readonly Pod[]) => pods.map((pod) => pod.metadata.name ?? "").sort();
const imageOf = (pod: Pod) => pod.spec.containers[0]?.image;
async function eventsOf(on: World, kind: string): Promise<string[]> {
  const { items } = await on.run(on.client.list(Event, { namespace }));
  return items
    .filter((one) => one.involvedObject.kind === kind)
    .map((one) => `${one.reason}: ${one.message}`);
}

const database = (options: { image?: string; replicas?: number; spec?: string } = {}) => `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  replicas: ${options.replicas ?? 3}
  serviceName: db
  selector: { matchLabels: { app: db } }
  ${options.spec ?? ""}
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: db, image: "${options.image ?? "nginx:1"}" }]
`;
const readyOf = (on: World) => async (count: number, image?: string) => {
  await on.until(async () => {
    const set = await on.client.get(StatefulSet, { namespace, name: "db" });
    const pods = await on.client.list(Pod, { namespace, labelSelector: "app=db" });
    return (
      set.status.readyReplicas === count &&
      set.status.replicas === count &&
      set.status.observedGeneration === set.metadata.generation &&
      pods.items.every((pod) => image === undefined || imageOf(pod) === image)
    );
  }, 120_000);
};

describe("StatefulSet", () => {
  test("starts in order, rolls from the last to the first, goes back, and shrinks", async () => {
    const on = await newWorld();
    const seen: string[] = [];
    await on.apply(database());
    await on.until(async () => {
      const pods = await on.client.list(Pod, { namespace, labelSelector: "app=db" });
      const line = names(pods.items).join(" ");
      if (line !== "" && seen.at(-1) !== line) seen.push(line);
      // None starts before the one in front of it is ready.
      for (const pod of pods.items.slice(0, -1)) expect(isReady(pod)).toBe(true);
      return pods.items.length === 3 && pods.items.every(isReady);
    }, 60_000);
    expect(seen).toEqual(["db-0", "db-0 db-1", "db-0 db-1 db-2"]);
    await readyOf(on)(3);
    const [first] = await on.pods("app=db,apps.kubernetes.io/pod-index=0");
    expect(first?.spec).toMatchObject({ hostname: "db-0", subdomain: "db" });
    expect(first?.metadata.labels).toMatchObject({ "statefulset.kubernetes.io/pod-name": "db-0" });
    const made = await on.client.get(StatefulSet, { namespace, name: "db" });
    expect(made.status).toMatchObject({
      currentReplicas: 3,
      updatedReplicas: 3,
      availableReplicas: 3,
      collisionCount: 0,
    });
    expect(made.status.currentRevision).toBe(made.status.updateRevision);

    const moved: string[] = [];
    await on.apply(database({ image: "nginx:2" }));
    await on.until(async () => {
      const pods = await on.client.list(Pod, { namespace, labelSelector: "app=db" });
      for (const pod of pods.items.filter((one) => imageOf(one) === "nginx:2")) {
        if (!moved.includes(pod.metadata.name)) moved.push(pod.metadata.name);
      }
      return moved.length === 3;
    }, 120_000);
    expect(moved).toEqual(["db-2", "db-1", "db-0"]);
    await readyOf(on)(3);
    const revisions = await on.run(on.client.list(ControllerRevision, { namespace }));
    expect(revisions.items.map((one) => one.revision).sort((a, b) => a - b)).toEqual([1, 2]);

    await on.apply(database({ image: "nginx:1" }));
    await readyOf(on)(3, "nginx:1");
    const after = await on.run(on.client.list(ControllerRevision, { namespace }));
    expect(after.items.map((one) => one.revision).sort((a, b) => a - b)).toEqual([2, 3]);

    await on.apply(database({ replicas: 1 }));
    await readyOf(on)(1);
    expect(names(await on.pods("app=db"))).toEqual(["db-0"]);
    expect(await eventsOf(on, "StatefulSet")).toEqual(
      expect.arrayContaining([
        "SuccessfulCreate: Create Pod db-0 in StatefulSet db successful",
        "SuccessfulDelete: Delete Pod db-2 in StatefulSet db successful",
      ]),
    );
  });

  test("a partition holds back the first, parallel ones start together", async () => {
    const on = await newWorld();
    const spec = "podManagementPolicy: Parallel\n  ordinals: { start: 5 }\n  ";
    const rolling = (partition: number) =>
      `${spec}updateStrategy: { rollingUpdate: { partition: ${partition} } }`;
    await on.apply(database({ spec: rolling(0) }));
    await on.until(async () => (await on.pods("app=db")).length === 3, 5000);
    await readyOf(on)(3);
    expect(names(await on.pods("app=db"))).toEqual(["db-5", "db-6", "db-7"]);
    await on.apply(database({ spec: rolling(2), image: "nginx:2" }));
    await on.advance(20_000);
    await readyOf(on)(3);
    const pods = await on.pods("app=db");
    expect(pods.map((pod) => `${pod.metadata.name} ${imageOf(pod)}`).sort()).toEqual([
      "db-5 nginx:1",
      "db-6 nginx:1",
      "db-7 nginx:2",
    ]);
  });

  test("claims are made first, and follow their policy", async () => {
    const on = await newWorld();
    const spec = `persistentVolumeClaimRetentionPolicy: { whenScaled: Delete, whenDeleted: Delete }
  podManagementPolicy: Parallel
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }`;
    await on.apply(database({ spec, replicas: 2 }));
    const claims = async () =>
      (await on.run(on.client.list(PersistentVolumeClaim, { namespace }))).items;
    await on.until(async () => (await on.client.list(Pod, { namespace })).items.length === 2, 5000);
    await on.until(
      async () =>
        (await on.client.list(PersistentVolumeClaim, { namespace })).items.every(
          (one) => one.metadata.ownerReferences?.[0]?.kind === "StatefulSet",
        ),
      5000,
    );
    await readyOf(on)(2);
    expect((await claims()).map((one) => one.metadata.name).sort()).toEqual([
      "data-db-0",
      "data-db-1",
    ]);
    const [pod] = await on.pods("apps.kubernetes.io/pod-index=1");
    expect(pod?.spec.volumes).toContainEqual({
      name: "data",
      persistentVolumeClaim: { claimName: "data-db-1" },
    });
    expect(await eventsOf(on, "StatefulSet")).toContain(
      "SuccessfulCreate: Create Claim data-db-0 Pod db-0 in StatefulSet db success",
    );
  });
});

const agent = (options: { image?: string; update?: string; template?: string } = {}) => `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent }
spec:
  selector: { matchLabels: { app: agent } }
  updateStrategy: ${options.update ?? "{ rollingUpdate: { maxUnavailable: 1 } }"}
  template:
    metadata: { labels: { app: agent } }
    spec:
      terminationGracePeriodSeconds: 1
      ${options.template ?? ""}
      containers: [{ name: agent, image: "${options.image ?? "nginx:1"}" }]
`;
const agentReady = async (on: World, count: number) => {
  await on.until(async () => {
    const { status, metadata } = await on.client.get(DaemonSet, { namespace, name: "agent" });
    return (
      status.observedGeneration === metadata.generation &&
      status.numberReady === count &&
      status.updatedNumberScheduled === count &&
      status.desiredNumberScheduled === count
    );
  }, 120_000);
};

describe("DaemonSet", () => {
  test("follows nodes that come, leaves those that no longer fit", async () => {
    const on = await newWorld({ nodes: 2 });
    await on.apply(agent());
    await agentReady(on, 2);
    await on.addNode(3);
    await agentReady(on, 3);
    const where = (await on.pods("app=agent")).map((pod) => pod.spec.nodeName ?? "").sort();
    expect(where).toEqual(["node-1", "node-2", "node-3"]);
    // A cordoned node keeps its agent, and would get one.
    await on.run(
      on.client.patch(Node, { name: "node-1" }, "merge", { spec: { unschedulable: true } }),
    );
    await on.run(
      on.client.delete(Pod, { namespace, name: names(await on.pods("app=agent"))[0] ?? "" }),
    );
    await on.advance(5000);
    await agentReady(on, 3);
    const label = { metadata: { labels: { role: "edge" } } };
    await on.run(on.client.patch(Node, { name: "node-2" }, "merge", label));
    await on.apply(agent({ template: "nodeSelector: { role: edge }" }));
    await agentReady(on, 1);
    await on.until(
      async () => (await on.client.list(Pod, { namespace })).items.length === 1,
      60_000,
    );
    expect((await on.pods("app=agent"))[0]?.spec.nodeName).toBe("node-2");
  });

  test("rolls one node at a time, or with a surge without a gap", async () => {
    const on = await newWorld();
    await on.apply(agent());
    await agentReady(on, 3);
    let fewest = 3;
    const ready = async () =>
      (await on.client.list(Pod, { namespace, labelSelector: "app=agent" })).items.filter(
        (pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined,
      ).length;
    const rolled = (image: string) => async () => {
      fewest = Math.min(fewest, await ready());
      const { items } = await on.client.list(Pod, { namespace, labelSelector: "app=agent" });
      return items.length === 3 && items.every((pod) => imageOf(pod) === image && isReady(pod));
    };
    await on.apply(agent({ image: "nginx:2" }));
    await on.until(rolled("nginx:2"), 120_000);
    expect(fewest).toBe(2);
    await agentReady(on, 3);
    fewest = 3;
    const update = "{ rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } }";
    await on.apply(agent({ image: "nginx:1", update }));
    await on.until(rolled("nginx:1"), 120_000);
    expect(fewest).toBe(3);
    const revisions = await on.run(on.client.list(ControllerRevision, { namespace }));
    expect(revisions.items.map((one) => one.revision).sort((a, b) => a - b)).toEqual([2, 3]);
    const set = await on.run(on.client.get(DaemonSet, { namespace, name: "agent" }));
    expect(set.metadata.annotations?.["deprecated.daemonset.template.generation"]).toBe("3");
  });
});

test("a ReplicationController keeps its Pods, by a plain map of labels", async () => {
  const on = await newWorld();
  await on.apply(`
apiVersion: v1
kind: ReplicationController
metadata: { name: old }
spec:
  replicas: 2
  template:
    metadata: { labels: { app: old } }
    spec: { containers: [{ name: c, image: "nginx:1" }] }
`);
  const controller = () => on.run(on.client.get(ReplicationController, { namespace, name: "old" }));
  await on.until(async () => (await controller()).status.readyReplicas === 2, 60_000);
  expect((await controller()).spec.selector).toEqual({ app: "old" });
  const quiet = (await controller()).metadata.resourceVersion;
  await on.advance(20_000);
  expect((await controller()).metadata.resourceVersion).toBe(quiet);
});
