/** EndpointSlice. */
import type * as g from "#api/generated/discovery/v1.ts";
import { defineResource } from "#api/resource.ts";

export type EndpointSlice = g.EndpointSlice;
export const EndpointSlice = defineResource<g.EndpointSlice>({
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
});
