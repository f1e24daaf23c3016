/** RoleBinding: grants a role's rules in one namespace to users, groups and service accounts. */
import type { RoleBinding as RoleBindingObject } from "../../generated/rbac/v1.ts";
import { defineResource } from "../../resource.ts";
import {
  bindingColumns,
  defaultBinding,
  validateBinding,
  validateBindingUpdate,
} from "./binding.ts";
import { rbacGroup } from "./policy-rule.ts";

export type RoleBinding = RoleBindingObject;

export const RoleBinding = defineResource<RoleBinding>({
  group: rbacGroup,
  version: "v1",
  plural: "rolebindings",
  printerColumns: bindingColumns,
  strategy: {
    nameFormat: "pathSegment",
    allowCreateOnUpdate: true,
    defaults: defaultBinding,
    validate: (object) => validateBinding(object, true),
    validateUpdate: (object, old) => validateBindingUpdate(object, old, true),
  },
});
