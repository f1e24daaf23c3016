/** ValidatingAdmissionPolicy: what writes must be like, in CEL; a binding puts it to work. */
import type { ValidatingAdmissionPolicy as ValidatingAdmissionPolicyObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { shownParamKind } from "./policy-columns.ts";
import { setMatchDefaults, validatePolicy } from "./policy-validation.ts";

export type ValidatingAdmissionPolicy = ValidatingAdmissionPolicyObject;

export const ValidatingAdmissionPolicy = defineResource<ValidatingAdmissionPolicy>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingadmissionpolicies",
  printerColumns: [
    { name: "Validations", type: "integer", value: ({ spec }) => (spec.validations ?? []).length },
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
    validate: validatePolicy,
  },
});
