import { expect, test } from "vitest";
import type { KubeSchedulerConfiguration } from "#api/generated/kubescheduler-config/v1.ts";
import { schedulerSettings } from "./configuration.ts";
import { defaultProfile } from "./profile.ts";

const read = (document: object) =>
  schedulerSettings(document as unknown as KubeSchedulerConfiguration);
function profiles(document: object) {
  const found = read(document);
  if ("errors" in found) throw new Error(JSON.stringify(found.errors));
  return found.settings.profiles;
}
const problems = (document: object) => {
  const found = read(document);
  return "errors" in found ? found.errors.map(({ path, message }) => `${path}: ${message}`) : [];
};
const names = (document: object) => profiles(document)[0]?.plugins.map(({ plugin }) => plugin.name);

test("nothing said is the default profile", () => {
  const [only] = profiles({});
  const shape = (one = only) => one?.plugins.map(({ plugin, weight }) => [plugin.name, weight]);
  expect(shape()).toEqual(shape(defaultProfile));
  expect(only?.schedulerName).toBe("default-scheduler");
});

test("plugins are taken away everywhere, at one point, and weigh what is said", () => {
  const without = { disabled: [{ name: "ImageLocality" }, { name: "DefaultPreemption" }] };
  expect(names({ profiles: [{ plugins: { multiPoint: without } }] })).not.toContain(
    "ImageLocality",
  );
  const [one] = profiles({
    profiles: [
      {
        plugins: {
          score: {
            disabled: [{ name: "*" }],
            enabled: [{ name: "NodeResourcesFit", weight: 7 }],
          },
        },
      },
    ],
  });
  const scorers = one?.plugins.filter(({ plugin }) => plugin.score !== undefined);
  expect(scorers?.map(({ plugin, weight }) => [plugin.name, weight])).toEqual([
    ["NodeResourcesFit", 7],
  ]);
  const taints = one?.plugins.find(({ plugin }) => plugin.name === "TaintToleration")?.plugin;
  expect(taints?.filter).toBeDefined();
});

test("several profiles are told apart by name; what is wrong is said by field", () => {
  const two = {
    profiles: [{ schedulerName: "a" }, { schedulerName: "b", percentageOfNodesToScore: 50 }],
  };
  expect(
    profiles({ ...two, percentageOfNodesToScore: 20 }).map((one) => one.percentageOfNodesToScore),
  ).toEqual([20, 50]);
  expect(problems({ profiles: [{ schedulerName: "a" }, { schedulerName: "a" }, {}] }).length).toBe(
    2,
  );
  expect(problems({ percentageOfNodesToScore: 101 })).toEqual([
    expect.stringContaining("not in valid range [0-100]"),
  ]);
  expect(problems({ leaderElection: {} })).toHaveLength(1);
  const args = (name: string, of: object) => ({
    profiles: [{ pluginConfig: [{ name, args: of }] }],
  });
  expect(problems(args("NodeResourcesFit", { scoringStrategy: { type: "Best" } }))).toEqual([
    expect.stringContaining("scoringStrategy.type"),
  ]);
  expect(problems(args("InterPodAffinity", { hardPodAffinityWeight: 101 }))).toHaveLength(1);
  expect(
    problems(args("NodeResourcesFit", { scoringStrategy: { type: "MostAllocated" } })),
  ).toEqual([]);
  expect(
    problems({ profiles: [{ plugins: { multiPoint: { disabled: [{ name: "*" }] } } }] }),
  ).toHaveLength(2);
  expect(problems({ podInitialBackoffSeconds: 5, podMaxBackoffSeconds: 2 })).toHaveLength(1);
});
