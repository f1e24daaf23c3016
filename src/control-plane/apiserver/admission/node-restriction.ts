/**
 * NodeRestriction: a node writes only what is its own: its Node without taints, owners and labels that would draw work to it, its
 * Lease and CSINode, the status of pods bound to it, mirror pods, tokens for its pods, certificate requests in its own name.
 */

import {
  type CertificateSigningRequest,
  signers,
} from "#api/certificates/v1/certificatesigningrequest.ts";
import type { TokenRequest } from "#api/generated/authentication/v1.ts";
import type { PodCertificateRequest } from "#api/generated/certificates/v1.ts";
import type { Node, PersistentVolumeClaim, Pod, ServiceAccount } from "#api/generated/core/v1.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import { notFound } from "#machinery/status-error.ts";
import type { Authorizer } from "../authz/authorizer.ts";
import { nodeOf } from "../authz/node-authorizer.ts";
import { referencesOf } from "../authz/node-references.ts";
import type { Reader } from "../reader.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  refuse,
} from "./admission.ts";
import { readRequestOf } from "./certificates.ts";

const pods = { group: "", plural: "pods" };
const nodes = { group: "", plural: "nodes" };
const accounts = { group: "", plural: "serviceaccounts" };
const mirrorAnnotation = "kubernetes.io/config.mirror";
const q = (text: string): string => JSON.stringify(text);

type Check = (request: AdmissionRequest, node: string, world: AdmissionWorld) => void;

/** Upstream: a node may say these of itself. */
const kubeletLabels = new Set([
  "kubernetes.io/hostname",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region",
  "beta.kubernetes.io/instance-type",
  "node.kubernetes.io/instance-type",
  "kubernetes.io/os",
  "kubernetes.io/arch",
  "beta.kubernetes.io/os",
  "beta.kubernetes.io/arch",
]);

const within = (domain: string, root: string): boolean =>
  domain === root || domain.endsWith(`.${root}`);

function isForbiddenLabel(key: string): boolean {
  const slash = key.indexOf("/");
  const domain = slash < 0 ? "" : key.slice(0, slash);
  if (within(domain, "node-restriction.kubernetes.io")) return true;
  if (!within(domain, "kubernetes.io") && !within(domain, "k8s.io")) return false;
  const own = within(domain, "kubelet.kubernetes.io") || within(domain, "node.kubernetes.io");
  return !own && !kubeletLabels.has(key);
}

function forbiddenLabels(
  now: Readonly<Record<string, string>> = {},
  before: Readonly<Record<string, string>> = {},
): string[] {
  const changed = new Set(
    [...Object.keys(now), ...Object.keys(before)].filter((key) => now[key] !== before[key]),
  );
  return [...changed].filter(isForbiddenLabel).sort();
}

const checkNode: Check = (request, node) => {
  const name = request.name || (request.object?.metadata.name ?? "");
  if (name !== node)
    throw refuse(request, `node ${q(node)} is not allowed to modify node ${q(name)}`);
  const now = request.object as Node | undefined;
  if (now === undefined) return;
  const old = request.oldObject as Node | undefined;
  if (request.operation === "CREATE") {
    if (now.spec?.configSource !== undefined) {
      const why = `node ${q(node)} is not allowed to create pods with a non-nil configSource`;
      throw refuse(request, why);
    }
    const labels = forbiddenLabels(now.metadata.labels);
    if (labels.length === 0) return;
    const why = `node ${q(node)} is not allowed to set the following labels: ${labels.join(", ")}`;
    throw refuse(request, why);
  }
  const { configSource } = now.spec ?? {};
  if (configSource !== undefined && !equalObjects(configSource, old?.spec?.configSource)) {
    const why = `node ${q(node)} is not allowed to update configSource to a new non-nil configSource`;
    throw refuse(request, why);
  }
  if (!equalObjects(now.spec?.taints ?? [], old?.spec?.taints ?? []))
    throw refuse(request, `node ${q(node)} is not allowed to modify taints`);
  if (!equalObjects(now.metadata.ownerReferences ?? [], old?.metadata.ownerReferences ?? []))
    throw refuse(request, `node ${q(node)} is not allowed to modify ownerReferences`);
  const labels = forbiddenLabels(now.metadata.labels, old?.metadata.labels);
  if (labels.length > 0)
    throw refuse(request, `is not allowed to modify labels: ${labels.join(", ")}`);
};

function checkOwner(request: AdmissionRequest, pod: Pod, node: string, reader: Reader): void {
  const owners = pod.metadata.ownerReferences ?? [];
  const [owner] = owners;
  const refused = (what: string) => refuse(request, `node ${q(node)} ${what}`);
  if (owners.length > 1)
    throw refused("can only create pods with a single owner reference set to itself");
  const own = owner?.apiVersion === "v1" && owner.kind === "Node" && owner.name === node;
  if (owner === undefined || !own)
    throw refused("can only create pods with an owner reference set to itself");
  if (owner.controller !== true)
    throw refused("can only create pods with a controller owner reference set to itself");
  if (owner.blockOwnerDeletion === true)
    throw refused("must not set blockOwnerDeletion on an owner reference");
  const stored = reader.get(nodes, "", node);
  if (stored === undefined) throw notFound({ group: "", plural: "node" }, node);
  const uid = stored.metadata.uid ?? "";
  if (owner.uid !== uid)
    throw refuse(request, `node ${node} UID mismatch: expected ${owner.uid} got ${uid}`);
}

/** A mirror pod is the node's word about itself: it must not get it anything else to read. */
function checkReferences(request: AdmissionRequest, pod: Pod, node: string): void {
  const others = [...referencesOf(pod)].map((reference) => reference.split("/")[0] ?? "");
  const found = others.find((plural) => plural !== "pods");
  if (found !== undefined)
    throw refuse(request, `node ${q(node)} can not create pods that reference ${found}`);
}

const checkPod: Check = (request, node, { reader }) => {
  if (request.operation === "DELETE") {
    const old = request.oldObject as Pod | undefined;
    if (old?.spec.nodeName === node) return;
    const why = `node ${q(node)} can only delete pods with spec.nodeName set to itself`;
    throw refuse(request, why);
  }
  if (request.operation !== "CREATE") {
    const why = `unexpected operation ${q(request.operation)}, node ${q(node)} can only create and delete mirror pods`;
    throw refuse(request, why);
  }
  const pod = request.object as Pod;
  if (pod.metadata.annotations?.[mirrorAnnotation] === undefined) {
    const why = `pod does not have ${q(mirrorAnnotation)} annotation, node ${q(node)} can only create mirror pods`;
    throw refuse(request, why);
  }
  if (pod.spec.nodeName !== node) {
    const why = `node ${q(node)} can only create pods with spec.nodeName set to itself`;
    throw refuse(request, why);
  }
  checkOwner(request, pod, node, reader);
  checkReferences(request, pod, node);
};

const checkPodStatus: Check = (request, node) => {
  const old = request.oldObject as Pod;
  const now = request.object as Pod;
  if (old.spec.nodeName !== node) {
    const why = `node ${q(node)} can only update pod status for pods with spec.nodeName set to itself`;
    throw refuse(request, why);
  }
  if (!equalObjects(old.metadata.labels ?? {}, now.metadata.labels ?? {}))
    throw refuse(request, `node ${q(node)} cannot update labels through pod status`);
  const claims = (pod: Pod) => pod.status?.resourceClaimStatuses ?? [];
  if (!equalObjects(claims(old), claims(now)))
    throw refuse(request, `node ${q(node)} cannot update resource claim statues`);
  const extended = (pod: Pod) => pod.status?.extendedResourceClaimStatus;
  if (!equalObjects(extended(old), extended(now)))
    throw refuse(request, `node ${q(node)} cannot update extended resource claim status`);
};

const checkPods: Check = (request, node, world) => {
  const { subresource } = request;
  if (subresource === "") checkPod(request, node, world);
  else if (subresource === "status") checkPodStatus(request, node, world);
  else if (subresource !== "eviction") {
    const why = `unexpected pod subresource ${q(subresource)}, only 'status' and 'eviction' are allowed`;
    throw refuse(request, why);
  }
};

const checkClaim: Check = (request, node) => {
  if (request.subresource !== "status") throw refuse(request, "may only update PVC status");
  const bare = (object: unknown) => {
    const claim = cloneJson(object) as PersistentVolumeClaim;
    const { resourceVersion: _r, managedFields: _m, ...metadata } = claim.metadata;
    const status = claim.status ?? {};
    for (const field of [
      "capacity",
      "conditions",
      "allocatedResources",
      "allocatedResourceStatuses",
    ])
      delete (status as Record<string, unknown>)[field];
    return { ...claim, metadata, status };
  };
  if (equalObjects(bare(request.oldObject), bare(request.object))) return;
  const why = `node ${q(node)} is not allowed to update fields other than status.quantity and status.conditions`;
  throw refuse(request, why);
};

const checkToken: Check = (request, node, { reader, authorizer }) => {
  if (request.operation !== "CREATE" || request.subresource !== "token") return;
  const { spec } = request.object as unknown as TokenRequest;
  const reference = spec.boundObjectRef;
  const toPod = reference?.apiVersion === "v1" && reference.kind === "Pod";
  if (!toPod || (reference.name ?? "") === "")
    throw refuse(request, "node requested token not bound to a pod");
  const { name = "", uid = "" } = reference;
  if (uid === "") throw refuse(request, "node requested token with a pod binding without a uid");
  const pod = reader.get(pods, request.namespace, name) as Pod | undefined;
  if (pod === undefined) throw notFound({ group: "", plural: "pod" }, name);
  if (pod.metadata.uid !== uid) {
    const why = `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw refuse(request, why);
  }
  if (pod.spec.nodeName !== node)
    throw refuse(request, "node requested token bound to a pod scheduled on a different node");
  checkAudience(request, spec.audiences ?? [], pod, authorizer);
};

/** Upstream: only for whom the pod itself asks, or whom a rule names. */
function checkAudience(
  request: AdmissionRequest,
  audiences: readonly string[],
  pod: Pod,
  authorizer: Authorizer,
): void {
  if (audiences.length > 1) throw refuse(request, "node may only request 0 or 1 audiences");
  const [audience = ""] = audiences;
  const asked = (pod.spec.volumes ?? []).some((volume) =>
    (volume.projected?.sources ?? []).some(
      ({ serviceAccountToken }) =>
        serviceAccountToken !== undefined && (serviceAccountToken.audience ?? "") === audience,
    ),
  );
  if (asked) return;
  const { decision } = authorizer.authorize({
    user: request.user,
    verb: "request-serviceaccounts-token-audience",
    isResource: true,
    group: "",
    version: "v1",
    resource: audience,
    subresource: "",
    namespace: request.namespace,
    name: request.name,
    path: "",
  });
  if (decision === "allow") return;
  const who = request.user.name;
  throw refuse(request, `${who} is not authorized to request tokens for audience ${q(audience)}`);
}

const checkLease: Check = (request, node) => {
  if (request.namespace !== "kube-node-lease") {
    const why = `can only access leases in the "kube-node-lease" system namespace`;
    throw refuse(request, why);
  }
  if ((request.object ?? request.oldObject)?.metadata.name === node) return;
  const why = "can only access node lease with the same name as the requesting node";
  throw refuse(request, why);
};

const checkCsiNode: Check = (request, node) => {
  if ((request.object ?? request.oldObject)?.metadata.name === node) return;
  throw refuse(request, "can only access CSINode with the same name as the requesting node");
};

/** The rest of what it asks for is the signer's business. */
const checkCertificate: Check = (request, node, world) => {
  if (request.operation !== "CREATE") return;
  const csr = request.object as CertificateSigningRequest;
  const { signerName } = csr.spec;
  if (signerName !== signers.kubeletServing && signerName !== signers.kubeletClient) return;
  const read = readRequestOf(csr, world);
  if ("refused" in read) throw refuse(request, `unable to parse csr: ${read.refused}`);
  if (read.user === `system:node:${node}`) return;
  throw refuse(request, `can only create a node CSR with CN=system:node:${node}`);
};

/** Only for a pod that runs there and asks for it, in the name of that pod's account. */
const checkPodCertificate: Check = (request, node, { reader, authorizer }) => {
  const refused = (why: string) => refuse(request, why);
  if (request.operation !== "CREATE") throw refused(`unexpected operation ${request.operation}`);
  if (request.subresource !== "") throw refused(`unexpected subresource ${request.subresource}`);
  const { namespace } = request;
  const { spec } = request.object as PodCertificateRequest;
  if (spec.nodeName !== node) {
    const why = `which is not the requesting node ${q(node)}`;
    throw refused(`PodCertificateRequest.Spec.NodeName=${q(spec.nodeName)}, ${why}`);
  }
  const find = <T>(kind: { group: string; plural: string }, what: string, name: string): T => {
    const found = reader.get(kind, kind === nodes ? "" : namespace, name);
    if (found !== undefined) return found as T;
    throw notFound({ group: "", plural: what }, name);
  };
  const uidOf = ({ metadata }: { metadata: ObjectMeta }): string => metadata.uid ?? "";
  const own = uidOf(find<Node>(nodes, "node", spec.nodeName));
  const pod = find<Pod>(pods, "pod", spec.podName);
  const podName = q(`${namespace}/${spec.podName}`);
  const about = `PodCertificateRequest for pod ${podName}`;
  if (own !== spec.nodeUID) {
    const why = `inconsistent with the running node (${q(own)})`;
    throw refused(`${about} names node UID ${q(spec.nodeUID)}, ${why}`);
  }
  if (uidOf(pod) !== spec.podUID) {
    const why = `which differs from running pod ${q(uidOf(pod))}`;
    throw refused(`${about} contains pod UID (${q(spec.podUID)}) ${why}`);
  }
  if (pod.spec.nodeName !== node) {
    const why = `is not running on node ${q(node)} named in the PodCertificateRequest`;
    throw refused(`pod ${podName} ${why}`);
  }
  if (pod.metadata.annotations?.[mirrorAnnotation] !== undefined)
    throw refused(`pod ${podName} is a mirror pod`);
  const account = pod.spec.serviceAccountName ?? "";
  if (spec.serviceAccountName !== account) {
    const why = `that differs from running pod (${q(account)})`;
    throw refused(`${about} contains serviceAccountName (${q(spec.serviceAccountName)}) ${why}`);
  }
  const accountUid = uidOf(find<ServiceAccount>(accounts, "serviceaccount", account));
  if (accountUid !== spec.serviceAccountUID) {
    const why = `which differs from the running service account (${q(accountUid)})`;
    throw refused(`${about} names service account UID ${q(spec.serviceAccountUID)}, ${why}`);
  }
  const asked = (pod.spec.volumes ?? []).some(({ projected }) =>
    projected?.sources?.some((one) => one.podCertificate?.signerName === spec.signerName),
  );
  if (asked) return;
  const { decision } = authorizer.authorize({
    user: request.user,
    verb: "request-serviceaccounts-podcertificate-signer",
    isResource: true,
    group: request.group,
    version: "v1",
    // Upstream: a rule's resource cannot hold a slash.
    resource: spec.signerName.replaceAll("/", ":"),
    subresource: "",
    namespace,
    name: spec.serviceAccountName,
    path: "",
  });
  if (decision === "allow") return;
  const why = `does not mount a podCertificate projected volume for signer ${q(spec.signerName)}`;
  throw refused(`pod ${podName} ${why}`);
};

const checks: Readonly<Record<string, Check>> = {
  "/nodes": checkNode,
  "/pods": checkPods,
  "/persistentvolumeclaims": checkClaim,
  "/serviceaccounts": checkToken,
  "certificates.k8s.io/certificatesigningrequests": checkCertificate,
  "certificates.k8s.io/podcertificaterequests": checkPodCertificate,
  "coordination.k8s.io/leases": checkLease,
  "storage.k8s.io/csinodes": checkCsiNode,
};

export const nodeRestriction: AdmissionPlugin = {
  name: "NodeRestriction",
  handles: ({ operation, user, group, plural }) =>
    operation !== "CONNECT" && `${group}/${plural}` in checks && nodeOf(user) !== undefined,
  admit(request, world) {
    const node = nodeOf(request.user) ?? "";
    if (node === "") {
      const why = `could not determine node from user ${q(request.user.name)}`;
      throw refuse(request, why);
    }
    checks[`${request.group}/${request.plural}`]?.(request, node, world);
  },
};
