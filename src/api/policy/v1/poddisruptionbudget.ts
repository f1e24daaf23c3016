/** PodDisruptionBudget: how many Pods may be away at once by somebody's will. */
import { type FieldError, invalid, notSupported } from "#machinery/field-error.ts";
import { validateConditions } from "#machinery/meta-validation.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { validateAtMostAll, validateIntOrPercent } from "../../apps/v1/workload-validation.ts";
import { nonNegative } from "../../core/v1/pod-validation/fields.ts";
import type * as g from "../../generated/policy/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type PodDisruptionBudget = g.PodDisruptionBudget;

const policies = ["AlwaysAllow", "IfHealthyBudget"];

function validateSpec({ spec }: PodDisruptionBudget): FieldError[] {
  const { minAvailable, maxUnavailable, selector, unhealthyPodEvictionPolicy: policy } = spec;
  const errors: FieldError[] = [];
  if (minAvailable !== undefined && maxUnavailable !== undefined) {
    errors.push(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
  }
  for (const [name, value] of Object.entries({ minAvailable, maxUnavailable })) {
    if (value === undefined) continue;
    errors.push(...validateIntOrPercent(value, `spec.${name}`));
    errors.push(...validateAtMostAll(value, `spec.${name}`));
  }
  errors.push(...validateLabelSelector(selector, "spec.selector"));
  if (policy !== undefined && !policies.includes(policy)) {
    errors.push(notSupported("spec.unhealthyPodEvictionPolicy", policy, policies));
  }
  return errors;
}

const counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] as const;

const amountCell = (value: number | string | undefined): string =>
  value === undefined ? "N/A" : String(value);

export const PodDisruptionBudget = defineResource<PodDisruptionBudget>({
  group: "policy",
  version: "v1",
  plural: "poddisruptionbudgets",
  printerColumns: [
    { name: "Min Available", value: ({ spec }) => amountCell(spec.minAvailable) },
    { name: "Max Unavailable", value: ({ spec }) => amountCell(spec.maxUnavailable) },
    {
      name: "Allowed Disruptions",
      type: "integer",
      value: ({ status }) => status.disruptionsAllowed,
    },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    validate: validateSpec,
    validateUpdate: validateSpec,
    validateStatusUpdate: ({ status }) => [
      ...validateConditions(status.conditions ?? [], "status.conditions"),
      ...counts.flatMap((name) => nonNegative(`status.${name}`, status[name])),
    ],
  },
});
