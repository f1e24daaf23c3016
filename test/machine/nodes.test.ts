/** Several real nodes, each in a network namespace with a containerd of its own: joined, spread over, cut off, back, and gone. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as nextLook } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { cgroupsOf, leftoversOf, processesOf } from "./leftovers.ts";

const cluster = new TestCluster("nodes-t", ["--nodes", "3"]);
const nodes = ["nodes-t-node-2", "nodes-t-node-3"];
/** Where the data really lie: the cluster is given a link, as where a larger disk has been added. */
const disk = join(cluster.folder, "disk");

const program = `
require("http").createServer((q, r) => r.end(require("os").hostname() + "\\n")).listen(8080);
process.on("SIGTERM", () => process.exit(0));
`;
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
        - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
        - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: { matchLabels: { app: web } }
      containers: [{ name: web, image: "nodes-web:1", imagePullPolicy: Never }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
`;
const get = (url: string): string =>
  `require("http").get("${url}",{agent:false,timeout:5000},r=>r.pipe(process.stdout)).on("error",e=>{console.log(e.message);process.exit(1)})`;

interface PodShown {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
}
async function pods(): Promise<PodShown[]> {
  const path =
    '{range .items[?(@.status.phase=="Running")]}{.metadata.name} {.spec.nodeName} {.status.podIP}{"\\n"}{end}';
  const text = await cluster.ok("get", "pods", "-l", "app=web", "-o", `jsonpath=${path}`);
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [name = "", node = "", ip = ""] = line.split(" ");
      return { name, node, ip };
    });
}
const ip = (...words: string[]): string => execFileSync("ip", words, { encoding: "utf8" });

beforeAll(async () => {
  mkdirSync(disk);
  symlinkSync(disk, cluster.dataDirectory);
  await cluster.start("--timeout", "120s");
  const folder = join(cluster.folder, "image");
  mkdirSync(folder);
  writeFileSync(join(folder, "server.js"), program);
  const args = ["image", "build", folder, "-t", "nodes-web:1", "--name", cluster.name];
  const built = await cluster.wherry([...args, "--", "node", "server.js"]);
  expect(built.code, built.stderr).toBe(0);
  await cluster.apply(web);
  await cluster.ok("rollout", "status", "deployment/web", "--timeout=60s");
}, 240_000);
afterAll(() => cluster.purge(), 120_000);

test("three nodes are Ready, and status shows them all", async () => {
  const text = await cluster.ok("get", "nodes", "-o", "name");
  for (const node of nodes) expect(text).toContain(`node/${node}`);
  const status = await cluster.wherry(["status", "--name", cluster.name]);
  expect(status.stdout).toMatch(/nodes-t-node-2 +Ready/);
  expect(status.stdout).toMatch(/nodes-t-node-3 +Ready/);
  const [node = ""] = nodes;
  const own = await cluster.wherry(["status", "--name", node]);
  expect(own.stdout).toMatch(/^Node +nodes-t-node-2, ready/);
  const up = await cluster.wherry(["up", "--name", node]);
  expect(up.code).toBe(2);
  expect(up.stderr).toContain("wherry join --name nodes-t-node-2 starts it");
});

test("pods are spread, and reach each other, the Service and its name from everywhere", async () => {
  const running = await pods();
  expect(new Set(running.map(({ node }) => node)).size).toBe(3);
  for (const from of running) {
    for (const to of running) {
      const said = await cluster.ok(
        "exec",
        from.name,
        "--",
        "node",
        "-e",
        get(`http://${to.ip}:8080`),
      );
      expect(said.trim()).toBe(to.name);
    }
    const said = await cluster.ok("exec", from.name, "--", "node", "-e", get("http://web"));
    expect(running.map(({ name }) => name)).toContain(said.trim());
    expect(await cluster.ok("logs", from.name)).toBe("");
  }
  const path = '{.items[*].status.addresses[?(@.type=="InternalIP")].address}';
  const addresses = (await cluster.ok("get", "nodes", "-o", `jsonpath=${path}`)).split(" ");
  const port = await cluster.ok(
    "get",
    "service",
    "web",
    "-o",
    "jsonpath={.spec.ports[0].nodePort}",
  );
  for (const address of addresses) {
    const answer = await fetch(`http://${address}:${port}`);
    expect(running.map(({ name }) => name)).toContain((await answer.text()).trim());
  }
});

test("every node answers for an Ingress, though one of them carries it", async () => {
  await cluster.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web }
spec: { defaultBackend: { service: { name: web, port: { number: 80 } } } }
`);
  const path = '{.items[*].status.addresses[?(@.type=="InternalIP")].address}';
  const addresses = (await cluster.ok("get", "nodes", "-o", `jsonpath=${path}`)).split(" ");
  const listed = async (): Promise<string[]> =>
    (
      await cluster.ok(
        "get",
        "ingress",
        "web",
        "-o",
        "jsonpath={.status.loadBalancer.ingress[*].ip}",
      )
    ).split(" ");
  await expect
    .poll(async () => (await listed()).toSorted(), { timeout: 60_000 })
    .toEqual(addresses.toSorted());
  const names = (await pods()).map(({ name }) => name);
  const from = (namespace: string, url: string): string => {
    const words = ["netns", "exec", namespace, process.execPath, "-e", get(url)];
    try {
      return execFileSync("ip", words, { encoding: "utf8" }).trim();
    } catch (error) {
      return String(error);
    }
  };
  for (const index of [2, 3]) {
    const namespace = `wherry-nodes-t-${index}`;
    await expect
      .poll(() => from(namespace, "http://127.0.0.1/"), { timeout: 15_000 })
      .toMatch(/^web-/);
    for (const address of addresses.filter((one) => one !== addresses[0]))
      expect(names).toContain(from(namespace, `http://${address}/`));
  }
  await cluster.ok("delete", "ingress", "web");
  await cluster.ok(
    "wait",
    "--for=delete",
    "service/wherry-ingress",
    "-n",
    "kube-system",
    "--timeout=30s",
  );
}, 120_000);

test("a node has its certificates by request, and only the rights of a node", async () => {
  const requests = await cluster.ok("get", "csr", "--no-headers");
  expect(requests.match(/Approved,Issued/g)?.length).toBeGreaterThanOrEqual(4);
  const as = ["--as", `system:node:${nodes[0]}`, "--as-group", "system:nodes"];
  expect(await cluster.refused("get", "secrets", "-A", ...as)).toContain("Forbidden");
  expect(await cluster.refused("label", "node", nodes[1] ?? "", "a=b", ...as)).toContain(
    `is not allowed to modify node "${nodes[1]}"`,
  );
});

test("cordon keeps new pods away", async () => {
  const [first = ""] = nodes;
  await cluster.ok("cordon", first);
  await cluster.ok("scale", "deployment/web", "--replicas=6");
  await cluster.ok("rollout", "status", "deployment/web", "--timeout=60s");
  expect((await pods()).filter(({ node }) => node === first)).toHaveLength(1);
  await cluster.ok("uncordon", first);
});

test("a node that is cut off loses its pods to the others; it comes back clean", async () => {
  const namespace = "wherry-nodes-t-2";
  const [lost = ""] = nodes;
  ip("-n", namespace, "link", "set", "eth0", "down");
  await cluster.until(`node/${lost}`, '.status.conditions[?(@.type=="Ready")].status', /Unknown/);
  const there = ["-l", "app=web", "--field-selector", `spec.nodeName=${lost}`];
  const ending = "--for=jsonpath={.metadata.deletionTimestamp}";
  await cluster.ok("wait", ending, "pod", ...there, "--timeout=60s");
  await cluster.ok(
    "wait",
    "--for=jsonpath={.status.availableReplicas}=6",
    "deployment/web",
    "--timeout=60s",
  );
  expect((await pods()).filter(({ node }) => node !== lost).length).toBeGreaterThanOrEqual(6);
  const others = (await pods()).filter(({ node }) => node !== lost);
  const said = await cluster.ok(
    "exec",
    others[0]?.name ?? "",
    "--",
    "node",
    "-e",
    get("http://web"),
  );
  expect(others.map(({ name }) => name)).toContain(said.trim());
  ip("-n", namespace, "link", "set", "eth0", "up");
  ip(
    "-n",
    namespace,
    "route",
    "replace",
    "default",
    "via",
    ip("-n", namespace, "-j", "addr", "show", "eth0").match(/172\.29\.\d+/)?.[0] + ".1",
  );
  await cluster.ok("wait", "--for=condition=Ready", `node/${lost}`, "--timeout=60s");
  await cluster.ok(
    "wait",
    "--for=delete",
    "pod",
    "-l",
    "app=web",
    "--field-selector",
    `spec.nodeName=${lost}`,
    "--timeout=60s",
  );
}, 240_000);

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // It ended by itself meanwhile.
    if ((error as { code?: string }).code !== "ESRCH") throw error;
  }
}

test("nothing is left after the purge, though every process of it was killed before", async () => {
  const registry = "/var/lib/wherry/clusters.json";
  const mine = (JSON.parse(readFileSync(registry, "utf8")) as { name: string; index: number }[])
    .filter(({ name }) => name.startsWith(cluster.name))
    .map(({ index }) => index);
  expect(mine).toHaveLength(3);
  expect(processesOf(cluster.name)).not.toEqual([]);
  expect(cgroupsOf(cluster.name)).not.toEqual([]);
  const uids = await cluster.podUids();
  for (;;) {
    // What one was just starting is found by the next look.
    const pids = processesOf(cluster.name).map((line) => Number.parseInt(line, 10));
    if (pids.length === 0) break;
    for (const pid of pids) kill(pid);
    await nextLook();
  }
  expect(leftoversOf(cluster.name, uids)).not.toEqual([]);
  await cluster.purge();
  expect(leftoversOf(cluster.name, uids)).toEqual([]);
  const interfaces = mine.map((index) => new RegExp(`^(wherry${index}|wh${index}n\\d+)$`));
  const left = readdirSync("/sys/class/net").filter((name) =>
    interfaces.some((pattern) => pattern.test(name)),
  );
  expect(left).toEqual([]);
  for (const index of mine)
    expect(ip("route", "show", "table", "all", "proto", String(160 + index))).toBe("");
  expect(existsSync(disk)).toBe(false);
  expect(readFileSync(registry, "utf8")).not.toContain(`"${cluster.name}`);
}, 120_000);
