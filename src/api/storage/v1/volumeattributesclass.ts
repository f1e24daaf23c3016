/** VolumeAttributesClass: parameters of a volume that may change while it lives. */
import { type FieldError, forbidden, required } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import type * as g from "../../generated/storage/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateParameters, validateProvisioner } from "./parameters.ts";

export type VolumeAttributesClass = g.VolumeAttributesClass;

function validateClass({ driverName, parameters = {} }: VolumeAttributesClass): FieldError[] {
  const errors = [
    ...validateProvisioner(driverName, "driverName"),
    ...validateParameters(parameters, "parameters"),
  ];
  if (Object.keys(parameters).length > 0) return errors;
  return [...errors, required("parameters", "must contain at least one key/value pair")];
}

function validateUpdate(object: VolumeAttributesClass, old: VolumeAttributesClass): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["driverName", "parameters"] as const) {
    if (equalObjects(object[field], old[field])) continue;
    errors.push(forbidden(field, `updates to ${field} are forbidden.`));
  }
  return [...errors, ...validateClass(object)];
}

export const VolumeAttributesClass = defineResource<VolumeAttributesClass>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "volumeattributesclasses",
  printerColumns: [{ name: "DriverName", value: ({ driverName }) => driverName }, ageColumn],
  strategy: { validate: validateClass, validateUpdate },
});
