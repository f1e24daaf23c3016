/** ReplicaSet. */
import type * as g from "../../generated/apps/v1.ts";
import { defineResource } from "../../resource.ts";

export type ReplicaSet = g.ReplicaSet;
export const ReplicaSet = defineResource<g.ReplicaSet>({
  group: "apps",
  version: "v1",
  plural: "replicasets",
});
