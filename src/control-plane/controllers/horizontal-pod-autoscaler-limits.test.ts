import { expect, test } from "vitest";
import type {
  HorizontalPodAutoscalerBehavior,
  HPAScalingRules,
} from "#api/generated/autoscaling/v2.ts";
import {
  type LimitsQuestion,
  limitReplicas,
  ScaleHistory,
} from "./horizontal-pod-autoscaler-limits.ts";

const second = 1000;
const base: LimitsQuestion = {
  replicas: 5,
  wanted: 5,
  min: 1,
  max: 100,
  behavior: undefined,
  downscaleStabilizationMs: 300 * second,
  now: 0,
};
const decide = (change: Partial<LimitsQuestion>, history = new ScaleHistory()) => {
  const { replicas, able, limit } = limitReplicas({ ...base, ...change }, history);
  return [replicas, able.reason, limit.reason, limit.isLimited];
};

test("without a behavior: twice as many or four, within bounds", () => {
  expect(decide({ wanted: 9 })).toEqual([9, "ReadyForNewScale", "DesiredWithinRange", false]);
  expect(decide({ wanted: 50 })).toEqual([10, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(decide({ replicas: 1, wanted: 50 })).toEqual([
    4,
    "ReadyForNewScale",
    "ScaleUpLimit",
    true,
  ]);
  expect(decide({ wanted: 9, max: 7 })).toEqual([7, "ReadyForNewScale", "TooManyReplicas", true]);
  expect(decide({ wanted: 1, min: 3 })).toEqual([3, "ReadyForNewScale", "TooFewReplicas", true]);
});

test("fewer only once nothing recent asked for more", () => {
  const history = new ScaleHistory();
  history.recommended(8, 0);
  const down = (now: number) => decide({ replicas: 8, wanted: 2, now: now * second }, history);
  expect(down(60)).toEqual([8, "ScaleDownStabilized", "DesiredWithinRange", false]);
  expect(down(300)).toEqual([8, "ScaleDownStabilized", "DesiredWithinRange", false]);
  expect(down(301)).toEqual([2, "ReadyForNewScale", "DesiredWithinRange", false]);
});

const rules = (given: HPAScalingRules): HPAScalingRules => ({
  selectPolicy: "Max",
  stabilizationWindowSeconds: 0,
  ...given,
});
const behavior = (given: {
  up?: HPAScalingRules;
  down?: HPAScalingRules;
}): HorizontalPodAutoscalerBehavior => ({
  scaleUp: rules({ policies: [{ type: "Percent", value: 100, periodSeconds: 15 }], ...given.up }),
  scaleDown: rules({
    policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
    ...given.down,
  }),
});

test("policies say how fast; select which of them counts", () => {
  const policies = [
    { type: "Pods", value: 3, periodSeconds: 60 },
    { type: "Percent", value: 10, periodSeconds: 60 },
  ];
  const up = (selectPolicy: string, replicas = 10) =>
    decide({ replicas, wanted: 50, behavior: behavior({ up: { policies, selectPolicy } }) });
  expect(up("Max")).toEqual([13, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(up("Min")).toEqual([11, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(up("Disabled")).toEqual([10, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(up("Min", 1)).toEqual([2, "ReadyForNewScale", "ScaleUpLimit", true]);
  const down = (selectPolicy: string, replicas = 10) =>
    decide({ replicas, wanted: 1, behavior: behavior({ down: { policies, selectPolicy } }) });
  expect(down("Max")).toEqual([7, "ReadyForNewScale", "ScaleDownLimit", true]);
  expect(down("Min")).toEqual([9, "ReadyForNewScale", "ScaleDownLimit", true]);
  expect(down("Disabled")).toEqual([10, "ReadyForNewScale", "ScaleDownLimit", true]);
  expect(down("Min", 19)).toEqual([17, "ReadyForNewScale", "ScaleDownLimit", true]);
});

test("what was done within the period counts against it", () => {
  const history = new ScaleHistory();
  const policies = [{ type: "Pods", value: 4, periodSeconds: 60 }];
  const given = behavior({ up: { policies } });
  const up = (replicas: number, now: number) =>
    decide({ replicas, wanted: 50, behavior: given, now: now * second }, history);
  expect(up(5, 0)[0]).toBe(9);
  history.scaled(5, 9, 0);
  expect(up(9, 30)).toEqual([9, "ReadyForNewScale", "ScaleUpLimit", true]);
  expect(up(9, 60)[0]).toBe(13);
  history.scaled(9, 7, 60 * second);
  // Two of them were taken away again: six may come.
  expect(up(7, 61)[0]).toBe(13);
});

test("windows: up to the lowest of the recent wishes, down to the highest", () => {
  const history = new ScaleHistory();
  history.recommended(6, 0);
  const given = behavior({
    up: { stabilizationWindowSeconds: 60 },
    down: { stabilizationWindowSeconds: 120 },
  });
  const at = (now: number, wanted: number, replicas = 5) =>
    decide({ replicas, wanted, behavior: given, now: now * second }, history);
  expect(at(30, 8)).toEqual([6, "ScaleUpStabilized", "DesiredWithinRange", false]);
  expect(at(61, 9)).toEqual([8, "ScaleUpStabilized", "DesiredWithinRange", false]);
  expect(at(100, 1, 9)).toEqual([9, "ScaleDownStabilized", "DesiredWithinRange", false]);
  expect(at(221, 1, 9)).toEqual([1, "ReadyForNewScale", "DesiredWithinRange", false]);
});

test("without a window of its own scaling down looks back as long as the setting says", () => {
  const history = new ScaleHistory();
  history.recommended(9, 0);
  const given = { ...behavior({}) };
  given.scaleDown = { selectPolicy: "Max", policies: given.scaleDown?.policies ?? [] };
  const at = (now: number) =>
    decide({ replicas: 9, wanted: 1, behavior: given, now: now * second }, history)[0];
  expect(at(299)).toBe(9);
  expect(at(300)).toBe(1);
});
