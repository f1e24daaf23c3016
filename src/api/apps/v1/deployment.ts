/** Deployment. */
import type * as g from "#api/generated/apps/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Deployment = g.Deployment;
export const Deployment = defineResource<g.Deployment>({
  group: "apps",
  version: "v1",
  plural: "deployments",
});
