/**
 * The loop against an API server, with Pods and metrics that the test makes up. With a whole cluster around it:
 * src/simulation/autoscaling.test.ts.
 */
import { afterEach, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { HorizontalPodAutoscaler } from "#api/autoscaling/v2/horizontalpodautoscaler.ts";
import { Event } from "#api/core/v1/event.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import { builtInResources } from "#api/index.ts";
import type { ApiRequest, ApiResponse, Handler } from "#api/request.ts";
import { type Client, createClient, type New } from "#client/client.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import { type Transport, wayTo } from "#simulation/transport.ts";
import { horizontalPodAutoscalerController } from "./horizontal-pod-autoscaler.ts";
import { startControllers } from "./index.ts";

const start = parseTime("2030-01-01T00:00:00Z") ?? 0;
const namespace = "default";
const web = { name: "web", namespace };

type Answers = (path: string, query: URLSearchParams) => object | number | undefined;

const worlds: World[] = [];
afterEach(async () => {
  for (const one of worlds.splice(0)) await one.stop();
});
async function world(transport: Transport = "direct"): Promise<World> {
  const made = new World();
  await made.start(transport);
  worlds.push(made);
  return made;
}

class World {
  readonly clock = new SteppedClock({ startMs: start });
  readonly log = memoryLog();
  /** What is asked of the metrics APIs, and what they answer. */
  readonly asked: string[] = [];
  answers: Answers = () => undefined;
  admin!: Client;
  stop: () => Promise<void> = async () => {};

  async start(transport: Transport): Promise<void> {
    const { clock, log } = this;
    const random = seededRandom(7);
    const store = await openStore({ storage: new MemoryStorage(), clock });
    const server = await createApiServer({
      store,
      clock,
      random: random.fork("apiserver"),
      crypto: memoryCrypto(random.fork("crypto")),
      log,
      resources: builtInResources,
      serviceCidr: "10.96.0.0/12",
      clientCa: () => "",
    });
    const way = wayTo(server, transport, this);
    const clientFor = (name: string): Client => {
      const groups = name.startsWith("system:serviceaccount:")
        ? ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
        : ["system:masters"];
      const handler = this.#between(way.as({ name, groups }));
      return createClient(handler, { userAgent: "test/v1" });
    };
    this.admin = clientFor("admin");
    await this.admin.create(ServiceAccount, { metadata: { name: "default", namespace } });
    const running = startControllers({
      clientFor,
      clock,
      random,
      log,
      controllers: [horizontalPodAutoscalerController],
    });
    this.stop = async () => {
      await running.stop();
      way.close();
      await server.close(0);
      await store.close();
    };
  }

  /** Takes the place of whoever is registered to serve metrics. */
  #between(handler: Handler): Handler {
    return (request: ApiRequest): Promise<ApiResponse> => {
      const { path } = request;
      if (path === "/apis" || !/^\/apis(\/(external\.|custom\.)?metrics\.k8s\.io|$)/.test(path)) {
        const found = path === "/apis" ? this.answers(path, new URLSearchParams()) : undefined;
        return typeof found === "object" ? Promise.resolve(this.#json(found)) : handler(request);
      }
      const query = new URLSearchParams(
        request.query.map(([key, value]): [string, string] => [key, value]),
      );
      const text = query.size === 0 ? path : `${path}?${query.toString()}`;
      this.asked.push(decodeURIComponent(text));
      const answer = this.answers(path, query);
      if (typeof answer === "object") return Promise.resolve(this.#json(answer));
      const bytes = new TextEncoder().encode("service unavailable\n");
      const content = { type: "bytes", mediaType: "text/plain", bytes } as const;
      return Promise.resolve({ status: answer ?? 404, headers: {}, content });
    };
  }
  #json(object: object): ApiResponse {
    return { status: 200, headers: {}, content: { type: "object", object } };
  }

  pass(seconds = 15): Promise<void> {
    return this.clock.advance(seconds * 1000);
  }

  /** A Deployment, and Pods as it would have them. */
  async workload(replicas: number): Promise<void> {
    const labels = { app: "web" };
    const container = { name: "main", image: "a", resources: { requests: { cpu: "100m" } } };
    await this.admin.create(Deployment, {
      metadata: web,
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    } as unknown as New<Deployment>);
    for (let at = 1; at <= replicas; at++) await this.pod(`web-${at}`);
  }
  async pod(name: string): Promise<void> {
    const container = { name: "main", image: "a", resources: { requests: { cpu: "100m" } } };
    await this.admin.create(Pod, {
      metadata: { name, namespace, labels: { app: "web" } },
      spec: { containers: [container] },
    });
    const long = formatTime(start - 3_600_000);
    const conditions = [{ type: "Ready", status: "True", lastTransitionTime: long }];
    const status = { phase: "Running", startTime: long, conditions };
    const options = { subresource: "status" };
    await this.admin.patch(Pod, { name, namespace }, "merge", { status }, options);
  }
  async autoscale(spec: object, name = "web"): Promise<void> {
    const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
    await this.admin.create(HorizontalPodAutoscaler, {
      metadata: { name, namespace },
      spec: { scaleTargetRef, maxReplicas: 10, ...spec },
    });
  }
  async replicas(): Promise<number | undefined> {
    return (await this.admin.get(Deployment, web)).spec.replicas;
  }
  async status(name = "web") {
    const { status } = await this.admin.get(HorizontalPodAutoscaler, { name, namespace });
    const conditions = (status.conditions ?? []).map(
      ({ type, status: is, reason }) => `${type}=${is} ${reason}`,
    );
    return { ...status, conditions };
  }
  async message(type: string): Promise<string | undefined> {
    const { status } = await this.admin.get(HorizontalPodAutoscaler, web);
    return status.conditions?.find((one) => one.type === type)?.message;
  }
  async events(): Promise<string[]> {
    const { items } = await this.admin.list(Event, { namespace });
    return items.map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  }
}

/** metrics.k8s.io: what each Pod uses, in thousandths of a core. */
const cpu =
  (on: World, used: Readonly<Record<string, number>>): Answers =>
  (path) =>
    path === `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods`
      ? {
          items: Object.entries(used).map(([name, milli]) => ({
            metadata: { name, namespace },
            timestamp: formatTime(on.clock.now()),
            window: "15s",
            containers: [{ name: "main", usage: { cpu: `${milli}m`, memory: "1Mi" } }],
          })),
        }
      : undefined;

test.each(["direct", "http"] as const)("a busy workload grows, %s", async (transport) => {
  const on = await world(transport);
  await on.workload(2);
  on.answers = cpu(on, { "web-1": 120, "web-2": 80 });
  await on.autoscale({});
  await on.pass(1);
  expect(await on.replicas()).toBe(3);
  expect(on.asked).toEqual([
    "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app=web",
  ]);
  const status = await on.status();
  expect(status).toMatchObject({ currentReplicas: 2, desiredReplicas: 3, observedGeneration: 1 });
  expect(status.lastScaleTime).toBe("2030-01-01T00:00:00Z");
  expect(status.currentMetrics).toEqual([
    {
      type: "Resource",
      resource: { name: "cpu", current: { averageUtilization: 100, averageValue: "100m" } },
    },
  ]);
  expect(status.conditions).toEqual([
    "AbleToScale=True SucceededRescale",
    "ScalingActive=True ValidMetricFound",
    "ScalingLimited=False DesiredWithinRange",
    "ScaledToZero=False NotScaledToZero",
  ]);
  expect(await on.events()).toEqual([
    "Normal SuccessfulRescale: New size: 3; reason: cpu resource utilization (percentage of request) above target",
  ]);
});

test("every 15 seconds, whatever the loop itself writes; a new spec at once", async () => {
  const on = await world();
  await on.workload(1);
  on.answers = cpu(on, { "web-1": 80 });
  await on.autoscale({});
  await on.pass(46);
  expect(on.asked).toHaveLength(4);
  const patch = { spec: { minReplicas: 2 } };
  await on.admin.patch(HorizontalPodAutoscaler, web, "merge", patch);
  await on.pass(1);
  expect(await on.replicas()).toBe(2);
  expect((await on.events()).at(-1)).toBe(
    "Normal SuccessfulRescale: New size: 2; reason: Current number of replicas below Spec.MinReplicas",
  );
});

test("nobody serves metrics: nothing is scaled, and it is said why", async () => {
  const on = await world();
  await on.workload(1);
  await on.autoscale({});
  await on.pass(1);
  const refused =
    "unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
  expect(await on.status()).toMatchObject({
    currentReplicas: 1,
    desiredReplicas: 0,
    currentMetrics: [{ type: "" }],
    conditions: [
      "AbleToScale=True SucceededGetScale",
      "ScalingActive=False FailedGetResourceMetric",
    ],
  });
  expect(await on.message("ScalingActive")).toBe(
    `the HPA was unable to compute the replica count: failed to get cpu utilization: ${refused}`,
  );
  expect(await on.events()).toEqual([
    `Warning FailedGetResourceMetric: failed to get cpu utilization: ${refused}`,
    `Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: ${refused}`,
  ]);
  on.answers = () => 503;
  await on.pass();
  expect(await on.message("ScalingActive")).toContain(
    "the server is currently unable to handle the request (get pods.metrics.k8s.io)",
  );
});

test("the target is not there, has no such kind, or is at rest", async () => {
  const on = await world();
  await on.autoscale({});
  await on.pass(1);
  expect((await on.status()).conditions).toEqual(["AbleToScale=False FailedGetScale"]);
  expect(await on.message("AbleToScale")).toBe(
    `the HPA controller was unable to get the target's current scale: deployments.apps "web" not found`,
  );
  const odd = { apiVersion: "apps/v1", kind: "Odd", name: "web" };
  await on.autoscale({ scaleTargetRef: odd }, "odd");
  await on.pass(1);
  expect(await on.events()).toContain(
    'Warning FailedGetScale: no matches for kind "Odd" in group "apps"',
  );
  await on.workload(0);
  await on.pass();
  expect(await on.message("ScalingActive")).toBe(
    "scaling is disabled since the replica count of the target is zero",
  );
  expect(await on.replicas()).toBe(0);
});

test("two autoscalers of the same pods stand in each other's way", async () => {
  const on = await world();
  await on.workload(1);
  on.answers = cpu(on, { "web-1": 1000 });
  await on.autoscale({ minReplicas: 1 }, "a");
  await on.pass(1);
  const grown = await on.replicas();
  await on.autoscale({ minReplicas: 1 }, "b");
  await on.pass(16);
  expect(await on.replicas()).toBe(grown);
  expect((await on.events()).filter((one) => one.includes("AmbiguousSelector"))).toContain(
    "Warning AmbiguousSelector: pods by selector app=web are controlled by more than one HPA (e.g. [default/a default/b])",
  );
  await on.admin.delete(HorizontalPodAutoscaler, { name: "a", namespace });
  await on.pass(16);
  expect((await on.status("b")).conditions).toContain("ScalingActive=True ValidMetricFound");
});

const external = (metric: string, target: object) => ({
  type: "External",
  external: { metric: { name: metric, selector: { matchLabels: { q: "a" } } }, target },
});

test("many metrics: the highest counts; with one that fails only upwards", async () => {
  const on = await world();
  await on.workload(2);
  const used = cpu(on, { "web-1": 10, "web-2": 10 });
  let queue: object | undefined = { items: [{ value: "8" }, { value: "1" }] };
  on.answers = (path, query) =>
    path.startsWith("/apis/external.metrics.k8s.io/") ? queue : used(path, query);
  const cpuMetric = {
    type: "Resource",
    resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } },
  };
  const metrics = [cpuMetric, external("queue", { type: "AverageValue", averageValue: "3" })];
  await on.autoscale({ metrics });
  await on.pass(1);
  expect(await on.replicas()).toBe(3);
  expect(on.asked.at(-1)).toBe(
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?labelSelector=q=a",
  );
  const shown =
    "&LabelSelector{MatchLabels:map[string]string{q: a,},MatchExpressions:[]LabelSelectorRequirement{},}";
  expect((await on.events()).at(-1)).toBe(
    `Normal SuccessfulRescale: New size: 3; reason: external metric queue(${shown}) above target`,
  );
  queue = undefined;
  await on.pass(600);
  expect(await on.replicas()).toBe(3);
  expect((await on.status()).conditions).toContain("ScalingActive=False FailedGetExternalMetric");
  expect(await on.message("ScalingActive")).toBe(
    `the HPA was unable to compute the replica count: failed to get queue external metric: unable to get external metric default/queue/${shown}: unable to fetch metrics from external metrics API: the server could not find the requested resource (get queue.external.metrics.k8s.io)`,
  );
});

test("to zero and back, by what is measured outside", async () => {
  const on = await world();
  await on.workload(1);
  let waiting = "0";
  on.answers = () => ({ items: [{ value: waiting }] });
  const metrics = [external("queue", { type: "Value", value: "10" })];
  const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } };
  await on.autoscale({ minReplicas: 0, metrics, behavior });
  await on.pass(1);
  expect(await on.replicas()).toBe(0);
  expect((await on.status()).conditions).toContain("ScaledToZero=True ScaledToZero");
  await on.pass();
  expect((await on.status()).conditions).toContain("ScalingActive=True ValidMetricFound");
  waiting = "25";
  await on.pass();
  expect(await on.replicas()).toBe(3);
  expect((await on.status()).conditions).toContain("ScaledToZero=False NotScaledToZero");
});

test("metrics of pods and of objects, from a server of either version", async () => {
  const on = await world();
  await on.workload(2);
  const group = "custom.metrics.k8s.io";
  const at = formatTime(start);
  let version = "v1beta2";
  on.answers = (path) => {
    if (path === "/apis") {
      return { groups: [{ name: group, versions: [{ version }], preferredVersion: { version } }] };
    }
    const of = (name: string, value: string) => ({
      describedObject: { name },
      timestamp: at,
      value,
    });
    if (path.includes("/pods/*/")) return { items: [of("web-1", "30"), of("web-2", "10")] };
    return { items: [of("main", "50")] };
  };
  const describedObject = { apiVersion: "networking.k8s.io/v1", kind: "Ingress", name: "main" };
  const metrics = [
    {
      type: "Pods",
      pods: { metric: { name: "hits" }, target: { type: "AverageValue", averageValue: "10" } },
    },
    {
      type: "Object",
      object: { describedObject, metric: { name: "rate" }, target: { type: "Value", value: "10" } },
    },
  ];
  await on.autoscale({ metrics, maxReplicas: 20 });
  await on.pass(1);
  expect(on.asked).toEqual([
    `/apis/${group}/v1beta2/namespaces/default/pods/*/hits?labelSelector=app=web`,
    `/apis/${group}/v1beta2/namespaces/default/ingresses.networking.k8s.io/main/rate`,
  ]);
  // Five times as much as the two may have, but twice as many at a time.
  expect(await on.replicas()).toBe(4);
  expect((await on.status()).conditions).toContain("ScalingLimited=True ScaleUpLimit");
  expect((await on.status()).currentMetrics).toEqual([
    { type: "Pods", pods: { metric: { name: "hits" }, current: { averageValue: "20" } } },
    {
      type: "Object",
      object: { metric: { name: "rate" }, current: { value: "50" }, describedObject },
    },
  ]);
  version = "v1beta1";
  await on.pass();
  expect(on.asked.at(-1)).toContain(`/apis/${group}/v1beta1/`);
});
