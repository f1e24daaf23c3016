/**
 * CertificateSigningRequest: somebody asks for a certificate; somebody approves or denies it; a signer issues it. What it asks for is
 * fixed once it is there: approval and status say the rest. Whether its request is one at all, the API server checks (it has crypto).
 */
import { decodeBase64 } from "#machinery/base64.ts";
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { humanDuration } from "#machinery/human-duration.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import { pemBlocks } from "#machinery/pem.ts";
import { formatTime } from "#machinery/time.ts";
import type {
  CertificateSigningRequestCondition as Condition,
  CertificateSigningRequest as CsrObject,
} from "../../generated/certificates/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource, type StrategyContext } from "../../resource.ts";
import { validateSignerName } from "./signer-name.ts";

export type CertificateSigningRequest = CsrObject;

export const certificatesGroup = "certificates.k8s.io";
export const signers = {
  apiServerClient: "kubernetes.io/kube-apiserver-client",
  kubeletClient: "kubernetes.io/kube-apiserver-client-kubelet",
  kubeletServing: "kubernetes.io/kubelet-serving",
  legacyUnknown: "kubernetes.io/legacy-unknown",
} as const;

const usages = [
  "any",
  "cert sign",
  "client auth",
  "code signing",
  "content commitment",
  "crl sign",
  "data encipherment",
  "decipher only",
  "digital signature",
  "email protection",
  "encipher only",
  "ipsec end system",
  "ipsec tunnel",
  "ipsec user",
  "key agreement",
  "key encipherment",
  "microsoft sgc",
  "netscape sgc",
  "ocsp signing",
  "s/mime",
  "server auth",
  "signing",
  "timestamping",
];
const final: readonly string[] = ["Approved", "Denied", "Failed"];
const judged: readonly string[] = ["Approved", "Denied"];
const secondsMin = 600;

export const conditionsOf = ({ status }: CertificateSigningRequest): readonly Condition[] =>
  status?.conditions ?? [];
export const hasCondition = (csr: CertificateSigningRequest, type: string): boolean =>
  conditionsOf(csr).some((condition) => condition.type === type);

function stateOf(csr: CertificateSigningRequest): string {
  const verdict = hasCondition(csr, "Denied")
    ? "Denied"
    : hasCondition(csr, "Approved")
      ? "Approved"
      : "Pending";
  const failed = hasCondition(csr, "Failed") ? ",Failed" : "";
  return `${verdict}${failed}${(csr.status?.certificate ?? "") === "" ? "" : ",Issued"}`;
}

function validateRequest(request: string | null): FieldError[] {
  const decoded = decodeBase64(request ?? "");
  const [block] = "bytes" in decoded ? pemBlocks(new TextDecoder().decode(decoded.bytes)) : [];
  if (block?.label === "CERTIFICATE REQUEST") return [];
  const why = "PEM block type must be CERTIFICATE REQUEST";
  return [invalid("spec.request", request, why)];
}

function validateSpec({ spec }: CertificateSigningRequest): FieldError[] {
  const errors = validateRequest(spec.request);
  const asked = spec.usages ?? [];
  if (asked.length === 0) errors.push(required("spec.usages"));
  for (const [index, usage] of asked.entries()) {
    const path = `spec.usages[${index}]`;
    if (!usages.includes(usage)) errors.push(notSupported(path, usage, usages));
    if (asked.indexOf(usage) < index) errors.push(duplicate(path, usage));
  }
  if (spec.signerName === signers.legacyUnknown) {
    const why = "the legacy signerName is not allowed via this API version";
    errors.push(invalid("spec.signerName", spec.signerName, why));
  } else errors.push(...validateSignerName(spec.signerName, "spec.signerName"));
  const { expirationSeconds } = spec;
  if (expirationSeconds !== undefined && expirationSeconds < secondsMin) {
    const why = "may not specify a duration less than 600 seconds (10 minutes)";
    errors.push(invalid("spec.expirationSeconds", expirationSeconds, why));
  }
  return errors;
}

function validateConditions(conditions: readonly Condition[]): FieldError[] {
  const errors: FieldError[] = [];
  const all = "status.conditions";
  const seen = new Set<string>();
  for (const [index, { type, status }] of conditions.entries()) {
    const path = `${all}[${index}]`;
    if (type === "") errors.push(required(`${path}.type`));
    const known = final.includes(type) ? ["True"] : ["False", "True", "Unknown"];
    if (status === "") errors.push(required(`${path}.status`));
    else if (!known.includes(status)) errors.push(notSupported(`${path}.status`, status, known));
    const other = judged.find((one) => one !== type);
    if (judged.includes(type) && other !== undefined && seen.has(other)) {
      const why = "Approved and Denied conditions are mutually exclusive";
      errors.push(invalid(all, type, why));
    }
    if (seen.has(type)) errors.push(duplicate(`${path}.type`, type));
    seen.add(type);
  }
  return errors;
}

const ofType = (csr: CertificateSigningRequest, type: string): readonly Condition[] =>
  conditionsOf(csr).filter((condition) => condition.type === type);

/** PEM blocks and nothing else; what is inside of them is for those who use them. */
function certificateProblem(certificate: string): string | undefined {
  if (certificate === "") return undefined;
  const decoded = decodeBase64(certificate);
  const text = "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g)];
  const other = blocks.find((block) => block[1] !== "CERTIFICATE")?.[1];
  if (other !== undefined)
    return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(other)}`;
  if (blocks.some((block) => block[2]?.includes(":") === true))
    return "no PEM block headers are permitted";
  return blocks.length === 0 ? "must contain at least one CERTIFICATE PEM block" : undefined;
}

/** What may change through approval (the verdict) and through status (the certificate and the rest). */
function validateStep(
  csr: CertificateSigningRequest,
  old: CertificateSigningRequest,
  context: StrategyContext | undefined,
): FieldError[] {
  const errors = validateConditions(conditionsOf(csr));
  const path = "status.conditions";
  const isApproval = context?.subresource === "approval";
  for (const type of final) {
    const now = ofType(csr, type);
    const before = ofType(old, type);
    const name = JSON.stringify(type);
    if (now.length < before.length)
      errors.push(forbidden(path, `updates may not remove a condition of type ${name}`));
    else if (!isApproval && judged.includes(type)) {
      if (now.length > before.length)
        errors.push(forbidden(path, `updates may not add a condition of type ${name}`));
      else if (!equalObjects(now, before))
        errors.push(forbidden(path, `updates may not modify a condition of type ${name}`));
    }
  }
  const certificate = csr.status?.certificate ?? "";
  const issued = old.status?.certificate ?? "";
  if (certificate !== issued) {
    const at = "status.certificate";
    const problem = certificateProblem(certificate);
    if (problem !== undefined) errors.push(invalid(at, "<certificate data>", problem));
    if (isApproval) errors.push(forbidden(at, "updates may not set certificate content"));
    else if (issued !== "")
      errors.push(forbidden(at, "updates may not modify existing certificate content"));
  }
  return errors;
}

/** Times that are missing are now; a condition that stands as it stood has the time since when. */
function fillTimes(csr: CertificateSigningRequest, old: CertificateSigningRequest, now: number) {
  const time = formatTime(now);
  for (const condition of csr.status?.conditions ?? []) {
    condition.lastUpdateTime ||= time;
    if (condition.lastTransitionTime) continue;
    const same = conditionsOf(old).find(
      ({ type, status }) => type === condition.type && status === condition.status,
    );
    condition.lastTransitionTime = same?.lastTransitionTime || time;
  }
}

export const CertificateSigningRequest = defineResource<CertificateSigningRequest>({
  group: certificatesGroup,
  version: "v1",
  plural: "certificatesigningrequests",
  selectableFields: { "spec.signerName": ({ spec }) => spec.signerName },
  printerColumns: [
    ageColumn,
    { name: "SignerName", value: ({ spec }) => spec.signerName || "<none>" },
    { name: "Requestor", value: ({ spec }) => spec.username ?? "" },
    {
      name: "RequestedDuration",
      value: ({ spec: { expirationSeconds } }) =>
        expirationSeconds === undefined ? "<none>" : humanDuration(expirationSeconds * 1000),
    },
    { name: "Condition", value: stateOf },
  ],
  strategy: {
    nameFormat: "pathSegment",
    prepareForCreate(object, { requester }) {
      const { username: _u, uid: _i, groups: _g, extra: _e, ...spec } = object.spec;
      const { name = "", uid, groups = [], extra = {} } = requester ?? {};
      object.spec = {
        ...spec,
        username: name,
        ...(uid === undefined ? {} : { uid }),
        groups: [...groups],
        ...(Object.keys(extra).length === 0
          ? {}
          : { extra: cloneJson(extra) as Record<string, string[]> }),
      };
    },
    prepareForUpdate(object, old) {
      object.spec = cloneJson(old.spec);
    },
    prepareForStatusUpdate(object, old, { now, subresource }) {
      if (subresource === "approval") {
        const { conditions = [] } = object.status ?? {};
        object.status = { ...cloneJson(old.status ?? {}), conditions };
      } else keepVerdict(object, old);
      fillTimes(object, old, now);
    },
    validate: validateSpec,
    validateUpdate: () => [],
    validateStatusUpdate: validateStep,
  },
});

/** Upstream: through status the verdict stays as it is, unless one is added or taken away: that is refused. */
function keepVerdict(csr: CertificateSigningRequest, old: CertificateSigningRequest): void {
  const { conditions } = csr.status ?? {};
  if (conditions === undefined) return;
  for (const type of judged) {
    const before = ofType(old, type);
    if (before.length !== ofType(csr, type).length) continue;
    let next = 0;
    for (const [index, condition] of conditions.entries()) {
      if (condition.type === type) conditions[index] = cloneJson(before[next++] as Condition);
    }
  }
}
