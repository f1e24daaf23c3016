/** ReplicaSet. */
import type * as g from "#api/generated/apps/v1.ts";
import { defineResource } from "#api/resource.ts";

export type ReplicaSet = g.ReplicaSet;
export const ReplicaSet = defineResource<g.ReplicaSet>({
  group: "apps",
  version: "v1",
  plural: "replicasets",
});
