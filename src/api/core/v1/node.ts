/** Node. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Node = g.Node;
export const Node = defineResource<g.Node>({ group: "", version: "v1", plural: "nodes" });
