/**
 * The bootstrap policy: the roles and bindings that every cluster has, as objects, and what is to be done so that the ones that
 * stand there hold at least as much. Pure: bootstrap.ts performs it.
 */
import type { Subject } from "#api/rbac/v1/binding.ts";
import type { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import type { ClusterRoleBinding } from "#api/rbac/v1/clusterrolebinding.ts";
import { type PolicyRule, rbacGroup } from "#api/rbac/v1/policy-rule.ts";
import type { Role } from "#api/rbac/v1/role.ts";
import type { RoleBinding } from "#api/rbac/v1/rolebinding.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import {
  aggregatedRoles,
  aggregatesTo,
  clusterRoleHolders,
  clusterRoles,
  namespacedRoleHolders,
  namespacedRoles,
} from "./bootstrap-roles.ts";
import { controllerRoles } from "./controller-roles.ts";
import {
  ownAggregatesTo,
  ownClusterRoleHolders,
  ownClusterRoles,
  ownNamespacedRoleHolders,
  ownNamespacedRoles,
} from "./own-roles.ts";
import { uncovered } from "./policy-rule.ts";

export type PolicyObject = ClusterRole | ClusterRoleBinding | Role | RoleBinding;
type AnyRole = ClusterRole | Role;
type AnyBinding = ClusterRoleBinding | RoleBinding;

const autoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
const apiVersion = `${rbacGroup}/v1`;
const aggregateTo = (name: string): string => `${rbacGroup}/aggregate-to-${name}`;

function metadataOf(id: string, labels: Readonly<Record<string, string>> = {}) {
  const slash = id.indexOf("/");
  const place = slash < 0 ? {} : { namespace: id.slice(0, slash) };
  return {
    name: id.slice(slash + 1),
    ...place,
    labels: { "kubernetes.io/bootstrapping": "rbac-defaults", ...labels },
    annotations: { [autoUpdate]: "true" },
  };
}

/** "verbs groups resources [names]" or "verbs path paths". */
export function parseRule(line: string): PolicyRule {
  const [verbs = "", groups = "", resources = "", names = ""] = line.split(" ");
  if (groups === "path") return { verbs: verbs.split(","), nonResourceURLs: resources.split(",") };
  return {
    verbs: verbs.split(","),
    apiGroups: groups.split(",").map((group) => (group === "core" ? "" : group)),
    resources: resources.split(","),
    ...(names === "" ? {} : { resourceNames: names.split(",") }),
  };
}

/** "User NAME", "Group NAME" or "ServiceAccount NAMESPACE/NAME". */
function parseHolder(text: string): Subject {
  const [kind = "", full = ""] = text.split(" ");
  if (kind !== "ServiceAccount") return { kind, apiGroup: rbacGroup, name: full };
  const [namespace = "", name = ""] = full.split("/");
  return { kind, name, namespace };
}

function clusterRole(name: string, lines: readonly string[]): ClusterRole {
  const upstream = aggregatesTo[name];
  const into = upstream === undefined ? (ownAggregatesTo[name] ?? []) : [upstream];
  const labels = Object.fromEntries(into.map((one) => [aggregateTo(one), "true"] as const));
  const metadata = metadataOf(name, labels);
  const rules = lines.map(parseRule);
  const role: ClusterRole = { apiVersion, kind: "ClusterRole", metadata, rules };
  if (!aggregatedRoles.includes(name)) return role;
  const clusterRoleSelectors = [{ matchLabels: { [aggregateTo(name)]: "true" } }];
  return { ...role, aggregationRule: { clusterRoleSelectors } };
}

const clusterBinding = (
  name: string,
  holders: readonly string[],
  role: string = name,
): ClusterRoleBinding => ({
  apiVersion,
  kind: "ClusterRoleBinding",
  metadata: metadataOf(name),
  roleRef: { apiGroup: rbacGroup, kind: "ClusterRole", name: role },
  ...(holders.length === 0 ? {} : { subjects: holders.map(parseHolder) }),
});

const role = (id: string, lines: readonly string[]): Role => ({
  apiVersion,
  kind: "Role",
  metadata: metadataOf(id),
  rules: lines.map(parseRule),
});

const binding = (
  id: string,
  { role: name, holders }: { readonly role: string; readonly holders: readonly string[] },
): RoleBinding => ({
  apiVersion,
  kind: "RoleBinding",
  metadata: metadataOf(id),
  roleRef: { apiGroup: rbacGroup, kind: "Role", name },
  subjects: holders.map(parseHolder),
});

const each = <T, R>(record: Readonly<Record<string, T>>, make: (id: string, value: T) => R): R[] =>
  Object.entries(record).map(([id, value]) => make(id, value));

/** What upstream's clusters have, in the order in which it is made. */
export const upstreamPolicy = (): PolicyObject[] => [
  ...each(clusterRoles, clusterRole),
  ...each(controllerRoles, (name, lines) => clusterRole(`system:controller:${name}`, lines)),
  ...each(clusterRoleHolders, (name, holders) => clusterBinding(name, holders)),
  ...Object.keys(controllerRoles).map((name) =>
    clusterBinding(`system:controller:${name}`, [`ServiceAccount kube-system/${name}`]),
  ),
  ...each(namespacedRoles, role),
  ...each(namespacedRoleHolders, binding),
];

/** What the components that are only ours need besides. */
export const ownPolicy = (): PolicyObject[] => [
  ...each(ownClusterRoles, clusterRole),
  ...each(ownClusterRoleHolders, (name, own) => clusterBinding(name, own.holders, own.role)),
  ...each(ownNamespacedRoles, role),
  ...each(ownNamespacedRoleHolders, binding),
];

/** What to do about an object that should be there: nothing, write this instead, or make it anew. */
export type Reconciliation =
  | { readonly step: "none" }
  | { readonly step: "update" | "recreate"; readonly object: PolicyObject };

const isRole = (object: PolicyObject): object is AnyRole =>
  object.kind === "Role" || object.kind === "ClusterRole";

/** What is missing is added; what somebody added stays; what is marked autoupdate=false is left alone. */
export function reconcilePolicy(existing: PolicyObject, expected: PolicyObject): Reconciliation {
  if (existing.metadata.annotations?.[autoUpdate] === "false") return { step: "none" };
  const bound = !isRole(expected) && !isRole(existing);
  if (bound && !equalObjects(expected.roleRef, existing.roleRef))
    return { step: "recreate", object: expected };
  const object = cloneJson(existing);
  const { labels, annotations } = expected.metadata;
  object.metadata.labels = { ...labels, ...existing.metadata.labels };
  object.metadata.annotations = { ...annotations, ...existing.metadata.annotations };
  if (isRole(object) && isRole(expected)) addRules(object, expected);
  else if (!isRole(object) && !isRole(expected)) addSubjects(object, expected);
  return equalObjects(object, existing) ? { step: "none" } : { step: "update", object };
}

function addRules(object: AnyRole, expected: AnyRole): void {
  const missing = uncovered(object.rules ?? [], expected.rules ?? []);
  if (missing.length > 0) object.rules = [...(object.rules ?? []), ...missing];
  if (object.kind !== "ClusterRole" || expected.kind !== "ClusterRole") return;
  const gathers = object as ClusterRole;
  const { aggregationRule } = expected as ClusterRole;
  if (aggregationRule === undefined) {
    delete gathers.aggregationRule;
    return;
  }
  const present = gathers.aggregationRule?.clusterRoleSelectors ?? [];
  const absent = (aggregationRule.clusterRoleSelectors ?? []).filter(
    (selector) => !present.some((one) => equalObjects(one, selector)),
  );
  if (absent.length > 0)
    gathers.aggregationRule = { clusterRoleSelectors: [...present, ...absent] };
}

function addSubjects(object: AnyBinding, expected: AnyBinding): void {
  const present = object.subjects ?? [];
  const absent = (expected.subjects ?? []).filter(
    (subject) => !present.some((one) => equalObjects(one, subject)),
  );
  if (absent.length > 0) object.subjects = [...present, ...absent];
}
