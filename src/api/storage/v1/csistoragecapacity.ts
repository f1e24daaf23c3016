/** CSIStorageCapacity: how much room a driver has in one part of the cluster. */
import { type FieldError, invalid } from "#machinery/field-error.ts";
import { immutableMessage, negativeMessage } from "#machinery/meta-validation.ts";
import { equalObjects, sortedKeys } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { dnsSubdomain } from "../../core/v1/pod-validation/fields.ts";
import { deprecatedLabel } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/storage/v1.ts";
import { createdAtColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type CSIStorageCapacity = g.CSIStorageCapacity;

function validateCapacity(object: CSIStorageCapacity, checksSelector = true): FieldError[] {
  const { nodeTopology, storageClassName, capacity } = object;
  const errors =
    nodeTopology === undefined || !checksSelector
      ? []
      : validateLabelSelector(nodeTopology, "nodeTopology");
  errors.push(...dnsSubdomain("storageClassName", storageClassName));
  if (capacity !== undefined && quantityOf(capacity).nanos < 0n) {
    errors.push(invalid("capacity", capacity, negativeMessage));
  }
  return errors;
}

function validateUpdate(object: CSIStorageCapacity, old: CSIStorageCapacity): FieldError[] {
  const wasValid =
    old.nodeTopology === undefined || validateLabelSelector(old.nodeTopology, "").length === 0;
  const errors = validateCapacity(object, wasValid);
  for (const field of ["nodeTopology", "storageClassName"] as const) {
    if (equalObjects(object[field], old[field])) continue;
    errors.push(invalid(field, object[field], immutableMessage));
  }
  return errors;
}

function warnings({ nodeTopology }: CSIStorageCapacity): string[] {
  const { matchExpressions = [], matchLabels = {} } = nodeTopology ?? {};
  const path = "nodeTopology";
  return [
    ...matchExpressions.flatMap(({ key }, index) => {
      const why = deprecatedLabel(key);
      return why === undefined ? [] : [`${path}.matchExpressions[${index}].key: ${key} is ${why}`];
    }),
    ...sortedKeys(matchLabels).flatMap((key) => {
      const why = deprecatedLabel(key);
      return why === undefined ? [] : [`${path}.matchLabels.${key}: ${why}`];
    }),
  ];
}

export const CSIStorageCapacity = defineResource<CSIStorageCapacity>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "csistoragecapacities",
  printerColumns: [createdAtColumn],
  strategy: {
    allowUnconditionalUpdate: false,
    validate: (object) => validateCapacity(object),
    validateUpdate,
    warnings,
  },
});
