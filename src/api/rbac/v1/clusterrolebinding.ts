/** ClusterRoleBinding: grants a ClusterRole's rules everywhere to users, groups and service accounts. */
import type { ClusterRoleBinding as ClusterRoleBindingObject } from "../../generated/rbac/v1.ts";
import { defineResource } from "../../resource.ts";
import {
  bindingColumns,
  defaultBinding,
  validateBinding,
  validateBindingUpdate,
} from "./binding.ts";
import { rbacGroup } from "./policy-rule.ts";

export type ClusterRoleBinding = ClusterRoleBindingObject;

export const ClusterRoleBinding = defineResource<ClusterRoleBinding>({
  group: rbacGroup,
  version: "v1",
  plural: "clusterrolebindings",
  printerColumns: bindingColumns,
  strategy: {
    nameFormat: "pathSegment",
    allowCreateOnUpdate: true,
    defaults: defaultBinding,
    validate: (object) => validateBinding(object, false),
    validateUpdate: (object, old) => validateBindingUpdate(object, old, false),
  },
});
