/**
 * Authorizer: who holds which of the roles in roles.ts: the administrators' group everything, each component of a cluster its own
 * role, everyone what is public.
 */
import type { User } from "#api/request.ts";
import {
  type Attributes,
  type Authorizer,
  type NonResourceRule,
  noOpinion,
  type ResourceRule,
} from "./authorizer.ts";
import { namespacedRoles, roles } from "./roles.ts";

interface RoleRules {
  readonly resource: readonly ResourceRule[];
  readonly path: readonly NonResourceRule[];
}

/** The DNS server's role: what kubeadm grants CoreDNS. */
const dnsRole = [
  "list,watch core endpoints,services,pods,namespaces",
  "list,watch discovery.k8s.io endpointslices",
  "get core nodes",
];
/** Each node's DNS server publishes itself as an endpoint of its Service. */
const dnsEndpointsRole = ["get,create,patch discovery.k8s.io endpointslices"];
/** The proxies enforce NetworkPolicies. */
const networkPolicyRole = [
  "list,watch core pods,namespaces",
  "list,watch networking.k8s.io networkpolicies",
];
const ownRoles: Readonly<Record<string, readonly string[]>> = {
  dns: dnsRole,
  "network-policy": networkPolicyRole,
  "kube-system/dns-endpoints": dnsEndpointsRole,
};

function parseRules(lines: readonly string[]): RoleRules {
  const resource: ResourceRule[] = [];
  const path: NonResourceRule[] = [];
  for (const line of lines) {
    const [verbs = "", groups = "", resources = "", names = ""] = line.split(" ");
    const list = (text: string): string[] => (text === "" ? [] : text.split(","));
    if (groups === "path") path.push({ verbs: list(verbs), nonResourceURLs: list(resources) });
    else {
      resource.push({
        verbs: list(verbs),
        apiGroups: list(groups).map((group) => (group === "core" ? "" : group)),
        resources: list(resources),
        resourceNames: list(names),
      });
    }
  }
  return { resource, path };
}

const parsed = new Map<string, RoleRules>();
function role(name: string): RoleRules {
  let rules = parsed.get(name);
  if (rules === undefined) {
    const lines = ownRoles[name] ?? roles[name] ?? namespacedRoles[name] ?? [];
    rules = parseRules(lines);
    parsed.set(name, rules);
  }
  return rules;
}

const rolesOfUser: Readonly<Record<string, readonly string[]>> = {
  "system:kube-scheduler": ["system:kube-scheduler", "system:volume-scheduler"],
  "system:kube-controller-manager": ["system:kube-controller-manager"],
  "system:kube-proxy": ["system:node-proxier", "network-policy"],
  "system:kube-dns": ["dns"],
  "system:serviceaccount:kube-system:kube-dns": ["dns"],
  "system:serviceaccount:kube-system:coredns": ["dns"],
  "system:serviceaccount:kube-system:kube-proxy": ["system:node-proxier"],
};
const rolesOfGroup: Readonly<Record<string, readonly string[]>> = {
  "system:authenticated": ["system:basic-user", "system:discovery", "system:public-info-viewer"],
  "system:unauthenticated": ["system:public-info-viewer"],
  "system:serviceaccounts": ["system:service-account-issuer-discovery"],
};
/** Roles in a namespace: "namespace/role". */
const namespacedRolesOfUser: Readonly<Record<string, readonly string[]>> = {
  "system:kube-dns": ["kube-system/dns-endpoints"],
  "system:kube-scheduler": [
    "kube-system/extension-apiserver-authentication-reader",
    "kube-system/system::leader-locking-kube-scheduler",
  ],
  "system:kube-controller-manager": [
    "kube-system/extension-apiserver-authentication-reader",
    "kube-system/system::leader-locking-kube-controller-manager",
  ],
};
const controllerAccount = /^system:serviceaccount:kube-system:([a-z0-9-]+)$/;

function clusterRolesOf(user: User): string[] {
  const names = [...(rolesOfUser[user.name] ?? [])];
  for (const group of user.groups) names.push(...(rolesOfGroup[group] ?? []));
  const controller = controllerAccount.exec(user.name)?.[1];
  if (controller !== undefined && `system:controller:${controller}` in roles)
    names.push(`system:controller:${controller}`);
  return names;
}

function namespacedRolesOf(user: User, namespace: string): string[] {
  const names = (namespacedRolesOfUser[user.name] ?? []).filter((name) =>
    name.startsWith(`${namespace}/`),
  );
  const controller = controllerAccount.exec(user.name)?.[1];
  if (controller !== undefined) {
    const name = `${namespace}/system:controller:${controller}`;
    if (name in namespacedRoles) names.push(name);
  }
  return names;
}

const has = (list: readonly string[], value: string): boolean =>
  list.includes("*") || list.includes(value);

/** Whether a rule, as RBAC reads it, covers what is wanted. */
export function ruleAllows(rule: ResourceRule, wanted: Attributes): boolean {
  if (!has(rule.verbs, wanted.verb) || !has(rule.apiGroups, wanted.group)) return false;
  if (rule.resourceNames.length > 0 && !rule.resourceNames.includes(wanted.name)) return false;
  if (wanted.subresource === "") return has(rule.resources, wanted.resource);
  return (
    has(rule.resources, `${wanted.resource}/${wanted.subresource}`) ||
    rule.resources.includes(`*/${wanted.subresource}`)
  );
}

export function pathRuleAllows(rule: NonResourceRule, wanted: Attributes): boolean {
  if (!has(rule.verbs, wanted.verb)) return false;
  return rule.nonResourceURLs.some(
    (url) =>
      url === "*" ||
      url === wanted.path ||
      (url.endsWith("*") && wanted.path.startsWith(url.slice(0, -1))),
  );
}

function rulesOf(user: User, namespace: string): RoleRules[] {
  const names = clusterRolesOf(user);
  if (namespace !== "") names.push(...namespacedRolesOf(user, namespace));
  return names.map(role);
}

const everything: ResourceRule = {
  verbs: ["*"],
  apiGroups: ["*"],
  resources: ["*"],
  resourceNames: [],
};

export const componentRoles: Authorizer = {
  authorize(wanted) {
    if (wanted.user.groups.includes("system:masters")) return { decision: "allow", reason: "" };
    for (const rules of rulesOf(wanted.user, wanted.namespace)) {
      const allowed = wanted.isResource
        ? rules.resource.some((rule) => ruleAllows(rule, wanted))
        : rules.path.some((rule) => pathRuleAllows(rule, wanted));
      if (allowed) return { decision: "allow", reason: "" };
    }
    return noOpinion;
  },
  rulesFor(user, namespace) {
    if (user.groups.includes("system:masters")) {
      return {
        resourceRules: [everything],
        nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
        incomplete: false,
      };
    }
    const all = rulesOf(user, namespace);
    return {
      resourceRules: all.flatMap((rules) => rules.resource),
      nonResourceRules: all.flatMap((rules) => rules.path),
      incomplete: false,
    };
  },
};

/** The rules of the role that every node holds within the node authorizer's limits. */
export const nodeRules = (): readonly ResourceRule[] => role("system:node").resource;
