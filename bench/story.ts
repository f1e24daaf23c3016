/**
 * What the story's promises take on three nodes of this machine. `pods`: 100 replicas from the Deployment's creation to Ready (wanted:
 * at least 80 % of the rate of bare CRI calls on the same three containerds). `failure`: from the end of the tolerated time on a node
 * that died to all of its pods Ready elsewhere. `hpa`: from the first request of a load to all that an autoscaler may start for it being
 * Ready, and where that time goes. `dns`: questions a second for each core of the one who answers, beside dnsmasq (Debian's
 * package) where that is installed. The ingress has a bench of its own (`ingress`). `story CASE`: only one.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { get as requestOnce } from "node:http";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { HorizontalPodAutoscaler } from "#api/autoscaling/v2/horizontalpodautoscaler.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { PodMetrics } from "#api/metrics/v1beta1/podmetrics.ts";
import type { WatchEvent } from "#api/request.ts";
import type { Client } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import type { Source } from "#ports/stream.ts";
import { bareCri, pool } from "./machine/bare-cri.ts";
import {
  type BenchCluster,
  benchImage,
  cpuSeconds,
  loadAverage,
  median,
  network,
  onCluster,
  ownProcesses,
  percentile,
  say,
  sleep,
} from "./machine/cluster.ts";
import { untilPodsMayCome } from "./machine/pods.ts";

const namespace = "default";
const nodeCount = 3;
const replicas = 100;
const rounds = 3;
/** On each node. */
const inParallel = 8;
const failureReplicas = 30;
const toleratedSeconds = 5;
const burnImage = "story:1";
const burnPort = 8080;
const scaledReplicas = 4;
/** Of the metrics' readings and of the controller, as upstream. */
const periodSeconds = 15;
/** When in the periods the load begins is chance; the rounds begin at different moments. */
const hpaOffsetSeconds = [0, 5, 10];
const dnsSeconds = 5;
const dnsTurns = 3;
const dnsInFlight = 32;

const isReady = ({ status }: Stored<Pod>): boolean =>
  status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;

/** The pods of an app as a watch on a connection of its own sees them. */
class Pods {
  readonly #seen = new Map<string, Stored<Pod>>();
  #changed: () => void = () => {};
  #stop: () => void = () => {};

  static async of(client: Client, app: string): Promise<Pods> {
    const pods = new Pods();
    const labelSelector = `app=${app}`;
    const watch = await client.watch(Pod, { namespace, labelSelector, sendInitialEvents: true });
    pods.#stop = () => watch.stop();
    void pods.#follow(watch);
    return pods;
  }
  stop(): void {
    this.#stop();
  }
  ready(): Stored<Pod>[] {
    return [...this.#seen.values()].filter(isReady);
  }
  all(): Stored<Pod>[] {
    return [...this.#seen.values()];
  }
  /** Resolves when it is seen, with the time. */
  async until(holds: () => boolean): Promise<number> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    return performance.now();
  }

  async #follow(watch: Source<WatchEvent<Stored<Pod>>>): Promise<void> {
    for (;;) {
      const events = await watch.next();
      if (events === undefined) return;
      for (const { type, object } of events) {
        if (type === "BOOKMARK") continue;
        if (type === "DELETED") this.#seen.delete(object.metadata.name);
        else this.#seen.set(object.metadata.name, object);
      }
      this.#changed();
    }
  }
}

const deployment = (app: string, count: number) => ({
  metadata: { name: app, namespace },
  spec: {
    replicas: count,
    selector: { matchLabels: { app } },
    strategy: {},
    template: {
      metadata: { labels: { app } },
      spec: {
        terminationGracePeriodSeconds: 1,
        tolerations: ["not-ready", "unreachable"].map((why) => ({
          key: `node.kubernetes.io/${why}`,
          operator: "Exists" as const,
          effect: "NoExecute" as const,
          tolerationSeconds: toleratedSeconds,
        })),
        containers: [{ name: "main", image: benchImage, resources: {} }],
      },
    },
  },
});

const nodeNames = ({ name }: BenchCluster): string[] =>
  Array.from({ length: nodeCount - 1 }, (_, at) => `${name}-node-${at + 2}`);

async function manyPods(cluster: BenchCluster, client: Client, watching: Client): Promise<void> {
  const sockets = [cluster.name, ...nodeNames(cluster)];
  const runtimes = sockets.map((node) =>
    containerdRuntime({
      rpc: systemRpc,
      network,
      socket: `/run/wherry/${node}/containerd.sock`,
      ctr: "ctr",
      imageVolumes: join(cluster.data, "image-volumes"),
    }),
  );
  const host = await linuxHost();
  const bare = runtimes.map((runtime, at) =>
    bareCri(runtime, host, join(cluster.data, `bare-${at}`), `/${cluster.name}-bare-${at}`),
  );
  const share = Math.ceil(replicas / nodeCount);
  const rates: number[] = [];
  const bareRates: number[] = [];
  const pods = await Pods.of(watching, "many");
  try {
    for (let round = 0; round < rounds; round++) {
      const names = Array.from({ length: share }, (_, at) => `bare-${round}-${at}`);
      for (const one of bare) await Promise.all(names.map((name) => one.prepare(name)));
      let began = performance.now();
      await Promise.all(bare.map((one) => pool(inParallel, names, (name) => one.start(name))));
      bareRates.push(((share * nodeCount) / (performance.now() - began)) * 1000);
      await Promise.all(bare.map((one) => pool(inParallel, names, (name) => one.remove(name))));
      began = performance.now();
      await client.create(Deployment, deployment("many", replicas));
      const seen = await pods.until(() => pods.ready().length === replicas);
      rates.push((replicas / (seen - began)) * 1000);
      say(`${replicas} pods, from the Deployment to Ready`, (seen - began) / 1000, "s");
      await client.delete(Deployment, { namespace, name: "many" });
      await pods.until(() => pods.all().length === 0);
    }
  } finally {
    pods.stop();
    for (const one of bare) await one.removeAll();
    for (const runtime of runtimes) runtime.close();
  }
  const ratios = rates.map((rate, round) => rate / (bareRates[round] ?? 1));
  say(
    `bare CRI on ${nodeCount} nodes, ${inParallel} in parallel on each`,
    median(bareRates),
    "pods/s",
  );
  say(`${replicas} pods on ${nodeCount} nodes`, median(rates), "pods/s");
  say("against bare CRI, median", median(ratios), "times (at least 0.8)");
}

async function nodeFailure(cluster: BenchCluster, client: Client, watching: Client): Promise<void> {
  const [victim = ""] = nodeNames(cluster);
  const pods = await Pods.of(watching, "spread");
  const stays = (pod: Stored<Pod>): boolean => pod.spec.nodeName !== victim;
  try {
    await client.create(Deployment, deployment("spread", failureReplicas));
    await pods.until(() => pods.ready().length === failureReplicas);
    const lost = pods.ready().filter((pod) => !stays(pod)).length;
    const began = performance.now();
    await cluster.crash(victim);
    const seen = await pods.until(() => pods.ready().filter(stays).length === failureReplicas);
    const node = await client.get(Node, { name: victim });
    const taint = node.spec.taints?.find(({ effect }) => effect === "NoExecute");
    const taintedMs = parseTime(taint?.timeAdded ?? "");
    if (taintedMs === undefined) throw new Error(`${victim} has no NoExecute taint with a time`);
    const endMs = Date.now() - (performance.now() - seen);
    const beyondMs = endMs - taintedMs - toleratedSeconds * 1000;
    say("pods on the node that died", lost, "");
    say("from its death to all pods Ready elsewhere", (seen - began) / 1000, "s");
    say("of it, beyond the noticing and the tolerated time", beyondMs / 1000, "s (1 s precise)");
  } finally {
    pods.stop();
  }
}

const burning = (app: string) => {
  const { metadata, spec } = deployment(app, 1);
  const { template } = spec;
  const main = {
    name: "main",
    image: burnImage,
    ports: [{ containerPort: burnPort }],
    readinessProbe: { httpGet: { path: "/readyz", port: burnPort }, periodSeconds: 1 },
    resources: { requests: { cpu: "100m" } },
  };
  const made = { ...template, spec: { ...template.spec, containers: [main] } };
  return { metadata, spec: { ...spec, template: made } };
};
const autoscaler = (app: string) => ({
  metadata: { name: app, namespace },
  spec: {
    scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: app },
    minReplicas: 1,
    maxReplicas: scaledReplicas,
    metrics: [
      {
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } },
      },
    ],
    behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
  },
});

/** One customer, who asks again as soon as there is an answer; each keeps a pod busy for 200 ms. */
class Customer {
  #stays = true;
  readonly #left: Promise<void>;
  constructor(address: string) {
    this.#left = this.#visit(address);
  }
  leave(): Promise<void> {
    this.#stays = false;
    return this.#left;
  }
  async #visit(address: string): Promise<void> {
    while (this.#stays) {
      await new Promise<void>((resolve, reject) => {
        requestOnce(`http://${address}/burn`, { agent: false }, (answer) => {
          answer.resume().on("end", resolve).on("error", reject);
        }).on("error", reject);
      });
    }
  }
}

interface Grown {
  readonly totalSeconds: number;
  readonly readingSeconds: number;
  readonly syncSeconds: number;
  readonly startSeconds: number;
}

async function grow(client: Client, pods: Pods, address: string): Promise<Grown> {
  const [first] = pods.ready();
  const [began, beganMs] = [performance.now(), Date.now()];
  const customer = new Customer(address);
  try {
    const decided = await pods.until(() => pods.all().length === scaledReplicas);
    // What the controller saw: the next reading is a period away.
    const name = first?.metadata.name ?? "";
    const { timestamp } = await client.get(PodMetrics, { namespace, name });
    const readMs = parseTime(timestamp);
    if (readMs === undefined) throw new Error(`the metrics of ${name} have no time`);
    const ready = await pods.until(() => pods.ready().length === scaledReplicas);
    const readingSeconds = Math.max(0, readMs - beganMs) / 1000;
    return {
      totalSeconds: (ready - began) / 1000,
      readingSeconds,
      syncSeconds: (decided - began) / 1000 - readingSeconds,
      startSeconds: (ready - decided) / 1000,
    };
  } finally {
    await customer.leave();
  }
}

async function autoscaling(cluster: BenchCluster, client: Client, watching: Client): Promise<void> {
  const app = "burning";
  await cluster.buildImage("docs/story/app", burnImage);
  const pods = await Pods.of(watching, app);
  const grown: Grown[] = [];
  try {
    const made = await client.create(Service, {
      metadata: { name: app, namespace },
      spec: { selector: { app }, ports: [{ port: 80, targetPort: burnPort }] },
    });
    await client.create(Deployment, burning(app));
    await pods.until(() => pods.ready().length === 1);
    await client.create(HorizontalPodAutoscaler, autoscaler(app));
    for (const offset of hpaOffsetSeconds) {
      // Whole windows without the load, or without what the start used.
      await sleep((2 * periodSeconds + offset) * 1000);
      await pods.until(() => pods.all().length === 1 && pods.ready().length === 1);
      grown.push(await grow(client, pods, made.spec.clusterIP ?? ""));
      say("from load to Ready", grown.at(-1)?.totalSeconds ?? 0, "s");
    }
  } finally {
    pods.stop();
  }
  const middle = (part: keyof Grown): number => median(grown.map((one) => one[part]));
  say(`from load to ${scaledReplicas} replicas Ready, median`, middle("totalSeconds"), "s");
  const every = `s (1 s precise; every ${periodSeconds} s)`;
  say("of it, to the reading that shows all of the load", middle("readingSeconds"), every);
  say("of it, to the controller's pass that acts on it", middle("syncSeconds"), every);
  say("of it, to start them", middle("startSeconds"), "s");
  const waited = grown.map((one) => 1 - one.startSeconds / one.totalSeconds);
  say("the two periods' part of the whole, median", median(waited) * 100, "%");
}

/** One question over and over: asked, answered, asked again, as many in flight as \`dnsInFlight\`. */
class Asker {
  readonly #socket: Socket = createSocket("udp4");
  readonly #address: string;
  readonly #port: number;
  #asked = new Map<number, number>();
  #next = 0;
  #until = 0;
  answers = 0;
  readonly tookMs: number[] = [];

  constructor(address: string, port: number) {
    this.#address = address;
    this.#port = port;
    this.#socket.on("message", (message) => {
      const id = message.readUInt16BE(0);
      const asked = this.#asked.get(id);
      if (asked === undefined) return;
      this.#asked.delete(id);
      if ((message[3] ?? 0) % 16 !== 0 || message.readUInt16BE(6) === 0)
        throw new Error("the name was not found");
      this.answers++;
      this.tookMs.push(performance.now() - asked);
      if (performance.now() < this.#until) this.#ask();
    });
  }
  #ask(): void {
    const id = this.#next;
    this.#next = (this.#next + 1) % 65_536;
    this.#asked.set(id, performance.now());
    this.#socket.send(question(id), this.#port, this.#address);
  }
  async run(seconds: number): Promise<number> {
    const before = this.answers;
    this.#asked = new Map();
    this.#until = performance.now() + seconds * 1000;
    for (let at = 0; at < dnsInFlight; at++) this.#ask();
    await sleep(seconds * 1000);
    return this.answers - before;
  }
  close(): void {
    this.#socket.close();
  }
}

const dnsName = "kubernetes.default.svc.cluster.local";
const nameBytes = Buffer.concat([
  ...dnsName.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
  Buffer.from([0, 0, 1, 0, 1]),
]);
function question(id: number): Buffer {
  const header = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, nameBytes]);
}

function startDnsmasq(port: number): ChildProcess | undefined {
  try {
    execFileSync("sh", ["-c", "command -v dnsmasq || test -x /usr/sbin/dnsmasq"], {
      stdio: "ignore",
    });
  } catch {
    return undefined;
  }
  const record = `--host-record=${dnsName},10.96.0.1`;
  const plain = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"];
  const where = ["--listen-address=127.0.0.1", "--bind-interfaces", `--port=${port}`];
  const options = [...plain, ...where, "--pid-file=", "--cache-size=1000", record];
  return spawn("dnsmasq", options, {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` },
  });
}

async function dns(cluster: BenchCluster, client: Client): Promise<void> {
  const service = await client.get(Service, { namespace: "kube-system", name: "kube-dns" });
  const port = 20_053;
  const other = startDnsmasq(port);
  if (other === undefined)
    process.stdout.write(
      "dnsmasq is not installed: nothing to compare with (Debian: dnsmasq-base)\n",
    );
  const own = new Asker(service.spec.clusterIP ?? "", 53);
  const beside = new Asker("127.0.0.1", port);
  const total = { own: 0, ownCpu: 0, other: 0, otherCpu: 0 };
  try {
    await own.run(1);
    for (let turn = 0; turn < dnsTurns; turn++) {
      const pids = ownProcesses(cluster.data);
      let before = cpuSeconds(pids);
      total.own += await own.run(dnsSeconds);
      total.ownCpu += cpuSeconds(pids) - before;
      if (other?.pid === undefined) continue;
      before = cpuSeconds([other.pid]);
      total.other += await beside.run(dnsSeconds);
      total.otherCpu += cpuSeconds([other.pid]) - before;
    }
  } finally {
    own.close();
    beside.close();
    other?.kill();
  }
  const perCore = total.own / total.ownCpu;
  say("DNS, for each core", perCore, "answers/s");
  say("DNS, as it went", total.own / (dnsTurns * dnsSeconds), "answers/s");
  say("DNS, p99", percentile(own.tookMs, 0.99), "ms");
  if (other === undefined) return;
  say("dnsmasq, for each core", total.other / total.otherCpu, "answers/s");
  say("dnsmasq, p99", percentile(beside.tookMs, 0.99), "ms");
  say("DNS beside dnsmasq, for each core", perCore / (total.other / total.otherCpu), "times");
}

const only = process.argv[2];
const parts = { pods: manyPods, dns, hpa: autoscaling, failure: nodeFailure };
if (only !== undefined && !(only in parts)) {
  throw new Error(`there is no case ${only}: ${Object.keys(parts).join(", ")}`);
}
await onCluster("bench-story", async (cluster) => {
  await cluster.up("--nodes", String(nodeCount));
  await cluster.loadImage();
  const requests = await cluster.connect();
  const watching = await cluster.connect();
  await untilPodsMayCome(requests.client);
  say("load average", Number(loadAverage()), "");
  for (const [name, part] of Object.entries(parts)) {
    if (only === undefined || only === name) await part(cluster, requests.client, watching.client);
  }
  say("load average at the end", Number(loadAverage()), "");
  watching.close();
  requests.close();
});
