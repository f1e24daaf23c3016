/** Endpoints. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Endpoints = g.Endpoints;
export const Endpoints = defineResource<g.Endpoints>({
  group: "",
  version: "v1",
  plural: "endpoints",
  storagePrefix: "/registry/services/endpoints",
});
