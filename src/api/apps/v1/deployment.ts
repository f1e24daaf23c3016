/** Deployment. */
import type * as g from "../../generated/apps/v1.ts";
import { defineResource } from "../../resource.ts";

export type Deployment = g.Deployment;
export const Deployment = defineResource<g.Deployment>({
  group: "apps",
  version: "v1",
  plural: "deployments",
});
