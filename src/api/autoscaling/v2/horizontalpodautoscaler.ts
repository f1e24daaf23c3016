/** HorizontalPodAutoscaler: keeps as many replicas of a workload as its metrics ask for. */
import type * as g from "../../generated/autoscaling/v2.ts";
import { defineResource } from "../../resource.ts";
import { autoscalerColumns } from "./columns.ts";
import { validateAutoscaler, validateAutoscalerStatus } from "./validation.ts";

export type HorizontalPodAutoscaler = g.HorizontalPodAutoscaler;

const prefix = "autoscaling.alpha.kubernetes.io/";
/** Where version 1 keeps what it has no fields for; version 2 knows none of them. */
export const roundTripAnnotations = {
  metrics: `${prefix}metrics`,
  currentMetrics: `${prefix}current-metrics`,
  conditions: `${prefix}conditions`,
  behavior: `${prefix}behavior`,
  scaleDownTolerance: `${prefix}scale-down-tolerance`,
  scaleUpTolerance: `${prefix}scale-up-tolerance`,
} as const;

/** In place. */
export function dropRoundTripAnnotations(metadata: { annotations?: Record<string, string> }): void {
  const { annotations } = metadata;
  if (annotations === undefined) return;
  const names = Object.values(roundTripAnnotations).filter((name) => name in annotations);
  if (names.length === 0) return;
  for (const name of names) delete annotations[name];
  if (Object.keys(annotations).length === 0) delete metadata.annotations;
}

/** Percent of the request that containers shall use where nothing else is said. */
const cpuPercent = 80;
/** What stands for no metrics at all. */
export const defaultMetrics = (): g.MetricSpec[] => [cpuMetric(cpuPercent)];
export const cpuMetric = (averageUtilization: number): g.MetricSpec => ({
  type: "Resource",
  resource: { name: "cpu", target: { type: "Utilization", averageUtilization } },
});

const defaultScaleUp = (): g.HPAScalingRules => ({
  stabilizationWindowSeconds: 0,
  selectPolicy: "Max",
  policies: [
    { type: "Pods", value: 4, periodSeconds: 15 },
    { type: "Percent", value: 100, periodSeconds: 15 },
  ],
});
/** The window is left to the controller, for which it is a setting. */
const defaultScaleDown = (): g.HPAScalingRules => ({
  selectPolicy: "Max",
  policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
});

export const HorizontalPodAutoscaler = defineResource<HorizontalPodAutoscaler>({
  group: "autoscaling",
  version: "v2",
  plural: "horizontalpodautoscalers",
  printerColumns: autoscalerColumns((object) => object),
  strategy: {
    tracksGeneration: true,
    defaults({ metadata, spec }) {
      dropRoundTripAnnotations(metadata);
      spec.minReplicas ??= 1;
      if ((spec.metrics ?? []).length === 0) spec.metrics = defaultMetrics();
      const { behavior } = spec;
      if (behavior === undefined) return;
      behavior.scaleUp = { ...defaultScaleUp(), ...behavior.scaleUp };
      behavior.scaleDown = { ...defaultScaleDown(), ...behavior.scaleDown };
    },
    validate: (object) => validateAutoscaler(object),
    validateUpdate: (object, old) => validateAutoscaler(object, old),
    validateStatusUpdate: validateAutoscalerStatus,
  },
});
