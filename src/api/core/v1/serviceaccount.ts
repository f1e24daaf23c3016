/** ServiceAccount. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type ServiceAccount = g.ServiceAccount;
export const ServiceAccount = defineResource<g.ServiceAccount>({
  group: "",
  version: "v1",
  plural: "serviceaccounts",
});
