/** Stories of autoscaling on simulated machines: work comes and goes, and the workload grows and shrinks after it. */
import { afterEach, expect, test, vi } from "vitest";
import { SharedLoad } from "#adapters/memory/shared-load.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { HorizontalPodAutoscaler } from "#api/autoscaling/v2/horizontalpodautoscaler.ts";
import { Event } from "#api/core/v1/event.ts";
import { createWorld, isReady, type World } from "./world.ts";

/** Many simulated minutes take their time on a busy machine. */
vi.setConfig({ testTimeout: 120_000 });

const namespace = "default";
const web = { name: "web", namespace };

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const workload = (spec: string, replicas = 2): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: main, image: "web:1", resources: { requests: { cpu: 100m } } }]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  metrics: [{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 50 } } }]
  ${spec}
`;

class Story {
  readonly on: World;
  readonly load: SharedLoad;
  constructor(on: World, load: SharedLoad) {
    this.on = on;
    this.load = load;
  }
  async replicas(): Promise<number> {
    const { on } = this;
    return (await on.run(on.client.get(Deployment, web))).spec.replicas ?? 0;
  }
  async until(replicas: number, ms: number): Promise<void> {
    const { client } = this.on;
    await this.on.until(
      async () => (await client.get(Deployment, web)).spec.replicas === replicas,
      ms,
    );
  }
  async condition(type: string): Promise<string> {
    const { on } = this;
    const { status } = await on.run(on.client.get(HorizontalPodAutoscaler, web));
    const found = status.conditions?.find((one) => one.type === type);
    return `${found?.status} ${found?.reason}`;
  }
  async events(reason: string): Promise<string[]> {
    const { on } = this;
    const { items } = await on.run(on.client.list(Event, { namespace }));
    return items.filter((one) => one.reason === reason).map(({ message }) => message ?? "");
  }
}

async function begin(spec: string, replicas = 2, nodes = 2): Promise<Story> {
  const load = new SharedLoad({ idleCores: 0.002, coresMax: 1 });
  const programs = [
    { matches: ({ image }: { image: string }) => image.includes("web"), program: load.program },
  ];
  const on = await createWorld({ seed: 5, nodes, transport: "direct", programs });
  world = on;
  await on.apply(workload(spec, replicas));
  await on.until(async () => {
    const pods = await on.client.get(Deployment, web);
    return pods.status.readyReplicas === replicas;
  }, 60_000);
  // What was measured before they were ready does not count.
  await on.advance(60_000);
  return new Story(on, load);
}

test("work comes: twice as many at a time; it goes: fewer once five minutes have passed", async () => {
  const story = await begin("minReplicas: 2\n  maxReplicas: 8");
  expect(await story.condition("ScalingActive")).toBe("True ValidMetricFound");
  expect(await story.replicas()).toBe(2);
  story.load.cores = 0.4;
  await story.until(4, 60_000);
  expect(await story.condition("ScalingLimited")).toBe("True ScaleUpLimit");
  await story.until(8, 120_000);
  await story.on.advance(120_000);
  expect(await story.replicas()).toBe(8);
  const pods = await story.on.pods("app=web");
  expect(pods.filter(isReady)).toHaveLength(8);

  story.load.cores = 0;
  await story.on.advance(240_000);
  expect(await story.replicas()).toBe(8);
  expect(await story.condition("AbleToScale")).toBe("True ScaleDownStabilized");
  await story.until(2, 180_000);
  expect(await story.condition("ScalingLimited")).toBe("True TooFewReplicas");
  expect(await story.events("SuccessfulRescale")).toEqual([
    "New size: 4; reason: cpu resource utilization (percentage of request) above target",
    // Upstream: asked for by what was recommended before, not by what is measured now, while the new ones start.
    "New size: 8; reason: ",
    "New size: 2; reason: All metrics below target",
  ]);
});

test("no more than the most, whatever comes", async () => {
  const story = await begin("maxReplicas: 3");
  story.load.cores = 2;
  await story.until(3, 60_000);
  await story.on.advance(60_000);
  expect(await story.replicas()).toBe(3);
  expect(await story.condition("ScalingLimited")).toBe("True TooManyReplicas");
});

test("a behavior says how fast: one a minute up, never down", async () => {
  const story = await begin(`maxReplicas: 10
  behavior:
    scaleUp: { policies: [{ type: Pods, value: 1, periodSeconds: 60 }] }
    scaleDown: { selectPolicy: Disabled }`);
  story.load.cores = 1;
  await story.until(3, 60_000);
  await story.on.advance(45_000);
  expect(await story.replicas()).toBe(3);
  await story.until(4, 60_000);
  story.load.cores = 0;
  await story.on.advance(400_000);
  expect(await story.replicas()).toBeGreaterThanOrEqual(4);
  expect(await story.condition("ScalingLimited")).toBe("True ScaleDownLimit");
});

test("nothing is known of the pods on a machine that can't be asked: they count as idle when more are wanted", async () => {
  const story = await begin("maxReplicas: 20", 4, 2);
  const { on } = story;
  on.cut("node-2", "control-plane");
  await on.advance(10_000);
  story.load.cores = 0.32;
  await on.advance(20_000);
  // Two of the four are seen at 80 percent: as if the four were at 40, which is no reason to grow.
  expect(await story.replicas()).toBe(4);
  on.heal("node-2", "control-plane");
  await story.until(7, 60_000);
});
