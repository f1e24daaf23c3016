/** CSINode: the storage drivers of a node. */
import { duplicate, type FieldError, invalid, required } from "#machinery/field-error.ts";
import { negativeMessage, validateImmutable } from "#machinery/meta-validation.ts";
import { qualifiedName } from "../../core/v1/pod-validation/fields.ts";
import { validateCsiDriverName } from "../../core/v1/pod-validation/volumes.ts";
import type * as g from "../../generated/storage/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type CSINode = g.CSINode;

const nodeIdLengthMax = 256;

function validateTopologyKeys(keys: readonly string[], path: string): FieldError[] {
  return keys.flatMap((key, index) => [
    ...(key === "" ? [required(path)] : []),
    ...(keys.indexOf(key) < index ? [duplicate(path, key)] : []),
    ...qualifiedName(path, key),
  ]);
}

function validateDriver(driver: g.CSINodeDriver, path: string, isSecond: boolean): FieldError[] {
  const { name, nodeID, allocatable, topologyKeys } = driver;
  const errors = validateCsiDriverName(name, `${path}.name`);
  if (nodeID === "") errors.push(required(`${path}.nodeID`));
  if (nodeID.length > nodeIdLengthMax) {
    const detail = `must be ${nodeIdLengthMax} characters or less`;
    errors.push(invalid(`${path}.nodeID`, nodeID, detail));
  }
  const count = allocatable?.count;
  if (count !== undefined && count < 0) {
    errors.push(invalid(`${path}.allocatable.count`, count, negativeMessage));
  }
  if (isSecond) errors.push(duplicate(`${path}.name`, name));
  return [...errors, ...validateTopologyKeys(topologyKeys ?? [], path)];
}

function validateCsiNode({ spec }: CSINode): FieldError[] {
  const drivers = spec.drivers ?? [];
  return drivers.flatMap((driver, index) => {
    const isSecond = drivers.findIndex(({ name }) => name === driver.name) < index;
    return validateDriver(driver, `spec.drivers[${index}]`, isSecond);
  });
}

/** Of a driver only how many volumes it takes may change. */
function validateUpdate(object: CSINode, old: CSINode): FieldError[] {
  const fixed = (driver: g.CSINodeDriver) => {
    const { allocatable: _, ...rest } = driver;
    return rest;
  };
  const changes = (old.spec.drivers ?? []).flatMap((before) =>
    (object.spec.drivers ?? [])
      .filter(({ name }) => name === before.name)
      .flatMap((driver) => validateImmutable(fixed(driver), fixed(before), "spec.drivers")),
  );
  return [...validateCsiNode(object), ...changes];
}

export const CSINode = defineResource<CSINode>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "csinodes",
  printerColumns: [
    { name: "Drivers", type: "integer", value: ({ spec }) => (spec.drivers ?? []).length },
    ageColumn,
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    prepareForStatusUpdate({ status }, old) {
      // The feature is off: what it tells stays only where it stood.
      if ((old.status.storageHealth ?? []).length === 0) delete status.storageHealth;
    },
    validate: validateCsiNode,
    validateUpdate,
    statusResetFields: ["metadata"],
  },
});
