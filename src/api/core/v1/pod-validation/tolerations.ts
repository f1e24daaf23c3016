/** Tolerations and scheduling gates: what may stand there, and how it may change. */
import { type FieldError, forbidden, invalid, notSupported } from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import { isLabelValue } from "#machinery/validation.ts";
import type { PodSchedulingGate, Toleration } from "../../../generated/core/v1.ts";
import { oneOf, qualifiedName } from "./fields.ts";
import type { PodRules } from "./rules.ts";

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const int64Max = 2n ** 63n - 1n;

function validateNumber(value: string, path: string): FieldError[] {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(value)) {
    const detail = `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`;
    return [
      invalid(path, value, "must be a valid decimal integer in canonical form"),
      invalid(path, value, detail),
    ];
  }
  const number = BigInt(value);
  if (number <= int64Max && number >= -int64Max - 1n) return [];
  const detail = `strconv.ParseInt: parsing ${JSON.stringify(value)}: value out of range`;
  return [invalid(path, value, detail)];
}

function validateOperator(toleration: Toleration, path: string, rules: PodRules): FieldError[] {
  const { operator = "", value = "" } = toleration;
  const at = `${path}.operator`;
  switch (operator) {
    case "":
    case "Equal": {
      const messages = isLabelValue(value);
      return messages.length === 0 ? [] : [invalid(at, value, messages.join(";"))];
    }
    case "Exists":
      if (value === "") return [];
      return [invalid(at, value, "value must be empty when `operator` is 'Exists'")];
    case "Lt":
    case "Gt":
      if (rules.allowComparingTolerations) return validateNumber(value, `${path}.value`);
      return [notSupported(at, operator, ["Equal", "Exists", "Lt", "Gt"])];
    default:
      return [notSupported(at, operator, ["Equal", "Exists"])];
  }
}

export function validateTolerations(
  tolerations: readonly Toleration[],
  path: string,
  rules: PodRules,
): FieldError[] {
  return tolerations.flatMap((toleration, index) => {
    const at = `${path}[${index}]`;
    const { key = "", operator = "", effect = "", tolerationSeconds } = toleration;
    const errors = key === "" ? [] : qualifiedName(`${at}.key`, key);
    if (key === "" && operator !== "Exists") {
      const detail =
        'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      errors.push(invalid(`${at}.operator`, operator, detail));
    }
    if (tolerationSeconds !== undefined && effect !== "NoExecute") {
      const detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
      errors.push(invalid(`${at}.effect`, effect, detail));
    }
    errors.push(...validateOperator(toleration, at, rules));
    if (effect !== "") errors.push(...oneOf(`${at}.effect`, effect, effects));
    return errors;
  });
}

export function validateOnlyAddedTolerations(
  tolerations: readonly Toleration[],
  old: readonly Toleration[],
  path: string,
  rules: PodRules,
): FieldError[] {
  const withoutSeconds = (one: Toleration): object => ({ ...one, tolerationSeconds: undefined });
  const kept = old.every((before) =>
    tolerations.some((one) => equalObjects(withoutSeconds(one), withoutSeconds(before))),
  );
  if (kept) return validateTolerations(tolerations, path, rules);
  const detail = "existing toleration can not be modified except its tolerationSeconds";
  return [forbidden(path, detail)];
}

export function validateOnlyDeletedGates(
  gates: readonly PodSchedulingGate[],
  old: readonly PodSchedulingGate[],
  path: string,
): FieldError[] {
  const known = new Set(old.map(({ name }) => name));
  return gates.flatMap(({ name }, index) =>
    known.has(name)
      ? []
      : [
          forbidden(
            `${path}[${index}].name`,
            `only deletion is allowed, but found new scheduling gate '${name}'`,
          ),
        ],
  );
}
