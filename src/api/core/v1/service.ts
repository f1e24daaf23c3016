/** Service. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Service = g.Service;
export const Service = defineResource<g.Service>({
  group: "",
  version: "v1",
  plural: "services",
  storagePrefix: "/registry/services/specs",
});
