/** PodTemplate: a template by itself. No controller looks at it. */
import { formatLabelSelector } from "#machinery/selector.ts";
import type * as g from "../../generated/core/v1.ts";
import { containerColumns } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import { dropDisabledTemplateFields } from "./pod-disabled-fields.ts";
import { rulesFor } from "./pod-validation/relaxed-rules.ts";
import { validatePodTemplate } from "./pod-validation/spec.ts";
import { templateWarnings } from "./pod-warnings.ts";

export type PodTemplate = g.PodTemplate;

export const PodTemplate = defineResource<PodTemplate>({
  group: "",
  version: "v1",
  plural: "podtemplates",
  printerColumns: [
    ...containerColumns<PodTemplate>(({ template }) => template.spec.containers).map(
      ({ priority: _, ...column }) => column,
    ),
    {
      name: "Pod Labels",
      value: ({ template }) =>
        formatLabelSelector({ matchLabels: template.metadata?.labels ?? {} }),
    },
  ],
  strategy: {
    tracksGeneration: true,
    defaults: ({ template }) => setPodTemplateDefaults(template),
    prepareForCreate: ({ template }) => dropDisabledTemplateFields(template, undefined),
    prepareForUpdate: ({ template }, old) => dropDisabledTemplateFields(template, old.template),
    validate: ({ template }) =>
      validatePodTemplate(template, "template", rulesFor(undefined, false)),
    validateUpdate: ({ template }, old) =>
      validatePodTemplate(template, "template", rulesFor(old.template, false)),
    warnings({ metadata, template }, old) {
      const same = old !== undefined && old.metadata.generation === metadata.generation;
      return same ? [] : templateWarnings(template, "template.");
    },
  },
});
