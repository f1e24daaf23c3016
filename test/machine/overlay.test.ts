/** A machine in another subnet, behind a router, joins: its pods are reached through a tunnel, and nothing of that stays behind. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { fetchText } from "./load.ts";
import { type Outcome, run, wherryProgram } from "./programs.ts";
import { describeWith } from "./requirements.ts";

const cluster = new TestCluster("overlay-t");
const far = "overlay-t-far";
const router = "overlay-t-router";
const farAddress = "10.78.1.2";
const ip = (...words: string[]): string => execFileSync("ip", words, { encoding: "utf8" });

/** This machine, 10.78.2.2, a router, 10.78.1.2, the other machine. */
function layCables(): void {
  for (const namespace of [router, far]) {
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
  }
  const cable = (from: string[], name: string, to: string, other: string): void => {
    ip(...from, "link", "add", name, "type", "veth", "peer", "name", other, "netns", to);
  };
  const give = (where: string[], address: string, device: string): void => {
    ip(...where, "addr", "add", address, "dev", device);
    ip(...where, "link", "set", device, "up");
  };
  cable([], "overlay-t", router, "near");
  cable(["-n", router], "far", far, "eth0");
  give([], "10.78.2.2/24", "overlay-t");
  give(["-n", router], "10.78.2.1/24", "near");
  give(["-n", router], "10.78.1.1/24", "far");
  give(["-n", far], `${farAddress}/24`, "eth0");
  execFileSync("ip", ["netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  ip("-n", router, "route", "add", "default", "via", "10.78.2.2");
  ip("-n", far, "route", "add", "default", "via", "10.78.1.1");
  ip("route", "add", "10.78.1.0/24", "via", "10.78.2.1");
}
function takeCables(): void {
  for (const namespace of [far, router]) {
    if (ip("netns", "list").includes(namespace)) ip("netns", "del", namespace);
  }
}

/** As on the other machine: its network, a host name of its own. */
function there(...words: string[]): Promise<Outcome> {
  const inside = [`--net=/run/netns/${far}`, "unshare", "--uts", "sh", "-c"];
  const script = 'hostname "$0"; exec "$@"';
  const program = [process.execPath, wherryProgram];
  return run("nsenter", [...inside, script, far, ...program, ...words], { timeoutMs: 100_000 });
}

const pods = `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: web, image: "story:1", ports: [{ containerPort: 8080 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80, targetPort: 8080, nodePort: 30678 }] }
`;

describeWith(["root", "containerd", "runc", "cni", "nft"], "two subnets", () => {
  beforeAll(async () => {
    layCables();
    await cluster.start();
    const made = await cluster.wherry(["token", "create", "--name", cluster.name]);
    const server = /--server (\S+)/.exec(made.stderr)?.[1] ?? "";
    const token = ["--server", server, "--token", made.stdout.trim()];
    const joined = await there("join", "--name", far, ...token);
    expect(joined.code, `${joined.stdout}${joined.stderr}`).toBe(0);
    for (const name of [cluster.name, far]) {
      const words = ["image", "build", "docs/story/app", "-t", "story:1", "--name", name];
      const built = await cluster.wherry(words);
      expect(built.code, built.stderr).toBe(0);
    }
    await cluster.apply(pods);
    await cluster.ok("rollout", "status", "daemonset/web", "--timeout=60s");
  }, 240_000);
  afterAll(async () => {
    await cluster.wherry(["down", "--name", far, "--purge"]);
    await cluster.purge();
    takeCables();
  }, 180_000);

  test("pods, Services, names, logs and exec work across the router", async () => {
    const nameOn = (node: string): Promise<string> =>
      cluster.ok(
        "get",
        "pods",
        "--field-selector",
        `spec.nodeName=${node}`,
        "-o",
        "jsonpath={.items[0].metadata.name}",
      );
    const [here, away] = [await nameOn(hostname().toLowerCase()), await nameOn(far)];
    const address = (pod: string): Promise<string> =>
      cluster.ok("get", "pod", pod, "-o", "jsonpath={.status.podIP}");
    for (const [from, to] of [
      [here, away],
      [away, here],
    ] as const) {
      const ask = ["exec", from, "--", "node", "server.js", "ask"];
      expect(await cluster.ok(...ask, `http://${await address(to)}:8080/`)).toContain(to);
      expect(await cluster.ok(...ask, "http://web/")).toMatch(/Hello from web-/);
    }
    expect(await cluster.ok("logs", away)).toContain("listens on 8080");
    // From this machine itself, by address, cluster IP and node port: answers come back by the tunnel.
    expect(await fetchText(`http://${await address(away)}:8080/`)).toContain(away);
    const clusterIp = await cluster.ok("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
    for (const url of [`http://${clusterIp}/`, `http://${farAddress}:30678/`]) {
      const answers = new Set<string>();
      for (let asked = 0; asked < 40 && answers.size < 2; asked++)
        answers.add(await fetchText(url));
      expect(answers.size, url).toBe(2);
    }
    // Too large for one packet: its size is found out, not guessed.
    const much = `require("http").createServer((q,r)=>r.end("x".repeat(1e6))).listen(9090)`;
    const server = cluster.background("exec", away, "--", "node", "-e", much);
    const count = `fetch("http://${await address(away)}:9090/").then(r=>r.text()).then(t=>console.log(t.length)).catch(e=>{console.log(e.message);process.exit(1)})`;
    await expect
      .poll(async () => (await cluster.kubectl(["exec", here, "--", "node", "-e", count])).stdout, {
        timeout: 20_000,
        interval: 500,
      })
      .toBe("1000000\n");
    await server.stop("SIGKILL");
  });

  test("the tunnel goes with the cluster", async () => {
    const registry = JSON.parse(readFileSync("/var/lib/wherry/clusters.json", "utf8")) as {
      name: string;
      index: number;
    }[];
    const index = registry.find(({ name }) => name === cluster.name)?.index ?? -1;
    expect(ip("link", "show", "type", "vxlan")).toContain(`whx${160 + index}`);
    const down = await cluster.wherry(["down", "--name", far, "--purge"]);
    expect(down.stdout).toContain(`kubectl delete node ${far}`);
    expect(ip("-n", far, "link", "show", "type", "vxlan")).toBe("");
    await cluster.ok("delete", "node", far);
    await cluster.purge();
    expect(ip("link", "show", "type", "vxlan")).not.toContain(`whx${160 + index}`);
  }, 120_000);
});
