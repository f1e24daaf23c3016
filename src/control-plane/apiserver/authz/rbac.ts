/**
 * RBAC: who may do what, by the live Role, ClusterRole, RoleBinding and ClusterRoleBinding objects. It hears of every change from the
 * watch caches before any reader does, and keeps for each subject its bindings, so that a request costs a few look-ups and no scan.
 */
import type { RoleRef, Subject } from "#api/rbac/v1/binding.ts";
import type { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import { type PolicyRule, rbacGroup } from "#api/rbac/v1/policy-rule.ts";
import type { RoleBinding } from "#api/rbac/v1/rolebinding.ts";
import type { User } from "#api/request.ts";
import { notFound, type StatusError } from "#machinery/status-error.ts";
import type { Reader, ResourceRef } from "../reader.ts";
import type { CacheObserver } from "../watch-cache.ts";
import { type Attributes, type Authorizer, noOpinion, type Rules } from "./authorizer.ts";
import { ruleAllows } from "./policy-rule.ts";

export const roleRefs = {
  Role: { group: rbacGroup, plural: "roles" },
  ClusterRole: { group: rbacGroup, plural: "clusterroles" },
} as const satisfies Record<string, ResourceRef>;

/** One subject of one binding. */
interface Grant {
  readonly binding: string;
  readonly namespace: string;
  readonly roleRef: RoleRef;
  readonly subject: Subject;
}

/** "u:NAME" or "g:NAME"; a service account is the user that its token stands for. Undefined: nobody can be that. */
function subjectKey({ kind, name, namespace = "" }: Subject, own: string): string | undefined {
  if (kind === "User") return `u:${name}`;
  if (kind === "Group") return `g:${name}`;
  const where = namespace === "" ? own : namespace;
  if (kind !== "ServiceAccount" || where === "") return undefined;
  return `u:system:serviceaccount:${where}:${name}`;
}

function describeSubject({ kind, name, namespace = "" }: Subject, own: string): string {
  // Upstream: the name first, then the namespace.
  const full = kind === "ServiceAccount" ? `${name}/${namespace === "" ? own : namespace}` : name;
  return `${kind} ${JSON.stringify(full)}`;
}

function describeGrant({ binding, namespace, roleRef, subject }: Grant): string {
  const what =
    namespace === ""
      ? `ClusterRoleBinding ${JSON.stringify(binding)}`
      : `RoleBinding ${JSON.stringify(`${binding}/${namespace}`)}`;
  const role = `${roleRef.kind} ${JSON.stringify(roleRef.name)}`;
  return `${what} of ${role} to ${describeSubject(subject, namespace)}`;
}

/** Bindings of one namespace, or of the whole cluster, by subject and then by name. */
type Grants = Map<string, Map<string, Grant>>;

export class Rbac implements Authorizer {
  readonly #reader: Reader;
  /** By namespace; "": the whole cluster. */
  readonly #grants = new Map<string, Grants>();

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** To be told of every RoleBinding and every ClusterRoleBinding. `kind` tells which, when all of it is forgotten. */
  observer(kind: "RoleBinding" | "ClusterRoleBinding"): CacheObserver {
    return (now, before) => {
      if (now === undefined && before === undefined) this.#forget(kind);
      if (before !== undefined) this.#remove(before.object as RoleBinding);
      if (now !== undefined) this.#add(now.object as RoleBinding);
    };
  }

  #forget(kind: "RoleBinding" | "ClusterRoleBinding"): void {
    for (const namespace of this.#grants.keys())
      if ((namespace === "") === (kind === "ClusterRoleBinding")) this.#grants.delete(namespace);
  }

  #add({ metadata, roleRef, subjects }: RoleBinding): void {
    const { name: binding = "", namespace = "" } = metadata;
    for (const subject of subjects ?? []) {
      const key = subjectKey(subject, namespace);
      if (key === undefined) continue;
      let grants = this.#grants.get(namespace);
      if (grants === undefined) this.#grants.set(namespace, (grants = new Map()));
      let ofSubject = grants.get(key);
      if (ofSubject === undefined) grants.set(key, (ofSubject = new Map()));
      if (!ofSubject.has(binding)) ofSubject.set(binding, { binding, namespace, roleRef, subject });
    }
  }

  #remove({ metadata, subjects }: RoleBinding): void {
    const { name = "", namespace = "" } = metadata;
    const grants = this.#grants.get(namespace);
    for (const subject of subjects ?? []) {
      const key = subjectKey(subject, namespace);
      const ofSubject = key === undefined ? undefined : grants?.get(key);
      if (key === undefined || ofSubject === undefined) continue;
      ofSubject.delete(name);
      if (ofSubject.size === 0) grants?.delete(key);
    }
    if (grants?.size === 0) this.#grants.delete(namespace);
  }

  *#grantsOf(user: User, namespace: string): Generator<Grant> {
    for (const where of namespace === "" ? [""] : ["", namespace]) {
      const grants = this.#grants.get(where);
      if (grants === undefined) continue;
      const own = grants.get(`u:${user.name}`);
      if (own !== undefined) yield* own.values();
      for (const group of user.groups) {
        const ofGroup = grants.get(`g:${group}`);
        if (ofGroup !== undefined) yield* ofGroup.values();
      }
    }
  }

  /** The rules of a role that is referred to from that namespace ("": from a ClusterRoleBinding). */
  rulesOfRole({ kind, name }: RoleRef, namespace: string): readonly PolicyRule[] | StatusError {
    const resource = kind === "Role" ? roleRefs.Role : roleRefs.ClusterRole;
    const role = this.#reader.get(resource, kind === "Role" ? namespace : "", name);
    if (role !== undefined) return (role as ClusterRole).rules ?? [];
    // Upstream names the kind in the singular here.
    return notFound({ group: rbacGroup, plural: kind === "Role" ? "role" : "clusterrole" }, name);
  }

  /** Everything that the user holds in that namespace, and why some of it cannot be told. */
  held(user: User, namespace: string): { rules: PolicyRule[]; problems: string[] } {
    const rules: PolicyRule[] = [];
    const problems = new Set<string>();
    for (const grant of this.#grantsOf(user, namespace)) {
      const ofRole = this.rulesOfRole(grant.roleRef, grant.namespace);
      if ("status" in ofRole) problems.add(ofRole.message);
      else rules.push(...ofRole);
    }
    return { rules, problems: [...problems] };
  }

  authorize(wanted: Attributes) {
    const problems = new Set<string>();
    for (const grant of this.#grantsOf(wanted.user, wanted.namespace)) {
      const rules = this.rulesOfRole(grant.roleRef, grant.namespace);
      if ("status" in rules) problems.add(rules.message);
      else if (rules.some((rule) => ruleAllows(rule, wanted))) {
        const reason = `RBAC: allowed by ${describeGrant(grant)}`;
        return { decision: "allow", reason } as const;
      }
    }
    if (problems.size === 0) return noOpinion;
    const all = [...problems];
    const reason = `RBAC: ${all.length === 1 ? all[0] : `[${all.join(", ")}]`}`;
    return { decision: "no opinion", reason } as const;
  }

  rulesFor(user: User, namespace: string): Rules {
    const { rules, problems } = this.held(user, namespace);
    return {
      resourceRules: rules.flatMap(({ verbs, apiGroups, resources = [], resourceNames }) =>
        resources.length === 0
          ? []
          : [
              {
                verbs,
                apiGroups: apiGroups ?? [],
                resources,
                resourceNames: resourceNames ?? [],
              },
            ],
      ),
      nonResourceRules: rules.flatMap(({ verbs, nonResourceURLs = [] }) =>
        nonResourceURLs.length === 0 ? [] : [{ verbs, nonResourceURLs }],
      ),
      incomplete: problems.length > 0,
    };
  }
}

/** Administrators, whatever the roles say: the way back in when they are broken. */
export const administrators: Authorizer = {
  authorize: ({ user }) =>
    user.groups.includes("system:masters") ? { decision: "allow", reason: "" } : noOpinion,
  rulesFor: () => ({ resourceRules: [], nonResourceRules: [], incomplete: false }),
};
