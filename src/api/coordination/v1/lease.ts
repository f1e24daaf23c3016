/** Lease. */
import type * as g from "../../generated/coordination/v1.ts";
import { defineResource } from "../../resource.ts";

export type Lease = g.Lease;
export const Lease = defineResource<g.Lease>({
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
});
