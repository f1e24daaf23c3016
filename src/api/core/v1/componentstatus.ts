/** ComponentStatus: how a component of the control plane is. The API server answers for them; nothing is stored. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type ComponentStatus = g.ComponentStatus;

const healthOf = ({ conditions = [] }: ComponentStatus) =>
  conditions.find(({ type }) => type === "Healthy");

export const ComponentStatus = defineResource<ComponentStatus>({
  group: "",
  version: "v1",
  plural: "componentstatuses",
  deprecation: "v1 ComponentStatus is deprecated in v1.19+",
  printerColumns: [
    {
      name: "Status",
      value(object) {
        const health = healthOf(object);
        if (health === undefined) return "Unknown";
        return health.status === "True" ? "Healthy" : "Unhealthy";
      },
    },
    { name: "Message", value: (object) => healthOf(object)?.message ?? "" },
    { name: "Error", value: (object) => healthOf(object)?.error ?? "" },
  ],
});
