/** ConfigMap. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type ConfigMap = g.ConfigMap;
export const ConfigMap = defineResource<g.ConfigMap>({
  group: "",
  version: "v1",
  plural: "configmaps",
});
