/**
 * Certificates: approves the requests that nodes make for themselves (kubelet client and serving certificates, as far as their
 * requesters hold the right), issues what was approved for the built-in signers, and takes away requests that are done with.
 */
import {
  type CertificateSigningRequest,
  CertificateSigningRequest as Csr,
  conditionsOf,
  hasCondition,
  signers,
} from "#api/certificates/v1/certificatesigningrequest.ts";
import type { SubjectAccessReview } from "#api/generated/authorization/v1.ts";
import type { Kind } from "#api/resource.ts";
import { decodeBase64, encodeBase64 } from "#machinery/base64.ts";
import type { Stored } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import type { CertificateFacts, CertificateRequest, Crypto } from "#ports/crypto.ts";
import {
  type Controller,
  type Outcome,
  type ReconcileContext,
  requeueAfter,
} from "./controller.ts";
import { defineController } from "./runner.ts";

export interface CertificateSigner {
  readonly crypto: Crypto;
  /** PEM of the authority. */
  readonly certificate: string;
  readonly privateKey: string;
}

const hourMs = 3_600_000;
const doneMs = hourMs;
const pendingMs = 24 * hourMs;
const ttlMsMax = 365 * 24 * hourMs;
const ttlMsMin = 10 * 60_000;
const backdateMs = 5 * 60_000;
/** Certificates shorter than this are not backdated within their own life. */
const shortMs = 8 * hourMs;
const nodePrefix = "system:node:";

const reviews: Kind<SubjectAccessReview> = {
  group: "authorization.k8s.io",
  version: "v1",
  kind: "SubjectAccessReview",
  plural: "subjectaccessreviews",
  namespaced: false,
};

/** Exactly these, with or without "key encipherment", which only RSA keys need. */
function hasUses(csr: CertificateSigningRequest, use: "client auth" | "server auth"): boolean {
  const asked = new Set(csr.spec.usages ?? []);
  asked.delete("key encipherment");
  return asked.size === 2 && asked.has("digital signature") && asked.has(use);
}

const quoted = (list: readonly string[]): string => `[${list.join(" ")}]`;

function nodeProblem(request: CertificateRequest): string | undefined {
  if (request.groups.length !== 1 || request.groups[0] !== "system:nodes")
    return "subject organization is not system:nodes";
  return undefined;
}

const nameProblem = ({ user }: CertificateRequest): string | undefined =>
  user.startsWith(nodePrefix) ? undefined : "subject common name does not begin with system:node:";

export function clientProblem(
  csr: CertificateSigningRequest,
  request: CertificateRequest,
): string | undefined {
  const problem = nodeProblem(request);
  if (problem !== undefined) return problem;
  if (request.dnsNames.length > 0) return "DNS subjectAltNames are not allowed";
  if (request.mails.length > 0) return "Email subjectAltNames are not allowed";
  if (request.addresses.length > 0) return "IP subjectAltNames are not allowed";
  if (request.uris.length > 0) return "URI subjectAltNames are not allowed";
  const needed = ["client auth", "digital signature", "key encipherment"];
  const name = nameProblem(request);
  if (name !== undefined) return name;
  return hasUses(csr, "client auth") ? undefined : `usages did not match ${quoted(needed)}`;
}

export function servingProblem(
  csr: CertificateSigningRequest,
  request: CertificateRequest,
): string | undefined {
  const problem = nodeProblem(request);
  if (problem !== undefined) return problem;
  if (request.dnsNames.length === 0 && request.addresses.length === 0)
    return "DNS or IP subjectAltName is required";
  if (request.mails.length > 0) return "Email subjectAltNames are not allowed";
  if (request.uris.length > 0) return "URI subjectAltNames are not allowed";
  const needed = ["digital signature", "key encipherment", "server auth"];
  if (!hasUses(csr, "server auth")) return `usages did not match ${quoted(needed)}`;
  return nameProblem(request);
}

function apiClientProblem(csr: CertificateSigningRequest): string | undefined {
  const asked = csr.spec.usages ?? [];
  const known = ["digital signature", "key encipherment", "client auth"];
  const other = asked.find((usage) => !known.includes(usage));
  if (other !== undefined) return `invalid usage for client certificate: ${other}`;
  return asked.includes("client auth")
    ? undefined
    : "missing required usage for client certificate: client auth";
}

/** The rights, one of which its requester must hold for it to be approved by itself. */
export function approvalsOf(
  csr: CertificateSigningRequest,
  request: CertificateRequest,
): readonly { readonly subresource: string; readonly message: string }[] {
  const { signerName, username } = csr.spec;
  const self = username === request.user;
  if (signerName === signers.kubeletClient && clientProblem(csr, request) === undefined) {
    const other = {
      subresource: "nodeclient",
      message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    };
    if (!self) return [other];
    const message = "Auto approving self kubelet client certificate after SubjectAccessReview.";
    return [{ subresource: "selfnodeclient", message }, other];
  }
  // Upstream leaves serving certificates to others; a node gets one here in its own name only.
  const serving = signerName === signers.kubeletServing && self;
  if (!serving || servingProblem(csr, request) !== undefined) return [];
  const own = request.user.slice(nodePrefix.length);
  if (request.dnsNames.some((name) => name !== own)) return [];
  const message = "Auto approving self kubelet serving certificate after SubjectAccessReview.";
  return [{ subresource: "selfnodeserver", message }];
}

const problems: Readonly<
  Record<
    string,
    (csr: CertificateSigningRequest, request: CertificateRequest) => string | undefined
  >
> = {
  [signers.kubeletClient]: clientProblem,
  [signers.kubeletServing]: servingProblem,
  [signers.apiServerClient]: apiClientProblem,
  [signers.legacyUnknown]: () => undefined,
};

function usesOf({ spec: { usages = [] } }: CertificateSigningRequest): CertificateFacts["uses"] {
  return (["client auth", "server auth"] as const).filter((use) => usages.includes(use));
}

export function factsFor(
  csr: CertificateSigningRequest,
  request: CertificateRequest,
  now: number,
): CertificateFacts {
  const { expirationSeconds } = csr.spec;
  const asked = expirationSeconds === undefined ? ttlMsMax : expirationSeconds * 1000;
  const ttlMs = Math.min(ttlMsMax, Math.max(ttlMsMin, asked));
  const fromMs = now - backdateMs;
  return {
    user: request.user,
    groups: request.groups,
    names: [...request.dnsNames, ...request.addresses],
    uses: usesOf(csr),
    fromMs,
    toMs: (ttlMs < shortMs ? now : fromMs) + ttlMs,
  };
}

/** When the request may go; undefined: not as it stands. */
export function endOf(csr: Stored<CertificateSigningRequest>, certificateToMs?: number): number {
  const ends: number[] = [];
  const after = (time: string | undefined, ms: number): void => {
    const at = parseTime(time ?? "");
    if (at !== undefined) ends.push(at + ms);
  };
  const issued = (csr.status?.certificate ?? "") !== "";
  if (conditionsOf(csr).length === 0) after(csr.metadata.creationTimestamp, pendingMs);
  for (const { type, lastUpdateTime } of conditionsOf(csr)) {
    if (type === "Denied" || type === "Failed") after(lastUpdateTime, doneMs);
    if (type === "Approved") after(lastUpdateTime, issued ? doneMs : pendingMs);
  }
  if (issued && certificateToMs !== undefined) ends.push(certificateToMs);
  return Math.min(...ends, Infinity);
}

async function approve(
  csr: Stored<CertificateSigningRequest>,
  request: CertificateRequest,
  { client, now }: ReconcileContext,
): Promise<void> {
  const { username = "", uid, groups = [], extra } = csr.spec;
  for (const { subresource, message } of approvalsOf(csr, request)) {
    const review = await client.create(reviews, {
      metadata: {},
      spec: {
        user: username,
        groups,
        ...(uid === undefined ? {} : { uid }),
        ...(extra === undefined ? {} : { extra }),
        resourceAttributes: {
          group: "certificates.k8s.io",
          resource: "certificatesigningrequests",
          verb: "create",
          subresource,
          version: "*",
        },
      },
    });
    if (!review.status.allowed) continue;
    const time = formatTime(now);
    const condition = {
      type: "Approved",
      status: "True",
      reason: "AutoApproved",
      message,
      lastUpdateTime: time,
      lastTransitionTime: time,
    };
    const next: CertificateSigningRequest = cloneJson(csr);
    next.status = { ...next.status, conditions: [...conditionsOf(csr), condition] };
    await client.updateSubresource(Csr, next, "approval");
    return;
  }
}

async function issue(
  csr: Stored<CertificateSigningRequest>,
  request: CertificateRequest,
  { client, now }: ReconcileContext,
  signer: CertificateSigner,
): Promise<void> {
  const problem = problems[csr.spec.signerName]?.(csr, request);
  const next = cloneJson(csr) as CertificateSigningRequest;
  if (problem !== undefined) {
    const failed = {
      type: "Failed",
      status: "True",
      reason: "SignerValidationFailure",
      message: problem,
      lastUpdateTime: formatTime(now),
      lastTransitionTime: formatTime(now),
    };
    next.status = { ...next.status, conditions: [...conditionsOf(csr), failed] };
  } else {
    const facts = factsFor(csr, request, now);
    const { certificate, privateKey } = signer;
    const pem = await signer.crypto.issue(facts, request.publicKey, { certificate, privateKey });
    next.status = { ...next.status, certificate: encodeBase64(new TextEncoder().encode(pem)) };
  }
  await client.updateStatus(Csr, next);
}

const textOf = (base64: string): string => {
  const decoded = decodeBase64(base64);
  return "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
};

async function reconcile(
  csr: Stored<CertificateSigningRequest>,
  context: ReconcileContext,
  signer: CertificateSigner,
): Promise<Outcome | void> {
  if (csr.metadata.deletionTimestamp !== undefined) return;
  const certificate = csr.status?.certificate ?? "";
  const toMs =
    certificate === "" ? undefined : signer.crypto.readCertificate(textOf(certificate)).toMs;
  const end = endOf(csr, toMs);
  if (context.now > end) {
    const { name, uid } = csr.metadata;
    try {
      await context.client.delete(Csr, { name }, { preconditions: { uid } });
    } catch (error) {
      if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
    }
    return;
  }
  const open = certificate === "" && !hasCondition(csr, "Denied") && !hasCondition(csr, "Failed");
  if (open) {
    const request = signer.crypto.readRequest(textOf(csr.spec.request));
    if (!("refused" in request)) {
      const approved = hasCondition(csr, "Approved");
      if (!approved) await approve(csr, request, context);
      else if (csr.spec.signerName in problems) await issue(csr, request, context, signer);
    }
  }
  return requeueAfter(end - context.now + 1);
}

export const certificateController: Controller = {
  name: "certificate",
  start(world) {
    const { signer } = world.settings;
    // Nobody gave us the authority's key: others sign.
    if (signer === undefined) return { stop: () => Promise.resolve() };
    return defineController<CertificateSigningRequest>({
      name: "certificate",
      reconciles: Csr,
      reconcile: (csr, context) => reconcile(csr, context, signer),
    }).start(world);
  },
};
