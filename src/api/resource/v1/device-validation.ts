/** What one device of a slice may be like. Wording and order are upstream's. */
import { type FieldError, invalid, required, tooLong, tooMany } from "#machinery/field-error.ts";
import { equalObjects, sortedKeys } from "#machinery/object.ts";
import { validateNodeSelector } from "../../core/v1/pod-validation/scheduling.ts";
import type {
  Counter,
  Device,
  DeviceAttribute,
  DeviceCounterConsumption,
} from "../../generated/resource/v1.ts";
import { validateCapacity } from "./capacity-validation.ts";
import { validateLabelName, validateQualifiedName, validateSubdomain } from "./device-names.ts";
import { validateBindingConditions, validateTaint } from "./device-parts.ts";
import { eachOfSet, type Findings } from "./findings.ts";

const propertiesMax = 32;
const attributeValuesMax = 48;
const attributeBytesMax = 64;
const taintsMax = 16;
const consumptionsMax = 2;
const countersMax = 32;
const keyLengthMax = 63 + 1 + 32;
const kinds = ["int", "bool", "string", "version", "ints", "bools", "strings", "versions"] as const;
const number = "(0|[1-9]\\d*)";
const before = "(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)";
const build = "[0-9a-zA-Z-]+";
const semanticVersion = new RegExp(
  `^${number}\\.${number}\\.${number}(-${before}(\\.${before})*)?(\\+${build}(\\.${build})*)?$`,
);
const encoder = new TextEncoder();

/** Long keys are shown without their middle. */
function keyed(path: string, key: string): string {
  if (key.length <= keyLengthMax) return `${path}[${key}]`;
  const kept = keyLengthMax - 3;
  return `${path}[${key.slice(0, Math.ceil(kept / 2))}...${key.slice(-Math.floor(kept / 2))}]`;
}

function eachKey<V>(
  map: Readonly<Record<string, V>> | undefined,
  path: string,
  look: (value: V, at: string) => FieldError[],
): FieldError[] {
  return sortedKeys(map ?? {}).flatMap((key) => {
    const value = map?.[key];
    const errors = validateQualifiedName(key, path);
    return value === undefined ? errors : [...errors, ...look(value, keyed(path, key))];
  });
}

function validateAttribute({ string, version }: DeviceAttribute, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const isLong = (text: string): boolean => encoder.encode(text).length > attributeBytesMax;
  if (string !== undefined && isLong(string))
    errors.push(tooLong(`${path}.string`, attributeBytesMax));
  if (version === undefined) return errors;
  if (!semanticVersion.test(version)) {
    const why = "must be a string compatible with semver.org spec 2.0.0";
    errors.push(invalid(`${path}.version`, version, why));
  }
  if (isLong(version)) errors.push(tooLong(`${path}.version`, attributeBytesMax));
  return errors;
}

/** An attribute is of one kind. */
function kindProblems(attribute: DeviceAttribute, path: string): FieldError[] {
  const set = kinds.filter((kind) => attribute[kind] !== undefined);
  const all = kinds.map((kind) => `\`${kind}\``).join(", ");
  if (set.length === 1) return [];
  if (set.length === 0) return [invalid(path, "", `must specify one of: ${all}`)];
  return [invalid(path, `{${set.join(", ")}}`, `must specify exactly one of: ${all}`)];
}

function validateProperties(
  found: Findings,
  device: Device,
  old: Device | undefined,
  path: string,
): void {
  const { attributes = {}, capacity = {} } = device;
  const values = Object.keys(attributes).length;
  const both = values + Object.keys(capacity).length;
  if (both > propertiesMax) {
    const why = `the total number of attributes and capacities must not exceed ${propertiesMax}`;
    found.tell(invalid(path, both, why));
  }
  if (values > attributeValuesMax) {
    const why = `the total number of attribute values must not exceed ${attributeValuesMax}`;
    found.tell(invalid(path, values, why));
  }
  const at = `${path}.attributes`;
  found.tell(...eachKey(attributes, at, validateAttribute));
  for (const key of sortedKeys(attributes))
    found.declare(...kindProblems(attributes[key] ?? {}, keyed(at, key)));
  // What was stored before stays valid.
  if (old !== undefined && equalObjects(old.capacity, device.capacity)) return;
  const shared = device.allowMultipleAllocations === true;
  const look = (one: Parameters<typeof validateCapacity>[0], where: string): FieldError[] =>
    validateCapacity(one, where, shared);
  found.tell(...eachKey(capacity, `${path}.capacity`, look));
}

export function validateCounters(
  found: Findings,
  counters: Readonly<Record<string, Counter>>,
  path: string,
): void {
  const names = sortedKeys(counters);
  if (names.length === 0) found.declare(required(path));
  if (names.length > countersMax) found.tell(tooMany(path, names.length, countersMax));
  for (const name of names) found.declare(...validateLabelName(name, path));
}

function validateConsumption(
  found: Findings,
  { counterSet, counters = {} }: DeviceCounterConsumption,
  path: string,
): void {
  const at = `${path}.counterSet`;
  found.declare(...(counterSet === "" ? [required(at)] : validateLabelName(counterSet, at)));
  validateCounters(found, counters, `${path}.counters`);
}

/** Where a device, or all of a slice's, can be used. */
export function validatePlaces(
  found: Findings,
  { nodeName, nodeSelector, allNodes }: Pick<Device, "nodeName" | "nodeSelector" | "allNodes">,
  path: string,
  emptyName: string,
): string[] {
  const set: string[] = [];
  const at = `${path}.nodeName`;
  if (nodeName === "") found.tell(invalid(at, "", emptyName));
  else if (nodeName !== undefined) {
    set.push("`nodeName`");
    found.tell(...validateSubdomain(nodeName, at));
  }
  if (nodeSelector !== undefined) {
    set.push("`nodeSelector`");
    found.tell(...validateNodeSelector(nodeSelector, `${path}.nodeSelector`, false));
  }
  return set.concat(validateTrue(found, allNodes, `${path}.allNodes`, "`allNodes`"));
}

/** True or not said at all; gives its name if it is true. */
export function validateTrue(
  found: Findings,
  value: boolean | undefined,
  path: string,
  name: string,
): string[] {
  if (value === false) found.tell(invalid(path, false, "must be either unset or set to true"));
  return value === true ? [name] : [];
}

function validatePlace(found: Findings, device: Device, path: string, each: boolean): void {
  const { nodeName, nodeSelector, allNodes } = device;
  if (!each) {
    if (nodeName === undefined && nodeSelector === undefined && allNodes === undefined) return;
    const why =
      "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    found.tell(invalid(path, null, why));
    return;
  }
  const set = validatePlaces(found, device, path, "must not be empty");
  const why =
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
  if (set.length === 0) found.tell(required(path, why));
  else if (set.length > 1) found.tell(invalid(path, `{${set.join(", ")}}`, why));
}

/** `each`: the slice leaves it to its devices where they can be used. */
export function validateDevice(
  found: Findings,
  device: Device,
  old: Device | undefined,
  path: string,
  each: boolean,
): void {
  found.tell(...validateLabelName(device.name, `${path}.name`));
  validateProperties(found, device, old, path);
  eachOfSet(
    found,
    device.consumesCounters ?? [],
    `${path}.consumesCounters`,
    consumptionsMax,
    ({ counterSet }) => counterSet,
    (one, at) => validateConsumption(found, one, at),
  );
  const { taints = [] } = device;
  if (old === undefined || !equalObjects(old.taints, device.taints)) {
    const at = `${path}.taints`;
    if (taints.length > taintsMax) found.tell(tooMany(at, taints.length, taintsMax));
    else for (const [index, one] of taints.entries()) validateTaint(found, one, `${at}[${index}]`);
  }
  validatePlace(found, device, path, each);
  const { bindingConditions, bindingFailureConditions } = device;
  validateBindingConditions(found, bindingConditions, bindingFailureConditions, path);
}
