/** What nodes and pods use, on real containers under real load: `kubectl top`, the kubelet's endpoints, and who may see them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const mebibyte = 2 ** 20;
/** One works as hard as it may, one holds memory, beside it one that sleeps. */
const pods = `
apiVersion: v1
kind: Pod
metadata: { name: busy, labels: { app: load } }
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: spin
      image: tools:1
      command: [sh, -c, "while :; do :; done"]
      resources: { limits: { cpu: 300m, memory: 64Mi } }
---
apiVersion: v1
kind: Pod
metadata: { name: holder, labels: { app: load } }
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{ name: held, emptyDir: { medium: Memory } }, { name: disk, emptyDir: {} }]
  containers:
    - name: hold
      image: tools:1
      command: [sh, -c, "head -c 40000000 /dev/zero > /held/data; head -c 3000000 /dev/zero > /disk/data; echo held; sleep 9999"]
      volumeMounts: [{ name: held, mountPath: /held }, { name: disk, mountPath: /disk }]
      readinessProbe: { exec: { command: [test, -s, /disk/data] }, periodSeconds: 1 }
    - { name: beside, image: "tools:1", command: [sleep, "9999"] }
`;

interface Row {
  readonly name: string;
  readonly cpuMilli: number;
  readonly memoryMebi: number;
}
/** NAME CPU(cores) [CPU(%)] MEMORY(bytes) [MEMORY(%)] */
const rowsOf = (text: string): Row[] =>
  text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => {
      const cells = line.trim().split(/\s+/);
      const figure = (unit: string): number =>
        Number(cells.find((cell) => new RegExp(`^\\d+${unit}$`).test(cell))?.replace(unit, ""));
      return { name: cells[0] ?? "", cpuMilli: figure("m"), memoryMebi: figure("Mi") };
    });

describeWith(["root", "containerd", "runc", "cni", "nft", "busybox"], "metrics", () => {
  const cluster = new TestCluster("metrics");
  const node = async (): Promise<string> =>
    (await cluster.ok("get", "nodes", "-o", "name")).trim().replace("node/", "");
  /** Asks until it is true: what was read before the load began says nothing of it. */
  const untilTop = async (isTrue: (rows: Row[]) => boolean): Promise<Row[]> => {
    for (let tries = 0; ; tries++) {
      const rows = rowsOf(await cluster.ok("top", "pods"));
      if (isTrue(rows) || tries >= 90) return rows;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };

  beforeAll(async () => {
    await cluster.start();
    await cluster.buildTools();
    await cluster.apply(pods);
    await cluster.ok("wait", "pod/busy", "pod/holder", "--for=condition=Ready", "--timeout=120s");
  }, 240_000);
  afterAll(() => cluster.purge(), 180_000);

  test("the first question is answered at once: what the node uses", async () => {
    const text = await cluster.ok("top", "node");
    expect(text).toMatch(/^NAME +CPU\(cores\) +CPU\(%\) +MEMORY\(bytes\) +MEMORY\(%\)/);
    const [row, ...others] = rowsOf(text);
    expect(others).toEqual([]);
    expect(row?.name).toBe(await node());
    expect(row?.cpuMilli).toBeGreaterThan(0);
    expect(row?.memoryMebi).toBeGreaterThan(100);
    const ours = await cluster.wherry(["kubectl", "--context", cluster.context, "top", "node"]);
    expect(ours.stderr).toBe("");
    expect(rowsOf(ours.stdout)[0]?.name).toBe(row?.name);
  }, 60_000);

  test("pods by what they use, with their containers, and in sum", async () => {
    const rows = await untilTop(([one]) => (one?.cpuMilli ?? 0) >= 20);
    expect(rows.map(({ name }) => name)).toEqual(["busy", "holder"]);
    const [busy, holder] = rows;
    expect(busy?.cpuMilli).toBeGreaterThanOrEqual(20);
    expect(busy?.cpuMilli).toBeLessThanOrEqual(330);
    expect(holder?.cpuMilli).toBeLessThan(busy?.cpuMilli ?? 0);
    expect(holder?.memoryMebi).toBeGreaterThanOrEqual(38);
    const containers = await cluster.ok("top", "pod", "holder", "--containers");
    expect(containers).toMatch(/^POD +NAME +CPU\(cores\) +MEMORY\(bytes\)/);
    expect(containers).toMatch(/^holder +beside +\d+m +\d+Mi/m);
    expect(containers).toMatch(/^holder +hold +\d+m +(3[89]|4\d)Mi/m);
    const byMemory = rowsOf(await cluster.ok("top", "pods", "-A", "--sort-by=memory", "--sum"));
    expect(byMemory.map(({ name }) => name).slice(0, 2)).toEqual(["default", "default"]);
    expect(await cluster.ok("top", "pods", "-l", "app=none")).not.toContain("busy");
    const table = await cluster.ok("get", "pods.metrics.k8s.io");
    expect(table).toMatch(/^NAME +CPU +MEMORY +WINDOW/);
    expect(table).toMatch(/^busy +\d+[mun] +\d+Ki +[\d.]+s/m);
  }, 180_000);

  test("the kubelet's summary: CPU, memory, disks, volumes, network", async () => {
    const path = `/api/v1/nodes/${await node()}/proxy`;
    const text = await cluster.ok("get", "--raw", `${path}/stats/summary`);
    const summary = JSON.parse(text) as {
      node: Record<string, Record<string, number>>;
      pods: {
        podRef: { name: string };
        containers: Record<string, Record<string, number>>[];
        cpu: { usageCoreNanoSeconds: number };
        memory: { workingSetBytes: number };
        network: { name: string; rxBytes: number; txBytes: number };
        volume: { name: string; usedBytes: number }[];
        "ephemeral-storage": { usedBytes: number };
        process_stats: { process_count: number };
      }[];
    };
    expect(summary.node["memory"]?.["workingSetBytes"]).toBeGreaterThan(100 * mebibyte);
    expect(summary.node["fs"]?.["capacityBytes"]).toBeGreaterThan(1000 * mebibyte);
    expect(summary.node["rlimit"]?.["curproc"]).toBeGreaterThan(1);
    const holder = summary.pods.find(({ podRef }) => podRef.name === "holder");
    expect(holder?.containers.map(({ name }) => name)).toEqual(["beside", "hold"]);
    expect(holder?.memory.workingSetBytes).toBeGreaterThan(38 * mebibyte);
    expect(holder?.cpu.usageCoreNanoSeconds).toBeGreaterThan(0);
    expect(holder?.network.name).toBe("eth0");
    const sizes = new Map(holder?.volume.map((one) => [one.name, one.usedBytes] as const));
    expect(sizes.get("held")).toBeGreaterThanOrEqual(40_000_000);
    expect(sizes.get("disk")).toBeGreaterThanOrEqual(3_000_000);
    expect(holder?.["ephemeral-storage"].usedBytes).toBeGreaterThanOrEqual(3_000_000);
    expect(holder?.["ephemeral-storage"].usedBytes).toBeLessThan(30_000_000);
    expect(holder?.process_stats.process_count).toBeGreaterThanOrEqual(3);
    const metrics = await cluster.ok("get", "--raw", `${path}/metrics/resource`);
    expect(metrics).toMatch(
      /^container_memory_working_set_bytes\{container="hold",namespace="default",pod="holder"\} \d+ \d{13}$/m,
    );
  }, 60_000);

  test("a viewer of a namespace may see what its pods use, nobody without a role", async () => {
    await cluster.ok("create", "rolebinding", "sees", "--clusterrole=view", "--user=ann");
    expect(await cluster.ok("top", "pods", "--as=ann")).toContain("busy");
    expect(await cluster.refused("top", "nodes", "--as=ann")).toContain(
      'nodes.metrics.k8s.io is forbidden: User "ann" cannot list resource "nodes" in API group "metrics.k8s.io" at the cluster scope',
    );
    expect(await cluster.refused("top", "pods", "--as=bob")).toContain("forbidden");
  }, 60_000);
});
