/** Pod: containers that live together on one node. */
import type * as g from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";
import { podColumns, podRowConditions } from "./pod-columns.ts";
import { setPodDefaults } from "./pod-defaults.ts";
import {
  podGracePeriodSeconds,
  preparePodForCreate,
  preparePodForStatusUpdate,
  preparePodForUpdate,
} from "./pod-strategy.ts";
import { validatePodResize } from "./pod-validation/resize.ts";
import { validatePodStatusUpdate } from "./pod-validation/status.ts";
import {
  validateEphemeralContainersUpdate,
  validatePodCreate,
  validatePodUpdate,
} from "./pod-validation/update.ts";
import { podWarnings } from "./pod-warnings.ts";

export type Pod = g.Pod;

export const Pod = defineResource<g.Pod>({
  group: "",
  version: "v1",
  plural: "pods",
  selectableFields: {
    "spec.nodeName": ({ spec }) => spec.nodeName ?? "",
    "spec.restartPolicy": ({ spec }) => spec.restartPolicy ?? "",
    "spec.schedulerName": ({ spec }) => spec.schedulerName ?? "",
    "spec.serviceAccountName": ({ spec }) => spec.serviceAccountName ?? "",
    "spec.hostNetwork": ({ spec }) => String(spec.hostNetwork === true),
    "status.phase": ({ status }) => status.phase ?? "",
    "status.podIP": ({ status }) => status.podIPs?.[0]?.ip ?? "",
    "status.nominatedNodeName": ({ status }) => status.nominatedNodeName ?? "",
  },
  printerColumns: podColumns,
  rowConditions: podRowConditions,
  strategy: {
    defaults: setPodDefaults,
    prepareForCreate: preparePodForCreate,
    prepareForUpdate: preparePodForUpdate,
    prepareForStatusUpdate: preparePodForStatusUpdate,
    validate: validatePodCreate,
    validateUpdate(pod, old, context) {
      switch (context?.subresource) {
        case "resize":
          return validatePodResize(pod, old);
        case "ephemeralcontainers":
          return validateEphemeralContainersUpdate(pod, old);
        default:
          return validatePodUpdate(pod, old);
      }
    },
    validateStatusUpdate: validatePodStatusUpdate,
    statusResetFields: ["metadata.deletionTimestamp", "metadata.ownerReferences"],
    warnings: podWarnings,
    gracePeriodSeconds: podGracePeriodSeconds,
  },
});
