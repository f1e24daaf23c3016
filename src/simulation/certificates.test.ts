/** Certificates end while everything runs: they are issued anew in time, and nobody notices. */
import { afterEach, expect, test } from "vitest";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const minuteMs = 60_000;
const pod = `
apiVersion: v1
kind: Pod
metadata: { name: web }
spec: { containers: [{ name: web, image: web:1, command: [sh, -c, "echo here; sleep infinity"] }] }
`;

test("certificates that hold 20 minutes carry a cluster through two hours", async () => {
  const on = await createWorld({
    seed: 7,
    nodes: 2,
    transport: "https",
    certificateMs: 20 * minuteMs,
  });
  world = on;
  const { certificates } = on.controlPlane;
  let renewals = 0;
  certificates.onRenewal(() => {
    renewals += 1;
  });
  await on.apply(pod);
  await on.until(async () => (await on.pods("")).every(isReady), 60_000);
  await on.advance(120 * minuteMs);
  // At three quarters of each life.
  expect(renewals).toBe(8);
  // Nobody was missed meanwhile, by the API server (client certificates) or by it (the kubelet's serving one).
  const { items } = await on.run(on.client.list(Node));
  expect(items.map(isReady)).toEqual([true, true]);
  const events = await on.run(on.client.list(Event));
  expect(events.items.filter(({ reason }) => reason === "NodeNotReady")).toEqual([]);
  expect(await on.logs({ namespace: "default", name: "web" })).toBe("here\n");
  // A machine that comes now, and one that starts again.
  await on.addNode(3);
  await on.run(on.node("node-1").powerCut());
  await on.run(on.node("node-1").powerOn());
  await on.until(
    async () => (await on.client.list(Node)).items.filter(isReady).length === 3,
    60_000,
  );
}, 60_000);
