/** ServiceAccount: who a pod is towards the API server. */
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type ServiceAccount = g.ServiceAccount;

const mountableSecretsAnnotation = "kubernetes.io/enforce-mountable-secrets";

/** Of the references only the names count. */
function cleanSecretReferences(account: ServiceAccount): void {
  const { secrets } = account;
  if (secrets === undefined) return;
  account.secrets = secrets.map(({ name }) => (name === undefined ? {} : { name }));
}

export const ServiceAccount = defineResource<ServiceAccount>({
  group: "",
  version: "v1",
  plural: "serviceaccounts",
  printerColumns: [ageColumn],
  strategy: {
    prepareForCreate: cleanSecretReferences,
    prepareForUpdate: cleanSecretReferences,
    warnings(account, old) {
      const has = (one: ServiceAccount | undefined): boolean =>
        one?.metadata.annotations?.[mountableSecretsAnnotation] !== undefined;
      if (!has(account) || has(old)) return [];
      return [
        `metadata.annotations[${mountableSecretsAnnotation}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets`,
      ];
    },
  },
});
