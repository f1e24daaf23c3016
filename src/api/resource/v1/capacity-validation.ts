/** How much of a device's capacity may be asked for at once: a default, and values or a range of them. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  required,
  tooMany,
} from "#machinery/field-error.ts";
import { negativeMessage } from "#machinery/meta-validation.ts";
import {
  addQuantities,
  compareQuantities,
  type Quantity,
  quantityOf,
} from "#machinery/quantity.ts";
import type {
  CapacityRequestPolicy,
  CapacityRequestPolicyRange,
  DeviceCapacity,
} from "../../generated/resource/v1.ts";

const optionsMax = 10;
const nanosOf1 = 1_000_000_000n;
const nanosOfMilli = 1_000_000n;
const int64Max = 2n ** 63n - 1n;

const isAbove = (a: Quantity, b: Quantity): boolean => compareQuantities(a, b) > 0;

function validateOptions(
  preset: Quantity,
  whole: Quantity,
  options: readonly Quantity[],
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, option] of options.slice(1).entries()) {
    const before = options[index];
    if (before === undefined || !isAbove(before, option)) continue;
    const why = "values must be sorted in ascending order";
    errors.push(invalid(`${path}[${index + 1}]`, option.text, why));
  }
  if (options.length > optionsMax) errors.push(tooMany(path, options.length, optionsMax));
  else {
    for (const [index, option] of options.entries()) {
      const why = `option is larger than capacity value: ${whole.text}`;
      if (isAbove(option, whole)) errors.push(invalid(`${path}[${index}]`, option.text, why));
    }
    const seen = new Set<bigint>();
    for (const [index, { nanos }] of options.entries()) {
      if (seen.has(nanos)) errors.push(duplicate(`${path}[${index}]`, decimalText(nanos)));
      seen.add(nanos);
    }
    if (options.some((option) => compareQuantities(option, preset) === 0)) return errors;
  }
  const why = "default value is not valid according to the requestPolicy";
  return [...errors, invalid(path, preset.text, why)];
}

/** A plain decimal number, without a suffix. */
function decimalText(nanos: bigint): string {
  const fraction = (nanos % nanosOf1).toString().padStart(9, "0").replace(/0+$/, "");
  return fraction === "" ? `${nanos / nanosOf1}` : `${nanos / nanosOf1}.${fraction}`;
}

interface Bounds {
  readonly preset: Quantity;
  readonly min: Quantity;
  readonly max: Quantity | undefined;
  readonly step: Quantity | undefined;
}
const named = (bounds: Bounds): readonly (readonly [string, Quantity])[] =>
  (
    [
      ["default", bounds.preset],
      ["min", bounds.min],
      ["max", bounds.max],
      ["step", bounds.step],
    ] as const
  ).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));

function validateOrder({ preset, min, max }: Bounds, whole: Quantity, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const complain = (field: string, value: Quantity, why: string): void => {
    errors.push(invalid(`${path}.${field}`, value.text, why));
  };
  if (isAbove(min, whole)) complain("min", min, `min is larger than capacity value: ${whole.text}`);
  if (isAbove(min, preset)) complain("default", preset, `default is less than min: ${min.text}`);
  if (max === undefined) return errors;
  if (isAbove(min, max)) complain("max", min, `min is larger than max: ${max.text}`);
  if (isAbove(max, whole)) complain("max", max, `max is larger than capacity value: ${whole.text}`);
  if (isAbove(preset, max)) complain("default", preset, `default is more than max: ${max.text}`);
  return errors;
}

function validateSteps(bounds: Bounds, whole: Quantity, path: string): FieldError[] {
  const { preset, min, max, step } = bounds;
  if (step === undefined) return [];
  const at = `${path}.step`;
  if (step.nanos <= 0n) return [invalid(at, step.text, "must be greater than zero")];
  const errors: FieldError[] = [];
  const first = addQuantities(min, step);
  if (isAbove(first, whole)) {
    const why = `one step ${first.text} is larger than capacity value: ${whole.text}`;
    errors.push(invalid(at, step.text, why));
  }
  const isWhole = named(bounds).every(([, { nanos }]) => nanos % nanosOf1 === 0n);
  const wide = named(bounds).flatMap(([name, { nanos, text }]) => {
    if (!isWhole) return [];
    if (nanos < 0n) return [invalid(`${path}.${name}`, text, negativeMessage)];
    if (nanos <= int64Max * nanosOf1) return [];
    return [invalid(`${path}.${name}`, text, `must not be larger than ${int64Max}`)];
  });
  if (wide.length > 0) return [...errors, ...wide];
  for (const value of max === undefined ? [preset] : [preset, max]) {
    if ((value.nanos - min.nanos) % step.nanos === 0n) continue;
    const why = `value is not a multiple of a given step (${step.text}) from (${min.text})`;
    errors.push(invalid(at, value.text, why));
  }
  return errors;
}

function validateRange(
  preset: Quantity,
  whole: Quantity,
  range: CapacityRequestPolicyRange,
  path: string,
): FieldError[] {
  if (range.min === undefined)
    return [required(`${path}.min`, "required when validRange is defined")];
  const bounds: Bounds = {
    preset,
    min: quantityOf(range.min),
    max: range.max === undefined ? undefined : quantityOf(range.max),
    step: range.step === undefined ? undefined : quantityOf(range.step),
  };
  const errors = validateOrder(bounds, whole, path);
  const isFractional = named(bounds).some(([, { nanos }]) => nanos % nanosOf1 !== 0n);
  const fine = named(bounds).filter(([, { nanos }]) => nanos % nanosOfMilli !== 0n);
  if (isFractional && fine.length > 0) {
    const why = "value cannot be represented as a milli value";
    return [...errors, ...fine.map(([name, { text }]) => invalid(`${path}.${name}`, text, why))];
  }
  return [...errors, ...validateSteps(bounds, whole, path)];
}

function validatePolicy(
  whole: Quantity,
  policy: CapacityRequestPolicy,
  path: string,
): FieldError[] {
  const { validValues = [], validRange } = policy;
  if (validValues.length > 0 && validRange !== undefined) {
    const why =
      'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time';
    return [forbidden(path, why)];
  }
  const preset = policy.default ?? undefined;
  const field = validValues.length > 0 ? "validValues" : "validRange";
  if (field === "validRange" && validRange === undefined) return [];
  if (preset === undefined)
    return [required(`${path}.default`, `required when ${field} is defined`)];
  const at = `${path}.${field}`;
  return validRange === undefined
    ? validateOptions(quantityOf(preset), whole, validValues.map(quantityOf), at)
    : validateRange(quantityOf(preset), whole, validRange, at);
}

/** `shared`: several claims may have parts of the device. */
export function validateCapacity(
  { value, requestPolicy }: DeviceCapacity,
  path: string,
  shared: boolean,
): FieldError[] {
  if (requestPolicy === undefined) return [];
  const at = `${path}.requestPolicy`;
  if (!shared) return [forbidden(at, "allowMultipleAllocations must be true")];
  return validatePolicy(quantityOf(value), requestPolicy, at);
}
