/** MutatingAdmissionPolicy: what writes are changed into, in CEL; a binding puts it to work. */
import type { MutatingAdmissionPolicy as MutatingAdmissionPolicyObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateMutatingPolicy } from "./mutating-policy-validation.ts";
import { shownParamKind } from "./policy-columns.ts";
import { setMatchDefaults } from "./policy-validation.ts";

export type MutatingAdmissionPolicy = MutatingAdmissionPolicyObject;

export const MutatingAdmissionPolicy = defineResource<MutatingAdmissionPolicy>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingadmissionpolicies",
  printerColumns: [
    { name: "Mutations", type: "integer", value: ({ spec }) => (spec.mutations ?? []).length },
    { name: "ParamKind", type: "string", value: ({ spec }) => shownParamKind(spec.paramKind) },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults({ spec }) {
      spec.failurePolicy ??= "Fail";
      setMatchDefaults(spec.matchConstraints);
    },
    validate: validateMutatingPolicy,
  },
});
