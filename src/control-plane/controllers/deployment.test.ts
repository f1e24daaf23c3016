import fc from "fast-check";
import { expect, test } from "vitest";
import type { Deployment } from "#api/apps/v1/deployment.ts";
import type { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import { type DeploymentPlan, planDeployment } from "./deployment.ts";
import { maxSurgeOf, maxUnavailableOf, scaledValue } from "./deployment-rollout.ts";
import { templateHash } from "./template-hash.ts";

const start = parseTime("2030-01-01T00:00:00Z") ?? 0;
const noPods = () => false;

interface Traits {
  readonly replicas?: number;
  readonly image?: string;
  readonly maxSurge?: number | string;
  readonly maxUnavailable?: number | string;
  readonly type?: "RollingUpdate" | "Recreate";
}
const deployment = (traits: Traits = {}): Stored<Deployment> =>
  ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name: "web",
      namespace: "default",
      uid: "uid-web",
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: "2030-01-01T00:00:00Z",
      annotations: { note: "mine", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    },
    spec: {
      replicas: traits.replicas ?? 3,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: traits.image ?? "one" }] },
      },
      strategy: {
        type: traits.type ?? "RollingUpdate",
        ...(traits.type === "Recreate"
          ? {}
          : {
              rollingUpdate: {
                maxSurge: traits.maxSurge ?? "25%",
                maxUnavailable: traits.maxUnavailable ?? "25%",
              },
            }),
      },
      revisionHistoryLimit: 2,
      progressDeadlineSeconds: 600,
    },
    status: {},
  }) as unknown as Stored<Deployment>;

/** The world around the plan: what the shell and the ReplicaSet controller would make of it. */
class World {
  deployment: Stored<Deployment>;
  replicaSets: Stored<ReplicaSet>[] = [];
  now = start;
  #serial = 0;
  constructor(first: Stored<Deployment>) {
    this.deployment = first;
  }
  change(change: (spec: Deployment["spec"]) => Partial<Deployment["spec"]>): void {
    const { metadata, spec } = this.deployment;
    this.deployment = {
      ...this.deployment,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      spec: { ...spec, ...change(spec) },
    };
  }
  setImage(image: string): void {
    this.change((spec) => ({
      template: { ...spec.template, spec: { containers: [{ name: "c", image }] } } as never,
    }));
  }
  step(): DeploymentPlan {
    this.now += 1000;
    const plan = planDeployment(this.deployment, this.replicaSets, noPods, this.now);
    if (plan.create !== undefined) {
      this.#serial += 1;
      this.replicaSets.push({
        apiVersion: "apps/v1",
        kind: "ReplicaSet",
        ...plan.create,
        metadata: {
          ...plan.create.metadata,
          name: plan.create.metadata.name ?? "",
          uid: `rs-${this.#serial}`,
          resourceVersion: "1",
          generation: 1,
          creationTimestamp: `2030-01-01T00:00:${10 + this.#serial}Z`,
        },
        status: { replicas: 0 },
      });
    }
    for (const draft of plan.change) {
      this.replicaSets = this.replicaSets.map((one) =>
        one.metadata.uid === draft.replicaSet.metadata.uid
          ? {
              ...one,
              metadata: {
                ...one.metadata,
                annotations: draft.annotations,
                generation: (one.metadata.generation ?? 0) + 1,
              },
              spec: { ...one.spec, replicas: draft.replicas },
            }
          : one,
      );
    }
    this.replicaSets = this.replicaSets.filter((one) => !plan.remove.includes(one));
    this.deployment = { ...this.deployment, status: plan.status };
    return plan;
  }
  /** Pods follow the ReplicaSets; at most `ready` more of each become available. */
  settle(ready = 1000): void {
    this.replicaSets = this.replicaSets.map((one) => {
      const replicas = one.spec.replicas ?? 0;
      const available = Math.min(replicas, (one.status.availableReplicas ?? 0) + ready);
      const observedGeneration = one.metadata.generation ?? 0;
      const counts = { replicas, readyReplicas: available, availableReplicas: available };
      return { ...one, status: { ...counts, observedGeneration, terminatingReplicas: 0 } };
    });
  }
  run(steps = 60, ready = 1000): void {
    for (let at = 0; at < steps; at += 1) {
      this.step();
      this.settle(ready);
    }
  }
  get sizes(): number[] {
    return this.replicaSets.map((one) => one.spec.replicas ?? 0);
  }
  condition(type: string) {
    return this.deployment.status.conditions?.find((one) => one.type === type);
  }
}

test("the first pass creates a ReplicaSet with revision, sizes and hash", () => {
  const world = new World(deployment());
  const plan = world.step();
  const hash = templateHash(world.deployment.spec.template, undefined);
  expect(plan.create).toMatchObject({
    metadata: {
      name: `web-${hash}`,
      labels: { app: "web", "pod-template-hash": hash },
      annotations: {
        note: "mine",
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
      },
    },
    spec: { replicas: 3, selector: { matchLabels: { app: "web", "pod-template-hash": hash } } },
  });
  expect(plan.create?.metadata.annotations).not.toHaveProperty([
    "kubectl.kubernetes.io/last-applied-configuration",
  ]);
  expect(plan.revision).toBe("1");
  expect(world.condition("Progressing")?.reason).toBe("NewReplicaSetCreated");
  expect(world.condition("Available")?.reason).toBe("MinimumReplicasUnavailable");
  world.run();
  expect(world.condition("Progressing")).toMatchObject({
    status: "True",
    reason: "NewReplicaSetAvailable",
    message: `ReplicaSet "web-${hash}" has successfully progressed.`,
  });
  expect(world.condition("Available")?.reason).toBe("MinimumReplicasAvailable");
  expect(world.step().change).toEqual([]);
});

test("a rolling update ends with the new template, and back again reuses the old ReplicaSet", () => {
  const world = new World(deployment());
  world.run();
  world.setImage("two");
  world.run();
  expect(world.sizes).toEqual([0, 3]);
  world.setImage("one");
  const plan = world.step();
  expect(plan.create).toBeUndefined();
  world.run();
  expect(world.sizes).toEqual([3, 0]);
  expect(world.replicaSets[0]?.metadata.annotations).toMatchObject({
    "deployment.kubernetes.io/revision": "3",
    "deployment.kubernetes.io/revision-history": "1",
  });
});

test("never more than the surge, never fewer available than allowed", () => {
  const amount = fc.oneof(
    fc.integer({ min: 0, max: 4 }),
    fc.integer({ min: 0, max: 100 }).map((n) => `${n}%`),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      amount,
      amount,
      fc.integer({ min: 1, max: 3 }),
      (replicas, maxSurge, maxUnavailable, ready) => {
        const world = new World(deployment({ replicas, maxSurge, maxUnavailable }));
        world.run();
        world.setImage("two");
        const limit = replicas + maxSurgeOf(world.deployment);
        const least = replicas - maxUnavailableOf(world.deployment);
        for (let at = 0; at < 100; at += 1) {
          world.step();
          expect(world.sizes.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(limit);
          const available = world.replicaSets.map((one) =>
            Math.min(one.spec.replicas ?? 0, one.status.availableReplicas ?? 0),
          );
          expect(available.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(least);
          world.settle(ready);
        }
        expect(world.sizes).toEqual([0, replicas]);
      },
    ),
    { numRuns: 30 },
  );
});

test("percentages: the surge rounds up, the unavailable down, never both zero", () => {
  expect(scaledValue("25%", 3, true)).toBe(1);
  expect(scaledValue("25%", 3, false)).toBe(0);
  const tight = deployment({ replicas: 3, maxSurge: "0%", maxUnavailable: "10%" });
  expect([maxSurgeOf(tight), maxUnavailableOf(tight)]).toEqual([0, 1]);
});

test("a bad update stops where it cannot hurt, and times out", () => {
  const world = new World(deployment({ replicas: 4, maxSurge: 1, maxUnavailable: 1 }));
  world.run();
  world.setImage("bad");
  for (let at = 0; at < 20; at += 1) {
    world.step();
    // The bad Pods exist but are never ready.
    const [old] = world.replicaSets;
    world.settle(0);
    expect(old?.spec.replicas).toBeGreaterThanOrEqual(3);
  }
  expect(world.sizes).toEqual([3, 2]);
  expect(world.condition("Progressing")?.reason).not.toBe("NewReplicaSetAvailable");
  world.now += 700_000;
  world.step();
  expect(world.condition("Progressing")).toMatchObject({
    status: "False",
    reason: "ProgressDeadlineExceeded",
  });
});

test("Recreate takes all old down before the first new", () => {
  const world = new World(deployment({ type: "Recreate" }));
  world.run();
  world.setImage("two");
  world.step();
  expect(world.sizes).toEqual([0]);
  world.step();
  expect(world.sizes).toEqual([0]);
  world.settle();
  world.step();
  expect(world.sizes).toEqual([0, 3]);
});

test("scaling during an update is spread in proportion", () => {
  const world = new World(deployment({ replicas: 10, maxSurge: 3, maxUnavailable: 2 }));
  world.run();
  world.setImage("two");
  world.step();
  world.settle(0);
  world.step();
  world.settle(0);
  expect(world.sizes).toEqual([8, 5]);
  world.change(() => ({ replicas: 15 }));
  world.step();
  expect(world.sizes).toEqual([11, 7]);
});

test("paused: nothing rolls, but it scales; resumed: it goes on", () => {
  const world = new World(deployment());
  world.run();
  world.change(() => ({ paused: true }));
  world.setImage("two");
  world.run(5);
  expect(world.sizes).toEqual([3]);
  expect(world.condition("Progressing")?.reason).toBe("DeploymentPaused");
  world.change(() => ({ replicas: 5 }));
  world.run(5);
  expect(world.sizes).toEqual([5]);
  world.change(() => ({ paused: false }));
  world.run();
  expect(world.sizes).toEqual([0, 5]);
});

test("history beyond the limit is removed, oldest first", () => {
  const world = new World(deployment());
  for (const image of ["one", "two", "three", "four", "five"]) {
    world.setImage(image);
    world.run();
  }
  const images = world.replicaSets.map((one) => one.spec.template.spec?.containers[0]?.image);
  expect(images).toEqual(["three", "four", "five"]);
});

test("hashes are stable, tell collisions apart, and use only safe letters", () => {
  const { template } = deployment().spec;
  const hash = templateHash(template, undefined);
  expect(hash).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/);
  expect(templateHash(structuredClone(template), undefined)).toBe(hash);
  expect(templateHash(template, 1)).not.toBe(hash);
});

test("after a revision beyond what a double can hold comes the next one", () => {
  const world = new World(deployment());
  world.run();
  const [first] = world.replicaSets;
  const high = "3546343826724305832";
  Object.assign(first?.metadata.annotations ?? {}, { "deployment.kubernetes.io/revision": high });
  world.setImage("two");
  expect(world.step().revision).toBe("3546343826724305833");
});
