/** ReplicaSet: so many Pods alike. */
import type { FieldError } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { formatLabelSelector } from "#machinery/selector.ts";
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
  validateCounts,
  validateRunningTemplate,
  validateSelector,
} from "./workload-validation.ts";

export type ReplicaSet = g.ReplicaSet;

const validateSpec = ({ spec }: ReplicaSet, rules: PodRules): FieldError[] => [
  ...nonNegative("spec.replicas", spec.replicas),
  ...nonNegative("spec.minReadySeconds", spec.minReadySeconds),
  ...validateSelector(spec.selector, "spec.selector"),
  ...validateRunningTemplate(spec.template, spec.selector, "spec", rules),
];

const partsOfReplicas = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] as const;

export const ReplicaSet = defineResource<ReplicaSet>({
  group: "apps",
  version: "v1",
  plural: "replicasets",
  printerColumns: [
    { name: "Desired", type: "integer", value: ({ spec }) => spec.replicas ?? 0 },
    { name: "Current", type: "integer", value: ({ status }) => status.replicas ?? 0 },
    { name: "Ready", type: "integer", value: ({ status }) => status.readyReplicas ?? 0 },
    ageColumn,
    ...containerColumns<ReplicaSet>(({ spec }) => spec.template.spec.containers),
    { name: "Selector", priority: 1, value: ({ spec }) => formatLabelSelector(spec.selector) },
  ],
  strategy: {
    tracksGeneration: true,
    defaults({ spec }) {
      spec.replicas ??= 1;
      setPodTemplateDefaults(spec.template);
    },
    prepareForCreate: ({ spec }) => dropDisabledTemplateFields(spec.template, undefined),
    prepareForUpdate: ({ spec }, old) =>
      dropDisabledTemplateFields(spec.template, old.spec.template),
    validate: (set) => validateSpec(set, rulesFor(undefined, false)),
    validateUpdate: (set, old) => [
      ...validateSpec(set, rulesFor(old.spec.template, false)),
      ...validateImmutable(set.spec.selector, old.spec.selector, "spec.selector"),
    ],
    validateStatusUpdate: ({ status }) => validateCounts(status, partsOfReplicas),
    warnings: workloadWarnings,
  },
});
