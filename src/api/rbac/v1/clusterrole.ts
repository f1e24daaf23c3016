/** ClusterRole: rules that hold everywhere, or where a RoleBinding grants them; they may be gathered from other roles by label. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import type { ClusterRole as ClusterRoleObject } from "../../generated/rbac/v1.ts";
import { createdAtColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { rbacGroup, validateRules } from "./policy-rule.ts";

export type ClusterRole = ClusterRoleObject;

function validateAggregation({ aggregationRule }: ClusterRole): FieldError[] {
  if (aggregationRule === undefined || aggregationRule === null) return [];
  const selectors = aggregationRule.clusterRoleSelectors ?? [];
  const path = "aggregationRule.clusterRoleSelectors";
  if (selectors.length === 0) {
    const why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
    return [required(path, why)];
  }
  return selectors.flatMap((selector, index) => {
    const at = `${path}[${index}]`;
    const errors = validateLabelSelector(selector, at);
    return errors.length === 0 ? [] : [...errors, invalid(at, null, "invalid label selector.")];
  });
}

export const ClusterRole = defineResource<ClusterRole>({
  group: rbacGroup,
  version: "v1",
  plural: "clusterroles",
  printerColumns: [createdAtColumn],
  strategy: {
    nameFormat: "pathSegment",
    allowCreateOnUpdate: true,
    validate: (object) => [...validateRules(object.rules, false), ...validateAggregation(object)],
    validateUpdate: (object, old) => [
      ...validateRules(object.rules, false),
      // What was stored with a selector that is no longer valid may stay as it is.
      ...(equalObjects(object.aggregationRule, old.aggregationRule)
        ? []
        : validateAggregation(object)),
    ],
  },
});
