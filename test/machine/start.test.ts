/** `wherry up` as a user meets it: an empty machine, a second cluster beside the first, misuse, and nothing left behind. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import type { Log } from "#ports/log.ts";
import { TestCluster } from "./cluster.ts";
import { run, wherryProgram } from "./programs.ts";
import { describeWith } from "./requirements.ts";

const text = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26 });

/** Everything that a cluster may leave on a machine, by its name or its data's folder. */
function leftBy(cluster: TestCluster): Record<string, string[]> {
  const names = (list: string): string[] =>
    list
      .split("\n")
      .filter((line) => line.includes(cluster.folder) || line.includes(`wherry-${cluster.name}`));
  const cgroups = existsSync("/sys/fs/cgroup/cpu")
    ? readdirSync("/sys/fs/cgroup/cpu")
    : readdirSync("/sys/fs/cgroup");
  return {
    processes: names(text("ps", "-eo", "pid=,args=")).filter((line) => !line.includes("vitest")),
    mounts: names(readFileSync("/proc/self/mountinfo", "utf8")),
    tables: names(text("nft", "list", "tables")),
    cgroups: cgroups.filter((name) => name === `wherry-${cluster.name}`),
    run: existsSync(`/run/wherry/${cluster.name}`) ? [`/run/wherry/${cluster.name}`] : [],
    data: existsSync(cluster.dataDirectory) ? [cluster.dataDirectory] : [],
  };
}
const nothing = { processes: [], mounts: [], tables: [], cgroups: [], run: [], data: [] };

describeWith(["root", "containerd", "runc", "cni", "nft"], "wherry up", () => {
  const one = new TestCluster("one");
  const two = new TestCluster("two");
  afterAll(async () => {
    for (const cluster of [one, two]) {
      await cluster.down("--purge");
      rmSync(cluster.folder, { recursive: true, force: true });
    }
  });

  test("an empty data directory: ready, the context is set, one node", async () => {
    const outcome = await one.up();
    expect(outcome.stderr).toBe("");
    expect(outcome.stdout).toMatch(
      /Cluster one is ready after \d+\.\d s: https:\/\/127\.0\.0\.1:\d+/,
    );
    expect(await one.ok("config", "current-context")).toBe("wherry-one\n");
    expect(await one.ok("get", "nodes")).toMatch(
      /^NAME .*\n\S+\s+Ready\s+<none>\s+\S+\s+v1\.37\.2\n$/,
    );
    expect(await one.ok("get", "namespaces", "-o", "name")).toBe(
      "namespace/default\nnamespace/kube-node-lease\nnamespace/kube-public\nnamespace/kube-system\n",
    );
    expect(await one.ok("get", "priorityclasses", "-o", "name")).toContain("system-node-critical");
    expect(
      await one.ok("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data}"),
    ).toContain("BEGIN CERTIFICATE");
    expect(
      await one.ok("get", "endpointslices", "kubernetes", "-o", "jsonpath={.ports[0].port}"),
    ).toMatch(/^\d+$/);
    expect(await one.ok("get", "--raw", "/readyz?verbose")).toContain("readyz check passed");
  });

  test("up again returns at once and starts nothing", async () => {
    const outcome = await one.up();
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toContain("Cluster one is running");
  });

  test("status says what runs, for people and for programs", async () => {
    const shown = await one.wherry(["status", "--name", "one"]);
    expect(shown.code).toBe(0);
    for (const word of ["Cluster    one", "containerd", "Ready", "healthy"]) {
      expect(shown.stdout).toContain(word);
    }
    const json = await one.wherry(["status", "--name", "one", "-o", "json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      name: "one",
      ready: true,
      runtime: "containerd",
    });
  });

  test("a second cluster beside it: its own port, addresses, pods and context", async () => {
    await two.start();
    for (const cluster of [one, two]) {
      await cluster.ok("create", "deployment", "idle", "--image=wherry.invalid/pause:1");
      await cluster.ok("rollout", "status", "deployment/idle", "--timeout=60s");
      const pods = (await cluster.ok("get", "pods", "-A", "-o", "name")).trim().split("\n");
      expect(pods).toHaveLength(1);
    }
    const facts = async (cluster: TestCluster) => [
      await cluster.ok("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"),
      await cluster.ok("get", "pods", "-o", "jsonpath={.items[0].status.podIP}"),
      await cluster.ok(
        "config",
        "view",
        "--minify",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
      ),
    ];
    const [first, second] = [await facts(one), await facts(two)];
    for (const [at, value] of first.entries()) expect(value).not.toBe(second[at]);
  });

  test("down --purge takes what somebody made by hand in its containerd, and one at a time", async () => {
    const third = new TestCluster("third");
    await third.start();
    const socket = `/run/wherry/${third.name}/containerd.sock`;
    const quiet: Log = { write: () => undefined, child: () => quiet };
    const network = systemNetwork(quiet);
    const runtime = containerdRuntime({
      rpc: systemRpc,
      network,
      socket,
      ctr: "ctr",
      imageVolumes: join(third.folder, "image-volumes"),
    });
    await runtime.runSandbox({
      name: "foreign",
      namespace: "somebody",
      uid: "by-hand",
      attempt: 0,
      hostname: "foreign",
      logDirectory: join(third.folder, "logs"),
      labels: {},
      annotations: {},
      cgroupParent: `/wherry-${third.name}/kubepods/besteffort/by-hand`,
      security: { network: "pod", pid: "container", ipc: "pod" },
    });
    runtime.close();
    const both = await Promise.all([third.down("--purge"), third.down("--purge")]);
    const [refused, ...rest] = both.filter(({ code }) => code !== 0);
    expect(rest).toEqual([]);
    if (refused !== undefined)
      expect(refused.stderr).toMatch(
        /Another wherry down \(process \d+\) is taking cluster third down/,
      );
    expect(both.some(({ stdout }) => stdout.includes("Cluster third and its data are gone."))).toBe(
      true,
    );
    expect(leftBy(third)).toEqual(nothing);
    rmSync(third.folder, { recursive: true, force: true });
  });

  test("one goes, the other stays", async () => {
    const down = await two.down("--purge");
    expect(down.code, down.stderr).toBe(0);
    expect(leftBy(two)).toEqual(nothing);
    expect(await one.ok("get", "pods")).toContain("Running");
    const again = await two.down();
    expect(again.stdout).toContain("There is no cluster two");
    expect(again.code).toBe(0);
  });

  test("a port in use is named with the cure, and nothing is left of the attempt", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const outcome = await two.up("--port", String(port));
    server.close();
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain(`port ${port} is in use by another program`);
    expect(outcome.stderr).toContain("--port");
    expect(leftBy(two)).toEqual(nothing);
    expect((await two.wherry(["status", "--name", "two"])).stderr).toContain(
      "There is no cluster two",
    );
  });

  test("no root: a sentence with both ways out", async () => {
    const folder = mkdtempSync(join(tmpdir(), "wh-user-"));
    execFileSync("chown", ["65534:65534", folder]);
    const user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    const env = { HOME: folder, KUBECONFIG: join(folder, "kc") };
    const outcome = await run(
      "setpriv",
      [...user, process.execPath, wherryProgram, "up", "--name", "u"],
      { env },
    );
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("Real containers need root");
    expect(outcome.stderr).toContain("wherry up --runtime simulated");
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  test("no containerd: it is named, with the packages; --no-install installs nothing", async () => {
    // In a mount namespace of its own the machine has no containerd: /dev/null cannot be executed.
    const script = `mount --bind /dev/null "$(command -v containerd)" && exec "$@"`;
    const words = ["-m", "sh", "-c", script, "sh", process.execPath, wherryProgram];
    const outcome = await run("unshare", [
      ...words,
      "up",
      "--name",
      "two",
      "--no-install",
      "--data-dir",
      two.dataDirectory,
    ]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/Real containers need containerd, which this machine lacks/);
    expect(outcome.stderr).toMatch(/install containerd/);
    expect(leftBy(two)).toEqual(nothing);
  });

  test("wrong flags, names and files are explained", async () => {
    const cases: [string[], string][] = [
      [["up", "--nodse", "3"], "Did you mean --nodes?"],
      [["up", "--nodes", "0"], "not a whole number from 1 to"],
      [["up", "--nodes", "900"], "real nodes fit on one machine"],
      [["up", "--runtime", "docker"], "the runtimes are auto, containerd and simulated"],
      [["up", "--name", "Bad_Name"], "a cluster's name has 1 to 32 small letters"],
      [["up", "--name", "three", "--pod-cidr", "10.0.0.0/40"], "not an IPv4 address range"],
      [
        ["up", "--name", "three", "--pod-cidr", "10.96.0.0/16", "--service-cidr", "10.96.0.0/12"],
        "overlap",
      ],
      [["up", "--config", "/no/such/file"], "there is no such file"],
      [["upp"], "Did you mean up?"],
      [["image", "build"], "takes one folder"],
      [["image", "frobnicate"], "say build, load, list, remove or pull"],
    ];
    for (const [words, expected] of cases) {
      const outcome = await one.wherry(words);
      expect(outcome.code, words.join(" ")).toBe(2);
      expect(outcome.stderr, words.join(" ")).toContain(expected);
    }
  });

  test("--config: KubeletConfiguration acts, unknown fields are refused", async () => {
    const file = join(one.folder, "config.yaml");
    const kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    writeFileSync(file, `${kubelet}maxPods: 7\n`);
    await two.start("--config", file);
    expect(await two.ok("get", "nodes", "-o", "jsonpath={.items[0].status.capacity.pods}")).toBe(
      "7",
    );
    await two.down("--purge");
    writeFileSync(file, `${kubelet}maxPodz: 7\n`);
    const outcome = await two.up("--config", file);
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toContain('unknown field "maxPodz"');
  });
});
