/** Node. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Node = g.Node;
export const Node = defineResource<g.Node>({
  group: "",
  version: "v1",
  plural: "nodes",
  storagePrefix: "/registry/minions",
});
