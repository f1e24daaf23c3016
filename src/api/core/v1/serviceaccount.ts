/** ServiceAccount. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type ServiceAccount = g.ServiceAccount;
export const ServiceAccount = defineResource<g.ServiceAccount>({
  group: "",
  version: "v1",
  plural: "serviceaccounts",
});
