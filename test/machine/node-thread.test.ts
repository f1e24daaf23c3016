/** The node's thread dies under running pods: nobody but the log notices; what is asked for meanwhile is done when it is back. */
import { readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { runInOnlyThread } from "./inspector.ts";
import { describeWith } from "./requirements.ts";

const pod = (name: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: main, image: "thread-web:1", imagePullPolicy: IfNotPresent }]
`;

describeWith(["root", "containerd", "runc", "cni", "nft"], "the node's thread", () => {
  const cluster = new TestCluster("thread");
  const logFile = join(cluster.dataDirectory, "log", "wherry.log");
  const log = (): string => readFileSync(logFile, "utf8");
  /** Waits for the log to have that many matches. */
  const logged = async (pattern: RegExp, count: number): Promise<RegExpMatchArray[]> => {
    const seen = new AbortController();
    let wake: () => void = () => {};
    watch(logFile, { signal: seen.signal }, () => wake()).on("error", () => {});
    try {
      for (;;) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const found = [...log().matchAll(pattern)];
        if (found.length >= count) return found;
        await changed;
      }
    } finally {
      seen.abort();
    }
  };
  const daemon = (): number =>
    (
      JSON.parse(readFileSync(join(cluster.dataDirectory, "run", "process.json"), "utf8")) as {
        daemon: { pid: number };
      }
    ).daemon.pid;
  let deaths = 0;
  const crash = async (): Promise<void> => {
    process.kill(daemon(), "SIGUSR1");
    const [found] = await logged(/Debugger listening on (ws:\S+)/g, 1);
    const code = 'setImmediate(() => { throw new Error("thrown by the test"); })';
    await runInOnlyThread(found?.[1] ?? "", code);
    deaths++;
  };
  const containerOf = (name: string): Promise<string> =>
    cluster.ok(
      "get",
      "pod",
      name,
      "-o",
      "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}",
    );
  const ready = (name: string): Promise<string> =>
    cluster.ok("wait", "--for=condition=Ready", `pod/${name}`, "--timeout=60s");

  beforeAll(async () => {
    const env = { NODE_OPTIONS: "--inspect-port=0" };
    const started = await cluster.wherry(
      ["up", "--name", cluster.name, "--data-dir", cluster.dataDirectory],
      { env },
    );
    expect(started.code, `${started.stdout}${started.stderr}`).toBe(0);
    const built = await cluster.wherry([
      "image",
      "build",
      "examples/shop/web",
      "-t",
      "thread-web:1",
      "--name",
      cluster.name,
    ]);
    expect(built.code, built.stderr).toBe(0);
  }, 180_000);
  afterAll(() => cluster.purge(), 180_000);

  test("it is started again, finds its pods as they were, and goes on with the next", async () => {
    await cluster.apply(pod("before"));
    await ready("before");
    const container = await containerOf("before");
    const process = daemon();
    await crash();
    const [death] = await logged(/the node's thread died; it is started again.*/g, deaths);
    expect(death?.[0]).toContain("Error: thrown by the test");
    await cluster.apply(pod("meanwhile"));
    await ready("meanwhile");
    expect(await containerOf("before")).toBe(container);
    expect(await cluster.ok("exec", "before", "--", "sh", "-c", "echo $((6*7))")).toBe("42\n");
    expect(daemon()).toBe(process);
    expect(await cluster.ok("get", "nodes")).toMatch(/\sReady\s/);
    const status = await cluster.wherry(["status", "--name", cluster.name, "-o", "json"]);
    const { containerd } = JSON.parse(status.stdout) as { containerd: { pid: number } };
    expect(containerd.pid).toBeGreaterThan(0);
  });

  test("down while it is dead stops its pods all the same", async () => {
    await crash();
    const down = await cluster.down();
    expect(down.code, down.stderr).toBe(0);
    const up = await cluster.up();
    expect(up.code, up.stderr).toBe(0);
    await ready("before");
    // Another container than the one that ran until then.
    expect(await containerOf("before")).toMatch(/ 1$/);
  });
});
