/** ReplicaSet: so many Pods alike. */
import { formatLabelSelector } from "#machinery/selector.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import type * as g from "../../generated/apps/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type ReplicaSet = g.ReplicaSet;

export const ReplicaSet = defineResource<ReplicaSet>({
  group: "apps",
  version: "v1",
  plural: "replicasets",
  selectableFields: { "status.replicas": ({ status }) => String(status.replicas ?? 0) },
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
  },
});
