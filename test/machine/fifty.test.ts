/** Fifty containers on three real nodes. The same on twenty simulated ones: src/simulation/fifty.test.ts. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { createClient } from "#client/client.ts";
import { type RemoteHandler, remoteHandler } from "#client/remote.ts";
import { readYaml } from "#machinery/yaml.ts";
import { fiftyContainers, type Scene } from "#simulation/workloads/fifty-containers.ts";
import { TestCluster } from "./cluster.ts";
import { fetchText } from "./load.ts";
import { describeWith } from "./requirements.ts";

const stepMsMax = 120_000;
const lookPauseMs = 250;
/** Each keeps one pod busy at a time, so that the machine has time for the rest. */
const customers = 4;

interface Kubeconfig {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly "certificate-authority-data": string };
  }[];
  readonly users: readonly {
    readonly user: {
      readonly "client-certificate-data": string;
      readonly "client-key-data": string;
    };
  }[];
}

/** The cluster's own client, as the administrator of a kubeconfig. */
function connect(kubeconfig: string): RemoteHandler {
  const { clusters, users } = readYaml(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
  const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
  if (cluster === undefined || user === undefined) throw new Error("the kubeconfig is empty");
  const pem = (data: string): string => Buffer.from(data, "base64").toString();
  const { hostname, port } = new URL(cluster.server);
  const identity = {
    chain: pem(user["client-certificate-data"]),
    key: pem(user["client-key-data"]),
  };
  const silent = { write: () => {}, child: () => silent };
  return remoteHandler(
    systemNetwork(silent),
    systemClock,
    { host: hostname, port: Number(port) },
    {
      version: 2,
      timeoutMs: 30_000,
      tls: { roots: pem(cluster["certificate-authority-data"]), identity: () => identity },
    },
  );
}

/** Who ask at one address after the other for what keeps a pod busy; who gets no answer asks again. */
function crowd(addresses: readonly string[], port: number): () => Promise<void> {
  const crowded = { stays: true };
  const visits = Array.from({ length: customers }, async (_, first) => {
    for (let turn = first; crowded.stays; turn++) {
      const address = addresses[turn % addresses.length];
      await fetchText(`http://${address}:${port}/burn`).catch(() => pause(lookPauseMs));
    }
  });
  return async () => {
    crowded.stays = false;
    await Promise.all(visits);
  };
}

describeWith(["root", "containerd", "runc", "cni", "nft"], "fifty containers", () => {
  const cluster = new TestCluster("fifty", ["--nodes", "3"]);
  let remote: RemoteHandler | undefined;

  beforeAll(async () => {
    await cluster.start("--timeout", "120s");
    const words = ["image", "build", "docs/story/app", "-t", "story:1", "--name", cluster.name];
    const built = await cluster.wherry(words);
    expect(built.code, built.stderr).toBe(0);
    remote = connect(cluster.kubeconfig);
  }, 180_000);
  afterAll(async () => {
    remote?.close();
    await cluster.purge();
  }, 180_000);

  async function ok(...words: string[]): Promise<void> {
    const { code, stdout, stderr } = await cluster.wherry(words);
    expect(code, `${stdout}${stderr}`).toBe(0);
  }

  test("fifty containers on three real nodes", async () => {
    if (remote === undefined) throw new Error("there is no cluster");
    const scene: Scene = {
      client: createClient(remote.handler, { userAgent: "kubectl" }),
      image: "story:1",
      run: (work) => work,
      async until(what, condition) {
        const deadline = Date.now() + stepMsMax;
        while (!(await condition())) {
          if (Date.now() > deadline)
            expect.fail(`not so: ${what}\n${await cluster.ok("get", "pods", "-A", "-o", "wide")}`);
          await pause(lookPauseMs);
        }
      },
      apply: (yaml) => cluster.apply(yaml),
      ask: (address, port) => fetchText(`http://${address}:${port}/`),
      crowd: (addresses, port) => Promise.resolve(crowd(addresses, port)),
      crash: async ({ name, namespace = "" }) => {
        const url = "http://127.0.0.1:8080/crash";
        const program = ["node", "server.js", "ask", url];
        await cluster.ok("exec", name, "-n", namespace, "--", ...program);
      },
      mortal: "fifty-node-3",
      failNode: (name) => ok("down", "--name", name, "--crash"),
      reviveNode: (name) => ok("join", "--name", name),
    };
    await fiftyContainers(scene);
    // What the kernel knows of the node that came back: one sandbox for each of its pods, no leftovers.
    const count = (words: string[]): number =>
      execFileSync("ctr", words, { encoding: "utf8" }).trim().split("\n").length;
    const socket = "/run/wherry/fifty-node-3/containerd.sock";
    const onIt = ["--field-selector", "spec.nodeName=fifty-node-3"];
    const there = await cluster.ok("get", "pods", "-A", ...onIt, "-o", "name");
    const tasks = count(["-a", socket, "-n", "k8s.io", "tasks", "list", "-q"]);
    // A pod is a sandbox and a container.
    expect(tasks).toBe(2 * there.trim().split("\n").length);
  }, 400_000);
});
