/** MutatingAdmissionPolicyBinding: where a policy that mutates holds, and with which parameters. */
import type { MutatingAdmissionPolicyBinding as MutatingAdmissionPolicyBindingObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateMutatingBinding } from "./mutating-policy-validation.ts";
import { shownParamRef } from "./policy-columns.ts";
import { setMatchDefaults } from "./policy-validation.ts";

export type MutatingAdmissionPolicyBinding = MutatingAdmissionPolicyBindingObject;

export const MutatingAdmissionPolicyBinding = defineResource<MutatingAdmissionPolicyBinding>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingadmissionpolicybindings",
  printerColumns: [
    { name: "PolicyName", type: "string", value: ({ spec }) => spec.policyName ?? "" },
    { name: "ParamRef", type: "string", value: ({ spec }) => shownParamRef(spec.paramRef) },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults: ({ spec }) => setMatchDefaults(spec.matchResources),
    validate: validateMutatingBinding,
  },
});
