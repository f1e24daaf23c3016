/** Lease. */
import type * as g from "#api/generated/coordination/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Lease = g.Lease;
export const Lease = defineResource<g.Lease>({
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
});
