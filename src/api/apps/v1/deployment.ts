/** Deployment: ReplicaSets that replace each other. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { formatRequirements, requirementsOf } from "#machinery/selector.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import { rulesFor } from "../../core/v1/pod-validation/relaxed-rules.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { workloadWarnings } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/apps/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  intOrPercentValue,
  validateAtMostAll,
  validateCounts,
  validateIntOrPercent,
  validateNotDecremented,
  validateRunningTemplate,
  validateSelector,
} from "./workload-validation.ts";

export type Deployment = g.Deployment;

const surgeDefault = "25%";
const unavailableDefault = "25%";

function setDeploymentDefaults({ spec }: Deployment): void {
  spec.replicas ??= 1;
  const { strategy } = spec;
  strategy.type ||= "RollingUpdate";
  if (strategy.type === "RollingUpdate") {
    strategy.rollingUpdate ??= {};
    strategy.rollingUpdate.maxUnavailable ??= unavailableDefault;
    strategy.rollingUpdate.maxSurge ??= surgeDefault;
  }
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  setPodTemplateDefaults(spec.template);
}

function selectorText({ spec }: Deployment): string {
  const requirements = requirementsOf(spec.selector ?? {});
  return requirements === undefined ? "<invalid>" : formatRequirements(requirements);
}

function validateStrategy({ strategy }: g.DeploymentSpec): FieldError[] {
  const path = "spec.strategy";
  const { type, rollingUpdate } = strategy;
  const at = `${path}.rollingUpdate`;
  if (type === "Recreate") {
    if (rollingUpdate === undefined) return [];
    return [forbidden(at, "may not be specified when strategy `type` is 'Recreate'")];
  }
  if (type !== "RollingUpdate") {
    return [notSupported(path, strategy, ["Recreate", "RollingUpdate"])];
  }
  if (rollingUpdate === undefined) {
    return [required(at, "this should be defaulted and never be nil")];
  }
  const { maxUnavailable, maxSurge } = rollingUpdate;
  const errors = [
    ...validateIntOrPercent(maxUnavailable, `${at}.maxUnavailable`),
    ...validateIntOrPercent(maxSurge, `${at}.maxSurge`),
  ];
  if (intOrPercentValue(maxUnavailable) === 0 && intOrPercentValue(maxSurge) === 0) {
    const detail = "may not be 0 when `maxSurge` is 0";
    errors.push(invalid(`${at}.maxUnavailable`, maxUnavailable, detail));
  }
  return [...errors, ...validateAtMostAll(maxUnavailable, `${at}.maxUnavailable`)];
}

function validateSpec({ spec }: Deployment, rules: PodRules): FieldError[] {
  const { minReadySeconds = 0, progressDeadlineSeconds } = spec;
  const deadlineAt = "spec.progressDeadlineSeconds";
  const errors = [
    ...nonNegative("spec.replicas", spec.replicas),
    ...validateSelector(spec.selector, "spec.selector"),
    ...validateRunningTemplate(spec.template, spec.selector, "spec", rules),
    ...validateStrategy(spec),
    ...nonNegative("spec.minReadySeconds", minReadySeconds),
    ...nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit),
    ...nonNegative(deadlineAt, progressDeadlineSeconds),
  ];
  if (progressDeadlineSeconds !== undefined && progressDeadlineSeconds <= minReadySeconds) {
    const detail = "must be greater than minReadySeconds";
    errors.push(invalid(deadlineAt, progressDeadlineSeconds, detail));
  }
  return errors;
}

const partsOfReplicas = ["updatedReplicas", "readyReplicas", "availableReplicas"] as const;

export const Deployment = defineResource<Deployment>({
  group: "apps",
  version: "v1",
  plural: "deployments",
  printerColumns: [
    {
      name: "Ready",
      value: ({ spec, status }) => `${status.readyReplicas ?? 0}/${spec.replicas ?? 0}`,
    },
    { name: "Up-to-date", value: ({ status }) => status.updatedReplicas ?? 0 },
    { name: "Available", value: ({ status }) => status.availableReplicas ?? 0 },
    ageColumn,
    ...containerColumns<Deployment>(({ spec }) => spec.template.spec.containers),
    { name: "Selector", priority: 1, value: selectorText },
  ],
  strategy: {
    tracksGeneration: true,
    defaults: setDeploymentDefaults,
    prepareForCreate: ({ spec }) => dropDisabledTemplateFields(spec.template, undefined),
    prepareForUpdate({ metadata, spec }, old) {
      dropDisabledTemplateFields(spec.template, old.spec.template);
      // Annotations are copied to the ReplicaSets, so the controller has to notice them.
      if (!equalObjects(metadata.annotations ?? {}, old.metadata.annotations ?? {})) {
        metadata.generation = (old.metadata.generation ?? 0) + 1;
      }
    },
    validate: (deployment) => validateSpec(deployment, rulesFor(undefined, false)),
    validateUpdate: (deployment, old) => [
      ...validateSpec(deployment, rulesFor(old.spec.template, false)),
      ...validateImmutable(deployment.spec.selector, old.spec.selector, "spec.selector"),
    ],
    validateStatusUpdate: ({ status }, old) => [
      ...validateCounts(status, partsOfReplicas),
      ...validateNotDecremented("collisionCount", status, old.status),
    ],
    warnings: workloadWarnings,
    statusResetFields: ["metadata.labels"],
    prepareForStatusUpdate({ metadata }, old) {
      if (old.metadata.labels === undefined) delete metadata.labels;
      else metadata.labels = { ...old.metadata.labels };
    },
  },
});
