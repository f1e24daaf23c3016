/**
 * Authorizer: what a node (user system:node:NAME in group system:nodes) may do: the node role, and of secrets, config maps, volumes
 * and service accounts only those that pods bound to that node refer to; its own Node, Lease, CSINode and pods. What a write may say
 * besides is the NodeRestriction admission plugin's.
 */
import type { User } from "#api/request.ts";
import { isObject } from "#machinery/object.ts";
import type { Reader } from "../reader.ts";
import { type Attributes, type Authorizer, type Decision, noOpinion } from "./authorizer.ts";
import { parseRule } from "./bootstrap-policy.ts";
import { clusterRoles } from "./bootstrap-roles.ts";
import type { NodeReferences, ReferredPlural } from "./node-references.ts";
import { ruleAllows } from "./policy-rule.ts";

/** The role that every node holds, within the limits below. Upstream: by these rules, not by the object of that name. */
const nodeRules = (clusterRoles["system:node"] ?? []).map(parseRule);
const allow: Decision = { decision: "allow", reason: "" };
const refuse = (reason: string): Decision => ({ decision: "no opinion", reason });
const reading: readonly string[] = ["get", "list", "watch"];
const owning: readonly string[] = ["get", "create", "update", "patch", "delete"];
const userPrefix = "system:node:";
const volumes = { group: "", plural: "persistentvolumes" };
const certificateRequests = { group: "certificates.k8s.io", plural: "podcertificaterequests" };
const attachments = { group: "storage.k8s.io", plural: "volumeattachments" };

/** The node that a user stands for; undefined: none. "": a node without a name. */
export function nodeOf({ name, groups }: User): string | undefined {
  if (!groups.includes("system:nodes") || !name.startsWith(userPrefix)) return undefined;
  return name.slice(userPrefix.length);
}

const isOfNode = (selector: NonNullable<Attributes["fieldSelector"]>, node: string): boolean =>
  selector.some(
    ({ field, operator, value }) => field === "spec.nodeName" && operator === "=" && value === node,
  );

export function nodeAuthorizer(reader: Reader, references: NodeReferences): Authorizer {
  const related = (node: string, plural: ReferredPlural, { namespace, name }: Attributes) => {
    if (name === "") return refuse("No Object name found");
    if (references.has(node, plural, namespace, name)) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const getOnly = (wanted: Attributes): Decision | undefined => {
    if (wanted.verb !== "get") return refuse("can only get individual resources of this type");
    return wanted.subresource === "" ? undefined : refuse("cannot get subresource");
  };

  const readOne = (node: string, plural: ReferredPlural, wanted: Attributes): Decision => {
    if (!reading.includes(wanted.verb)) return refuse("can only read resources of this type");
    if (wanted.subresource !== "") return refuse("cannot read subresource");
    if (wanted.namespace === "") return refuse("can only read namespaced object of this type");
    return related(node, plural, wanted);
  };

  const claim = (node: string, wanted: Attributes): Decision => {
    const plural = "persistentvolumeclaims";
    if (wanted.subresource !== "status") return getOnly(wanted) ?? related(node, plural, wanted);
    if (wanted.verb !== "update" && wanted.verb !== "patch")
      return refuse("can only get/update/patch this type");
    return related(node, plural, wanted);
  };

  /** A volume belongs to the nodes whose pods use the claim that it is bound to. */
  const volume = (node: string, wanted: Attributes): Decision => {
    const refused = getOnly(wanted);
    if (refused !== undefined) return refused;
    const found = reader.get(volumes, "", wanted.name) as
      | { spec?: { claimRef?: unknown } }
      | undefined;
    const claimRef = found?.spec?.claimRef;
    const { namespace, name } = isObject(claimRef) ? claimRef : {};
    const bound = typeof namespace === "string" && typeof name === "string";
    if (bound && references.has(node, "persistentvolumeclaims", namespace, name)) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const attachment = (node: string, wanted: Attributes): Decision => {
    const refused = getOnly(wanted);
    if (refused !== undefined) return refused;
    const found = reader.get(attachments, "", wanted.name) as
      | { spec?: { nodeName?: string } }
      | undefined;
    if (found?.spec?.nodeName === node) return allow;
    return refuse(`no relationship found between node '${node}' and this object`);
  };

  const serviceAccount = (node: string, wanted: Attributes): Decision => {
    const { verb, subresource, name } = wanted;
    if (verb === "get" && subresource === "") return readOne(node, "serviceaccounts", wanted);
    if (verb !== "create" || name === "")
      return refuse("can only create tokens for individual service accounts");
    if (subresource !== "token")
      return refuse("can only create token subresource of serviceaccount");
    return related(node, "serviceaccounts", wanted);
  };

  const nodeObject = (node: string, { verb, subresource, name }: Attributes): Decision => {
    if (subresource === "status") return verb === "update" || verb === "patch" ? allow : noOpinion;
    if (subresource !== "") return noOpinion;
    if (verb === "create" || verb === "update" || verb === "patch") return allow;
    if (!reading.includes(verb)) return noOpinion;
    if (name === node) return allow;
    const what = name === "" ? "all nodes" : `'${name}'`;
    return refuse(`node '${node}' cannot read ${what}, only its own Node object`);
  };

  const pod = (node: string, wanted: Attributes): Decision => {
    const { verb, subresource, name, fieldSelector = [] } = wanted;
    if (subresource === "status") return verb === "update" || verb === "patch" ? allow : noOpinion;
    if (subresource === "eviction") return verb === "create" ? allow : noOpinion;
    if (subresource !== "") return noOpinion;
    if (verb === "create" || verb === "delete") return allow;
    if (verb === "get") return related(node, "pods", wanted);
    if (verb !== "list" && verb !== "watch") return noOpinion;
    if (isOfNode(fieldSelector, node)) return allow;
    if (name !== "") return related(node, "pods", wanted);
    return refuse("can only list/watch pods with spec.nodeName field selector");
  };

  const certificateRequest = (node: string, wanted: Attributes): Decision => {
    const { verb, subresource, namespace, name, fieldSelector = [] } = wanted;
    if (subresource !== "")
      return refuse("nodes may not access the status subresource of PodCertificateRequests");
    if (verb === "create") return allow;
    if (verb === "get") {
      const found = reader.get(certificateRequests, namespace, name) as
        | { spec?: { nodeName?: string } }
        | undefined;
      if (found?.spec?.nodeName === node) return allow;
      return refuse(`no relationship found between node '${node}' and this object`);
    }
    if (verb !== "list" && verb !== "watch")
      return refuse(`nodes may not ${verb} podcertificaterequests`);
    if (isOfNode(fieldSelector, node)) return allow;
    return refuse("can only list/watch podcertificaterequests with nodeName field selector");
  };

  const owned = (node: string, wanted: Attributes, what: string, its: string): Decision => {
    if (!owning.includes(wanted.verb))
      return refuse(`can only get, create, update, patch, or delete a ${what}`);
    // The name of what is created is not known here: NodeRestriction sees it.
    if (wanted.verb === "create" || wanted.name === node) return allow;
    return refuse(`can only access ${its} with the same name as the requesting node`);
  };

  const lease = (node: string, wanted: Attributes): Decision => {
    const inPlace = wanted.namespace === "kube-node-lease";
    if (owning.includes(wanted.verb) && !inPlace)
      return refuse(`can only access leases in the "kube-node-lease" system namespace`);
    return owned(node, wanted, "node lease", "node lease");
  };

  const csiNode = (node: string, wanted: Attributes): Decision =>
    wanted.subresource === ""
      ? owned(node, wanted, "CSINode", "CSINode")
      : refuse("cannot authorize CSINode subresources");

  /** What is not only a matter of the role. Undefined: it is. */
  const limits = (node: string, wanted: Attributes): Decision | undefined => {
    switch (`${wanted.group}/${wanted.resource}`) {
      case "/secrets":
        return readOne(node, "secrets", wanted);
      case "/configmaps":
        return readOne(node, "configmaps", wanted);
      case "/persistentvolumeclaims":
        return claim(node, wanted);
      case "/persistentvolumes":
        return volume(node, wanted);
      case "resource.k8s.io/resourceclaims":
        return getOnly(wanted) ?? related(node, "resourceclaims", wanted);
      case "storage.k8s.io/volumeattachments":
        return attachment(node, wanted);
      case "/serviceaccounts":
        return serviceAccount(node, wanted);
      case "/nodes":
        return nodeObject(node, wanted);
      case "/pods":
        return pod(node, wanted);
      case "certificates.k8s.io/podcertificaterequests":
        return certificateRequest(node, wanted);
      case "coordination.k8s.io/leases":
        return lease(node, wanted);
      case "storage.k8s.io/csinodes":
        return csiNode(node, wanted);
      default:
        return undefined;
    }
  };

  return {
    authorize(wanted) {
      const node = nodeOf(wanted.user);
      if (node === undefined) return noOpinion;
      if (node === "") return refuse(`unknown node for user ${JSON.stringify(wanted.user.name)}`);
      const decision = wanted.isResource ? limits(node, wanted) : undefined;
      if (decision !== undefined) return decision;
      return nodeRules.some((rule) => ruleAllows(rule, wanted)) ? allow : noOpinion;
    },
    rulesFor: (user) => ({
      resourceRules: [],
      nonResourceRules: [],
      incomplete: nodeOf(user) !== undefined,
    }),
  };
}
