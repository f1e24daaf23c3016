/** Pod. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Pod = g.Pod;
export const Pod = defineResource<g.Pod>({ group: "", version: "v1", plural: "pods" });
