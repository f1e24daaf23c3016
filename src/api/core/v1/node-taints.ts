/** What is wrong with a Node's taints. */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { isLabelValue, isQualifiedName } from "#machinery/validation.ts";
import type { Taint } from "../../generated/core/v1.ts";

const effects: readonly string[] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Upstream: a taint is shown by its internal names, and the error says why it is one. */
function twice({ key, value, effect, timeAdded }: Taint, path: string): FieldError {
  const shown = { Key: key, Value: value ?? "", Effect: effect, TimeAdded: timeAdded ?? null };
  return {
    path,
    type: "FieldValueDuplicate",
    message: `Duplicate value: ${JSON.stringify(shown)}: taints must be unique by key and effect pair`,
  };
}

export function validateTaints(taints: readonly Taint[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, taint] of taints.entries()) {
    const at = `${path}[${index}]`;
    const { key, value = "", effect } = taint;
    for (const message of isQualifiedName(key)) errors.push(invalid(`${at}.key`, key, message));
    const valueMessages = isLabelValue(value);
    if (valueMessages.length > 0) {
      errors.push(invalid(`${at}.value`, value, valueMessages.join(";")));
    }
    if (effect === "") errors.push(required(`${at}.effect`));
    else if (!effects.includes(effect)) errors.push(notSupported(`${at}.effect`, effect, effects));
    const pair = `${effect} ${key}`;
    if (seen.has(pair)) errors.push(twice(taint, at));
    seen.add(pair);
  }
  return errors;
}
