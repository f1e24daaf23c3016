import { expect, test } from "vitest";
import { createErrors, decoded } from "../../test-objects.ts";
import { mandatory, suggested } from "./bootstrap.ts";
import { byPrecedence, FlowSchema } from "./flowschema.ts";
import { PriorityLevelConfiguration } from "./prioritylevelconfiguration.ts";

test("what every cluster has is valid, and defaults change nothing of it", () => {
  for (const { flowSchemas, priorityLevels } of [mandatory, suggested]) {
    for (const [name, spec] of flowSchemas) {
      expect(createErrors(FlowSchema, { metadata: { name }, spec })).toEqual([]);
      expect(decoded(FlowSchema, { metadata: { name }, spec }).spec).toEqual(spec);
    }
    for (const [name, spec] of priorityLevels) {
      const object = { metadata: { name }, spec };
      expect(createErrors(PriorityLevelConfiguration, object)).toEqual([]);
      expect(decoded(PriorityLevelConfiguration, object).spec).toEqual(spec);
    }
  }
});

test("mandatory objects are fixed, but for what an administrator lends of what is exempt", () => {
  const level = (exempt: object) =>
    createErrors(PriorityLevelConfiguration, {
      metadata: { name: "exempt" },
      spec: { type: "Exempt", exempt },
    });
  expect(level({ nominalConcurrencyShares: 5, lendablePercent: 3 })).toEqual([]);
  const spec = { ...mandatory.flowSchemas.get("catch-all"), matchingPrecedence: 2 };
  const [problem] = createErrors(FlowSchema, { metadata: { name: "catch-all" }, spec });
  expect(problem).toMatch(
    /^spec: Invalid value: .*: spec of 'catch-all' must equal the fixed value$/,
  );
});

test("a hand is smaller than its deck, and its hash fits", () => {
  const level = (queuing: object) =>
    createErrors(PriorityLevelConfiguration, {
      metadata: { name: "a" },
      spec: { type: "Limited", limited: { limitResponse: { type: "Queue", queuing } } },
    });
  const path = "spec.limited.limitResponse.queuing.handSize";
  expect(level({ queues: 2 })).toEqual([
    `${path}: Invalid value: 8: should not be greater than queues (2)`,
  ]);
  expect(level({ queues: 1_000_000 })).toEqual([
    `${path}: Invalid value: 8: required entropy bits of deckSize 1000000 and handSize 8 should not be greater than 60`,
  ]);
});

test("flow schemas stand in the order in which they match", () => {
  const one = (name: string, matchingPrecedence: number) =>
    decoded(FlowSchema, {
      metadata: { name },
      spec: { matchingPrecedence, priorityLevelConfiguration: { name: "a" } },
    });
  const sorted = [one("b", 5), one("c", 1), one("a", 5)].sort(byPrecedence);
  expect(sorted.map(({ metadata }) => metadata.name)).toEqual(["c", "a", "b"]);
});
