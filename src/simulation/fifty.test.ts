/** Fifty containers on twenty simulated machines. The same on real ones: test/machine/fifty.test.ts. */
import { expect, test } from "vitest";
import { fiftyContainers, type Scene } from "./workloads/fifty-containers.ts";
import { createWorld, type World } from "./world.ts";

const stepMsMax = 300_000;

function sceneOf(world: World): Scene {
  return {
    client: world.client,
    image: "web:1",
    run: (work) => world.run(work),
    async until(what, condition) {
      try {
        await world.until(condition, stepMsMax);
      } catch (error) {
        throw new Error(`not so: ${what}`, { cause: error });
      }
    },
    apply: (yaml) => world.apply(yaml),
    ask: async (address, port) => (await world.get(`http://${address}:${port}/`)).body,
    crash: (pod) => world.crash(pod, 1),
    mortal: "node-20",
    failNode: (name) => world.run(world.node(name).powerCut()),
    reviveNode: (name) => world.run(world.node(name).powerOn()),
  };
}

test("fifty containers on twenty machines", async () => {
  const world = await createWorld({ seed: 50, nodes: 20, transport: "direct" });
  try {
    await fiftyContainers(sceneOf(world));
  } finally {
    await world.stop();
  }
  // Nothing is left that would ever happen.
  expect(world.clock.waiting).toBe(0);
}, 120_000);
