/** MutatingWebhookConfiguration: webhooks that may change what is written before it is stored. */
import type { MutatingWebhookConfiguration as MutatingWebhookConfigurationObject } from "../../generated/admissionregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { setWebhookDefaults, validateWebhooks } from "./webhook-validation.ts";

export type MutatingWebhookConfiguration = MutatingWebhookConfigurationObject;

export const MutatingWebhookConfiguration = defineResource<MutatingWebhookConfiguration>({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingwebhookconfigurations",
  printerColumns: [
    { name: "Webhooks", type: "integer", value: ({ webhooks }) => (webhooks ?? []).length },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    allowUnconditionalUpdate: false,
    defaults({ webhooks }) {
      for (const hook of webhooks ?? []) {
        setWebhookDefaults(hook);
        hook.reinvocationPolicy ??= "Never";
      }
    },
    validate: ({ webhooks }) => validateWebhooks(webhooks ?? [], true),
  },
});
