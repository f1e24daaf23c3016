/**
 * How long `wherry up` takes, from the command to its end, when the node is Ready and DNS answers: on an empty data directory (under
 * 3 s), and again on an existing cluster (under 1.5 s): after `wherry down`, and after kill -9 with pods that run on and are adopted.
 */
import { Node } from "#api/core/v1/node.ts";
import { findCondition } from "#machinery/conditions.ts";
import { type BenchCluster, loadAverage, median, onCluster, say } from "./machine/cluster.ts";
import { createPod, PodWatch, untilPodsMayCome } from "./machine/pods.ts";

const rounds = 5;
const pods = 5;

async function expectReady(cluster: BenchCluster): Promise<void> {
  const { client, close } = await cluster.connect();
  const { items } = await client.list(Node);
  close();
  const ready = findCondition(items[0]?.status.conditions ?? [], "Ready")?.status;
  if (ready !== "True") throw new Error("up ended, but the node is not Ready");
}

async function timedUp(cluster: BenchCluster): Promise<number> {
  const ms = await cluster.up();
  await expectReady(cluster);
  return ms;
}

function tell(name: string, times: readonly number[]): void {
  say(`${name}, median of ${times.length}`, median(times) / 1000, "s");
  say(`${name}, slowest`, Math.max(...times) / 1000, "s");
}

await onCluster("bench-startup", async (cluster) => {
  process.stdout.write(`load average before: ${loadAverage()}\n`);
  const fresh: number[] = [];
  const again: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    fresh.push(await timedUp(cluster));
    await cluster.down(false);
    again.push(await timedUp(cluster));
    if (round < rounds - 1) await cluster.down(true);
  }
  tell("empty data directory to Ready and DNS", fresh);
  tell("restart after down", again);

  await cluster.loadImage();
  const first = await cluster.connect();
  await untilPodsMayCome(first.client);
  const watch = await PodWatch.start(first.client);
  const names = Array.from({ length: pods }, (_, n) => `pod-${n}`);
  await Promise.all(names.map((name) => createPod(first.client, name)));
  await Promise.all(names.map((name) => watch.running(name)));
  watch.stop();
  first.close();
  const adopted: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await cluster.kill();
    adopted.push(await timedUp(cluster));
  }
  tell(`restart after kill -9, ${pods} pods adopted`, adopted);
  await cluster.down(false);
  tell(`restart after down, ${pods} pods to start again`, [await timedUp(cluster)]);
});
