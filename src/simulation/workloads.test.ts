/** Stories of workloads beyond Deployments: order, one per node, work that ends. */
import { afterEach, describe, expect, test } from "vitest";
import { ControllerRevision } from "#api/apps/v1/controllerrevision.ts";
import { DaemonSet } from "#api/apps/v1/daemonset.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import { CronJob } from "#api/batch/v1/cronjob.ts";
import { Job } from "#api/batch/v1/job.ts";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import { parseTime } from "#machinery/time.ts";
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

const work = (
  options: { name?: string; spec?: string; command?: string; restart?: string } = {},
) => `
apiVersion: batch/v1
kind: Job
metadata: { name: ${options.name ?? "work"} }
spec:
  ${options.spec ?? "completions: 3\n  parallelism: 2"}
  template:
    metadata: { labels: { app: work } }
    spec:
      restartPolicy: ${options.restart ?? "Never"}
      terminationGracePeriodSeconds: 1
      containers: [{ name: c, image: busybox, command: ${options.command ?? "[sleep, '2']"} }]
`;
const jobOf = (on: World, name = "work") => on.run(on.client.get(Job, { namespace, name }));
const isOver = (job: Job) =>
  job.status.conditions?.some(
    (one) => ["Complete", "Failed"].includes(one.type) && one.status === "True",
  ) === true;
const untilOver = (on: World, ms: number, name = "work") =>
  on.until(async () => isOver(await on.client.get(Job, { namespace, name })), ms);
const conditionsOf = (job: Job) =>
  (job.status.conditions ?? []).map((one) => `${one.type} ${one.status} ${one.reason}`);

describe("Job", () => {
  test("runs to its completions, no more at once than it may", async () => {
    const on = await newWorld();
    await on.apply(work());
    let most = 0;
    await on.until(async () => {
      const job = await on.client.get(Job, { namespace, name: "work" });
      most = Math.max(most, job.status.active ?? 0);
      return isOver(job);
    }, 60_000);
    const job = await jobOf(on);
    expect(most).toBe(2);
    expect(conditionsOf(job)).toEqual([
      "SuccessCriteriaMet True CompletionsReached",
      "Complete True CompletionsReached",
    ]);
    expect(job.status).toMatchObject({ succeeded: 3, ready: 0, terminating: 0 });
    expect(job.status.uncountedTerminatedPods).toEqual({});
    const pods = await on.pods("app=work");
    expect(pods.length).toBe(3);
    expect(pods.every((pod) => (pod.metadata.finalizers ?? []).length === 0)).toBe(true);
    expect(await eventsOf(on, "Job")).toContain("Completed: Job completed");
    const again = job.metadata.resourceVersion;
    await on.advance(30_000);
    expect((await jobOf(on)).metadata.resourceVersion).toBe(again);
  });

  test("failures are tried again ever later, until there were too many", async () => {
    const on = await newWorld();
    await on.apply(work({ spec: "backoffLimit: 2", command: "['false']" }));
    await untilOver(on, 200_000);
    const job = await jobOf(on);
    expect(job.status).toMatchObject({ failed: 3 });
    expect(conditionsOf(job)).toEqual([
      "FailureTarget True BackoffLimitExceeded",
      "Failed True BackoffLimitExceeded",
    ]);
    const started = (await on.pods("app=work"))
      .map((pod) => (parseTime(pod.metadata.creationTimestamp) ?? 0) / 1000)
      .sort((a, b) => a - b);
    expect((started[1] ?? 0) - (started[0] ?? 0)).toBeGreaterThanOrEqual(10);
    expect((started[2] ?? 0) - (started[1] ?? 0)).toBeGreaterThanOrEqual(20);
  });

  test("indexes: each its own Pod, its own tries, and a policy of success", async () => {
    const on = await newWorld();
    const spec = "completionMode: Indexed\n  completions: 3\n  parallelism: 3";
    await on.apply(work({ spec }));
    await on.until(async () => (await on.client.list(Pod, { namespace })).items.length === 3, 5000);
    const [pod] = await on.pods("batch.kubernetes.io/job-completion-index=1");
    expect(pod?.spec.hostname).toBe("work-1");
    expect(pod?.metadata.name).toMatch(/^work-1-/);
    expect(pod?.spec.containers[0]?.env).toContainEqual({
      name: "JOB_COMPLETION_INDEX",
      valueFrom: {
        fieldRef: {
          apiVersion: "v1",
          fieldPath: "metadata.labels['batch.kubernetes.io/job-completion-index']",
        },
      },
    });
    await untilOver(on, 60_000);
    expect((await jobOf(on)).status).toMatchObject({ succeeded: 3, completedIndexes: "0-2" });

    const perIndex = `${spec}\n  backoffLimitPerIndex: 1`;
    await on.apply(work({ name: "broken", spec: perIndex, command: "['false']" }));
    await untilOver(on, 200_000, "broken");
    const broken = await jobOf(on, "broken");
    expect(conditionsOf(broken)).toEqual([
      "FailureTarget True FailedIndexes",
      "Failed True FailedIndexes",
    ]);
    expect(broken.status).toMatchObject({ failedIndexes: "0-2", failed: 6 });

    const policy = `${spec}\n  successPolicy: { rules: [{ succeededIndexes: '0', succeededCount: 1 }] }`;
    await on.apply(work({ name: "leader", spec: policy }));
    await untilOver(on, 60_000, "leader");
    expect(conditionsOf(await jobOf(on, "leader"))[0]).toBe(
      "SuccessCriteriaMet True SuccessPolicy",
    );
  });

  test("suspended it stops, resumed it goes on, after its deadline it fails, then it goes", async () => {
    const on = await newWorld();
    const spec = "activeDeadlineSeconds: 20\n  ttlSecondsAfterFinished: 30";
    await on.apply(work({ spec, command: "[sleep, infinity]" }));
    await on.until(
      async () => (await on.client.get(Job, { namespace, name: "work" })).status.ready === 1,
      20_000,
    );
    const suspend = (value: boolean) =>
      on.run(
        on.client.patch(Job, { namespace, name: "work" }, "merge", { spec: { suspend: value } }),
      );
    await suspend(true);
    await on.until(
      async () => (await on.client.list(Pod, { namespace })).items.length === 0,
      20_000,
    );
    const idle = await jobOf(on);
    expect(conditionsOf(idle)).toEqual(["Suspended True JobSuspended"]);
    expect(idle.status.failed ?? 0).toBe(0);
    await on.advance(60_000);
    await suspend(false);
    await on.until(
      async () => (await on.client.get(Job, { namespace, name: "work" })).status.ready === 1,
      20_000,
    );
    await untilOver(on, 60_000);
    expect(conditionsOf(await jobOf(on))).toEqual([
      "Suspended False JobResumed",
      "FailureTarget True DeadlineExceeded",
      "Failed True DeadlineExceeded",
    ]);
    await on.until(
      async () => (await on.client.list(Job, { namespace })).items.length === 0,
      60_000,
    );
    expect(await on.pods("app=work")).toEqual([]);
  });

  test("a policy for failures fails the Job at once", async () => {
    const on = await newWorld();
    const rule = "{ action: FailJob, onExitCodes: { operator: In, values: [1] } }";
    await on.apply(work({ spec: `podFailurePolicy: { rules: [${rule}] }`, command: "['false']" }));
    await untilOver(on, 60_000);
    const job = await jobOf(on);
    expect(conditionsOf(job)[0]).toBe("FailureTarget True PodFailurePolicy");
    expect(job.status.conditions?.[0]?.message).toMatch(
      /^Container c for pod default\/work-\w+ failed with exit code 1 matching FailJob rule at index 0$/,
    );
  });
});

const cronJob = (name: string, schedule: string, more: string, command: string) => `
apiVersion: batch/v1
kind: CronJob
metadata: { name: ${name} }
spec:
  schedule: "${schedule}"
  timeZone: Europe/Berlin
  ${more}
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 1
          containers: [{ name: c, image: busybox, command: ${command} }]
`;

test("CronJobs go by the clock on the wall, also when it changes", async () => {
  // Clocks go from 2 to 3 in Berlin on 2030-03-31 at 1:00 UTC.
  const startMs = parseTime("2030-03-31T00:57:30Z") ?? 0;
  const on = await newWorld({ startMs, nodes: 1 });
  await on.apply(
    [
      cronJob("three", "0 3 * * *", "suspend: false", "['true']"),
      cronJob("half-past-two", "30 2 * * *", "suspend: false", "['true']"),
      cronJob("often", "* * * * *", "successfulJobsHistoryLimit: 1", "['true']"),
      cronJob("slow", "* * * * *", "concurrencyPolicy: Forbid", "[sleep, infinity]"),
      cronJob("new", "* * * * *", "concurrencyPolicy: Replace", "[sleep, infinity]"),
    ].join("---"),
  );
  const get = (name: string) => on.run(on.client.get(CronJob, { namespace, name }));
  await on.advance(285_000);
  const three = await get("three");
  expect(three.status.lastScheduleTime).toBe("2030-03-31T01:00:00Z");
  expect(three.status.lastSuccessfulTime).toMatch(/^2030-03-31T01:00:/);
  expect((await get("half-past-two")).status).toEqual({});
  const { items } = await on.run(on.client.list(Job, { namespace }));
  const named = (name: string) => items.filter((one) => one.metadata.name.startsWith(`${name}-`));
  const minute = (parseTime("2030-03-31T01:00:00Z") ?? 0) / 60_000;
  const [job] = named("three");
  expect(job?.metadata.name).toBe(`three-${minute}`);
  expect(job?.metadata.annotations?.["batch.kubernetes.io/cronjob-scheduled-timestamp"]).toBe(
    "2030-03-31T03:00:00+02:00",
  );
  expect(named("often").map((one) => one.metadata.name)).toEqual([`often-${minute + 2}`]);
  expect(named("slow").map((one) => one.metadata.name)).toEqual([`slow-${minute - 2}`]);
  expect(named("new").map((one) => one.metadata.name)).toEqual([`new-${minute + 2}`]);
  expect((await get("slow")).status.active).toHaveLength(1);
  expect(await eventsOf(on, "CronJob")).toEqual(
    expect.arrayContaining([
      `SawCompletedJob: Saw completed job: three-${minute}, condition: Complete`,
      `SuccessfulDelete: Deleted job new-${minute - 2}`,
      "JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid",
    ]),
  );
});
