import { expect, test } from "vitest";
import type { ApiObject } from "#machinery/meta.ts";
import { toVersionOne, toVersionTwo } from "./conversion.ts";

const given = {
  kind: "HorizontalPodAutoscaler",
  apiVersion: "autoscaling/v2",
  metadata: { name: "web", annotations: { own: "one" } },
  spec: {
    scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" },
    minReplicas: 2,
    maxReplicas: 9,
    metrics: [
      {
        type: "Pods",
        pods: { metric: { name: "a<b" }, target: { type: "AverageValue", averageValue: "3" } },
      },
      {
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 60 } },
      },
    ],
    behavior: {
      scaleDown: {
        selectPolicy: "Max",
        policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
        tolerance: "50m",
      },
    },
  },
  status: {
    currentReplicas: 2,
    desiredReplicas: 3,
    currentMetrics: [
      {
        type: "Resource",
        resource: { name: "cpu", current: { averageUtilization: 80, averageValue: "80m" } },
      },
    ],
    conditions: [
      { type: "AbleToScale", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" },
    ],
  },
} as unknown as ApiObject;

test("version 1 has fields for the processor and annotations for all else", () => {
  const shown = toVersionOne(given);
  expect(shown).toMatchObject({
    apiVersion: "autoscaling/v1",
    spec: { targetCPUUtilizationPercentage: 60, minReplicas: 2, maxReplicas: 9 },
    status: { currentCPUUtilizationPercentage: 80, currentReplicas: 2, desiredReplicas: 3 },
  });
  const prefix = "autoscaling.alpha.kubernetes.io/";
  const texts = ["behavior", "conditions", "current-metrics", "metrics"];
  expect(Object.keys(shown.metadata.annotations ?? {})).toEqual([
    ...texts.map((name) => `${prefix}${name}`),
    "own",
  ]);
  expect(shown.metadata.annotations?.["autoscaling.alpha.kubernetes.io/metrics"]).toBe(
    '[{"type":"Pods","pods":{"metricName":"a\\u003cb","targetAverageValue":"3"}}]',
  );
  expect(shown.metadata.annotations?.["autoscaling.alpha.kubernetes.io/behavior"]).toBe(
    '{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max",' +
      '"Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":"50m"}}',
  );
});

test("there and back nothing is lost", () => {
  expect(toVersionTwo(toVersionOne(given))).toEqual(given);
  const shown = toVersionOne(given);
  expect(toVersionOne(toVersionTwo(shown))).toEqual(shown);
});

test("an annotation that can't be read is as none; without metrics the processor's stand", () => {
  const { metadata, spec } = toVersionTwo({
    metadata: { name: "web", annotations: { "autoscaling.alpha.kubernetes.io/metrics": "{" } },
    spec: { maxReplicas: 3, scaleTargetRef: { kind: "Deployment", name: "web" } },
  } as unknown as ApiObject) as unknown as { metadata: object; spec: object };
  expect(metadata).toEqual({ name: "web" });
  expect(spec).toMatchObject({
    metrics: [{ type: "Resource", resource: { name: "cpu", target: { averageUtilization: 80 } } }],
  });
});
