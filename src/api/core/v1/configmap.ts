/** ConfigMap. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type ConfigMap = g.ConfigMap;
export const ConfigMap = defineResource<g.ConfigMap>({
  group: "",
  version: "v1",
  plural: "configmaps",
});
