/** Endpoints. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Endpoints = g.Endpoints;
export const Endpoints = defineResource<g.Endpoints>({
  group: "",
  version: "v1",
  plural: "endpoints",
});
