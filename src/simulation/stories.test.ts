/** Stories of whole clusters: what users do and what goes wrong, on simulated machines, over both transports. */
import { afterEach, describe, expect, test } from "vitest";
import type { ProgramRule, SimulatedProcess } from "#adapters/memory/runtime.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Event } from "#api/core/v1/event.ts";
import { Namespace } from "#api/core/v1/namespace.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Stored } from "#machinery/meta.ts";
import type { Transport } from "./control-plane.ts";
import { textOf } from "./http.ts";
import { createWorld, isReady, type World, type WorldOptions } from "./world.ts";

let world: World | undefined;
async function newWorld(transport: Transport, more: Partial<WorldOptions> = {}): Promise<World> {
  world = await createWorld({ seed: 42, nodes: 3, transport, ...more });
  return world;
}
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  // Nothing is left that would ever happen.
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const indented = (text: string, by: number): string =>
  text.replace(/^/gm, " ".repeat(by)).trimStart();
const web = (
  options: {
    image?: string;
    replicas?: number;
    container?: string;
    pod?: string;
    spec?: string;
  } = {},
): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: ${options.replicas ?? 3}
  ${indented(options.spec ?? "progressDeadlineSeconds: 60", 2)}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      ${indented(options.pod ?? "terminationGracePeriodSeconds: 30", 6)}
      containers:
        - name: web
          image: ${options.image ?? "nginx:1"}
          ports: [{ containerPort: 80 }]
          ${indented(options.container ?? "imagePullPolicy: IfNotPresent", 10)}
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ port: 80, nodePort: 30080 }]
`;
const client = `
apiVersion: v1
kind: Pod
metadata: { name: client }
spec: { containers: [{ name: client, image: busybox, command: [sleep, infinity] }] }
`;
const name = "web";
const namespace = "default";
const clientPod = "default/client";

const webPods = (on: World): Promise<readonly Stored<Pod>[]> => on.pods("app=web");
const readyPods = async (on: World): Promise<readonly Stored<Pod>[]> =>
  (await webPods(on)).filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);
async function endpointsReady(on: World): Promise<number> {
  const slices = await on.client.list(EndpointSlice, {
    namespace,
    labelSelector: "kubernetes.io/service-name=web",
  });
  return slices.items
    .flatMap(({ endpoints }) => endpoints ?? [])
    .filter(({ conditions }) => conditions.ready === true).length;
}
async function untilReady(on: World, count = 3): Promise<void> {
  await on.until(async () => (await endpointsReady(on)) === count, 60_000);
  await on.advance(100);
}
const restarts = (pod: Pod): number => pod.status.containerStatuses?.[0]?.restartCount ?? 0;

/** A program as operators are written: asks the API server who it is, with what the kubelet mounted, and says so. */
async function whoAmI(process: SimulatedProcess): Promise<void> {
  const { files, network } = process.surroundings;
  const mounted = async (file: string): Promise<string> => {
    const bytes = await files.read(`/var/run/secrets/kubernetes.io/serviceaccount/${file}`);
    return new TextDecoder().decode(bytes);
  };
  const to = { host: "kubernetes.default.svc", port: 443 };
  const api = network.http(to, { version: 2, tls: { roots: await mounted("ca.crt") } });
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  try {
    const { status, body } = await api.send({
      method: "POST",
      target: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
      headers: {
        authorization: `Bearer ${await mounted("token")}`,
        "content-type": "application/json",
      },
      body: new TextEncoder().encode(JSON.stringify(review)),
    });
    const said = JSON.parse(await textOf(body)) as { status: { userInfo?: { username: string } } };
    process.print(`${status} ${said.status.userInfo?.username ?? JSON.stringify(said)}`);
  } catch (error) {
    process.print(String(error));
  }
  api.close();
}

describe.each<Transport>(["direct", "https"])("over the %s transport", (transport) => {
  test("a Deployment runs on every node and answers by ClusterIP, name and node port", async () => {
    const on = await newWorld(transport);
    await on.apply(client + "---" + web());
    await untilReady(on);
    const pods = await readyPods(on);
    expect(new Set(pods.map((pod) => pod.spec.nodeName)).size).toBe(3);
    const { spec } = await on.client.get(Service, { name, namespace });
    await on.until(
      async () => isReady(await on.client.get(Pod, { namespace, name: "client" })),
      30_000,
    );
    for (const url of [
      `http://${spec.clusterIP}/a`,
      "http://web/a",
      "http://web.default.svc.cluster.local/a",
    ]) {
      const { status, body } = await on.get(url, clientPod);
      expect(status).toBe(200);
      expect(body).toMatch(/^web-\w+-\w+ GET \/a\n$/);
    }
    for (const { address } of on.nodes.values()) {
      expect((await on.get(`http://${address}:30080/b`)).body).toMatch(/GET \/b\n$/);
    }
    expect((await on.get("http://127.0.0.1:30080/c", "node-2")).body).toMatch(/GET \/c\n$/);
    await expect(on.get("http://nothing/", clientPod)).rejects.toThrow("ENOTFOUND");
    // Every backend gets its share.
    const load = await on.load("http://web/", clientPod, 10);
    await on.advance(1000);
    const { failures, bodies, answered } = load.stop();
    expect({ failures, answered, backends: bodies.size }).toEqual({
      failures: [],
      answered: 100,
      backends: 3,
    });
  });

  test("a container that crashes is restarted with back-off", async () => {
    const on = await newWorld(transport);
    await on.apply(web({ replicas: 1 }));
    await untilReady(on, 1);
    const [pod] = await webPods(on);
    const ref = { namespace, name: pod?.metadata.name ?? "" };
    await on.crash(ref, 3);
    await on.until(async () => restarts(await on.client.get(Pod, ref)) === 1, 5000);
    await untilReady(on, 1);
    await on.crash(ref, 4);
    await on.advance(2000);
    const waiting = await on.client.get(Pod, ref);
    expect(waiting.status.containerStatuses?.[0]).toMatchObject({
      ready: false,
      state: { waiting: { reason: "CrashLoopBackOff" } },
      lastState: { terminated: { exitCode: 4, reason: "Error" } },
    });
    expect(await endpointsReady(on)).toBe(0);
    await on.until(async () => restarts(await on.client.get(Pod, ref)) === 2, 15_000);
    await untilReady(on, 1);
  });

  test("a pod that is deleted is replaced", async () => {
    const on = await newWorld(transport);
    await on.apply(web());
    await untilReady(on);
    const before = (await webPods(on)).map((pod) => pod.metadata.name);
    const [gone = ""] = before;
    await on.run(on.client.delete(Pod, { namespace, name: gone }));
    await on.until(async () => {
      const names = (await readyPods(on)).map((pod) => pod.metadata.name);
      return names.length === 3 && !names.includes(gone);
    }, 60_000);
    const after = (await webPods(on)).map((pod) => pod.metadata.name);
    expect(after.filter((one) => before.includes(one)).length).toBe(2);
  });

  test("a rolling update loses no request", async () => {
    const on = await newWorld(transport);
    const gentle = {
      container: "lifecycle: { preStop: { sleep: { seconds: 5 } } }",
      spec: "strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } }",
    };
    await on.apply(client + "---" + web(gentle));
    await untilReady(on);
    const load = await on.load("http://web/", clientPod, 50);
    await on.apply(web({ ...gentle, image: "nginx:2" }));
    await on.until(async () => {
      const { status } = await on.client.get(Deployment, { name, namespace });
      return (
        status.updatedReplicas === 3 && status.replicas === 3 && status.availableReplicas === 3
      );
    }, 120_000);
    await on.advance(10_000);
    const { failures, bodies } = load.stop();
    expect(failures).toEqual([]);
    expect(bodies.size).toBe(6);
    const images = (await webPods(on)).map((pod) => pod.spec.containers[0]?.image);
    expect(images).toEqual(["nginx:2", "nginx:2", "nginx:2"]);
  });

  test("an image that does not exist stops the rollout; undoing it heals", async () => {
    const on = await newWorld(transport);
    await on.apply(web());
    await untilReady(on);
    await on.apply(web({ image: "registry.invalid/nginx:2" }));
    await on.advance(20_000);
    expect(await endpointsReady(on)).toBe(3);
    const stuck = (await webPods(on)).filter((pod) => !isReady(pod));
    expect(stuck.length).toBe(1);
    expect(stuck[0]?.status.containerStatuses?.[0]?.state.waiting?.reason).toMatch(
      /^(ErrImagePull|ImagePullBackOff)$/,
    );
    await on.advance(60_000);
    const { status } = await on.client.get(Deployment, { name, namespace });
    expect(status.conditions?.find(({ type }) => type === "Progressing")).toMatchObject({
      status: "False",
      reason: "ProgressDeadlineExceeded",
    });
    await on.apply(web());
    await on.until(async () => (await webPods(on)).length === 3, 60_000);
    expect((await readyPods(on)).length).toBe(3);
  });

  test("a node loses power: its pods run elsewhere and the Service goes on", async () => {
    const on = await newWorld(transport);
    const tolerations = ["not-ready", "unreachable"].map(
      (taint) =>
        `  - { key: node.kubernetes.io/${taint}, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }`,
    );
    await on.apply(web({ pod: `tolerations:\n${tolerations.join("\n")}` }));
    await untilReady(on);
    const dead = on.node("node-2");
    await on.run(dead.powerCut());
    await on.until(async () => !isReady(await on.client.get(Node, { name: "node-2" })), 120_000);
    await on.until(async () => (await endpointsReady(on)) === 2, 10_000);
    await on.advance(100);
    const place = on.node("node-1").address;
    const load = await on.load(`http://${place}:30080/`, "outside", 100);
    await on.until(async () => (await readyPods(on)).length === 3, 60_000);
    expect(load.stop().failures).toEqual([]);
    const nodesNow = (await readyPods(on)).map((pod) => pod.spec.nodeName);
    expect(nodesNow).not.toContain("node-2");

    await on.run(dead.powerOn());
    await on.until(async () => isReady(await on.client.get(Node, { name: "node-2" })), 60_000);
    // What was deleted while it was dark is cleared away there.
    await on.until(async () => (await webPods(on)).length === 3, 60_000);
    expect(
      (await dead.runtime.listContainers({})).filter((one) => one.state === "running"),
    ).toEqual([]);
  });

  test("a short power cut: the same pods start again on the same node", async () => {
    const on = await newWorld(transport);
    await on.apply(web());
    await untilReady(on);
    const before = (await webPods(on)).map(({ metadata, spec }) => [metadata.uid, spec.nodeName]);
    const node = on.node("node-2");
    await on.run(node.powerCut());
    await on.advance(5000);
    await on.run(node.powerOn());
    await on.until(async () => (await webPods(on)).some((pod) => restarts(pod) === 1), 30_000);
    await untilReady(on);
    await on.until(async () => (await readyPods(on)).length === 3, 30_000);
    const after = (await webPods(on)).map(({ metadata, spec }) => [metadata.uid, spec.nodeName]);
    expect(after).toEqual(before);
    for (const { address } of on.nodes.values()) {
      expect((await on.get(`http://${address}:30080/`)).status).toBe(200);
    }
  });

  test("a node that is cut off comes back with its pods as they were", async () => {
    const on = await newWorld(transport);
    await on.apply(web());
    await untilReady(on);
    const before = await webPods(on);
    on.cut("node-1", "control-plane");
    await on.until(async () => !isReady(await on.client.get(Node, { name: "node-1" })), 120_000);
    expect((await readyPods(on)).length).toBe(2);
    on.heal("node-1", "control-plane");
    await on.until(async () => (await readyPods(on)).length === 3, 60_000);
    await untilReady(on);
    const after = await webPods(on);
    expect(after.map((pod) => [pod.metadata.uid, restarts(pod)])).toEqual(
      before.map((pod) => [pod.metadata.uid, 0]),
    );
  });

  test("probes by HTTP and TCP fail and recover", async () => {
    const health = { ready: 200, live: 200 };
    const programs: ProgramRule[] = [
      {
        matches: ({ name: container }) => container === "web",
        program: {
          start(process) {
            process.onTerminate(() => process.exit(0));
            // Slow to open its port: the startup probe has to try more than once.
            process.after(3000, () => void process.listen(9000, (connection) => connection.end()));
            void process.serve(80, async ({ target }) => ({
              status: target === "/live" ? health.live : target === "/ready" ? health.ready : 200,
              headers: {},
            }));
          },
        },
      },
    ];
    const on = await newWorld(transport, { programs, nodes: 1 });
    const container = `
startupProbe: { tcpSocket: { port: 9000 }, periodSeconds: 1, failureThreshold: 10 }
readinessProbe: { httpGet: { path: /ready, port: 80 }, periodSeconds: 2 }
livenessProbe: { httpGet: { path: /live, port: 80 }, periodSeconds: 5, failureThreshold: 2 }`.trim();
    await on.apply(web({ replicas: 1, container }));
    await on.advance(2500);
    expect((await webPods(on))[0]?.status.containerStatuses?.[0]).toMatchObject({ started: false });
    await untilReady(on, 1);

    health.ready = 503;
    await on.until(async () => (await endpointsReady(on)) === 0, 10_000);
    health.ready = 200;
    await untilReady(on, 1);
    expect(restarts((await webPods(on))[0] as Pod)).toBe(0);

    health.live = 500;
    await on.until(async () => restarts((await webPods(on))[0] as Pod) === 1, 30_000);
    health.live = 200;
    await untilReady(on, 1);
    await on.advance(60_000);
    expect(restarts((await webPods(on))[0] as Pod)).toBe(1);
    const events = await on.client.list(Event, { namespace });
    const said = events.items.map(({ message }) => message);
    expect(said).toContain("Readiness probe failed: HTTP probe failed with statuscode: 503");
    expect(said).toContain("Liveness probe failed: HTTP probe failed with statuscode: 500");
    expect(said).toContain("Container web failed liveness probe, will be restarted");
  });

  test("ConfigMaps and Secrets reach the environment, and logs come back", async () => {
    const on = await newWorld(transport, { nodes: 1 });
    await on.apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: words }
data: { greeting: hello }
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { password: swordfish }
---
apiVersion: v1
kind: Pod
metadata: { name: speaker }
spec:
  restartPolicy: Never
  containers:
    - name: speaker
      image: busybox
      command: [sh, -c, 'echo "$GREETING $PASSWORD $NODE"']
      env:
        - { name: GREETING, valueFrom: { configMapKeyRef: { name: words, key: greeting } } }
        - { name: PASSWORD, valueFrom: { secretKeyRef: { name: keys, key: password } } }
        - { name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
`);
    const ref = { namespace, name: "speaker" };
    await on.until(
      async () => (await on.client.get(Pod, ref)).status.phase === "Succeeded",
      30_000,
    );
    expect(await on.logs(ref)).toBe("hello swordfish node-1\n");
  });

  test("a pod asks the API server by its name, with its own token", async () => {
    const programs = [
      {
        matches: () => true,
        program: { start: (process: SimulatedProcess) => void whoAmI(process) },
      },
    ];
    const on = await newWorld(transport, { nodes: 1, programs });
    await on.apply(client);
    const ref = { namespace, name: "client" };
    await on.until(async () => isReady(await on.client.get(Pod, ref)), 30_000);
    await on.advance(1000);
    expect(await on.logs(ref)).toBe("201 system:serviceaccount:default:default\n");
  });

  test("a namespace takes everything in it along", async () => {
    const on = await newWorld(transport);
    await on.apply("{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }");
    await on.apply(web().replaceAll("{ name: web }", "{ name: web, namespace: shop }"));
    await on.until(
      async () => (await on.pods("app=web", "shop")).filter(isReady).length === 3,
      60_000,
    );
    await on.run(on.client.delete(Namespace, { name: "shop" }));
    await on.until(async () => {
      const { items } = await on.client.list(Namespace);
      return items.every(({ metadata }) => metadata.name !== "shop");
    }, 120_000);
    expect(await on.pods("app=web", "shop")).toEqual([]);
    expect((await on.client.list(ConfigMap, { namespace: "shop" })).items).toEqual([]);
    await on.advance(5000);
    for (const { runtime } of on.nodes.values())
      expect(await runtime.listSandboxes({})).toEqual([]);
    await expect(on.get(`http://${on.node("node-1").address}:30080/`)).rejects.toThrow(
      "ECONNREFUSED",
    );
  });

  test("the control plane restarts: same objects, same addresses, pods run on", async () => {
    const on = await newWorld(transport);
    await on.apply(web());
    await untilReady(on);
    const see = async () => ({
      service: (await on.client.get(Service, { name, namespace })).spec.clusterIP,
      deployment: (await on.client.get(Deployment, { name, namespace })).metadata.uid,
      pods: (await webPods(on)).map(({ metadata, spec, status }) => ({
        uid: metadata.uid,
        node: spec.nodeName,
        ip: status.podIP,
        containers: status.containerStatuses?.map(({ containerID }) => containerID),
      })),
    });
    const before = await see();
    await on.stopControlPlane();
    const load = await on.load(`http://${on.node("node-3").address}:30080/`, "outside", 100);
    await on.advance(20_000);
    await on.startControlPlane();
    await on.advance(60_000);
    expect(load.stop().failures).toEqual([]);
    expect(await see()).toEqual(before);
    expect((await readyPods(on)).length).toBe(3);
    // And it goes on as before.
    await on.apply(web({ replicas: 4 }));
    await untilReady(on, 4);
  });
});
