/** The shop on real containers, as the README walks through it: deploy, reach, break, roll, look inside. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { fetchText, startLoad } from "./load.ts";
import { kubectlProgram, Running, run } from "./programs.ts";
import { describeWith } from "./requirements.ts";

interface PodJson {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
  status: {
    phase: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: {
      name: string;
      restartCount: number;
      containerID: string;
      state: Record<string, { reason?: string; exitCode?: number }>;
      lastState: Record<string, { reason?: string; exitCode?: number }>;
    }[];
  };
}

describeWith(["root", "containerd", "runc", "cni", "nft"], "the shop", () => {
  const cluster = new TestCluster("shop");
  const pods = async (selector: string): Promise<PodJson[]> =>
    (
      JSON.parse(await cluster.ok("get", "pods", "-l", selector, "-o", "json")) as {
        items: PodJson[];
      }
    ).items;
  const isReady = ({ metadata, status }: PodJson): boolean =>
    metadata.deletionTimestamp === undefined &&
    (status.conditions ?? []).some((one) => one.type === "Ready" && one.status === "True");
  const podOf = async (app: string): Promise<string> => {
    const pod = (await pods(`app=${app}`)).find(isReady);
    if (pod === undefined) throw new Error(`there is no ready pod of ${app}`);
    return pod.metadata.name;
  };
  const inPod = (pod: string, ...command: string[]): Promise<string> =>
    cluster.ok("exec", pod, "--", ...command);

  beforeAll(async () => {
    await cluster.start();
    for (const name of ["api", "worker", "web"]) {
      const built = await cluster.wherry([
        "image",
        "build",
        `examples/shop/${name}`,
        "-t",
        `shop-${name}:1`,
        "--name",
        cluster.name,
      ]);
      expect(built.code, built.stderr).toBe(0);
    }
  }, 180_000);
  afterAll(() => cluster.purge(), 180_000);

  test("apply: everything becomes ready", async () => {
    expect(await cluster.ok("apply", "-f", "examples/shop/")).toContain(
      "deployment.apps/web created",
    );
    for (const name of ["api", "worker", "web"]) {
      await cluster.ok("rollout", "status", `deployment/${name}`, "--timeout=90s");
    }
    const table = await cluster.ok("get", "deployments");
    expect(table).toMatch(/web\s+3\/3\s+3\s+3/);
  });

  test("HTTP by DNS name from a pod, by cluster IP and by node port from the host", async () => {
    const pod = await podOf("worker");
    const page = await inPod(pod, "wget", "-qO-", "http://web.default.svc.cluster.local/");
    expect(page).toContain("Welcome to the harbour shop");
    expect(await inPod(pod, "wget", "-qO-", "http://web/version")).toMatch(/^1 web-/);
    const ip = await cluster.ok("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
    expect(await fetchText(`http://${ip}/version`)).toMatch(/^1 web-/);
    expect(await fetchText("http://127.0.0.1:30080/version")).toMatch(/^1 web-/);
    expect(await inPod(pod, "nslookup", "kubernetes.default.svc.cluster.local")).toContain(
      "Address",
    );
  });

  test("an order goes through web, api and worker", async () => {
    const form = { method: "POST", body: new URLSearchParams({ item: "coffee" }) };
    const answer = await fetch("http://127.0.0.1:30080/order", { ...form, redirect: "manual" });
    expect(answer.status).toBe(303);
    const logs = cluster.background("logs", "-f", "-l", "app=worker", "--prefix");
    await logs.prints(/coffee\) is done/);
    await logs.stop();
  });

  test("a container killed with -9 is restarted, counted and told of", async () => {
    const name = await podOf("api");
    const id = (await pods("app=api"))[0]?.status.containerStatuses?.[0]?.containerID ?? "";
    // The container's process, by its own cgroup's name.
    const pid = readPidOf(id.replace("containerd://", ""));
    process.kill(pid, "SIGKILL");
    await cluster.until(`pod/${name}`, ".status.containerStatuses[0].restartCount", /^[1-9]/m);
    await cluster.ok("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s");
    const [pod] = await pods("app=api");
    expect(pod?.status.containerStatuses?.[0]?.lastState["terminated"]?.exitCode).toBe(137);
    expect(await cluster.ok("describe", "pod", name)).toMatch(/Restart Count:\s+1/);
    expect(await cluster.ok("logs", name, "--previous")).toContain("api: listening");
    expect(
      await cluster.ok("get", "events", "--field-selector", `involvedObject.name=${name}`),
    ).toContain("Started");
  });

  test("a pod that is deleted is replaced", async () => {
    const before = (await pods("app=web")).map((pod) => pod.metadata.name);
    await cluster.ok("delete", "pod", before[0] ?? "");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=60s");
    const after = (await pods("app=web")).map((pod) => pod.metadata.name);
    expect(after).toHaveLength(3);
    expect(after).not.toContain(before[0]);
  });

  test("a pod that allocates beyond its limit is OOMKilled, its neighbours undisturbed", async () => {
    const neighbours = async () =>
      (await pods("app=web")).map((pod) => [
        pod.metadata.uid,
        pod.status.containerStatuses?.[0]?.restartCount,
      ]);
    const before = await neighbours();
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: greedy }
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: shop-web:1
      command: [node, -e, "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));"]
      resources: { limits: { memory: 96Mi } }
`);
    await cluster.until("pod/greedy", ".status.phase", /Failed/);
    const greedy = JSON.parse(await cluster.ok("get", "pod", "greedy", "-o", "json")) as PodJson;
    expect(greedy.status.containerStatuses?.[0]?.state["terminated"]).toMatchObject({
      reason: "OOMKilled",
      exitCode: 137,
    });
    expect(await cluster.ok("get", "pod", "greedy")).toContain("OOMKilled");
    expect(await neighbours()).toEqual(before);
    await cluster.ok("delete", "pod", "greedy");
  });

  test("a rolling update under 200 requests/s loses none; undo brings the old version back", async () => {
    const load = startLoad("http://127.0.0.1:30080/version", 200);
    await cluster.ok("set", "env", "deployment/web", "SHOP_VERSION=2");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=120s");
    const result = await load.stop();
    expect(result.failed).toEqual([]);
    expect(result.sent).toBeGreaterThan(400);
    const versions = new Set([...result.bodies.keys()].map((body) => body.split(" ")[0]));
    expect(versions).toEqual(new Set(["1", "2"]));
    expect(await cluster.ok("rollout", "history", "deployment/web")).toMatch(/^1\s/m);
    await cluster.ok("rollout", "undo", "deployment/web");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=120s");
    // The proxy hears of the last old pod's end from the API server, a moment after whoever waited for the rollout may have.
    await expect
      .poll(() => fetchText("http://127.0.0.1:30080/version"), { timeout: 10_000, interval: 20 })
      .toMatch(/^1 /);
  }, 240_000);

  test("a bad image: the rollout stops, the old pods serve", async () => {
    await cluster.ok("set", "image", "deployment/web", "web=registry.invalid/none:1");
    const [fresh] = await waitForPods("registry.invalid/none:1");
    await cluster.until(
      `pod/${fresh}`,
      ".status.containerStatuses[0].state.waiting.reason",
      /ImagePullBackOff|ErrImagePull/,
    );
    expect(await fetchText("http://127.0.0.1:30080/version")).toMatch(/^1 /);
    const table = await cluster.ok("get", "deployment", "web");
    expect(table).toMatch(/web\s+3\/3\s+1\s+3/);
    await cluster.ok("rollout", "undo", "deployment/web");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=60s");
  });
  /** Names of the pods with that image, once there is one beside the old ones. */
  async function waitForPods(image: string): Promise<string[]> {
    const path = `{range .items[?(@.spec.containers[0].image=="${image}")]}{.metadata.name}{"\\n"}{end}`;
    for (;;) {
      const names = (
        await cluster.ok("get", "pods", "-l", "app=web", "-o", `jsonpath=${path}`)
      ).split("\n");
      if ((names[0] ?? "") !== "") return names.filter((name) => name !== "");
    }
  }

  test("scale, and what is scaled away ends cleanly", async () => {
    await cluster.ok("scale", "deployment/worker", "--replicas=4");
    await cluster.ok("rollout", "status", "deployment/worker", "--timeout=60s");
    expect(await pods("app=worker")).toHaveLength(4);
    await cluster.ok("scale", "deployment/worker", "--replicas=1");
    await cluster.until("deployment/worker", ".status.replicas", /^1$/m);
  });

  test("exec: exit codes and stdin of 5 MB", async () => {
    const pod = await podOf("web");
    const failed = await cluster.kubectl(["exec", pod, "--", "sh", "-c", "exit 7"]);
    expect(failed.code).toBe(7);
    const input = Buffer.alloc(5 * 1024 * 1024, "wherry ");
    const counted = await cluster.kubectl(["exec", "-i", pod, "--", "wc", "-c"], { input });
    expect(counted.stdout.trim()).toBe(String(input.length));
    const missing = await cluster.refused("exec", pod, "--", "no-such-program");
    expect(missing).toContain("no-such-program");
  });

  test("exec -it: a terminal with its size, its resizing, Ctrl-C and the exit code", async () => {
    const pod = await podOf("web");
    const kubectl = `${kubectlProgram()} --kubeconfig ${cluster.kubeconfig}`;
    const session = `tty; stty rows 41 cols 123; exec ${kubectl} exec -it ${pod} -- sh`;
    const terminal = new Running(
      "script",
      ["-qefc", session, "/dev/null"],
      cluster.kubectlEnvironment,
    );
    const pty = /\/dev\/pts\/\d+/.exec(await terminal.prints(/\/dev\/pts\/\d+/))?.[0] ?? "";
    await terminal.prints(/# /);
    terminal.child.stdin?.write("stty size\n");
    await terminal.prints(/41 123/);
    expect((await run("stty", ["-F", pty, "rows", "50", "cols", "200"])).code).toBe(0);
    // The new size travels behind our back: ask until it has arrived.
    while (!terminal.output.includes("50 200")) {
      const before = terminal.output.length;
      terminal.child.stdin?.write("stty size\n");
      await terminal.printsAfter(before, /\d+ \d+\r?\n/);
    }
    terminal.child.stdin?.write("echo begun; sleep 1000\n");
    await terminal.prints(/\nbegun/);
    terminal.child.stdin?.write("\u0003");
    const before = terminal.output.length;
    terminal.child.stdin?.write("echo still here\n");
    await terminal.printsAfter(before, /\nstill here/);
    terminal.child.stdin?.write("exit 12\n");
    expect(await terminal.ended, terminal.output).toBe(12);
  });

  test("port-forward carries requests in parallel", async () => {
    const forward = cluster.background("port-forward", "service/web", ":80");
    try {
      const port = /127\.0\.0\.1:(\d+)/.exec(await forward.prints(/Forwarding from 127/))?.[1];
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => fetchText(`http://127.0.0.1:${port}/version`)),
      );
      expect(answers.every((answer) => answer.startsWith("1 "))).toBe(true);
    } finally {
      await forward.stop();
    }
  });

  test("get in every form, describe, logs", async () => {
    const name = await podOf("web");
    expect(await cluster.ok("get", "pod", name, "-o", "yaml")).toContain("phase: Running");
    expect(JSON.parse(await cluster.ok("get", "pod", name, "-o", "json"))).toMatchObject({
      kind: "Pod",
    });
    expect(await cluster.ok("get", "pods", "-o", "wide")).toMatch(/NOMINATED NODE/);
    expect(await cluster.ok("get", "pod", name, "-o", "jsonpath={.status.qosClass}")).toBe(
      "Burstable",
    );
    const described = await cluster.ok("describe", "pod", name);
    for (const text of [
      "Successfully assigned",
      "Liveness:",
      "Environment Variables from:",
      "kube-api-access",
    ]) {
      expect(described).toContain(text);
    }
    expect(await cluster.ok("describe", "deployment", "web")).toContain("RollingUpdateStrategy:");
    expect(await cluster.ok("logs", name)).toContain("web: version 1 listening");
    expect(await cluster.ok("get", "all")).toContain("service/web");
  });
});

/** The first process of a container: containerd's runc keeps its number in the task's folder. */
function readPidOf(id: string): number {
  const state = "/run/wherry/shop/state/io.containerd.runtime.v2.task/k8s.io";
  return Number(readFileSync(`${state}/${id}/init.pid`, "utf8"));
}
