/**
 * How long a pod takes from its creation to Running seen by a watch (p50 at most 1.3 times the bare CRI calls for the same container),
 * and how many start in a second when 50 come at once (at least 85 % of the bare CRI's rate, 8 in parallel). Wherry and bare CRI
 * take turns on the same containerd in the same run.
 */
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { containerdRuntime } from "#adapters/containerd/runtime.ts";
import { linuxHost } from "#adapters/linux/host.ts";
import { eventLoopDelay } from "#adapters/nodejs/event-loop.ts";
import { systemRpc } from "#adapters/nodejs/rpc.ts";
import type { Client } from "#client/client.ts";
import { type Bare, bareCri, pool } from "./machine/bare-cri.ts";
import {
  type BenchCluster,
  cpuSeconds,
  loadAverage,
  median,
  network,
  onCluster,
  ownProcesses,
  percentile,
  say,
} from "./machine/cluster.ts";
import { createPod, PodWatch, removePods, untilPodsMayCome } from "./machine/pods.ts";

const singles = 30;
const warmUps = 3;
const rounds = 3;
const together = 50;
const inParallel = 8;

const named = (kind: string, round: number, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${kind}-${round}-${n}`);

async function oneByOne(bare: Bare, client: Client, watch: PodWatch): Promise<void> {
  const bareMs: number[] = [];
  const podMs: number[] = [];
  for (let n = 0; n < singles + warmUps; n += 1) {
    const name = `single-${n}`;
    await bare.prepare(name);
    let began = performance.now();
    await bare.start(name);
    if (n >= warmUps) bareMs.push(performance.now() - began);
    await bare.remove(name);
    began = performance.now();
    await createPod(client, name);
    const running = await watch.running(name);
    if (n >= warmUps) podMs.push(running - began);
    await removePods(client, watch, [name]);
  }
  say("bare CRI, p50", median(bareMs), "ms");
  say("bare CRI, p95", percentile(bareMs, 0.95), "ms");
  say("created to Running, p50", median(podMs), "ms");
  say("created to Running, p95", percentile(podMs, 0.95), "ms");
  say("created to Running against bare CRI, p50", median(podMs) / median(bareMs), "times");
  // Neighbours in time see the same load: on a busy machine this one is steadier.
  const pairs = podMs.map((ms, n) => ms / (bareMs[n] ?? 1));
  say("created to Running against the bare start before it, median", median(pairs), "times");
}

async function allAtOnce(
  cluster: BenchCluster,
  bare: Bare,
  client: Client,
  watch: PodWatch,
): Promise<void> {
  const bareRates: number[] = [];
  const cpuMs: number[] = [];
  const podRates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const names = named("many", round, together);
    await Promise.all(names.map((name) => bare.prepare(name)));
    let began = performance.now();
    await pool(inParallel, names, (name) => bare.start(name));
    bareRates.push((together / (performance.now() - began)) * 1000);
    await pool(inParallel, names, (name) => bare.remove(name));
    const cpuBefore = cpuSeconds(ownProcesses(cluster.data));
    began = performance.now();
    await Promise.all(names.map((name) => createPod(client, name)));
    const last = Math.max(...(await Promise.all(names.map((name) => watch.running(name)))));
    podRates.push((together / (last - began)) * 1000);
    cpuMs.push(((cpuSeconds(ownProcesses(cluster.data)) - cpuBefore) / together) * 1000);
    await removePods(client, watch, names);
  }
  const ratios = podRates.map((rate, round) => rate / (bareRates[round] ?? 1));
  say(`bare CRI, ${inParallel} in parallel, median of ${rounds}`, median(bareRates), "pods/s");
  say(`${together} pods at once, median of ${rounds}`, median(podRates), "pods/s");
  say(`${together} pods at once against bare CRI, median of ${rounds}`, median(ratios), "times");
  say("CPU of wherry for each of them", median(cpuMs), "ms");
}

await onCluster("bench-pods", async (cluster) => {
  await cluster.up();
  await cluster.loadImage();
  const requests = await cluster.connect();
  const watching = await cluster.connect();
  await untilPodsMayCome(requests.client);
  const watch = await PodWatch.start(watching.client);
  const socket = `/run/wherry/${cluster.name}/containerd.sock`;
  const runtime = containerdRuntime({
    rpc: systemRpc,
    network,
    socket,
    ctr: "ctr",
    imageVolumes: join(cluster.data, "image-volumes"),
  });
  const host = await linuxHost();
  const bare = bareCri(runtime, host, join(cluster.data, "bare"), `/${cluster.name}-bare`);
  const gauge = eventLoopDelay();
  process.stdout.write(`load average before: ${loadAverage()}\n`);
  const only = process.argv[2];
  try {
    if (only !== "many") await oneByOne(bare, requests.client, watch);
    if (only !== "single") await allAtOnce(cluster, bare, requests.client, watch);
  } finally {
    await bare.removeAll();
  }
  say("event loop delay of the bench, p99.9", gauge.read().p999Ms, "ms");
  gauge.stop();
  watch.stop();
  watching.close();
  requests.close();
  runtime.close();
});
