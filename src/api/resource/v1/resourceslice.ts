/** ResourceSlice: a part of a driver's pool of devices, where they can be used, and what they are like. */
import { duplicate, type FieldError, invalid, required, tooMany } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import type * as g from "../../generated/resource/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateDriverName, validateLabelName, validatePoolName } from "./device-names.ts";
import { setTaintDefaults } from "./device-parts.ts";
import {
  validateCounters,
  validateDevice,
  validatePlaces,
  validateTrue,
} from "./device-validation.ts";
import { eachOfSet, Findings } from "./findings.ts";

export type ResourceSlice = g.ResourceSlice;

const devicesMax = 128;
const advancedDevicesMax = 64;
const counterSetsMax = 8;

function validatePool({ name, resourceSliceCount, generation }: g.ResourcePool): FieldError[] {
  const errors = validatePoolName(name, "spec.pool.name");
  if (resourceSliceCount <= 0) {
    const why = "must be greater than zero";
    errors.push(invalid("spec.pool.resourceSliceCount", resourceSliceCount, why));
  }
  if (generation < 0) {
    const why = "must be greater than or equal to zero";
    errors.push(invalid("spec.pool.generation", generation, why));
  }
  return errors;
}

function validateWhere(found: Findings, spec: g.ResourceSliceSpec): void {
  const { nodeSelector, perDeviceNodeSelection } = spec;
  const empty = "must be either unset or set to a non-empty string";
  const set = validatePlaces(found, spec, "spec", empty);
  const terms = nodeSelector?.nodeSelectorTerms;
  if (nodeSelector !== undefined && terms?.length !== 1) {
    const why = "must have exactly one node selector term";
    found.tell(invalid("spec.nodeSelector.nodeSelectorTerms", terms ?? null, why));
  }
  const path = "spec.perDeviceNodeSelection";
  set.push(...validateTrue(found, perDeviceNodeSelection, path, "`perDeviceNodeSelection`"));
  const why =
    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
  if (set.length === 0) found.tell(required("spec", why));
  else if (set.length > 1) {
    const several = `${why}, but multiple fields are set`;
    found.tell(invalid("spec", `{${set.join(", ")}}`, several));
  }
}

function validateDevices(
  found: Findings,
  { devices = [], perDeviceNodeSelection }: g.ResourceSliceSpec,
  old: ResourceSlice | undefined,
): void {
  const isAdvanced = devices.some(
    ({ taints = [], consumesCounters = [] }) => taints.length + consumesCounters.length > 0,
  );
  const max = isAdvanced ? advancedDevicesMax : devicesMax;
  if (devices.length > max) {
    found.tell(tooMany("spec.devices", devices.length, max));
    return;
  }
  for (const [index, device] of devices.entries()) {
    const before = old?.spec.devices?.find(({ name }) => name === device.name);
    const each = perDeviceNodeSelection === true;
    validateDevice(found, device, before, `spec.devices[${index}]`, each);
  }
  const names = new Set<string>();
  for (const [index, { name }] of devices.entries()) {
    if (names.has(name)) found.tell(duplicate(`spec.devices[${index}]`, name));
    names.add(name);
  }
}

function validateSlice({ spec }: ResourceSlice, old?: ResourceSlice): FieldError[] {
  const found = new Findings();
  found.tell(...validateDriverName(spec.driver, "spec.driver"), ...validatePool(spec.pool));
  if (old !== undefined)
    found.tell(
      ...validateImmutable(spec.pool.name, old.spec.pool.name, "spec.pool.name"),
      ...validateImmutable(spec.driver, old.spec.driver, "spec.driver"),
      ...validateImmutable(spec.nodeName, old.spec.nodeName, "spec.nodeName"),
    );
  validateWhere(found, spec);
  if (spec.sharedCounters !== undefined && spec.devices !== undefined)
    found.tell(invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"));
  validateDevices(found, spec, old);
  eachOfSet(
    found,
    spec.sharedCounters ?? [],
    "spec.sharedCounters",
    counterSetsMax,
    ({ name }) => name,
    ({ name, counters = {} }, at) => {
      const path = `${at}.name`;
      found.declare(...(name === "" ? [required(path)] : validateLabelName(name, path)));
      validateCounters(found, counters, `${at}.counters`);
    },
  );
  return found.all();
}

function setDefaults({ spec }: ResourceSlice, now: number): void {
  for (const { taints = [] } of spec.devices ?? []) setTaintDefaults(taints, now);
}

/** Upstream has these behind switches that are off: what a slice says of them is not kept. */
function dropFields({ spec }: ResourceSlice): void {
  delete spec.partitionTypeAttribute;
  delete spec.skipNodeOperations;
  for (const device of spec.devices ?? []) {
    delete device.nodeAllocatableResources;
    for (const consumption of device.consumesCounters ?? []) delete consumption.compatibilityGroups;
    for (const attribute of Object.values(device.attributes ?? {})) {
      delete attribute.ints;
      delete attribute.bools;
      delete attribute.strings;
      delete attribute.versions;
    }
  }
}

export const ResourceSlice = defineResource<ResourceSlice>({
  group: "resource.k8s.io",
  version: "v1",
  plural: "resourceslices",
  unknownFieldSelector: (field) =>
    `field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: ${field}`,
  selectableFields: {
    "spec.nodeName": ({ spec }) => spec.nodeName ?? "",
    "spec.driver": ({ spec }) => spec.driver,
    "spec.pool.name": ({ spec }) => spec.pool.name,
  },
  printerColumns: [
    { name: "Node", value: ({ spec }) => spec.nodeName ?? "" },
    { name: "Driver", value: ({ spec }) => spec.driver },
    { name: "Pool", value: ({ spec }) => spec.pool.name },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    defaults(slice, now) {
      if (now !== undefined) setDefaults(slice, now);
    },
    prepareForCreate(slice, { now }) {
      setDefaults(slice, now);
      dropFields(slice);
    },
    prepareForUpdate(slice, _old, { now }) {
      setDefaults(slice, now);
      dropFields(slice);
    },
    validate: (slice) => validateSlice(slice),
    validateUpdate: (slice, old) => validateSlice(slice, old),
    warnings({ spec: { driver } }) {
      if (driver === driver.toLowerCase()) return [];
      return [
        `spec.driver: driver names should be lowercase; ${JSON.stringify(driver)} contains uppercase characters`,
      ];
    },
  },
});
