/** Fifty containers on twenty simulated machines. The same on real ones: test/machine/fifty.test.ts. */
import { expect, test } from "vitest";
import { SharedLoad } from "#adapters/memory/shared-load.ts";
import { fiftyContainers, type Scene } from "./workloads/fifty-containers.ts";
import { createWorld, type World } from "./world.ts";

const stepMsMax = 300_000;
/** What the customers ask for in all. */
const crowdCores = 0.8;

function sceneOf(world: World, web: SharedLoad): Scene {
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
    crowd: () => {
      web.cores = crowdCores;
      const leave = (): Promise<void> => {
        web.cores = 0;
        return Promise.resolve();
      };
      return Promise.resolve(leave);
    },
    crash: (pod) => world.crash(pod, 1),
    mortal: "node-20",
    failNode: (name) => world.run(world.node(name).powerCut()),
    reviveNode: (name) => world.run(world.node(name).powerOn()),
  };
}

test("fifty containers on twenty machines", async () => {
  const web = new SharedLoad({ idleCores: 0.002, coresMax: 1 });
  const isWeb = (_: unknown, { name }: { name: string }): boolean => name.startsWith("web-");
  const programs = [{ matches: isWeb, program: web.program }];
  const world = await createWorld({ seed: 50, nodes: 20, transport: "direct", programs });
  try {
    await fiftyContainers(sceneOf(world, web));
  } finally {
    await world.stop();
  }
  // Nothing is left that would ever happen.
  expect(world.clock.waiting).toBe(0);
}, 120_000);
