/** Deployment: ReplicaSets that replace each other. */
import { equalObjects } from "#machinery/object.ts";
import { formatRequirements, requirementsOf } from "#machinery/selector.ts";
import { setPodTemplateDefaults } from "../../core/v1/pod-defaults.ts";
import { dropDisabledTemplateFields } from "../../core/v1/pod-disabled-fields.ts";
import type * as g from "../../generated/apps/v1.ts";
import { ageColumn, containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

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
    prepareForStatusUpdate({ metadata }, old) {
      if (old.metadata.labels === undefined) delete metadata.labels;
      else metadata.labels = { ...old.metadata.labels };
    },
  },
});
