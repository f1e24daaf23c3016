/** Namespace. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Namespace = g.Namespace;
export const Namespace = defineResource<g.Namespace>({
  group: "",
  version: "v1",
  plural: "namespaces",
});
