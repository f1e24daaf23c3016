/** PriorityClass: how much a Pod matters beside others. */
import type { PriorityClass as PriorityClassObject } from "../../generated/scheduling/v1.ts";
import { defineResource } from "../../resource.ts";

export type PriorityClass = PriorityClassObject;

export const PriorityClass = defineResource<PriorityClass>({
  group: "scheduling.k8s.io",
  version: "v1",
  plural: "priorityclasses",
});
