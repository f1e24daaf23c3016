/**
 * ClusterTrustBundle: certificates of authorities that workloads may trust, of a signer or of nobody. Whether its text is certificates
 * of authorities, the API server checks (it has crypto).
 */
import type { FieldError } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { isDns1123Subdomain } from "#machinery/validation.ts";
import type { ClusterTrustBundle as ClusterTrustBundleObject } from "../../generated/certificates/v1.ts";
import { defineResource } from "../../resource.ts";
import { certificatesGroup } from "./certificatesigningrequest.ts";
import { validateSignerName } from "./signer-name.ts";

export type ClusterTrustBundle = ClusterTrustBundleObject;

/** Those of a signer are named after it: "example.com:name:…". */
function nameProblems(name: string, _prefix?: boolean, bundle?: ClusterTrustBundle): string[] {
  const signerName = bundle?.spec.signerName ?? "";
  if (signerName === "") {
    return name.includes(":")
      ? ['ClusterTrustBundle without signer name must not have ":" in its name']
      : isDns1123Subdomain(name);
  }
  const prefix = `${signerName.replaceAll("/", ":")}:`;
  return name.startsWith(prefix)
    ? isDns1123Subdomain(name.slice(prefix.length))
    : [`ClusterTrustBundle for signerName ${signerName} must be named with prefix ${prefix}`];
}

function validateSpec({ spec: { signerName = "" } }: ClusterTrustBundle): FieldError[] {
  return signerName === "" ? [] : validateSignerName(signerName, "spec.signerName");
}

export const ClusterTrustBundle = defineResource<ClusterTrustBundle>({
  group: certificatesGroup,
  version: "v1",
  plural: "clustertrustbundles",
  selectableFields: { "spec.signerName": ({ spec }) => spec.signerName ?? "" },
  printerColumns: [{ name: "SignerName", value: ({ spec }) => spec.signerName || "<none>" }],
  strategy: {
    nameProblems,
    allowUnconditionalUpdate: false,
    validate: validateSpec,
    validateUpdate: (bundle, old) => [
      ...validateSpec(bundle),
      ...validateImmutable(bundle.spec.signerName, old.spec.signerName, "spec.signerName"),
    ],
  },
});
