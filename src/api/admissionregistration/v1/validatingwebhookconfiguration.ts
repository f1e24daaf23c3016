/** ValidatingWebhookConfiguration: webhooks that may refuse what is written. */
import type { ValidatingWebhookConfiguration as ValidatingWebhookConfigurationObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { setWebhookDefaults, validateWebhooks } from "./webhook-validation.ts";

export type ValidatingWebhookConfiguration = ValidatingWebhookConfigurationObject;

export const ValidatingWebhookConfiguration = defineResource<ValidatingWebhookConfiguration>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  printerColumns: [
    { name: "Webhooks", type: "integer", value: ({ webhooks }) => (webhooks ?? []).length },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults({ webhooks }) {
      for (const hook of webhooks ?? []) setWebhookDefaults(hook);
    },
    validate: ({ webhooks }) => validateWebhooks(webhooks ?? [], false),
  },
});
