import { expect, test } from "vitest";
import { PodTemplate } from "../../core/v1/podtemplate.ts";
import { createErrors, decoded, prepared, updateErrors } from "../../test-objects.ts";
import { RuntimeClass } from "./runtimeclass.ts";

const metadata = { name: "x" };
const handler = "runc";

test.each<[string, object, string[]]>([
  ["a plain one", { handler }, []],
  ["no handler", {}, ["handler: Required value"]],
  [
    "an overhead of what a container cannot ask for",
    { handler, overhead: { podFixed: { pods: "1" } } },
    ['overhead.limits[pods]: Invalid value: "pods": must be a standard resource for containers'],
  ],
  [
    "scheduling",
    {
      handler,
      scheduling: {
        nodeSelector: { "a b": "c" },
        tolerations: [
          { key: "k", operator: "Exists", effect: "NoSchedule" },
          { key: "k", operator: "Exists", effect: "NoSchedule", tolerationSeconds: 1 },
        ],
      },
    },
    [
      "scheduling.nodeSelector: Invalid value: ",
      "scheduling.tolerations[1].effect: Invalid value: ",
      "scheduling.tolerations[1]: Duplicate value: ",
    ],
  ],
])("RuntimeClass: %s", (_name, fields, expected) => {
  const errors = createErrors(RuntimeClass, { metadata, ...fields });
  expect(errors).toHaveLength(expected.length);
  for (const [index, text] of expected.entries()) expect(errors[index]).toContain(text);
});

test("a RuntimeClass keeps its handler", () => {
  const old = { metadata, handler };
  expect(updateErrors(RuntimeClass, old, { metadata, handler: "other" })).toEqual([
    "handler: Invalid value: null: field is immutable",
  ]);
  expect(updateErrors(RuntimeClass, old, old)).toEqual([]);
});

test("a PodTemplate is a pod's blueprint: defaulted, checked, its generation counted", () => {
  const pod = (image: string, more: object = {}) => ({
    metadata: { name: "t", namespace: "ns" },
    template: {
      metadata: { labels: { a: "b" } },
      spec: { containers: [{ name: "c", image }], ...more },
    },
  });
  const made = prepared(PodTemplate, pod("i:1"));
  expect(made.metadata.generation).toBe(1);
  expect(made.template.spec).toMatchObject({ restartPolicy: "Always", dnsPolicy: "ClusterFirst" });
  expect(createErrors(PodTemplate, pod("i:1", { restartPolicy: "Sometimes" }))).toEqual([
    'template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
  ]);
  const changed = decoded(PodTemplate, pod("i:2"));
  PodTemplate.strategy.prepareForUpdate?.(changed, made, { now: 0, user: "" });
  expect(changed.metadata.generation).toBe(2);
});
