/** Namespace. */
import type * as g from "#api/generated/core/v1.ts";
import { defineResource } from "#api/resource.ts";

export type Namespace = g.Namespace;
export const Namespace = defineResource<g.Namespace>({
  group: "",
  version: "v1",
  plural: "namespaces",
});
