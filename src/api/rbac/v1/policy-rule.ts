/** Policy rules: what every role is made of, and what may be said in one. Reads nothing else. */
import { declared, type FieldError, invalid, required } from "#machinery/field-error.ts";
import type { PolicyRule } from "../../generated/rbac/v1.ts";

export type { PolicyRule } from "../../generated/rbac/v1.ts";

export const rbacGroup = "rbac.authorization.k8s.io";

function validateRule(rule: PolicyRule, path: string, namespaced: boolean): FieldError[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const errors: FieldError[] = [];
  if ((verbs ?? []).length === 0) errors.push(declared(required(`${path}.verbs`)));
  if (nonResourceURLs.length > 0) {
    const at = `${path}.nonResourceURLs`;
    if (namespaced) {
      const why = "namespaced rules cannot apply to non-resource URLs";
      errors.push(invalid(at, nonResourceURLs, why));
    }
    if (apiGroups.length > 0 || resources.length > 0 || resourceNames.length > 0) {
      const why = "rules cannot apply to both regular resources and non-resource URLs";
      errors.push(invalid(at, nonResourceURLs, why));
    }
    return errors;
  }
  if (apiGroups.length === 0) {
    const why = "resource rules must supply at least one api group";
    errors.push(required(`${path}.apiGroups`, why));
  }
  if (resources.length === 0) {
    const why = "resource rules must supply at least one resource";
    errors.push(required(`${path}.resources`, why));
  }
  return errors;
}

export const validateRules = (
  rules: readonly PolicyRule[] | null | undefined,
  namespaced: boolean,
): FieldError[] =>
  (rules ?? []).flatMap((rule, index) => validateRule(rule, `rules[${index}]`, namespaced));
