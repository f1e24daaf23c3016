/**
 * The types in policies: says in a ValidatingAdmissionPolicy's status what the kinds that it matches make of its expressions, once for
 * each generation. Reads policies and CustomResourceDefinitions; writes the policies' status.
 */

import { type KnownKind, typeWarnings } from "#api/admissionregistration/v1/type-check.ts";
import { ValidatingAdmissionPolicy } from "#api/admissionregistration/v1/validatingadmissionpolicy.ts";
import { CustomResourceDefinition } from "#api/apiextensions/v1/customresourcedefinition.ts";
import { resourceFacts } from "#api/facts.ts";
import { isStatus } from "#machinery/status-error.ts";
import { defineController } from "./runner.ts";

const manager = "validatingadmissionpolicy-status";

function kindsOf({ spec }: CustomResourceDefinition): KnownKind[] {
  const { group, names } = spec;
  return spec.versions
    .filter(({ served }) => served)
    .map(({ name: version, schema }) => ({
      group,
      version,
      kind: names.kind,
      plural: names.plural,
      ...(schema?.openAPIV3Schema === undefined ? {} : { openApi: schema.openAPIV3Schema }),
    }));
}

export const policyTypesController = defineController<ValidatingAdmissionPolicy>({
  name: manager,
  reconciles: ValidatingAdmissionPolicy,
  reads: [CustomResourceDefinition],
  async reconcile({ metadata, spec, status }, context) {
    const { name, generation = 0, deletionTimestamp } = metadata;
    const isSeen = generation <= (status.observedGeneration ?? 0);
    if (isSeen || deletionTimestamp !== undefined) return;
    const custom = [...context.cache(CustomResourceDefinition).list()].flatMap(kindsOf);
    const expressionWarnings = typeWarnings(spec, [...resourceFacts, ...custom]);
    const body = {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name },
      status: {
        observedGeneration: generation,
        typeChecking: expressionWarnings.length === 0 ? {} : { expressionWarnings },
      },
    };
    const options = { subresource: "status", fieldManager: manager, force: true };
    try {
      await context.client.patch(ValidatingAdmissionPolicy, { name }, "apply", body, options);
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  },
});
