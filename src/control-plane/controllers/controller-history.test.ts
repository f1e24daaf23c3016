import { expect, test } from "vitest";
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import { templatePatch } from "./controller-history.ts";

test("a revision's text has its keys in order, wherever they stood", () => {
  const template = {
    spec: { containers: [{ name: "c", image: "i" }] },
    metadata: { labels: { b: "1", a: "2" } },
  } as unknown as PodTemplateSpec;
  expect(JSON.stringify(templatePatch(template))).toBe(
    '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"2","b":"1"}},"spec":{"containers":[{"image":"i","name":"c"}]}}}}',
  );
});
