/**
 * Authorizer: what a node (user system:node:NAME in group system:nodes) may do: the node role, and of secrets, configmaps, volumes
 * and service accounts only those that pods bound to that node refer to; it writes only its own Node, Lease, CSINode and pods.
 */
import { claimKeysOf } from "#api/core/v1/volume-binding.ts";
import type { Pod } from "#api/generated/core/v1.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import type { Reader, ResourceRef } from "../reader.ts";
import { type Attributes, type Authorizer, type Decision, noOpinion } from "./authorizer.ts";
import { parseRule } from "./bootstrap-policy.ts";
import { clusterRoles } from "./bootstrap-roles.ts";
import { ruleAllows } from "./policy-rule.ts";

/** The role that every node holds, within the limits below. Upstream: by these rules, not by the object of that name. */
const nodeRules = (clusterRoles["system:node"] ?? []).map(parseRule);
const pods: ResourceRef = { group: "", plural: "pods" };
const allow: Decision = { decision: "allow", reason: "" };
const refuse = (reason: string): Decision => ({ decision: "no opinion", reason });

/** References from a pod's spec, by resource: `"name":` under these keys. */
const referenceKeys: Readonly<Record<string, readonly string[]>> = {
  secrets: ["secretRef", "secretKeyRef", "secret", "imagePullSecrets", "nodePublishSecretRef"],
  configmaps: ["configMapRef", "configMapKeyRef", "configMap"],
  persistentvolumeclaims: ["persistentVolumeClaim"],
};

const namesOf = (value: unknown): string[] => {
  if (Array.isArray(value)) return value.flatMap(namesOf);
  if (!isObject(value)) return [];
  const named = value.name ?? value.secretName ?? value.claimName;
  return typeof named === "string" ? [named] : [];
};

/** Whether the value, somewhere inside, has one of the keys leading to that name. */
function refersTo(value: unknown, keys: readonly string[], name: string): boolean {
  if (Array.isArray(value)) return value.some((item) => refersTo(item, keys, name));
  if (!isObject(value)) return false;
  for (const [key, member] of Object.entries(value)) {
    if (keys.includes(key) && namesOf(member).includes(name)) return true;
    if (typeof member === "object" && refersTo(member, keys, name)) return true;
  }
  return false;
}

const specOf = (pod: object): JsonObject => {
  const { spec } = pod as { spec?: unknown };
  return isObject(spec) ? spec : {};
};

export function nodeAuthorizer(reader: Reader): Authorizer {
  const onNode = (
    node: string,
    namespace: string,
    test: (spec: JsonObject) => boolean,
  ): boolean => {
    for (const pod of reader.list(pods, namespace)) {
      const spec = specOf(pod);
      if (spec.nodeName === node && test(spec)) return true;
    }
    return false;
  };

  const referred = (node: string, wanted: Attributes): Decision => {
    const { verb, namespace, name, resource, subresource } = wanted;
    if (!["get", "list", "watch"].includes(verb))
      return refuse("can only read resources of this type");
    if (subresource !== "") return refuse("cannot read subresource");
    if (namespace === "") return refuse("can only read namespaced object of this type");
    if (name === "") return refuse("No Object name found");
    // The claim of an ephemeral volume is not named in the pod, but after it.
    if (resource === "persistentvolumeclaims") {
      const key = `${namespace}/${name}`;
      for (const pod of reader.list(pods, namespace)) {
        if (specOf(pod).nodeName === node && claimKeysOf(pod as Pod).includes(key)) return allow;
      }
      return refuse(`no relationship found between node '${node}' and this object`);
    }
    const keys = referenceKeys[resource] ?? [];
    if (onNode(node, namespace, (spec) => refersTo(spec, keys, name))) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const serviceAccount = (node: string, wanted: Attributes): Decision => {
    const { verb, subresource, namespace, name } = wanted;
    const creates = verb === "create" && subresource === "token";
    const reads = verb === "get" && subresource === "";
    if (!creates && !reads) return refuse("can only create tokens for individual service accounts");
    const uses = (spec: JsonObject): boolean => spec.serviceAccountName === name;
    if (name !== "" && onNode(node, namespace, uses)) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const ownPod = (node: string, { namespace, name }: Attributes): Decision => {
    const pod = reader.get(pods, namespace, name);
    // A pod that is not there is answered 404, not 403.
    if (pod === undefined || specOf(pod).nodeName === node) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const ownName = (node: string, wanted: Attributes): Decision =>
    wanted.name === node || (wanted.verb === "create" && wanted.name === "")
      ? allow
      : refuse(`can only access ${wanted.resource} with the same name as the requesting node`);

  const limits = (node: string, wanted: Attributes): Decision => {
    const writes = !["get", "list", "watch"].includes(wanted.verb);
    switch (`${wanted.group}/${wanted.resource}`) {
      case "/secrets":
      case "/configmaps":
      case "/persistentvolumeclaims":
        return writes && wanted.subresource === "status" ? allow : referred(node, wanted);
      case "/serviceaccounts":
        return serviceAccount(node, wanted);
      case "/nodes":
        return writes ? ownName(node, wanted) : allow;
      case "/pods":
        return writes && wanted.verb !== "create" ? ownPod(node, wanted) : allow;
      case "coordination.k8s.io/leases":
        if (wanted.namespace !== "kube-node-lease")
          return refuse(`can only access leases in the "kube-node-lease" system namespace`);
        return ownName(node, wanted);
      case "storage.k8s.io/csinodes":
        return ownName(node, wanted);
      default:
        return allow;
    }
  };

  return {
    authorize(wanted) {
      const { name, groups } = wanted.user;
      if (!groups.includes("system:nodes") || !name.startsWith("system:node:")) return noOpinion;
      const node = name.slice("system:node:".length);
      if (!wanted.isResource || node === "") return noOpinion;
      if (!nodeRules.some((rule) => ruleAllows(rule, wanted))) return noOpinion;
      return limits(node, wanted);
    },
    rulesFor: ({ groups }) => ({
      resourceRules: [],
      nonResourceRules: [],
      incomplete: groups.includes("system:nodes"),
    }),
  };
}
