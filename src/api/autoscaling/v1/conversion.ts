/**
 * HorizontalPodAutoscaler between version 1 and version 2, in which it is stored. Version 1 has fields for CPU only: other metrics,
 * the behavior and the conditions travel as JSON in annotations, so that nothing is lost on the way there and back.
 */
import { DecodeError, decodeObject, JsonSyntaxError, parseJson } from "#machinery/decode.ts";
import { goJson } from "#machinery/json.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson, isObject, type JsonObject } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import type { ObjectSchema, Schema } from "#machinery/schema.ts";
import { kindSchema, typeSchema } from "../../facts.ts";
import type * as one from "../../generated/autoscaling/v1.ts";
import type * as two from "../../generated/autoscaling/v2.ts";
import {
  cpuMetric,
  defaultMetrics,
  dropRoundTripAnnotations,
  roundTripAnnotations,
} from "../v2/horizontalpodautoscaler.ts";

const group = "autoscaling";
const kind = "HorizontalPodAutoscaler";

/** Exactly the fields that are set. */
type Loose<T> = { [K in keyof T]: T[K] | undefined };
function present<T extends object>(fields: Loose<T>): T {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as T;
}

// Version 1 → version 2.

const isZero = (amount: string): boolean => quantityOf(amount).nanos === 0n;

function usageTarget(
  averageUtilization: number | undefined,
  averageValue: string | undefined,
): two.MetricTarget {
  const type = averageUtilization === undefined ? "AverageValue" : "Utilization";
  return present<two.MetricTarget>({ type, value: undefined, averageValue, averageUtilization });
}

function objectSpec(source: one.ObjectMetricSource): two.ObjectMetricSource {
  const { target, metricName: name, selector, targetValue, averageValue } = source;
  const byAverage = averageValue !== undefined;
  return {
    describedObject: target,
    metric: present<two.MetricIdentifier>({ name, selector }),
    target: present<two.MetricTarget>({
      type: byAverage ? "AverageValue" : "Value",
      // Version 1 can't leave its value out, and says "0" instead.
      value: byAverage && isZero(targetValue) ? undefined : targetValue,
      averageValue,
      averageUtilization: undefined,
    }),
  };
}

function externalSpec(source: one.ExternalMetricSource): two.ExternalMetricSource {
  const { metricName: name, metricSelector: selector } = source;
  const { targetValue: value, targetAverageValue: averageValue } = source;
  const type = value === undefined ? "AverageValue" : "Value";
  return {
    metric: present<two.MetricIdentifier>({ name, selector }),
    target: present<two.MetricTarget>({
      type,
      value,
      averageValue,
      averageUtilization: undefined,
    }),
  };
}

function specToStored(spec: one.MetricSpec): two.MetricSpec {
  const { type, object, pods, resource, containerResource, external } = spec;
  const usage = (source: one.ResourceMetricSource) =>
    usageTarget(source.targetAverageUtilization, source.targetAverageValue);
  return present<two.MetricSpec>({
    type,
    object: object && objectSpec(object),
    pods: pods && {
      metric: present<two.MetricIdentifier>({ name: pods.metricName, selector: pods.selector }),
      target: { type: "AverageValue", averageValue: pods.targetAverageValue },
    },
    resource: resource && { name: resource.name, target: usage(resource) },
    containerResource: containerResource && {
      name: containerResource.name,
      container: containerResource.container,
      target: usage(containerResource),
    },
    external: external && externalSpec(external),
  });
}

function statusToStored(status: one.MetricStatus): two.MetricStatus {
  const { type, object, pods, resource, containerResource, external } = status;
  const current = (value: string | undefined, averageValue: string | undefined) =>
    present<two.MetricValueStatus>({ value, averageValue, averageUtilization: undefined });
  const usage = (source: one.ResourceMetricStatus) =>
    present<two.MetricValueStatus>({
      value: undefined,
      averageValue: source.currentAverageValue,
      averageUtilization: source.currentAverageUtilization,
    });
  const metric = (name: string, selector: two.MetricIdentifier["selector"]) =>
    present<two.MetricIdentifier>({ name, selector });
  return present<two.MetricStatus>({
    type,
    object: object && {
      metric: metric(object.metricName, object.selector),
      current: current(object.currentValue, object.averageValue),
      describedObject: object.target,
    },
    pods: pods && {
      metric: metric(pods.metricName, pods.selector),
      current: current(undefined, pods.currentAverageValue),
    },
    resource: resource && { name: resource.name, current: usage(resource) },
    containerResource: containerResource && {
      name: containerResource.name,
      container: containerResource.container,
      current: usage(containerResource),
    },
    external: external && {
      metric: metric(external.metricName, external.metricSelector),
      current: current(external.currentValue, external.currentAverageValue),
    },
  });
}

// Version 2 → version 1.

function specFromStored(spec: two.MetricSpec): one.MetricSpec {
  const { type, object, pods, resource, containerResource, external } = spec;
  return present<one.MetricSpec>({
    type,
    object:
      object &&
      present<one.ObjectMetricSource>({
        target: object.describedObject,
        metricName: object.metric.name,
        targetValue: object.target.value ?? "0",
        selector: object.metric.selector,
        averageValue: object.target.averageValue,
      }),
    pods:
      pods &&
      present<one.PodsMetricSource>({
        metricName: pods.metric.name,
        targetAverageValue: pods.target.averageValue ?? "0",
        selector: pods.metric.selector,
      }),
    resource:
      resource &&
      present<one.ResourceMetricSource>({
        name: resource.name,
        targetAverageUtilization: resource.target.averageUtilization,
        targetAverageValue: resource.target.averageValue,
      }),
    containerResource:
      containerResource &&
      present<one.ContainerResourceMetricSource>({
        name: containerResource.name,
        targetAverageUtilization: containerResource.target.averageUtilization,
        targetAverageValue: containerResource.target.averageValue,
        container: containerResource.container,
      }),
    external:
      external &&
      present<one.ExternalMetricSource>({
        metricName: external.metric.name,
        metricSelector: external.metric.selector,
        targetValue: external.target.value,
        targetAverageValue: external.target.averageValue,
      }),
  });
}

function statusFromStored(status: two.MetricStatus): one.MetricStatus {
  const { type, object, pods, resource, containerResource, external } = status;
  return present<one.MetricStatus>({
    type,
    object:
      object &&
      present<one.ObjectMetricStatus>({
        target: object.describedObject,
        metricName: object.metric.name,
        currentValue: object.current.value ?? "0",
        selector: object.metric.selector,
        averageValue: object.current.averageValue,
      }),
    pods:
      pods &&
      present<one.PodsMetricStatus>({
        metricName: pods.metric.name,
        currentAverageValue: pods.current.averageValue ?? "0",
        selector: pods.metric.selector,
      }),
    resource:
      resource &&
      present<one.ResourceMetricStatus>({
        name: resource.name,
        currentAverageUtilization: resource.current.averageUtilization,
        currentAverageValue: resource.current.averageValue ?? "0",
      }),
    containerResource:
      containerResource &&
      present<one.ContainerResourceMetricStatus>({
        name: containerResource.name,
        currentAverageUtilization: containerResource.current.averageUtilization,
        currentAverageValue: containerResource.current.averageValue ?? "0",
        container: containerResource.container,
      }),
    external:
      external &&
      present<one.ExternalMetricStatus>({
        metricName: external.metric.name,
        metricSelector: external.metric.selector,
        currentValue: external.current.value ?? "0",
        currentAverageValue: external.current.averageValue,
      }),
  });
}

// Annotations.

/** Upstream: Go reads JSON's keys in any case, and the behavior's are written in capitals. */
function withOwnCase(schema: Schema, value: unknown): unknown {
  if (schema.type === "list" && Array.isArray(value)) {
    return value.map((item) => withOwnCase(schema.items, item));
  }
  if (schema.type !== "object" || !isObject(value)) return value;
  const names = new Map([...schema.fields.keys()].map((name) => [name.toLowerCase(), name]));
  const result: JsonObject = {};
  for (const [key, one] of Object.entries(value)) {
    const name = schema.fields.has(key) ? key : names.get(key.toLowerCase());
    const field = name === undefined ? undefined : schema.fields.get(name);
    if (name !== undefined && field !== undefined) result[name] = withOwnCase(field.schema, one);
  }
  return result;
}

const versionOne = "io.k8s.api.autoscaling.v1";
const metricSpec = (): ObjectSchema => typeSchema(`${versionOne}.MetricSpec`);
const metricStatus = (): ObjectSchema => typeSchema(`${versionOne}.MetricStatus`);
const condition = (): ObjectSchema => typeSchema(`${versionOne}.${kind}Condition`);
const behaviorSchema = (): ObjectSchema => typeSchema(`io.k8s.api.autoscaling.v2.${kind}Behavior`);

const fitted = (schema: ObjectSchema, value: unknown): object =>
  decodeObject(schema, withOwnCase(schema, value), { strict: false }).object;

/** What an annotation says; undefined: nothing, or nothing that can be read. */
function readAnnotation<T>(text: string | undefined, read: (value: unknown) => T): T | undefined {
  if (text === undefined) return undefined;
  try {
    return read(parseJson(text));
  } catch (error) {
    // Upstream: what can't be read is as if it were not there.
    if (error instanceof DecodeError || error instanceof JsonSyntaxError) return undefined;
    throw error;
  }
}

function readList<T>(text: string | undefined, schema: ObjectSchema): T[] | undefined {
  return readAnnotation(text, (value) => {
    if (value === null) return [];
    if (!Array.isArray(value)) throw new DecodeError("the annotation holds no list");
    return value.map((item) => fitted(schema, item) as T);
  });
}

function readBehavior(text: string | undefined): two.HorizontalPodAutoscalerBehavior | undefined {
  const behavior = readAnnotation<two.HorizontalPodAutoscalerBehavior>(text, (value) =>
    fitted(behaviorSchema(), value),
  );
  const isSaid = behavior?.scaleUp !== undefined || behavior?.scaleDown !== undefined;
  return isSaid ? behavior : undefined;
}

/** Upstream: as a type of its own without names for JSON is printed; readers rely on the capitals. */
function behaviorText({ scaleUp, scaleDown }: two.HorizontalPodAutoscalerBehavior): string {
  const rules = (given: two.HPAScalingRules | undefined): object | null =>
    given === undefined
      ? null
      : {
          StabilizationWindowSeconds: given.stabilizationWindowSeconds ?? null,
          SelectPolicy: given.selectPolicy ?? null,
          Policies:
            given.policies?.map(({ type, value, periodSeconds }) => ({
              Type: type,
              Value: value,
              PeriodSeconds: periodSeconds,
            })) ?? null,
          Tolerance: given.tolerance ?? null,
        };
  return goJson({ ScaleUp: rules(scaleUp), ScaleDown: rules(scaleDown) });
}

// The whole.

/** Conversions also see objects of which only some fields are given. */
type Partly<T extends ApiObject> = Omit<T, "spec" | "status"> & {
  spec?: T extends { spec: infer S } ? Partial<S> : never;
  status?: T extends { status: infer S } ? Partial<S> : never;
};

function formed(version: string, object: object): ApiObject {
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error(`no facts about ${kind} of ${group}/${version}`);
  const typed = { kind, apiVersion: `${group}/${version}`, ...object };
  return decodeObject(schema, typed, { strict: false }).object as unknown as ApiObject;
}

const isCpu = (metric: two.MetricSpec): boolean =>
  metric.type === "Resource" &&
  metric.resource?.name === "cpu" &&
  metric.resource.target.averageUtilization !== undefined;

/** Version 1 → version 2. Shares nothing with what it is given. */
export function toVersionTwo(object: ApiObject): ApiObject {
  const { metadata, spec = {}, status } = object as unknown as Partly<one.HorizontalPodAutoscaler>;
  const annotations = metadata.annotations ?? {};
  const { targetCPUUtilizationPercentage: percent, ...rest } = spec;
  const own = percent === undefined ? [] : [cpuMetric(percent)];
  const others = readList<one.MetricSpec>(annotations[roundTripAnnotations.metrics], metricSpec());
  const metrics = [...(others ?? []).map(specToStored), ...own];
  const next = {
    metadata: cloneJson(metadata),
    spec: {
      ...cloneJson(rest),
      metrics: metrics.length === 0 ? defaultMetrics() : metrics,
      behavior: readBehavior(annotations[roundTripAnnotations.behavior]),
    },
    status: statusInVersionTwo(status ?? {}, annotations),
  };
  dropRoundTripAnnotations(next.metadata);
  return formed("v2", next);
}

function statusInVersionTwo(
  given: Partial<one.HorizontalPodAutoscalerStatus>,
  annotations: Readonly<Record<string, string>>,
): object {
  const { currentCPUUtilizationPercentage: averageUtilization, ...rest } = given;
  const shown = readList<one.MetricStatus>(
    annotations[roundTripAnnotations.currentMetrics],
    metricStatus(),
  );
  const conditions = readList(annotations[roundTripAnnotations.conditions], condition());
  const own =
    averageUtilization === undefined
      ? undefined
      : [{ type: "Resource", resource: { name: "cpu", current: { averageUtilization } } }];
  return { ...cloneJson(rest), currentMetrics: shown?.map(statusToStored) ?? own, conditions };
}

/** Version 2 → version 1. Shares nothing with what it is given. */
export function toVersionOne(object: ApiObject): ApiObject {
  const { metadata, spec, status } = object as unknown as Partly<two.HorizontalPodAutoscaler>;
  const { metrics = [], behavior, ...limits } = spec ?? {};
  const { currentMetrics, conditions = [], ...counts } = status ?? {};
  const current = (currentMetrics as two.MetricStatus[] | null | undefined) ?? [];
  const used = current.filter(
    ({ type, resource }) => type === "Resource" && resource?.name === "cpu",
  );
  const next = {
    metadata: cloneJson(metadata),
    spec: {
      ...limits,
      targetCPUUtilizationPercentage: metrics.find(isCpu)?.resource?.target.averageUtilization,
    },
    status: {
      ...counts,
      currentCPUUtilizationPercentage: used
        .map(({ resource }) => resource?.current.averageUtilization)
        .findLast((percent) => percent !== undefined),
    },
  };
  dropRoundTripAnnotations(next.metadata);
  const texts: Record<string, string> = {};
  const listText = (schema: ObjectSchema, list: readonly object[]): string =>
    goJson(list.map((item) => fitted(schema, item)));
  const others = metrics.filter((metric) => !isCpu(metric));
  if (others.length > 0) {
    texts[roundTripAnnotations.metrics] = listText(metricSpec(), others.map(specFromStored));
  }
  // The status that its own fields say is here again: they don't hold the amount.
  if (current.length > 0) {
    texts[roundTripAnnotations.currentMetrics] = listText(
      metricStatus(),
      current.map(statusFromStored),
    );
  }
  if (behavior !== undefined) texts[roundTripAnnotations.behavior] = behaviorText(behavior);
  if (conditions.length > 0)
    texts[roundTripAnnotations.conditions] = listText(condition(), conditions);
  if (Object.keys(texts).length > 0) {
    next.metadata.annotations = { ...next.metadata.annotations, ...texts };
  }
  return formed("v1", next);
}
