/** ValidatingAdmissionPolicyBinding: where a policy holds, with which parameters, and what becomes of what breaks it. */
import type { ValidatingAdmissionPolicyBinding as ValidatingAdmissionPolicyBindingObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { shownParamRef } from "./policy-columns.ts";
import { setMatchDefaults, validateBinding } from "./policy-validation.ts";

export type ValidatingAdmissionPolicyBinding = ValidatingAdmissionPolicyBindingObject;

export const ValidatingAdmissionPolicyBinding = defineResource<ValidatingAdmissionPolicyBinding>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingadmissionpolicybindings",
  printerColumns: [
    { name: "PolicyName", type: "string", value: ({ spec }) => spec.policyName ?? "" },
    { name: "ParamRef", type: "string", value: ({ spec }) => shownParamRef(spec.paramRef) },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults: ({ spec }) => setMatchDefaults(spec.matchResources),
    validate: validateBinding,
  },
});
