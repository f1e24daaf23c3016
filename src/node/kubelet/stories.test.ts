/**
 * Golden stories: the kubelet with a real API server in this process, called or asked over HTTP, simulated containers, a host in
 * memory, a stepped clock.
 */
import { describe, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { MemoryHost } from "#adapters/memory/host.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { SimulatedRuntime } from "#adapters/memory/runtime.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Secret } from "#api/core/v1/secret.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import type { Container, PodSpec } from "#api/generated/core/v1.ts";
import { builtInResources } from "#api/index.ts";
import { createClient } from "#client/client.ts";
import { createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import type { Stored } from "#machinery/meta.ts";
import type { Network } from "#ports/network.ts";
import { type Transport, transports, wayTo } from "#simulation/transport.ts";
import { createKubelet, type KubeletOptions } from "./kubelet.ts";

const absent = (): never => {
  throw new Error("these stories have no network");
};
const noNetwork: Network = {
  connect: absent,
  listen: absent,
  serve: absent,
  http: absent,
  udp: absent,
  resolve: absent,
};

async function world(transport: Transport) {
  const clock = new SteppedClock({ startMs: Date.UTC(2026, 10, 22) });
  const random = seededRandom(7);
  const log = memoryLog();
  const crypto = memoryCrypto(random.fork("crypto"));
  const storage = new MemoryStorage();
  const settle = async <T>(work: Promise<T>): Promise<T> => {
    const state = { done: false };
    const finished = work.finally(() => {
      state.done = true;
    });
    for (let turn = 0; turn < 200 && !state.done; turn += 1) await clock.advance(1);
    return await finished;
  };
  const store = await settle(openStore({ storage, clock, log }));
  const server = await settle(
    createApiServer({
      store,
      clock,
      random: random.fork("server"),
      crypto,
      log,
      resources: builtInResources,
      serviceCidr: "10.96.0.0/16",
      clientCa: () => "",
    }),
  );
  const way = wayTo(server, transport, { clock, log });
  const admin = createClient(
    way.as({ name: "admin", groups: ["system:masters", "system:authenticated"] }),
    { userAgent: "test" },
  );
  const host = new MemoryHost({
    clock,
    random: random.fork("host"),
    hostname: "n1",
    addresses: ["192.0.2.1"],
    cpus: 4,
    memoryBytes: 8 * 2 ** 30,
    diskBytes: 2 ** 36,
  });
  const runtime = new SimulatedRuntime({
    clock,
    random: random.fork("runtime"),
    network: noNetwork,
    host,
    hostAddress: "192.0.2.1",
    programs: [],
    pullMs: 100,
  });
  const user = { name: "system:node:n1", groups: ["system:nodes", "system:authenticated"] };
  const newKubelet = (more: Partial<KubeletOptions> = {}) =>
    createKubelet({
      nodeName: "n1",
      version: "v1.37.2",
      client: createClient(way.as(user), { userAgent: "kubelet" }),
      runtime,
      host,
      clock,
      random: random.fork("kubelet"),
      network: noNetwork,
      crypto,
      log,
      config: { clusterDNS: ["10.96.0.10"] },
      podCidrs: (cidrs) => void runtime.writeNetwork(cidrs).then(() => kubelet.refresh()),
      ...more,
    });
  let kubelet = newKubelet();
  const account = { metadata: { namespace: "default", name: "default" } };
  await settle(admin.create(ServiceAccount, account));
  await settle(kubelet.start());
  await clock.advance(1000);
  await settle(
    admin.patch(Node, { name: "n1" }, "merge", {
      spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
    }),
  );
  await clock.advance(1000);
  const ref = (name: string) => ({ namespace: "default", name });
  return {
    admin,
    clock,
    host,
    log,
    runtime,
    settle,
    /** The kubelet is killed and started again; its pods run on. */
    restart: async (meanwhileMs: number) => {
      await settle(kubelet.stop());
      await clock.advance(meanwhileMs);
      kubelet = newKubelet();
      await settle(kubelet.start());
    },
    create: (
      name: string,
      spec: Omit<Partial<PodSpec>, "containers"> & { containers: Partial<Container>[] },
    ) =>
      settle(
        admin.create(Pod, {
          metadata: { namespace: "default", name, labels: { app: name } },
          spec: { nodeName: "n1", automountServiceAccountToken: false, ...spec } as PodSpec,
        }),
      ),
    get: (name: string) => settle(admin.get(Pod, ref(name))),
    find: async (name: string): Promise<Stored<Pod> | undefined> => {
      const list = await settle(admin.list(Pod, { namespace: "default" }));
      return list.items.find((pod) => pod.metadata.name === name);
    },
    events: async (name: string): Promise<string[]> => {
      await clock.advance(50);
      const list = await settle(admin.list(Event, { namespace: "default" }));
      return list.items
        .filter((event) => event.involvedObject.name === name)
        .map((event) => `${event.type} ${event.reason}: ${event.message}`);
    },
    stop: async () => {
      await settle(kubelet.stop());
      way.close();
      await settle(server.close(0));
      await settle(store.close());
    },
  };
}

const sh = (script: string): Partial<Container> => ({
  name: "a",
  image: "bb:1",
  command: ["sh", "-c", script],
});
const conditionsOf = (pod: Pod): Record<string, string> =>
  Object.fromEntries((pod.status.conditions ?? []).map((one) => [one.type, one.status]));

describe.each(transports)("over %s", (transport) => {
  test("a node registers and becomes ready", async () => {
    const { admin, settle, stop, clock, events } = await world(transport);
    const node = await settle(admin.get(Node, { name: "n1" }));
    const ready = node.status.conditions?.find((one) => one.type === "Ready");
    expect(ready).toMatchObject({
      status: "True",
      reason: "KubeletReady",
      message: "kubelet is posting ready status",
    });
    expect(node.status.capacity).toMatchObject({ cpu: "4", memory: "8Gi", pods: "110" });
    expect(node.status.addresses).toEqual([
      { type: "InternalIP", address: "192.0.2.1" },
      { type: "Hostname", address: "n1" },
    ]);
    expect(node.metadata.labels).toMatchObject({
      "kubernetes.io/hostname": "n1",
      "kubernetes.io/os": "linux",
      "kubernetes.io/arch": "amd64",
    });
    expect(await events("n1")).toEqual([
      "Normal NodeHasSufficientMemory: Node n1 status is now: NodeHasSufficientMemory",
      "Normal NodeHasNoDiskPressure: Node n1 status is now: NodeHasNoDiskPressure",
      "Normal NodeHasSufficientPID: Node n1 status is now: NodeHasSufficientPID",
      "Normal Starting: Starting kubelet.",
      "Normal NodeReady: Node n1 status is now: NodeReady",
    ]);
    await clock.advance(60_000);
    const later = await settle(admin.get(Node, { name: "n1" }));
    expect(later.metadata.resourceVersion).toBe(node.metadata.resourceVersion);
    await stop();
  });

  test("a pod starts, reports, and stops", async () => {
    const { create, get, find, events, clock, admin, settle, runtime, host, stop } =
      await world(transport);
    await create("web", { containers: [{ name: "a", image: "web:1" }] });
    await clock.advance(2000);
    const pod = await get("web");
    expect(pod.status.phase).toBe("Running");
    expect(conditionsOf(pod)).toEqual({
      PodReadyToStartContainers: "True",
      Initialized: "True",
      Ready: "True",
      ContainersReady: "True",
      PodScheduled: "True",
    });
    expect(pod.status).toMatchObject({
      hostIP: "192.0.2.1",
      podIP: expect.stringMatching(/^10\.244\.1\./),
      qosClass: "BestEffort",
      startTime: expect.any(String),
      containerStatuses: [
        {
          name: "a",
          ready: true,
          started: true,
          restartCount: 0,
          image: "web:1",
          containerID: expect.stringMatching(/:\/\/./),
          state: { running: { startedAt: expect.any(String) } },
        },
      ],
    });
    expect(await events("web")).toEqual([
      'Normal Pulling: Pulling image "web:1"',
      expect.stringMatching(
        /^Normal Pulled: Successfully pulled image "web:1" in 100ms \(100ms incl/,
      ),
      "Normal Created: Container created",
      "Normal Started: Container started",
    ]);
    await settle(admin.delete(Pod, { namespace: "default", name: "web" }));
    await clock.advance(5000);
    expect(await find("web")).toBeUndefined();
    expect(await runtime.listSandboxes({})).toEqual([]);
    expect(await host.list("/var/lib/kubelet/pods")).toEqual([]);
    expect(await host.list("/var/log/pods")).toEqual([]);
    expect(await events("web")).toContain("Normal Killing: Stopping container a");
    await stop();
  });

  test("a crashing container is restarted with growing back-off", async () => {
    const { create, get, events, clock, stop } = await world(transport);
    await create("crash", { containers: [sh("sleep 1; exit 3")] });
    await clock.advance(4000);
    const waiting = await get("crash");
    expect(waiting.status.containerStatuses?.[0]).toMatchObject({
      ready: false,
      restartCount: 1,
      state: {
        waiting: {
          reason: "CrashLoopBackOff",
          message: `back-off 10s restarting failed container=a pod=crash_default(${waiting.metadata.uid})`,
        },
      },
      lastState: { terminated: { exitCode: 3, reason: "Error" } },
    });
    expect(waiting.status.phase).toBe("Running");
    expect(conditionsOf(waiting)["Ready"]).toBe("False");
    await clock.advance(9000);
    expect((await get("crash")).status.containerStatuses?.[0]?.restartCount).toBe(2);
    await clock.advance(5000);
    expect((await get("crash")).status.containerStatuses?.[0]?.state.waiting?.message).toContain(
      "back-off 20s",
    );
    expect((await events("crash")).join()).toContain(
      "Back-off restarting failed container a in pod",
    );
    await stop();
  });

  test("a pod that ends is over: Succeeded, Failed, and by its deadline", async () => {
    const { create, get, clock, events, stop } = await world(transport);
    await create("good", { restartPolicy: "Never", containers: [sh("echo done; exit 0")] });
    await create("bad", {
      restartPolicy: "Never",
      containers: [
        { ...sh("echo oh no; exit 2"), terminationMessagePolicy: "FallbackToLogsOnError" },
      ],
    });
    await create("late", { activeDeadlineSeconds: 5, containers: [sh("sleep 1000")] });
    await clock.advance(3000);
    const good = await get("good");
    expect(good.status.phase).toBe("Succeeded");
    expect(good.status.containerStatuses?.[0]?.state.terminated).toMatchObject({
      exitCode: 0,
      reason: "Completed",
    });
    expect(good.status.conditions?.find((one) => one.type === "Ready")).toMatchObject({
      status: "False",
      reason: "PodCompleted",
    });
    const bad = await get("bad");
    expect(bad.status.phase).toBe("Failed");
    expect(bad.status.containerStatuses?.[0]?.state.terminated).toMatchObject({
      exitCode: 2,
      message: "oh no\n",
    });
    await clock.advance(60_000);
    const late = await get("late");
    expect(late.status).toMatchObject({
      phase: "Failed",
      reason: "DeadlineExceeded",
      message: "Pod was active on the node longer than the specified deadline",
    });
    expect((await events("late")).join()).toContain("DeadlineExceeded");
    await stop();
  });

  test("init containers run first, one after the other", async () => {
    const { create, get, clock, stop } = await world(transport);
    await create("init", {
      initContainers: [
        { ...sh("sleep 2"), name: "i1" } as Container,
        { ...sh("sleep 2"), name: "i2" } as Container,
      ],
      containers: [{ name: "a", image: "web:1" }],
    });
    await clock.advance(1000);
    const first = await get("init");
    expect(first.status.phase).toBe("Pending");
    expect(first.status.initContainerStatuses?.map((one) => Object.keys(one.state))).toEqual([
      ["running"],
      ["waiting"],
    ]);
    expect(first.status.containerStatuses?.[0]?.state.waiting?.reason).toBe("PodInitializing");
    expect(first.status.conditions?.find((one) => one.type === "Initialized")).toMatchObject({
      status: "False",
      reason: "ContainersNotInitialized",
      message: "containers with incomplete status: [i1 i2]",
    });
    await clock.advance(6000);
    expect((await get("init")).status.phase).toBe("Running");
    await stop();
  });

  test("what a pod waits for is said, and when it comes the pod starts", async () => {
    const { create, get, events, clock, admin, settle, host, stop } = await world(transport);
    const from = { configMapKeyRef: { name: "settings", key: "mode" } };
    await create("needs", {
      volumes: [{ name: "conf", configMap: { name: "settings" } }],
      containers: [
        {
          ...sh("sleep 1000"),
          env: [{ name: "MODE", valueFrom: from }],
          volumeMounts: [{ name: "conf", mountPath: "/conf" }],
        },
      ],
    });
    await clock.advance(3000);
    expect((await get("needs")).status.containerStatuses?.[0]?.state.waiting?.reason).toBe(
      "ContainerCreating",
    );
    expect(await events("needs")).toContain(
      'Warning FailedMount: MountVolume.SetUp failed for volume "conf" : configmap "settings" not found',
    );
    const metadata = { namespace: "default", name: "settings" };
    await settle(admin.create(ConfigMap, { metadata, data: { mode: "fast" } }));
    await clock.advance(1000);
    const pod = await get("needs");
    expect(pod.status.phase).toBe("Running");
    const path = `/var/lib/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~configmap/conf/mode`;
    const read = async () => new TextDecoder().decode(await host.read(path));
    expect(await read()).toBe("fast");
    await settle(admin.patch(ConfigMap, metadata, "merge", { data: { mode: "slow" } }));
    await clock.advance(1000);
    expect(await read()).toBe("slow");
    await stop();
  });

  test("a missing Secret in the environment keeps only its container from starting", async () => {
    const { create, get, clock, admin, settle, stop } = await world(transport);
    await create("secretive", {
      containers: [
        { ...sh("sleep 1000"), envFrom: [{ secretRef: { name: "keys" } }] },
        { ...sh("sleep 1000"), name: "b" },
      ],
    });
    await clock.advance(3000);
    const waiting = await get("secretive");
    expect(waiting.status.containerStatuses?.map((one) => one.state.waiting)).toEqual([
      { reason: "CreateContainerConfigError", message: 'secret "keys" not found' },
      undefined,
    ]);
    const metadata = { namespace: "default", name: "keys" };
    await settle(admin.create(Secret, { metadata, data: { KEY: btoa("x") } }));
    await clock.advance(1000);
    expect((await get("secretive")).status.phase).toBe("Running");
    await stop();
  });

  test("an image that can't be had", async () => {
    const { create, get, clock, runtime, events, stop } = await world(transport);
    let broken = true;
    runtime.faults.pull = (reference) =>
      broken && reference.includes("nope") ? `${reference}: not found` : undefined;
    await create("bad", { containers: [{ name: "a", image: "nope:1" }] });
    await clock.advance(1000);
    expect((await get("bad")).status.containerStatuses?.[0]?.state.waiting?.reason).toBe(
      "ErrImagePull",
    );
    await clock.advance(3000);
    const waiting = (await get("bad")).status.containerStatuses?.[0]?.state.waiting;
    expect(waiting?.reason).toBe("ImagePullBackOff");
    expect(waiting?.message).toMatch(/^Back-off pulling image "nope:1": ErrImagePull: /);
    broken = false;
    await clock.advance(15_000);
    expect((await get("bad")).status.phase).toBe("Running");
    const said = await events("bad");
    expect(said).toContain("Warning Failed: Error: ErrImagePull");
    expect(said).toContain('Normal BackOff: Back-off pulling image "nope:1"');
    await create("never", { containers: [{ name: "a", image: "no:2", imagePullPolicy: "Never" }] });
    await create("invalid", { containers: [{ name: "a", image: "No:2" }] });
    await clock.advance(1000);
    const reasonOf = async (name: string) =>
      (await get(name)).status.containerStatuses?.[0]?.state.waiting?.reason;
    expect(await reasonOf("never")).toBe("ErrImageNeverPull");
    expect(await reasonOf("invalid")).toBe("InvalidImageName");
    await stop();
  });

  const execProbe = (script: string, more = {}) => ({
    exec: { command: ["sh", "-c", script] },
    periodSeconds: 1,
    failureThreshold: 2,
    ...more,
  });

  test("probes: startup before the others, readiness by its result, liveness restarts", async () => {
    const { create, get, clock, events, stop } = await world(transport);
    await create("probed", {
      volumes: [{ name: "d", emptyDir: {} }],
      containers: [
        {
          ...sh(
            "rm /d/sick; sleep 3; touch /d/up; sleep 5; touch /d/ready; sleep 10; touch /d/sick; sleep 1000",
          ),
          volumeMounts: [{ name: "d", mountPath: "/d" }],
          startupProbe: execProbe("test -e /d/up", { failureThreshold: 10 }),
          readinessProbe: execProbe("test -e /d/ready", { failureThreshold: 1 }),
          livenessProbe: execProbe("test -e /d/sick && exit 1; exit 0"),
        },
      ],
      terminationGracePeriodSeconds: 1,
    });
    await clock.advance(2000);
    const stateOf = async () => {
      const { started, ready, restartCount } = (await get("probed")).status
        .containerStatuses?.[0] ?? { started: undefined, ready: undefined, restartCount: -1 };
      return [started, ready, restartCount];
    };
    expect(await stateOf()).toEqual([false, false, 0]);
    await clock.advance(4000);
    expect(await stateOf()).toEqual([true, false, 0]);
    await clock.advance(4500);
    expect(await stateOf()).toEqual([true, true, 0]);
    await clock.advance(14_000);
    expect((await get("probed")).status.containerStatuses?.[0]?.restartCount).toBe(1);
    const said = (await events("probed")).join("\n");
    expect(said).toContain("Warning Unhealthy: Startup probe failed:");
    expect(said).toContain("Warning Unhealthy: Readiness probe failed:");
    expect(said).toContain("Warning Unhealthy: Liveness probe failed:");
    expect(said).toContain("Normal Killing: Container a failed liveness probe, will be restarted");
    await stop();
  });

  test("a pod that doesn't fit is refused at the node", async () => {
    const { create, get, find, events, clock, admin, settle, stop } = await world(transport);
    await create("big", {
      containers: [{ name: "a", image: "web:1", resources: { requests: { cpu: "9" } } }],
    });
    await clock.advance(1000);
    expect((await get("big")).status).toMatchObject({
      phase: "Failed",
      reason: "OutOfcpu",
      message:
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 9000, used: 0, capacity: 4000",
    });
    expect((await get("big")).status.containerStatuses).toBeUndefined();
    expect((await events("big")).join()).toContain("Warning OutOfcpu");
    await settle(admin.delete(Pod, { namespace: "default", name: "big" }));
    await clock.advance(2000);
    expect(await find("big")).toBeUndefined();
    await stop();
  });

  test("a restart of the kubelet: what runs is adopted, what was deleted meanwhile is removed", async () => {
    const { create, get, find, clock, admin, settle, runtime, restart, stop } =
      await world(transport);
    await create("keep", { containers: [{ name: "a", image: "web:1" }] });
    await create("gone", { containers: [{ name: "a", image: "web:1" }] });
    await clock.advance(2000);
    const before = await get("keep");
    const force = { gracePeriodSeconds: 0 };
    await restart(60_000);
    await clock.advance(3000);
    const after = await get("keep");
    expect(after.status.containerStatuses).toEqual(before.status.containerStatuses);
    expect(after.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    await settle(admin.delete(Pod, { namespace: "default", name: "gone" }, force));
    await clock.advance(5000);
    expect(await find("gone")).toBeUndefined();
    const left = await runtime.listSandboxes({});
    expect(left.map((one) => one.name)).toEqual(["keep"]);
    await stop();
  });

  test("a killed process and a lost sandbox come back", async () => {
    const { create, get, clock, runtime, events, stop } = await world(transport);
    await create("web", { containers: [{ name: "a", image: "web:1" }] });
    await clock.advance(2000);
    const [container] = await runtime.listContainers({});
    runtime.kill(container?.id ?? "");
    await clock.advance(2000);
    const restarted = await get("web");
    expect(restarted.status.containerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      ready: true,
      lastState: { terminated: { exitCode: 137, reason: "Error" } },
    });
    const [sandbox] = await runtime.listSandboxes({});
    await runtime.stopSandbox(sandbox?.id ?? "");
    await clock.advance(20_000);
    const again = await get("web");
    expect(again.status.phase).toBe("Running");
    expect(again.status.containerStatuses?.[0]?.ready).toBe(true);
    expect((await events("web")).join()).toContain("SandboxChanged");
    await stop();
  });

  test("hooks: postStart before ready, preStop within the grace", async () => {
    const { create, find, clock, admin, settle, events, stop } = await world(transport);
    await create("hooked", {
      terminationGracePeriodSeconds: 10,
      containers: [
        {
          name: "a",
          image: "web:1",
          lifecycle: {
            postStart: { exec: { command: ["sh", "-c", "exit 0"] } },
            preStop: { sleep: { seconds: 5 } },
          },
        },
      ],
    });
    await create("failing", {
      containers: [
        {
          ...sh("sleep 1000"),
          lifecycle: { postStart: { exec: { command: ["sh", "-c", "exit 1"] } } },
        },
      ],
    });
    await clock.advance(4000);
    expect((await events("failing")).join()).toContain(
      "Warning FailedPostStartHook: PostStartHook failed",
    );
    await settle(admin.delete(Pod, { namespace: "default", name: "hooked" }));
    await clock.advance(4000);
    expect((await find("hooked"))?.metadata.deletionTimestamp).toBeDefined();
    await clock.advance(3000);
    expect(await find("hooked")).toBeUndefined();
    await stop();
  });
});
