/**
 * ServiceAccount controller: every namespace has a ServiceAccount named default. Reads Namespaces;
 * writes nothing else.
 */
import { Namespace } from "#api/core/v1/namespace.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import { isStatus } from "#machinery/status-error.ts";
import { watch } from "./controller.ts";
import { defineController, isEnding } from "./runner.ts";

export const serviceAccountController = defineController<Namespace>({
  name: "serviceaccount",
  account: "service-account-controller",
  reconciles: Namespace,
  watches: [
    watch(
      ServiceAccount,
      ({ metadata: { name, namespace } }) =>
        name === "default" && namespace !== undefined ? [namespace] : [],
      () => false,
    ),
  ],
  async reconcile({ metadata: { name: namespace, deletionTimestamp } }, context) {
    if (deletionTimestamp !== undefined) return;
    if (context.cache(ServiceAccount).get(`${namespace}/default`) !== undefined) return;
    try {
      await context.client.create(ServiceAccount, { metadata: { name: "default", namespace } });
    } catch (error) {
      if (!isStatus(error, "AlreadyExists") && !isEnding(error)) throw error;
    }
  },
});
