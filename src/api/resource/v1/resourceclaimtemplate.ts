/** ResourceClaimTemplate: the claim that each pod which names it gets for itself. */
import type { FieldError } from "#machinery/field-error.ts";
import { validateAnnotations, validateImmutable } from "#machinery/meta-validation.ts";
import { validateLabels } from "#machinery/selector.ts";
import type * as g from "../../generated/resource/v1.ts";
import { defineResource } from "../../resource.ts";
import { dropClaimFields, findInClaimSpec, setClaimDefaults } from "./claim-validation.ts";
import { Findings } from "./findings.ts";

export type ResourceClaimTemplate = g.ResourceClaimTemplate;

export function validateTemplate(
  { spec }: ResourceClaimTemplate,
  old?: ResourceClaimTemplate,
): FieldError[] {
  const found = new Findings();
  const { labels = {}, annotations = {} } = spec.metadata ?? {};
  found.tell(
    ...validateAnnotations(annotations, "spec.metadata.annotations"),
    ...validateLabels(labels, "spec.metadata.labels"),
  );
  findInClaimSpec(found, spec.spec, "spec.spec");
  if (old !== undefined) found.tell(...validateImmutable(spec, old.spec, "spec"));
  return found.all();
}

export const ResourceClaimTemplate = defineResource<ResourceClaimTemplate>({
  group: "resource.k8s.io",
  version: "v1",
  plural: "resourceclaimtemplates",
  strategy: {
    defaults: ({ spec }) => setClaimDefaults(spec.spec),
    prepareForCreate: ({ spec }) => dropClaimFields(spec.spec),
    prepareForUpdate: ({ spec }) => dropClaimFields(spec.spec),
    validate: (template) => validateTemplate(template),
    validateUpdate: (template, old) => validateTemplate(template, old),
  },
});
