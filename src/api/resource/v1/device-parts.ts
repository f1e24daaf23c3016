/** What classes, claims and slices of devices have in common: selectors, configurations, taints, tolerations, binding conditions. */
import {
  duplicate,
  type FieldError,
  invalid,
  notSupported,
  required,
  tooLong,
} from "#machinery/field-error.ts";
import { isObject } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import type {
  DeviceConfiguration,
  DeviceSelector,
  DeviceTaint,
  DeviceToleration,
} from "../../generated/resource/v1.ts";
import { validateSelectorExpression } from "./device-expressions.ts";
import { validateDeclaredDriver, validateKey, validateValue } from "./device-names.ts";
import { eachOf, type Findings } from "./findings.ts";

export const selectorsMax = 32;
export const configurationsMax = 32;
const parametersBytesMax = 10 * 1024;
const bindingConditionsMax = 4;
const effects = ["NoExecute", "NoSchedule", "None"];
const operators = ["Equal", "Exists"];
const encoder = new TextEncoder();

/** `stored`: they are what was stored before, and stay valid whatever has changed since. */
export function validateSelectors(
  found: Findings,
  selectors: readonly DeviceSelector[],
  path: string,
  stored = false,
): void {
  eachOf(found, selectors, path, selectorsMax, ({ cel }, at) => {
    if (cel === undefined) found.tell(required(`${at}.cel`));
    else if (!stored)
      found.tell(...validateSelectorExpression(cel.expression, `${at}.cel.expression`));
  });
}

/** An object of JSON that nobody here understands. */
export function validateOpaque(
  value: unknown,
  path: string,
  bytesMax: number,
  stored = false,
): FieldError[] {
  if (value === undefined || value === null) return [required(path)];
  if (!stored && encoder.encode(JSON.stringify(value)).length > bytesMax)
    return [tooLong(path, bytesMax)];
  return isObject(value) ? [] : [invalid(path, "<value omitted>", "must be a valid JSON object")];
}

export function validateConfiguration(
  found: Findings,
  { opaque }: DeviceConfiguration,
  path: string,
  stored = false,
): void {
  const at = `${path}.opaque`;
  if (opaque === undefined) {
    found.tell(required(at));
    return;
  }
  found.declare(...validateDeclaredDriver(opaque.driver, `${at}.driver`));
  found.tell(...validateOpaque(opaque.parameters, `${at}.parameters`, parametersBytesMax, stored));
}

export function validateTaint(
  found: Findings,
  { key, value = "", effect }: DeviceTaint,
  path: string,
): void {
  found.tell(...validateKey(key, `${path}.key`), ...validateValue(value, `${path}.value`));
  const at = `${path}.effect`;
  if (effect === "") found.declare(required(at));
  else if (!effects.includes(effect)) found.declare(notSupported(at, effect, effects));
}

export function validateToleration(
  found: Findings,
  { key = "", operator = "", value = "", effect = "" }: DeviceToleration,
  path: string,
): void {
  if (operator === "Exists" && value !== "")
    found.tell(invalid(`${path}.value`, value, "must be empty for operator `Exists`"));
  if (operator === "Equal") found.tell(...validateValue(value, `${path}.value`));
  if (key !== "") found.declare(...validateKey(key, `${path}.key`));
  if (operator === "") found.declare(required(`${path}.operator`));
  else if (!operators.includes(operator))
    found.declare(notSupported(`${path}.operator`, operator, operators));
  if (effect !== "" && !effects.includes(effect))
    found.declare(notSupported(`${path}.effect`, effect, effects));
}

/** Conditions that a device must meet, or must not, before a pod is bound. */
export function validateBindingConditions(
  found: Findings,
  binding: readonly string[] | undefined,
  failing: readonly string[] | undefined,
  path: string,
): void {
  const conditions = binding ?? [];
  const failures = failing ?? [];
  const at = `${path}.bindingConditions`;
  const failed = `${path}.bindingFailureConditions`;
  for (const [list, where] of [
    [conditions, at],
    [failures, failed],
  ] as const)
    eachOf(found, list, where, bindingConditionsMax, (one, place) =>
      found.tell(...validateKey(one, place)),
    );
  const seen = new Set<string>();
  for (const [index, one] of conditions.entries()) {
    if (seen.has(one)) found.tell(duplicate(`${at}[${index}]`, one));
    seen.add(one);
  }
  const seenFailures = new Set<string>();
  for (const [index, one] of failures.entries()) {
    const place = `${failed}[${index}]`;
    if (seenFailures.has(one)) found.tell(duplicate(place, one));
    seenFailures.add(one);
    const why = "bindingFailureConditions must not overlap with bindingConditions";
    if (seen.has(one)) found.tell(invalid(place, one, why));
  }
  if (conditions.length === 0 && failures.length > 0) {
    const why = "bindingConditions are required to use bindingFailureConditions";
    found.tell(invalid(at, binding, why));
  }
  if (failures.length === 0 && conditions.length > 0) {
    const why = "bindingFailureConditions are required to use bindingConditions";
    found.tell(invalid(failed, failing, why));
  }
}

/** Since now, if nobody says since when. */
export function setTaintDefaults(taints: readonly DeviceTaint[], now: number): void {
  for (const taint of taints) taint.timeAdded ??= formatTime(now);
}
