/** ReplicationController: the forerunner of ReplicaSet, with a plain map as its selector. */
import { type FieldError, required } from "#machinery/field-error.ts";
import { compileLabelMap, formatLabelSelector } from "#machinery/selector.ts";
import { validateCounts, validateLastingTemplate } from "../../apps/v1/workload-validation.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import { dropDisabledTemplateFields } from "./pod-disabled-fields.ts";
import { nonNegative } from "./pod-validation/fields.ts";
import { rulesFor } from "./pod-validation/relaxed-rules.ts";
import type { PodRules } from "./pod-validation/rules.ts";
import { nameWarnings, templateWarnings } from "./pod-warnings.ts";

export type ReplicationController = g.ReplicationController;

const isEmpty = (map: Readonly<Record<string, string>> | undefined): boolean =>
  Object.keys(map ?? {}).length === 0;

function setReplicationControllerDefaults({ metadata, spec }: ReplicationController): void {
  spec.replicas ??= 1;
  if (spec.template === undefined) return;
  setPodTemplateDefaults(spec.template);
  const labels = spec.template.metadata?.labels;
  if (labels === undefined) return;
  if (isEmpty(spec.selector)) spec.selector = { ...labels };
  if (isEmpty(metadata.labels)) metadata.labels = { ...labels };
}

function validateTemplate(
  { selector, template }: g.ReplicationControllerSpec,
  rules: PodRules,
): FieldError[] {
  const path = "spec.template";
  if (template === undefined) return [required(path)];
  const isSelected = isEmpty(selector) || compileLabelMap(selector)(template.metadata?.labels);
  return validateLastingTemplate(template, isSelected, path, "ReplicationController", rules);
}

const validateSpec = ({ spec }: ReplicationController, rules: PodRules): FieldError[] => [
  ...nonNegative("spec.minReadySeconds", spec.minReadySeconds),
  ...(isEmpty(spec.selector) ? [required("spec.selector")] : []),
  ...nonNegative("spec.replicas", spec.replicas),
  ...validateTemplate(spec, rules),
];

const rulesOf = (old: ReplicationController): PodRules => rulesFor(old.spec.template, false);
const partsOfReplicas = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] as const;

export const ReplicationController = defineResource<ReplicationController>({
  group: "",
  version: "v1",
  plural: "replicationcontrollers",
  storagePrefix: "/registry/controllers",
  selectableFields: { "status.replicas": ({ status }) => String(status.replicas ?? 0) },
  printerColumns: [
    { name: "Desired", type: "integer", value: ({ spec }) => spec.replicas ?? 0 },
    { name: "Current", type: "integer", value: ({ status }) => status.replicas ?? 0 },
    { name: "Ready", type: "integer", value: ({ status }) => status.readyReplicas ?? 0 },
    ageColumn,
    ...containerColumns<ReplicationController>(({ spec }) => spec.template?.spec.containers),
    {
      name: "Selector",
      priority: 1,
      value: ({ spec }) => formatLabelSelector({ matchLabels: spec.selector ?? {} }),
    },
  ],
  strategy: {
    tracksGeneration: true,
    orphansByDefault: true,
    defaults: setReplicationControllerDefaults,
    prepareForCreate({ spec }) {
      if (spec.template !== undefined) dropDisabledTemplateFields(spec.template, undefined);
    },
    prepareForUpdate({ spec }, old) {
      if (spec.template !== undefined) {
        dropDisabledTemplateFields(spec.template, old.spec.template);
      }
    },
    validate: (controller) => validateSpec(controller, rulesFor(undefined, false)),
    validateUpdate: (controller, old) => validateSpec(controller, rulesOf(old)),
    validateStatusUpdate: ({ status }) => validateCounts(status, partsOfReplicas),
    warnings({ metadata, spec }, old) {
      if (old !== undefined && old.metadata.generation === metadata.generation) return [];
      const named =
        old === undefined ? nameWarnings(metadata.name ?? "", "Pod names and hostnames") : [];
      if (spec.template === undefined) return named;
      return [...named, ...templateWarnings(spec.template, "spec.template.")];
    },
  },
});
