/** Workloads on real containers: StatefulSets, DaemonSets, Jobs, CronJobs, init containers and sidecars, hooks; and what is refused. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const shell = (script: string): string => JSON.stringify(["sh", "-c", script]);
const stays = shell('trap "exit 0" TERM; while true; do sleep 1; done');

const statefulSet = (more = "") => `
apiVersion: v1
kind: Service
metadata: { name: db }
spec: { clusterIP: None, selector: { app: db }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  serviceName: db
  replicas: 2
  ${more}
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: tools:1
          command: ${shell('hostname >> /data/names; trap "exit 0" TERM; while true; do sleep 1; done')}
          volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 10Mi } } }
`;
const job = (name: string, spec: string, script: string) => `
apiVersion: batch/v1
kind: Job
metadata: { name: ${name} }
spec:
  ${spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{ name: main, image: tools:1, command: ${shell(script)} }]
`;

describeWith(["root", "containerd", "runc", "cni", "nft"], "workloads", () => {
  const cluster = new TestCluster("workloads");
  beforeAll(async () => {
    await cluster.start();
    await cluster.buildTools();
    // Its minute passes while the others are tested.
    const tick = ["create", "cronjob", "minutely", "--image=tools:1", "--schedule=* * * * *"];
    await cluster.ok(...tick, "--", "echo", "tick");
  }, 120_000);
  afterAll(() => cluster.purge(), 120_000);

  const read = async (what: string, path: string): Promise<string> =>
    (await cluster.ok("get", ...what.split(" "), "-o", `jsonpath=${path}`)).trim();
  const refusedManifest = async (manifest: string): Promise<string> => {
    const { code, stderr } = await cluster.kubectl(["apply", "-f", "-"], { input: manifest });
    expect(code, stderr).not.toBe(0);
    return stderr;
  };

  test("StatefulSet: in order, names and data stay, a partition holds back", async () => {
    await cluster.apply(statefulSet());
    await cluster.ok("rollout", "status", "statefulset/db", "--timeout=60s");
    const [first = "", second = ""] = (
      await read("pods -l app=db", "{.items[*].status.startTime}")
    ).split(" ");
    expect(first <= second).toBe(true);
    await cluster.ok("delete", "pod", "db-1");
    await cluster.ok("rollout", "status", "statefulset/db", "--timeout=60s");
    const names = () => cluster.ok("exec", "db-1", "--", "cat", "/data/names");
    await expect.poll(() => names().catch(String), { timeout: 20_000 }).toBe("db-1\ndb-1\n");
    expect(await read("pvc", "{.items[*].metadata.name}")).toBe("data-db-0 data-db-1");
    const partition = { spec: { updateStrategy: { rollingUpdate: { partition: 1 } } } };
    await cluster.ok("patch", "statefulset", "db", "-p", JSON.stringify(partition));
    await cluster.ok("set", "env", "statefulset/db", "VERSION=2");
    await cluster.ok("rollout", "status", "statefulset/db", "--timeout=60s");
    const version = (pod: string) => read(`pod ${pod}`, "{.spec.containers[0].env[0].value}");
    expect([await version("db-0"), await version("db-1")]).toEqual(["", "2"]);
    const changed = await refusedManifest(statefulSet("podManagementPolicy: Parallel"));
    expect(changed).toContain(
      'spec.podManagementPolicy: Invalid value: "Parallel": field is immutable',
    );
    await cluster.ok("delete", "statefulset/db", "service/db");
    await cluster.ok("delete", "pvc", "--all");
  }, 180_000);

  test("DaemonSet: one on each node, rolled in place; a selector that does not fit is refused", async () => {
    const set = (label: string) => `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent }
spec:
  selector: { matchLabels: { app: agent } }
  template:
    metadata: { labels: { app: ${label} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: main, image: tools:1, command: ${stays} }]
`;
    expect(await refusedManifest(set("other"))).toContain(
      "`selector` does not match template `labels`",
    );
    await cluster.apply(set("agent"));
    await cluster.ok("rollout", "status", "daemonset/agent", "--timeout=60s");
    expect(await read("daemonset agent", "{.status.numberReady}")).toBe("1");
    const before = await read("pods -l app=agent", "{.items[*].metadata.name}");
    await cluster.ok("set", "env", "daemonset/agent", "VERSION=2");
    await cluster.ok("rollout", "status", "daemonset/agent", "--timeout=60s");
    const pod = "{.items[0].metadata.name} {.items[0].spec.containers[0].env[0].value}";
    const [after, version] = (await read("pods -l app=agent", pod)).split(" ");
    expect([after === before, version]).toEqual([false, "2"]);
    expect(await cluster.ok("rollout", "history", "daemonset/agent")).toMatch(/^1 [^]*^2 /m);
    await cluster.ok("rollout", "undo", "daemonset/agent");
    await cluster.ok("rollout", "status", "daemonset/agent", "--timeout=60s");
    const undone = "{.items[0].spec.containers[0].env}";
    expect(await read("pods -l app=agent", undone)).toBe("");
    await cluster.ok("delete", "daemonset", "agent");
  }, 90_000);

  test("Job: indexes, a limit of failures, a time to live", async () => {
    const indexed = "completionMode: Indexed\n  completions: 3\n  parallelism: 2";
    await cluster.apply(job("indexed", indexed, "echo index $JOB_COMPLETION_INDEX"));
    await cluster.ok("wait", "job/indexed", "--for=condition=Complete", "--timeout=90s");
    expect(await read("job indexed", "{.status.succeeded} {.status.completedIndexes}")).toBe(
      "3 0-2",
    );
    const logs = await cluster.ok("logs", "-l", "job-name=indexed");
    expect(logs.trim().split("\n").toSorted()).toEqual(["index 0", "index 1", "index 2"]);
    await cluster.apply(job("failing", "backoffLimit: 0", "exit 3"));
    await cluster.ok("wait", "job/failing", "--for=condition=Failed", "--timeout=60s");
    expect(await read("job failing", '{.status.conditions[?(@.type=="Failed")].reason}')).toBe(
      "BackoffLimitExceeded",
    );
    await cluster.apply(job("short", "ttlSecondsAfterFinished: 0", "true"));
    await cluster.ok("wait", "job/short", "--for=delete", "--timeout=60s");
    expect(
      await refusedManifest(job("bad", "completionMode: Indexed\n  parallelism: 1", "true")),
    ).toContain("spec.completions: Required value: when completion mode is Indexed");
  }, 180_000);

  test("CronJob: a run by hand, suspended, and a schedule that is none", async () => {
    const made = ["create", "cronjob", "nightly", "--image=tools:1"];
    expect(await cluster.refused(...made, "--schedule=never")).toContain(
      'spec.schedule: Invalid value: "never"',
    );
    await cluster.ok(...made, "--schedule=0 3 * * *", "--", "echo", "done");
    await cluster.ok("patch", "cronjob", "nightly", "-p", '{"spec":{"suspend":true}}');
    expect(await cluster.ok("get", "cronjob", "nightly")).toMatch(/0 3 \* \* \*\s+<none>\s+True/);
    await cluster.ok("create", "job", "tonight", "--from=cronjob/nightly");
    await cluster.ok("wait", "job/tonight", "--for=condition=Complete", "--timeout=60s");
    expect(await cluster.ok("logs", "job/tonight")).toBe("done\n");
  }, 90_000);

  test("init containers in turn, a sidecar beside, hooks before the end", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: parts }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  volumes: [{ name: shared, emptyDir: {} }]
  initContainers:
    - { name: first, image: tools:1, command: ${shell("echo first > /s/log")}, volumeMounts: [{ name: shared, mountPath: /s }] }
    - name: beside
      image: tools:1
      restartPolicy: Always
      command: ${stays}
      startupProbe: { exec: { command: [cat, /s/log] }, periodSeconds: 1 }
      volumeMounts: [{ name: shared, mountPath: /s }]
  containers:
    - name: main
      image: tools:1
      command: ${shell("while [ ! -e /s/started ]; do sleep 0.1; done; cat /s/log; echo main >> /s/log; cat /s/log")}
      lifecycle: { postStart: { exec: { command: ${shell("echo hook >> /s/log; touch /s/started")} } } }
      volumeMounts: [{ name: shared, mountPath: /s }]
`);
    await cluster.until("pod/parts", ".status.phase", /Succeeded/);
    expect(await cluster.ok("logs", "parts", "-c", "main")).toBe(
      "first\nhook\nfirst\nhook\nmain\n",
    );
    const hook = { exec: {}, httpGet: { port: 80 } };
    const bad = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "bad" },
      spec: { containers: [{ name: "main", image: "tools:1", lifecycle: { preStop: hook } }] },
    };
    expect(await refusedManifest(JSON.stringify(bad))).toContain(
      "may not specify more than 1 handler type",
    );
  }, 90_000);

  test("preStop comes before the signal; the pod ends when both are done", async () => {
    const folder = join(cluster.folder, "hooks");
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: leaves }
spec:
  terminationGracePeriodSeconds: 30
  volumes: [{ name: seen, hostPath: { path: "${folder}", type: DirectoryOrCreate } }]
  containers:
    - name: main
      image: tools:1
      command: ${shell('trap "echo signal >> /s/log; exit 0" TERM; touch /s/log; while true; do sleep 0.1; done')}
      readinessProbe: { exec: { command: [cat, /s/log] }, periodSeconds: 1 }
      lifecycle: { preStop: { exec: { command: ${shell("echo hook >> /s/log; sleep 1; echo done >> /s/log")} } } }
      volumeMounts: [{ name: seen, mountPath: /s }]
`);
    await cluster.ok("wait", "pod/leaves", "--for=condition=Ready", "--timeout=60s");
    await cluster.ok("delete", "pod", "leaves", "--timeout=60s");
    expect(readFileSync(join(folder, "log"), "utf8")).toBe("hook\ndone\nsignal\n");
  }, 90_000);

  test("CronJob: its schedule starts Jobs that it owns", async () => {
    await cluster.until("cronjob/minutely", ".status.lastSuccessfulTime", /\d/);
    const owned = '{.items[?(@.metadata.ownerReferences[0].name=="minutely")].metadata.name}';
    const [first = ""] = (await read("jobs", owned)).split(" ");
    expect(first).toMatch(/^minutely-\d+$/);
    expect(await cluster.ok("logs", `job/${first}`)).toBe("tick\n");
    await cluster.ok("delete", "cronjob", "minutely");
    await cluster.ok("wait", `job/${first}`, "--for=delete", "--timeout=60s");
  }, 150_000);
});
