/** What nodes and pods use, from the kubelets' own endpoints to the metrics API: who may see it, and when anybody looks. */
import { afterEach, describe, expect, test } from "vitest";
import type { ProgramRule } from "#adapters/memory/runtime.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import { NodeMetrics } from "#api/metrics/v1beta1/nodemetrics.ts";
import { PodMetrics } from "#api/metrics/v1beta1/podmetrics.ts";
import { quantityOf, toMilli } from "#machinery/quantity.ts";
import { createWorld, isReady, outside, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  // Nothing is left that would ever happen.
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
/** Uses half a core and 32 MiB. */
const busy: ProgramRule = {
  matches: ({ image }) => image.includes("busy"),
  program: {
    start(process) {
      process.onTerminate(() => process.exit(0));
      process.cores = 0.5;
      process.allocate(32 * 2 ** 20);
    },
  },
};
const manifest = `
apiVersion: v1
kind: Pod
metadata: { name: busy, labels: { app: busy } }
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - { name: main, image: busy, resources: { limits: { memory: 64Mi } }, volumeMounts: [{ name: data, mountPath: /data }] }
    - { name: beside, image: idle }
  volumes: [{ name: data, emptyDir: {} }]
`;

async function newWorld(transport: "direct" | "https", nodes = 1): Promise<World> {
  world = await createWorld({ seed: 7, nodes, transport, programs: [busy] });
  await world.apply(manifest);
  const on = world;
  await on.until(
    async () => isReady(await on.client.get(Pod, { namespace, name: "busy" })),
    60_000,
  );
  return on;
}
const got = <T>(on: World, asked: Promise<T>): Promise<T> => on.run(asked);

/** Through the API server's proxy of nodes. */
async function ofKubelet(on: World, path: string): Promise<{ status: number; text: string }> {
  const [where = "", query = ""] = path.split("?");
  const pairs = new URLSearchParams(query);
  const { status, content } = await got(
    on,
    on.client.handler({
      method: "GET",
      path: `/api/v1/nodes/node-1/proxy${where}`,
      query: [...pairs],
      headers: { accept: "*/*" },
      gone: new AbortController().signal,
      direct: true,
    }),
  );
  if (content.type !== "stream") return { status, text: JSON.stringify(content) };
  let text = "";
  for (let batch = await content.bytes.next(); batch; batch = await content.bytes.next())
    for (const bytes of batch) text += new TextDecoder().decode(bytes);
  return { status, text };
}

describe.each(["direct", "https"] as const)("with a %s transport", (transport) => {
  test("the first who asks gets an answer, of the second before", async () => {
    const on = await newWorld(transport);
    const { items } = await got(on, on.client.list(PodMetrics, { namespace }));
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["busy"]);
    const [pod] = items;
    expect(pod?.metadata.labels).toEqual({ app: "busy" });
    expect(pod?.window).toBe("1s");
    const [beside, main] = pod?.containers ?? [];
    expect([beside?.name, main?.name]).toEqual(["beside", "main"]);
    expect(main?.usage["memory"]).toBe("32Mi");
    expect(toMilli(quantityOf(main?.usage["cpu"] ?? ""))).toBe(500);
    expect(toMilli(quantityOf(beside?.usage["cpu"] ?? ""))).toBe(1);
    const node = await got(on, on.client.get(NodeMetrics, { name: "node-1" }));
    expect(toMilli(quantityOf(node.usage["cpu"] ?? ""))).toBeGreaterThan(499);
  });
});

test("selectors choose pods; what is not there, or uses nothing yet, is not found", async () => {
  const on = await newWorld("direct");
  const list = (options: object) => got(on, on.client.list(PodMetrics, options));
  expect((await list({ labelSelector: "app=busy" })).items).toHaveLength(1);
  expect((await list({ labelSelector: "app=other" })).items).toHaveLength(0);
  expect((await list({ fieldSelector: "metadata.name=busy" })).items).toHaveLength(1);
  expect((await list({ fieldSelector: "spec.nodeName=node-2" })).items).toHaveLength(0);
  const nobody = got(on, on.client.get(PodMetrics, { namespace, name: "nobody" }));
  await expect(nobody).rejects.toThrow('pods "nobody" not found');
  await on.apply(manifest.replaceAll("busy", "busy2"));
  const fresh = got(on, on.client.get(PodMetrics, { namespace, name: "busy2" }));
  await expect(fresh).rejects.toThrow('podmetrics.metrics.k8s.io "default/busy2" not found');
  await on.until(async () => (await list({})).items.length === 2, 60_000);
});

test("a node that is dead is left out, the others are told in time", async () => {
  const on = await newWorld("direct", 2);
  const { status } = await on.client.get(Pod, { namespace, name: "busy" });
  const other = status.hostIP === on.node("node-1").address ? "node-2" : "node-1";
  await on.node(other).powerCut();
  const { items } = await got(on, on.client.list(NodeMetrics));
  expect(items.map(({ metadata }) => metadata.name)).toEqual([
    other === "node-1" ? "node-2" : "node-1",
  ]);
  expect((await got(on, on.client.list(PodMetrics, {}))).items).toHaveLength(1);
});

test("nobody looks while nobody asks", async () => {
  const on = await newWorld("direct");
  const { runtime } = on.node("node-1");
  let reads = 0;
  const stats = runtime.stats.bind(runtime);
  runtime.stats = (labels) => {
    reads += 1;
    return stats(labels);
  };
  await on.advance(60_000);
  expect(reads).toBe(0);
  await got(on, on.client.list(PodMetrics, {}));
  expect(reads).toBe(2);
  await on.advance(60_000);
  expect(reads).toBe(6);
  await on.advance(600_000);
  const after = reads;
  expect(after).toBeLessThan(25);
  await on.advance(600_000);
  expect(reads).toBe(after);
  expect((await got(on, on.client.list(PodMetrics, {}))).items[0]?.window).toBe("1s");
});

test("the kubelet's own endpoints: the summary and the metrics of resources", async () => {
  const on = await newWorld("direct");
  await ofKubelet(on, "/stats/summary");
  await on.advance(10_000);
  const { status, text } = await ofKubelet(on, "/stats/summary");
  expect(status).toBe(200);
  const { node, pods } = JSON.parse(text) as {
    node: Record<string, unknown>;
    pods: Record<string, unknown>[];
  };
  expect(node).toMatchObject({
    nodeName: "node-1",
    memory: { workingSetBytes: 33 * 2 ** 20, availableBytes: 32 * 2 ** 30 - 33 * 2 ** 20 },
    fs: { capacityBytes: 200 * 2 ** 30 },
    runtime: { imageFs: {}, containerFs: {} },
    systemContainers: [{ name: "pods" }],
  });
  expect(pods).toMatchObject([
    {
      podRef: { name: "busy", namespace },
      containers: [
        { name: "beside", cpu: { usageNanoCores: 1_000_000 } },
        {
          name: "main",
          startTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
          cpu: { usageNanoCores: 500_000_000 },
          memory: { workingSetBytes: 32 * 2 ** 20, availableBytes: 32 * 2 ** 20 },
          rootfs: { usedBytes: 0, capacityBytes: 200 * 2 ** 30 },
          logs: {},
        },
      ],
      cpu: { usageNanoCores: 501_000_000 },
      network: { name: "eth0", rxBytes: 0 },
      volume: [{ name: "data" }, {}],
      "ephemeral-storage": {},
      process_stats: { process_count: 2 },
    },
  ]);
  const short = await ofKubelet(on, "/stats/summary?only_cpu_and_memory=true");
  expect(short.text).toContain("usageNanoCores");
  expect(short.text).not.toContain("rootfs");
  const metrics = await ofKubelet(on, "/metrics/resource");
  expect(metrics.text).toMatch(
    /^container_cpu_usage_seconds_total\{container="main",namespace="default",pod="busy"\} [\d.]+ \d{13}$/m,
  );
  expect(metrics.text).toMatch(/^node_memory_working_set_bytes 34603008 \d{13}$/m);
  expect(metrics.text).toMatch(/^resource_scrape_error 0$/m);
  expect((await ofKubelet(on, "/stats/other")).status).toBe(404);
});

test("the kubelet lets in whom the cluster lets in, and says to whom it does not", async () => {
  const on = await newWorld("https");
  await on.apply(`
apiVersion: v1
kind: ServiceAccount
metadata: { name: prometheus, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reads-metrics }
rules: [{ apiGroups: [""], resources: [nodes/metrics], verbs: [get] }]
`);
  const { address } = on.node("node-1");
  const place = await on.placeOf(outside);
  const ask = async (target: string, token?: string) => {
    const client = place.http(
      { host: address, port: 10_250 },
      { version: 1, connections: 1, tls: { insecure: true } },
    );
    const headers: Record<string, string> =
      token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { signal } = new AbortController();
    const answer = await on.run(client.send({ method: "GET", target, headers, signal }));
    let text = "";
    for (let batch = await answer.body.next(); batch; batch = await answer.body.next())
      for (const bytes of batch) text += new TextDecoder().decode(bytes);
    client.close();
    return [answer.status, text] as const;
  };
  const account = { namespace, name: "prometheus" };
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
  const asked = await on.run(on.client.post(ServiceAccount, account, "token", body));
  const { token } = (asked as { status: { token: string } }).status;
  expect(await ask("/metrics/resource")).toEqual([401, "Unauthorized"]);
  expect(await ask("/metrics/resource", "nonsense")).toEqual([401, "Unauthorized"]);
  const forbidden =
    "Forbidden (user=system:serviceaccount:default:prometheus, verb=get, resource=nodes, subresource(s)=[metrics])";
  expect(await ask("/metrics/resource", token)).toEqual([403, forbidden]);
  await on.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reads-metrics }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-metrics }
subjects: [{ kind: ServiceAccount, name: prometheus, namespace: default }]
`);
  // A refusal is remembered for half a minute.
  await on.advance(31_000);
  const [status, text] = await ask("/metrics/resource", token);
  expect(status).toBe(200);
  expect(text).toContain("container_start_time_seconds");
  expect((await ask("/stats/summary", token))[0]).toBe(403);
  expect((await ask("/pods", token))[1]).toContain("subresource(s)=[pods proxy]");
});
