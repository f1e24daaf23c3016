/**
 * Trust bundles: they must hold certificates of authorities; who writes one of a signer must hold that right (ClusterTrustBundleAttest).
 * Certificate requests: they must be whole and signed with their own key; who approves and who signs must hold that right for the
 * signer (CertificateApproval, CertificateSigning); nobody gets into system:masters by one (CertificateSubjectRestriction).
 */
import {
  CertificateSigningRequest,
  certificatesGroup,
  signers,
} from "#api/certificates/v1/certificatesigningrequest.ts";
import { ClusterTrustBundle } from "#api/certificates/v1/clustertrustbundle.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { type FieldError, invalid, tooLong } from "#machinery/field-error.ts";
import type { ObjectMeta } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { armour, type PemBlock, pemBlocks } from "#machinery/pem.ts";
import { invalidObject } from "#machinery/status-error.ts";
import type { CertificateRequest, Crypto } from "#ports/crypto.ts";
import {
  type AdmissionPlugin,
  type AdmissionRequest,
  type AdmissionWorld,
  isAbout,
  refuse,
} from "./admission.ts";

const plural = "certificatesigningrequests";

/** The PEM text inside a CertificateSigningRequest. */
export function pemOfRequest(csr: CertificateSigningRequest): string {
  const decoded = decodeBase64(csr.spec.request);
  return "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
}

export function readRequestOf(
  csr: CertificateSigningRequest,
  { crypto }: AdmissionWorld,
): CertificateRequest | { readonly refused: string } {
  return crypto.readRequest(pemOfRequest(csr));
}

/** The right on the signer itself, or on all signers of its domain. */
export function mayOnSigner(
  { user }: AdmissionRequest,
  { authorizer }: AdmissionWorld,
  verb: "approve" | "attest" | "sign",
  signerName: string,
): boolean {
  const wildcard = `${signerName.split("/")[0] ?? ""}/*`;
  return [signerName, wildcard].some((name) => {
    const { decision } = authorizer.authorize({
      user,
      verb,
      isResource: true,
      group: certificatesGroup,
      version: "*",
      resource: "signers",
      subresource: "",
      namespace: "",
      name,
      path: "",
    });
    return decision === "allow";
  });
}

export const certificateApproval: AdmissionPlugin = {
  name: "CertificateApproval",
  handles: (request) =>
    request.operation === "UPDATE" && isAbout(request, certificatesGroup, plural, "approval"),
  validate(request, world) {
    const { signerName } = (request.oldObject as CertificateSigningRequest).spec;
    if (mayOnSigner(request, world, "approve", signerName)) return;
    const what = `user not permitted to approve requests with signerName ${JSON.stringify(signerName)}`;
    throw refuse(request, what);
  },
};

export const certificateSigning: AdmissionPlugin = {
  name: "CertificateSigning",
  handles: (request) =>
    request.operation === "UPDATE" && isAbout(request, certificatesGroup, plural, "status"),
  validate(request, world) {
    const old = request.oldObject as CertificateSigningRequest;
    const csr = request.object as CertificateSigningRequest;
    const same =
      (old.status?.certificate ?? "") === (csr.status?.certificate ?? "") &&
      equalObjects(old.status?.conditions ?? [], csr.status?.conditions ?? []);
    const { signerName } = old.spec;
    if (same || mayOnSigner(request, world, "sign", signerName)) return;
    const what = `user not permitted to sign requests with signerName ${JSON.stringify(signerName)}`;
    throw refuse(request, what);
  },
};

export const certificateSubjectRestriction: AdmissionPlugin = {
  name: "CertificateSubjectRestriction",
  handles: (request) =>
    request.operation === "CREATE" && isAbout(request, certificatesGroup, plural),
  validate(request, world) {
    const csr = request.object as CertificateSigningRequest;
    const read = readRequestOf(csr, world);
    if ("refused" in read) {
      const error = invalid("spec.request", csr.spec.request, read.refused);
      throw invalidObject(CertificateSigningRequest, csr.metadata.name ?? "", [error]);
    }
    if (csr.spec.signerName !== signers.apiServerClient) return;
    if (!read.groups.includes("system:masters")) return;
    const what = `use of ${signers.apiServerClient} signer with system:masters group is not allowed`;
    throw refuse(request, what);
  },
};

const trustBundleBytesMax = 1024 * 1024;
const omitted = "<value omitted>";

/** Why a block is no trust anchor. */
function anchorProblem({ label, hasHeaders, bytes }: PemBlock, crypto: Crypto): string | undefined {
  if (label !== "CERTIFICATE") return `has bad block type: ${label}`;
  if (hasHeaders) return "has PEM block headers";
  try {
    const { uses } = crypto.readCertificate(armour(label, bytes));
    return uses.includes("ca") ? undefined : "does not have the CA bit set";
  } catch {
    return "does not parse as X.509";
  }
}

function validateAnchors(trustBundle: string, crypto: Crypto): FieldError[] {
  const path = "spec.trustBundle";
  if (new TextEncoder().encode(trustBundle).length > trustBundleBytesMax) {
    return [tooLong(path, trustBundleBytesMax)];
  }
  const blocks = pemBlocks(trustBundle);
  const errors: FieldError[] = [];
  const places = new Map<string, number[]>();
  for (const [index, block] of blocks.entries()) {
    const problem = anchorProblem(block, crypto);
    if (problem !== undefined) errors.push(invalid(path, omitted, `entry ${index} ${problem}`));
    const key = armour(block.label, block.bytes);
    places.set(key, [...(places.get(key) ?? []), index]);
  }
  if (errors.length > 0) return errors;
  if (blocks.length === 0) {
    return [invalid(path, omitted, "at least one trust anchor must be provided")];
  }
  return [...places.values()]
    .filter((indexes) => indexes.length > 1)
    .map((indexes) =>
      invalid(path, omitted, `duplicate trust anchor (indices [${indexes.join(" ")}])`),
    );
}

export const clusterTrustBundleAttest: AdmissionPlugin = {
  name: "ClusterTrustBundleAttest",
  handles: (request) =>
    (request.operation === "CREATE" || request.operation === "UPDATE") &&
    isAbout(request, certificatesGroup, "clustertrustbundles"),
  validate(request, world) {
    const { metadata, spec } = request.object as ClusterTrustBundle;
    const old = request.oldObject as ClusterTrustBundle | undefined;
    const { signerName = "", trustBundle } = spec;
    if (old?.spec.trustBundle !== trustBundle) {
      const errors = validateAnchors(trustBundle, world.crypto);
      if (errors.length > 0) throw invalidObject(ClusterTrustBundle, metadata.name ?? "", errors);
    }
    if (signerName === "" || (old !== undefined && onlyCollectorFieldsDiffer(metadata, spec, old)))
      return;
    if (mayOnSigner(request, world, "attest", signerName)) return;
    throw refuse(request, `user not permitted to attest for signerName "${signerName}"`);
  },
};

/** What garbage collection writes, it may write without the signer's right. */
function onlyCollectorFieldsDiffer(
  metadata: ObjectMeta,
  spec: ClusterTrustBundle["spec"],
  old: ClusterTrustBundle,
): boolean {
  const rest = ({
    ownerReferences: _o,
    finalizers: _f,
    managedFields: _m,
    resourceVersion: _r,
    ...kept
  }: ObjectMeta) => kept;
  return equalObjects(rest(metadata), rest(old.metadata)) && equalObjects(spec, old.spec);
}
