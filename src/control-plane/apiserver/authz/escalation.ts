/**
 * Nobody grants what they do not hold: writes of roles and bindings are refused to whom lacks a right in them, unless the "escalate"
 * verb on the role, or the "bind" verb on the role that is bound, says otherwise. Shaped as an admission plugin, the last that may
 * refuse before validation.
 */
import type { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import { type PolicyRule, rbacGroup } from "#api/rbac/v1/policy-rule.ts";
import type { RoleBinding } from "#api/rbac/v1/rolebinding.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { forbiddenError } from "#machinery/status-error.ts";
import type { AdmissionPlugin, AdmissionRequest } from "../admission/admission.ts";
import type { Authorizer } from "./authorizer.ts";
import { describeMissing, uncovered } from "./policy-rule.ts";
import type { Rbac } from "./rbac.ts";

const rolePlurals: readonly string[] = ["roles", "clusterroles"];
const bindingPlurals: readonly string[] = ["rolebindings", "clusterrolebindings"];
const everything: readonly PolicyRule[] = [
  { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
  { verbs: ["*"], nonResourceURLs: ["*"] },
];

/** Go's %q of a list of strings. */
const quoted = (list: readonly string[]): string =>
  `[${list.map((one) => JSON.stringify(one)).join(" ")}]`;

function mayVerb(
  request: AdmissionRequest,
  authorizer: Authorizer,
  verb: string,
  resource: string,
  name: string,
): boolean {
  const { user, namespace } = request;
  const { decision } = authorizer.authorize({
    user,
    verb,
    isResource: true,
    group: rbacGroup,
    version: "*",
    resource,
    subresource: "",
    namespace,
    name,
    path: "",
  });
  return decision === "allow";
}

/** What the garbage collector changes on its way to deleting an object grants nothing. */
function onlyForCollection(object: ApiObject, old: ApiObject | undefined): boolean {
  if (old === undefined) return false;
  const { ownerReferences: _o, finalizers: _f, managedFields: _m, ...rest } = object.metadata;
  const { ownerReferences: _p, finalizers: _g, managedFields: _n, ...was } = old.metadata;
  return equalObjects({ ...object, metadata: rest }, { ...old, metadata: was });
}

const gathers = (object: ApiObject | undefined): boolean =>
  ((object as ClusterRole | undefined)?.aggregationRule?.clusterRoleSelectors ?? []).length > 0;

export function preventEscalation(rbac: Rbac, authorizer: Authorizer): AdmissionPlugin {
  const refuse = (request: AdmissionRequest, why: string) =>
    forbiddenError(
      { group: rbacGroup, plural: request.plural },
      request.object?.metadata.name ?? "",
      why,
    );

  const confirm = (request: AdmissionRequest, rules: readonly PolicyRule[], why?: string): void => {
    const { user, namespace } = request;
    const { rules: held, problems } = rbac.held(user, namespace);
    const missing = uncovered(held, rules);
    if (missing.length === 0) return;
    if (why !== undefined) throw refuse(request, why);
    const { name, groups } = user;
    let text = `user ${JSON.stringify(name)} (groups=${quoted(groups)}) is attempting to grant RBAC permissions not currently held:\n${describeMissing(missing)}`;
    if (problems.length > 0) {
      const all = problems.length === 1 ? problems[0] : `[${problems.join(", ")}]`;
      text += `; resolution errors: [${all}]`;
    }
    throw refuse(request, text);
  };

  const admitRole = (request: AdmissionRequest, object: ApiObject): void => {
    // Upstream: the name of the request, which is empty where it creates.
    const asked = request.operation === "CREATE" ? "" : request.name;
    if (mayVerb(request, authorizer, "escalate", request.plural, asked)) return;
    if (onlyForCollection(object, request.oldObject)) return;
    confirm(request, (object as ClusterRole).rules ?? []);
    if (request.plural === "clusterroles" && (gathers(object) || gathers(request.oldObject)))
      confirm(request, everything, "must have cluster-admin privileges to use the aggregationRule");
  };

  const admitBinding = (request: AdmissionRequest, object: ApiObject): void => {
    const { roleRef } = object as RoleBinding;
    if (onlyForCollection(object, request.oldObject)) return;
    // An impossible kind is for validation to refuse.
    if (roleRef.kind !== "Role" && roleRef.kind !== "ClusterRole") return;
    const plural = roleRef.kind === "Role" ? "roles" : "clusterroles";
    if (mayVerb(request, authorizer, "bind", plural, roleRef.name)) return;
    const rules = rbac.rulesOfRole(roleRef, request.namespace);
    if ("status" in rules) throw rules;
    confirm(request, rules);
  };

  return {
    name: "RBACEscalation",
    handles: ({ group, plural, operation, user }) =>
      group === rbacGroup &&
      (rolePlurals.includes(plural) || bindingPlurals.includes(plural)) &&
      (operation === "CREATE" || operation === "UPDATE") &&
      !user.groups.includes("system:masters"),
    admit(request) {
      const { object } = request;
      if (object === undefined) return;
      if (rolePlurals.includes(request.plural)) admitRole(request, object);
      else admitBinding(request, object);
    },
  };
}
