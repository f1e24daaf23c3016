/** HorizontalPodAutoscaler as clients of version 1 see it; it is stored in version 2. */
import type * as g from "../../generated/autoscaling/v1.ts";
import type { HorizontalPodAutoscaler as Stored } from "../../generated/autoscaling/v2.ts";
import { defineResource } from "../../resource.ts";
import { autoscalerColumns } from "../v2/columns.ts";
import { toVersionTwo } from "./conversion.ts";

export type HorizontalPodAutoscaler = g.HorizontalPodAutoscaler;

export const HorizontalPodAutoscaler = defineResource<HorizontalPodAutoscaler>({
  group: "autoscaling",
  version: "v1",
  plural: "horizontalpodautoscalers",
  printerColumns: autoscalerColumns((object) => toVersionTwo(object) as unknown as Stored),
  // Upstream: rows are made of what is stored, which has none of the annotations that stand for fields.
  rowMetadata: (object) => toVersionTwo(object).metadata,
  strategy: {
    defaults({ spec }) {
      spec.minReplicas ??= 1;
    },
  },
});
