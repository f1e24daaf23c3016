/**
 * Certificate requests: they must be whole and signed with their own key; who approves and who signs must hold that right for the
 * signer (CertificateApproval, CertificateSigning); nobody gets into system:masters by one (CertificateSubjectRestriction).
 */
import {
  CertificateSigningRequest,
  certificatesGroup,
  signers,
} from "#api/certificates/v1/certificatesigningrequest.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { invalid } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { invalidObject } from "#machinery/status-error.ts";
import type { CertificateRequest } from "#ports/crypto.ts";
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
function mayOnSigner(
  { user }: AdmissionRequest,
  { authorizer }: AdmissionWorld,
  verb: "approve" | "sign",
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
