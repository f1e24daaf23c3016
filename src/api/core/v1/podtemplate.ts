/** PodTemplate: a pod's blueprint on its own, for whoever makes pods of it. */
import { equalObjects, sortedKeys } from "#machinery/object.ts";
import type { PodTemplate as PodTemplateObject } from "../../generated/core/v1.ts";
import { containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import { dropDisabledTemplateFields } from "./pod-disabled-fields.ts";
import { rulesFor } from "./pod-validation/relaxed-rules.ts";
import { validatePodTemplate } from "./pod-validation/spec.ts";
import { templateWarnings } from "./pod-warnings.ts";

export type PodTemplate = PodTemplateObject;

function labelsText({ template }: PodTemplate): string {
  const labels = template.metadata?.labels ?? {};
  const pairs = sortedKeys(labels).map((key) => `${key}=${labels[key]}`);
  return pairs.length === 0 ? "<none>" : pairs.join(",");
}

export const PodTemplate = defineResource<PodTemplate>({
  group: "",
  version: "v1",
  plural: "podtemplates",
  printerColumns: [
    ...containerColumns<PodTemplate>(({ template }) => template.spec.containers).map((column) => ({
      ...column,
      priority: 0 as const,
    })),
    { name: "Pod Labels", value: labelsText },
  ],
  strategy: {
    defaults: ({ template }) => setPodTemplateDefaults(template),
    prepareForCreate({ metadata, template }) {
      metadata.generation = 1;
      dropDisabledTemplateFields(template, undefined);
    },
    prepareForUpdate({ metadata, template }, old) {
      dropDisabledTemplateFields(template, old.template);
      if (!equalObjects(template, old.template)) {
        metadata.generation = (old.metadata.generation ?? 0) + 1;
      }
    },
    validate: ({ template }) =>
      validatePodTemplate(template, "template", rulesFor(undefined, false)),
    validateUpdate: ({ template }, old) =>
      validatePodTemplate(template, "template", rulesFor(old.template, false)),
    warnings({ metadata, template }, old) {
      if (old !== undefined && old.metadata.generation === metadata.generation) return [];
      return templateWarnings(template, "template.");
    },
  },
});
