/** Role: rules that hold in one namespace, for whom a RoleBinding names. */
import type { Role as RoleObject } from "../../generated/rbac/v1.ts";
import { createdAtColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { rbacGroup, validateRules } from "./policy-rule.ts";

export type Role = RoleObject;

export const Role = defineResource<Role>({
  group: rbacGroup,
  version: "v1",
  plural: "roles",
  printerColumns: [createdAtColumn],
  strategy: {
    nameFormat: "pathSegment",
    allowCreateOnUpdate: true,
    validate: ({ rules }) => validateRules(rules, true),
  },
});
