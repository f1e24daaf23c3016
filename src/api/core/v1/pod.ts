/** Pod. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Pod = g.Pod;
export const Pod = defineResource<g.Pod>({ group: "", version: "v1", plural: "pods" });
