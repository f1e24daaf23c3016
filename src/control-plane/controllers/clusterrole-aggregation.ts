/**
 * ClusterRole aggregation: a ClusterRole with an aggregation rule holds the rules of all that its
 * selectors match. Reads ClusterRoles and writes their rules, by apply, as upstream.
 */
import { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import type { PolicyRule } from "#api/rbac/v1/policy-rule.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import { watch } from "./controller.ts";
import { defineController } from "./runner.ts";

const fieldManager = "clusterrole-aggregation-controller";

/** The rules that the role shall hold: of each selector's roles by name, each rule once. */
export function planAggregation(
  role: ClusterRole,
  all: Iterable<ClusterRole>,
): readonly PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? [];
  const others = [...all]
    .filter(({ metadata }) => metadata.name !== role.metadata.name)
    .sort((a, b) => compareUtf8(a.metadata.name ?? "", b.metadata.name ?? ""));
  const rules = new Map<string, PolicyRule>();
  for (const selector of selectors) {
    const matches = compileLabelSelector(selector);
    for (const { metadata, rules: theirs } of others) {
      if (!matches(metadata.labels)) continue;
      for (const rule of theirs ?? []) {
        const { verbs, apiGroups, resources, resourceNames, nonResourceURLs } = rule;
        const id = JSON.stringify([verbs, apiGroups, resources, resourceNames, nonResourceURLs]);
        if (!rules.has(id)) rules.set(id, rule);
      }
    }
  }
  return [...rules.values()];
}

export const clusterRoleAggregationController = defineController<ClusterRole>({
  name: "clusterrole-aggregation",
  reconciles: ClusterRole,
  watches: [
    watch(
      ClusterRole,
      (_role, lookup) =>
        [...lookup.cache(ClusterRole).list()]
          .filter(({ aggregationRule }) => aggregationRule !== undefined)
          .map(({ metadata }) => metadata.name),
      (role, old) =>
        !equalObjects(role.rules, old.rules) ||
        !equalObjects(role.metadata.labels, old.metadata.labels),
    ),
  ],
  async reconcile(role, context) {
    if (role.aggregationRule === undefined || role.metadata.deletionTimestamp !== undefined) return;
    const rules = planAggregation(role, context.cache(ClusterRole).list());
    if (equalObjects(rules, role.rules ?? [])) return;
    const { name } = role.metadata;
    const apply = {
      apiVersion: role.apiVersion,
      kind: role.kind,
      metadata: { name },
      rules,
    };
    await context.client.patch(ClusterRole, { name }, "apply", apply, {
      fieldManager,
      force: true,
    });
  },
});
