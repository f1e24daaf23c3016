/** Service. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Service = g.Service;
export const Service = defineResource<g.Service>({ group: "", version: "v1", plural: "services" });
