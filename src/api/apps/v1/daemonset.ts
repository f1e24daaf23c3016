/** DaemonSet: one Pod on every node that fits. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import {
  compileLabelSelector,
  formatLabelSelector,
  validateLabelSelector,
} from "#machinery/selector.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import { rulesFor } from "../../core/v1/pod-validation/relaxed-rules.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { validatePodTemplate } from "../../core/v1/pod-validation/spec.ts";
import { templateWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/apps/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  intOrPercentValue,
  validateAtMostAll,
  validateIntOrPercent,
  validateNotDecremented,
} from "./workload-validation.ts";

export type DaemonSet = g.DaemonSet;

/** Upstream: a field of the retired versions, kept as an annotation by all who roll back. */
export const templateGenerationAnnotation = "deprecated.daemonset.template.generation";

export const templateGenerationOf = ({ metadata }: DaemonSet): number => {
  const text = metadata.annotations?.[templateGenerationAnnotation] ?? "";
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : 0;
};

function setDaemonSetDefaults(set: DaemonSet): void {
  const { spec, metadata } = set;
  // Upstream: a number internally, which is always shown; so whoever writes the object owns it.
  if (metadata.annotations?.[templateGenerationAnnotation] === undefined)
    setTemplateGeneration(set, 0);
  const { updateStrategy } = spec;
  updateStrategy.type ||= "RollingUpdate";
  if (updateStrategy.type === "RollingUpdate") {
    updateStrategy.rollingUpdate ??= {};
    updateStrategy.rollingUpdate.maxUnavailable ??= 1;
    updateStrategy.rollingUpdate.maxSurge ??= 0;
  }
  spec.revisionHistoryLimit ??= 10;
  setPodTemplateDefaults(spec.template);
}

function setTemplateGeneration({ metadata }: DaemonSet, generation: number): void {
  metadata.annotations = {
    ...metadata.annotations,
    [templateGenerationAnnotation]: String(generation),
  };
}

function validateStrategy({ updateStrategy }: g.DaemonSetSpec): FieldError[] {
  const path = "spec.updateStrategy";
  const { type, rollingUpdate } = updateStrategy;
  if (type === "OnDelete") return [];
  if (type !== "RollingUpdate") {
    return [notSupported(path, updateStrategy, ["RollingUpdate", "OnDelete"])];
  }
  if (rollingUpdate === undefined) return [required(`${path}.rollingUpdate`)];
  const { maxUnavailable, maxSurge } = rollingUpdate;
  const unavailableAt = `${path}.rollingUpdate.maxUnavailable`;
  const surgeAt = `${path}.rollingUpdate.maxSurge`;
  const errors = [
    ...validateIntOrPercent(maxUnavailable, unavailableAt),
    ...validateIntOrPercent(maxSurge, surgeAt),
    ...validateAtMostAll(maxUnavailable, unavailableAt),
    ...validateAtMostAll(maxSurge, surgeAt),
  ];
  const hasUnavailable = intOrPercentValue(maxUnavailable) !== 0;
  const hasSurge = intOrPercentValue(maxSurge) !== 0;
  if (hasUnavailable && hasSurge) {
    errors.push(invalid(surgeAt, maxSurge, "may not be set when maxUnavailable is non-zero"));
  } else if (!hasUnavailable && !hasSurge) {
    errors.push(required(unavailableAt, "cannot be 0 when maxSurge is 0"));
  }
  return errors;
}

function validateSpec({ spec }: DaemonSet, rules: PodRules): FieldError[] {
  const { selector, template } = spec;
  const errors = validateLabelSelector(selector, "spec.selector");
  const labels = template.metadata?.labels;
  const usable = selector === undefined || errors.length === 0;
  if (usable && !compileLabelSelector(selector)(labels)) {
    const detail = "`selector` does not match template `labels`";
    errors.push(invalid("spec.template.metadata.labels", labels, detail));
  }
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  const terms = Object.keys(matchLabels).length + matchExpressions.length;
  if (selector !== undefined && selector !== null && terms === 0) {
    errors.push(invalid("spec.selector", selector, "empty selector is invalid for daemonset"));
  }
  errors.push(...validatePodTemplate(template, "spec.template", rules));
  const { restartPolicy = "", activeDeadlineSeconds } = template.spec;
  if (restartPolicy !== "Always") {
    errors.push(notSupported("spec.template.spec.restartPolicy", restartPolicy, ["Always"]));
  }
  if (activeDeadlineSeconds !== undefined) {
    const detail = "activeDeadlineSeconds in DaemonSet is not Supported";
    errors.push(forbidden("spec.template.spec.activeDeadlineSeconds", detail));
  }
  return [
    ...errors,
    ...nonNegative("spec.minReadySeconds", spec.minReadySeconds),
    ...validateStrategy(spec),
    ...nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit),
  ];
}

const counts = [
  "currentNumberScheduled",
  "numberMisscheduled",
  "desiredNumberScheduled",
  "numberReady",
  "observedGeneration",
  "updatedNumberScheduled",
  "numberAvailable",
  "numberUnavailable",
  "collisionCount",
] as const;

const labelsText = (labels: Readonly<Record<string, string>> | undefined): string =>
  formatLabelSelector({ matchLabels: labels ?? {} });

export const DaemonSet = defineResource<DaemonSet>({
  group: "apps",
  version: "v1",
  plural: "daemonsets",
  printerColumns: [
    { name: "Desired", type: "integer", value: ({ status }) => status.desiredNumberScheduled },
    { name: "Current", type: "integer", value: ({ status }) => status.currentNumberScheduled },
    { name: "Ready", type: "integer", value: ({ status }) => status.numberReady },
    {
      name: "Up-to-date",
      type: "integer",
      value: ({ status }) => status.updatedNumberScheduled ?? 0,
    },
    { name: "Available", type: "integer", value: ({ status }) => status.numberAvailable ?? 0 },
    { name: "Node Selector", value: ({ spec }) => labelsText(spec.template.spec.nodeSelector) },
    ageColumn,
    ...containerColumns<DaemonSet>(({ spec }) => spec.template.spec.containers),
    { name: "Selector", priority: 1, value: ({ spec }) => formatLabelSelector(spec.selector) },
  ],
  strategy: {
    tracksGeneration: true,
    defaults: setDaemonSetDefaults,
    prepareForCreate(set) {
      dropDisabledTemplateFields(set.spec.template, undefined);
      setTemplateGeneration(set, Math.max(1, templateGenerationOf(set)));
    },
    prepareForUpdate(set, old) {
      dropDisabledTemplateFields(set.spec.template, old.spec.template);
      const changed = !equalObjects(set.spec.template, old.spec.template);
      setTemplateGeneration(set, templateGenerationOf(old) + Number(changed));
    },
    validate: (set) => validateSpec(set, rulesFor(undefined, false)),
    validateUpdate: (set, old) => [
      ...validateImmutable(set.spec.selector, old.spec.selector, "spec.selector"),
      ...validateSpec(set, rulesFor(old.spec.template, false)),
    ],
    validateStatusUpdate: ({ status }, old) => [
      ...counts.flatMap((name) => nonNegative(`status.${name}`, status[name])),
      ...validateNotDecremented("collisionCount", status, old.status),
    ],
    warnings({ spec, metadata }, old) {
      if (old !== undefined && old.metadata.generation === metadata.generation) return [];
      const same = old !== undefined && equalObjects(old.spec.template, spec.template);
      return same ? [] : templateWarnings(spec.template, "spec.template.");
    },
  },
});
