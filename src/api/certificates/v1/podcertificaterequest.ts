/**
 * PodCertificateRequest: a kubelet asks a signer for a certificate for one pod. What it asks for is fixed; the signer issues, denies or
 * fails it, once. Whether request and certificate are what they should be, the API server checks (it has crypto).
 */
import {
  type FieldError,
  invalid,
  invalidWithoutValue,
  notSupported,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { validateConditions, validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type {
  PodCertificateRequest as PodCertificateRequestObject,
  PodCertificateRequestSpec,
} from "../../generated/certificates/v1.ts";
import { defineResource } from "../../resource.ts";
import { certificatesGroup } from "./certificatesigningrequest.ts";
import { expirationSecondsMax, expirationSecondsMin, validateSignerName } from "./signer-name.ts";
import { validateUserAnnotations } from "./user-annotations.ts";

export type PodCertificateRequest = PodCertificateRequestObject;

const uidLengthMax = 128;
const verdicts = ["Issued", "Denied", "Failed"] as const;
export type Verdict = (typeof verdicts)[number];

/** How it ended; undefined: not yet. */
export const verdictOf = ({ status }: PodCertificateRequest): Verdict | undefined =>
  verdicts.find((verdict) =>
    status.conditions?.some((one) => one.type === verdict && one.status === "True"),
  );

function named(
  { spec }: PodCertificateRequest,
  field: "nodeName" | "podName" | "serviceAccountName",
) {
  const name = spec[field];
  return isDns1123Subdomain(name).map((message) => invalid(`spec.${field}`, name, message));
}

function identified(
  { spec }: PodCertificateRequest,
  field: "nodeUID" | "podUID" | "serviceAccountUID",
): FieldError[] {
  const uid = spec[field];
  if (uid === "") return [invalid(`spec.${field}`, uid, "must not be empty")];
  return uid.length > uidLengthMax ? [tooLong(`spec.${field}`, uidLengthMax)] : [];
}

function validateExpiration({ signerName, maxExpirationSeconds }: PodCertificateRequestSpec) {
  const path = "spec.maxExpirationSeconds";
  if (maxExpirationSeconds === undefined) return [required(path, "must be set")];
  const max = expirationSecondsMax(signerName);
  if (expirationSecondsMin <= maxExpirationSeconds && maxExpirationSeconds <= max) return [];
  const detail = `must be in the range [${expirationSecondsMin}, ${max}]`;
  return [invalid(path, maxExpirationSeconds, detail)];
}

const validate = (request: PodCertificateRequest): FieldError[] => {
  const { spec } = request;
  return [
    ...validateSignerName(spec.signerName, "spec.signerName"),
    ...validateUserAnnotations(
      spec.unverifiedUserAnnotations ?? {},
      "spec.unverifiedUserAnnotations",
    ),
    ...named(request, "podName"),
    ...identified(request, "podUID"),
    ...named(request, "serviceAccountName"),
    ...identified(request, "serviceAccountUID"),
    ...named(request, "nodeName"),
    ...identified(request, "nodeUID"),
    ...validateExpiration(spec),
  ];
};

function validateVerdicts({ status }: PodCertificateRequest): FieldError[] {
  const errors: FieldError[] = [];
  let known = 0;
  for (const [index, { type, status: value }] of (status.conditions ?? []).entries()) {
    const path = `status.conditions[${index}]`;
    if (!verdicts.some((verdict) => verdict === type)) {
      errors.push(notSupported(`${path}.type`, type, [...verdicts]));
      continue;
    }
    known += 1;
    if (known > 1) {
      const detail = 'There may be at most one condition with type "Issued", "Denied", or "Failed"';
      errors.push(invalid(`${path}.type`, type, detail));
    }
    if (value !== "True") errors.push(notSupported(`${path}.status`, value, ["True"]));
  }
  return [...errors, ...validateConditions(status.conditions ?? [], "status.conditions")];
}

/** What may change in a status, but for what an issued certificate must be. */
function validateStatus(request: PodCertificateRequest, old: PodCertificateRequest): FieldError[] {
  const errors = validateVerdicts(request);
  if (errors.length > 0) return errors;
  const { conditions: _, ...rest } = request.status;
  const same = equalObjects(request.status, old.status);
  if (verdictOf(old) !== undefined) {
    const detail = "immutable after PodCertificateRequest is issued, denied, or failed";
    return same ? [] : [invalidWithoutValue("status", detail)];
  }
  const verdict = verdictOf(request);
  if (verdict === "Issued") return [];
  if (verdict !== undefined) {
    const detail =
      "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
    return Object.keys(rest).length === 0 ? [] : [invalidWithoutValue("status", detail)];
  }
  const detail = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"';
  return same ? [] : [invalidWithoutValue("status", detail)];
}

export const PodCertificateRequest = defineResource<PodCertificateRequest>({
  group: certificatesGroup,
  version: "v1",
  plural: "podcertificaterequests",
  selectableFields: {
    "spec.signerName": ({ spec }) => spec.signerName,
    "spec.podName": ({ spec }) => spec.podName,
    "spec.nodeName": ({ spec }) => spec.nodeName,
  },
  printerColumns: [
    { name: "PodName", value: ({ spec }) => spec.podName },
    { name: "ServiceAccountName", value: ({ spec }) => spec.serviceAccountName },
    { name: "NodeName", value: ({ spec }) => spec.nodeName },
    { name: "SignerName", value: ({ spec }) => spec.signerName },
    { name: "State", value: (request) => verdictOf(request) ?? "Pending" },
    {
      name: "UnverifiedUserAnnotations",
      priority: 1,
      value: ({ spec }) =>
        Object.entries(spec.unverifiedUserAnnotations ?? {})
          .toSorted(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, value]) => `${key}=${value}`)
          .join(",") || "<none>",
    },
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    validate,
    validateUpdate: ({ spec }, old) => validateImmutable(spec, old.spec, "spec"),
    validateStatusUpdate: validateStatus,
  },
});
