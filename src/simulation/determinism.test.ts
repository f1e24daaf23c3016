/** The same seed gives the same run, byte for byte; another seed gives another one. */
import { expect, test } from "vitest";
import { Pod } from "#api/core/v1/pod.ts";
import type { Transport } from "./control-plane.ts";
import { createWorld, isReady } from "./world.ts";

const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 5
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: shop, image: "shop:1", ports: [{ containerPort: 80 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: shop }
spec: { selector: { app: shop }, ports: [{ port: 80 }] }
`;

/** A day in the life: a start, a crash, a rollout, a power cut, all with requests on their way; its trace and what was answered. */
async function life(seed: number, transport: Transport): Promise<string> {
  const world = await createWorld({ seed, nodes: 3, transport });
  await world.apply(shop);
  const running = async (): Promise<boolean> =>
    (await world.pods("app=shop")).filter(isReady).length === 5;
  await world.until(running, 60_000);
  const [first] = await world.pods("app=shop");
  const name = first?.metadata.name ?? "";
  const load = await world.load("http://shop/", `default/${name}`, 100);
  await world.advance(2000);
  await world.crash({ namespace: "default", name }, 1);
  await world.apply(shop.replace("shop:1", "shop:2"));
  await world.advance(20_000);
  await world.run(world.node("node-3").powerCut());
  await world.advance(60_000);
  await world.run(world.node("node-3").powerOn());
  await world.until(running, 120_000);
  const [second] = await world.pods("app=shop");
  await world.run(
    world.client.delete(Pod, { namespace: "default", name: second?.metadata.name ?? "" }),
  );
  await world.advance(10_000);
  const { answered, failures, bodies } = load.stop();
  await world.stop();
  const answers = JSON.stringify({ answered, failures, bodies: [...bodies] });
  return `${world.trace.text}${answers}\n${JSON.stringify(world.log.lines)}`;
}

/** The first line that differs, so that a failure says where the runs part. */
function firstDifference(a: string, b: string): readonly [string, string] | undefined {
  if (a === b) return undefined;
  const [left, right] = [a.split("\n"), b.split("\n")];
  const at = left.findIndex((line, i) => line !== right[i]);
  return [left[at] ?? "", right[at] ?? ""];
}

/** Three lives of two virtual minutes each: a busy machine takes its time. */
const timeout = 120_000;

test.each<Transport>(["direct", "https"])(
  "same seed, same run, over %s",
  { timeout },
  async (transport) => {
    const [one, same, other] = [
      await life(1, transport),
      await life(1, transport),
      await life(2, transport),
    ];
    expect(one.split("\n").length).toBeGreaterThan(200);
    expect(firstDifference(one, same)).toBeUndefined();
    expect(other).not.toBe(one);
  },
);
