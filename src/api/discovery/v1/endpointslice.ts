/** EndpointSlice. */
import type * as g from "../../generated/discovery/v1.ts";
import { defineResource } from "../../resource.ts";

export type EndpointSlice = g.EndpointSlice;
export const EndpointSlice = defineResource<g.EndpointSlice>({
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
});
