/** What a pod can be, on real containers: sidecars, hooks, debugging, resizing, copying, the host's own namespaces, deadlines. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const sh = (script: string): string => `command: [sh, -c, ${JSON.stringify(script)}]`;
const untilKilled = "while true; do sleep 0.1; done";

describeWith(["root", "containerd", "runc", "cni", "nft", "busybox"], "pods", () => {
  const cluster = new TestCluster("pods");
  const pod = (name: string, spec: string): Promise<string> =>
    cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  ${spec.trim().replaceAll("\n", "\n  ")}
`);
  const ready = (name: string) =>
    cluster.ok("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s");
  const field = (name: string, path: string) =>
    cluster.ok("get", "pod", name, "-o", `jsonpath={${path}}`);
  const inPod = (name: string, script: string) =>
    cluster.ok("exec", name, "-c", "c", "--", "sh", "-c", script);

  beforeAll(async () => {
    await cluster.start();
    await cluster.buildTools();
  }, 180_000);
  afterAll(() => cluster.purge(), 180_000);

  test("init containers, a sidecar with its probe, hooks: in their order, and back", async () => {
    const log = join(cluster.folder, "order");
    mkdirSync(log);
    const mount = "volumeMounts: [{ name: log, mountPath: /log }]";
    const say = (word: string) => `echo ${word} >> /log/all`;
    await pod(
      "ordered",
      `
terminationGracePeriodSeconds: 20
volumes: [{ name: log, hostPath: { path: ${log} } }]
initContainers:
  - { name: first, image: tools:1, ${sh(say("first"))}, ${mount} }
  - name: side
    image: tools:1
    restartPolicy: Always
    ${sh(`trap '${say("side-end")}; exit 0' TERM; ${say("side")}; touch /up; ${untilKilled}`)}
    startupProbe: { exec: { command: [test, -f, /up] }, periodSeconds: 1 }
    ${mount}
  - { name: second, image: tools:1, ${sh(say("second"))}, ${mount} }
containers:
  - name: c
    image: tools:1
    ${sh(`trap '${say("main-end")}; exit 0' TERM; ${say("main")}; ${untilKilled}`)}
    lifecycle:
      postStart: { exec: { command: [sh, -c, "while ! grep -q main /log/all; do sleep 0.1; done; ${say("post")}"] } }
      preStop: { exec: { command: [sh, -c, "${say("pre")}"] } }
    ${mount}
`,
    );
    await ready("ordered");
    expect(await field("ordered", ".status.initContainerStatuses[*].ready")).toBe("true true true");
    expect(await cluster.ok("get", "pod", "ordered")).toMatch(/2\/2\s+Running/);
    await cluster.ok("delete", "pod", "ordered");
    expect(readFileSync(join(log, "all"), "utf8").trim().split("\n")).toEqual([
      "first",
      "side",
      "second",
      "main",
      "post",
      "pre",
      "main-end",
      "side-end",
    ]);
  }, 90_000);

  test("resized in place: the kernel's limits change, the container runs on", async () => {
    const resources = (cpu: string, memory: string) =>
      `{ requests: { cpu: ${cpu}, memory: ${memory} }, limits: { cpu: ${cpu}, memory: ${memory} } }`;
    await pod(
      "grower",
      `
terminationGracePeriodSeconds: 0
containers: [{ name: c, image: tools:1, ${sh(untilKilled)}, resources: ${resources("100m", "64Mi")} }]
`,
    );
    await ready("grower");
    const limit =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true";
    expect((await inPod("grower", limit)).trim()).toBe(String(64 * 2 ** 20));
    const id = await field("grower", ".status.containerStatuses[0].containerID");
    const patch = (memory: string, cpu: string) =>
      JSON.stringify({
        spec: {
          containers: [
            { name: "c", resources: { requests: { cpu, memory }, limits: { cpu, memory } } },
          ],
        },
      });
    await cluster.ok(
      "patch",
      "pod",
      "grower",
      "--subresource=resize",
      "-p",
      patch("128Mi", "200m"),
    );
    await cluster.until(
      "pod/grower",
      ".status.containerStatuses[0].resources.limits.memory",
      /^128Mi$/m,
    );
    expect((await inPod("grower", limit)).trim()).toBe(String(128 * 2 ** 20));
    expect(await field("grower", ".status.containerStatuses[0].containerID")).toBe(id);
    expect(await field("grower", ".status.containerStatuses[0].restartCount")).toBe("0");
    const tooMuch = ["--subresource=resize", "-p", patch("128Mi", "64")];
    expect(await cluster.refused("patch", "pod", "grower", ...tooMuch)).toContain(
      "node didn't have enough allocatable resources: cpu, requested: 64000",
    );
    await cluster.ok("delete", "pod", "grower");
  }, 90_000);

  test("debugged by a container that sees the target's processes; files copied both ways", async () => {
    await pod(
      "plain",
      `
terminationGracePeriodSeconds: 0
containers: [{ name: c, image: tools:1, command: [sleep, "4321"] }]
`,
    );
    await ready("plain");
    const debug = ["debug", "plain", "--image=tools:1", "--target=c", "-c", "helper"];
    await cluster.ok(...debug, "--profile=general", "-it=false", "--", "sh", "-c", "ps; sleep 99");
    await cluster.until("pod/plain", ".status.ephemeralContainerStatuses[0].state", /"running"/);
    const logs = cluster.background("logs", "-f", "plain", "-c", "helper");
    await logs.prints(/sleep 4321/);
    await logs.stop();

    const file = join(cluster.folder, "there");
    writeFileSync(file, "there and back\n");
    await cluster.ok("cp", file, "plain:/tmp/there", "-c", "c");
    await cluster.ok("cp", "plain:/tmp/there", join(cluster.folder, "back"), "-c", "c");
    expect(readFileSync(join(cluster.folder, "back"), "utf8")).toBe("there and back\n");
    await cluster.ok("delete", "pod", "plain");
  }, 90_000);

  test("shared and host namespaces, and a deadline", async () => {
    await pod(
      "shared",
      `
terminationGracePeriodSeconds: 0
shareProcessNamespace: true
containers:
  - { name: c, image: tools:1, ${sh(untilKilled)} }
  - { name: other, image: tools:1, command: [sleep, "1234"] }
`,
    );
    await pod(
      "host",
      `
terminationGracePeriodSeconds: 0
hostNetwork: true
hostPID: true
containers: [{ name: c, image: tools:1, ${sh(untilKilled)} }]
`,
    );
    await pod(
      "late",
      `
terminationGracePeriodSeconds: 0
activeDeadlineSeconds: 2
containers: [{ name: c, image: tools:1, ${sh(untilKilled)} }]
`,
    );
    await ready("shared");
    await ready("host");
    expect(await inPod("shared", "ps")).toContain("sleep 1234");
    expect(await inPod("host", "ps")).toContain("containerd");
    expect(await field("host", ".status.podIP")).toBe(await field("host", ".status.hostIP"));
    await cluster.until("pod/late", ".status.reason", /^DeadlineExceeded$/m);
    expect(await field("late", ".status.phase")).toBe("Failed");
    await cluster.ok("delete", "pod", "--all");
  }, 90_000);
});
