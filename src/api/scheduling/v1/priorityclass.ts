/** PriorityClass: how much a Pod matters beside others. */
import { type FieldError, forbidden, notSupported, required } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import type { PriorityClass as PriorityClassObject } from "../../generated/scheduling/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type PriorityClass = PriorityClassObject;

export const highestUserDefinablePriority = 1_000_000_000;
const systemPrefix = "system-";
const systemCriticalPriority = 2 * highestUserDefinablePriority;

/** The classes that every cluster has, by name: their values. */
export const systemPriorityClasses: ReadonlyMap<string, number> = new Map([
  ["system-node-critical", systemCriticalPriority + 1000],
  ["system-cluster-critical", systemCriticalPriority],
]);

function systemClassProblem({ metadata, value, globalDefault }: PriorityClass): string | undefined {
  const { name = "" } = metadata;
  const expected = systemPriorityClasses.get(name);
  if (expected === undefined) return `${name} is not a known system priority class`;
  if (value !== expected) return `value of ${name} PriorityClass must be ${expected}`;
  if (globalDefault === true) return `globalDefault of ${name} PriorityClass must be false`;
  return undefined;
}

function validatePriorityClass(object: PriorityClass): FieldError[] {
  const errors: FieldError[] = [];
  if ((object.metadata.name ?? "").startsWith(systemPrefix)) {
    const problem = systemClassProblem(object);
    if (problem !== undefined) {
      const detail = `priority class names with '${systemPrefix}' prefix are reserved for system use only. error: ${problem}`;
      errors.push(forbidden("metadata.name", detail));
    }
  } else if (object.value > highestUserDefinablePriority) {
    const detail = `maximum allowed value of a user defined priority is ${highestUserDefinablePriority}`;
    errors.push(forbidden("value", detail));
  }
  return [...errors, ...validatePreemptionPolicy(object.preemptionPolicy, "preemptionPolicy")];
}

export function validatePreemptionPolicy(policy: string | undefined, path: string): FieldError[] {
  const known = ["PreemptLowerPriority", "Never"];
  if (policy === undefined || known.includes(policy)) return [];
  return policy === "" ? [required(path)] : [notSupported(path, policy, known)];
}

export const PriorityClass = defineResource<PriorityClass>({
  group: "scheduling.k8s.io",
  version: "v1",
  plural: "priorityclasses",
  printerColumns: [
    { name: "Value", type: "integer", value: ({ value }) => value },
    { name: "Global-Default", type: "boolean", value: (object) => object.globalDefault === true },
    ageColumn,
    { name: "PreemptionPolicy", value: ({ preemptionPolicy }) => preemptionPolicy ?? "" },
  ],
  strategy: {
    defaults(object) {
      object.preemptionPolicy ??= "PreemptLowerPriority";
    },
    prepareForCreate(object) {
      object.metadata.generation = 1;
    },
    validate: validatePriorityClass,
    validateUpdate(object, old) {
      const errors: FieldError[] = [];
      if (object.value !== old.value) {
        errors.push(forbidden("value", "may not be changed in an update."));
      }
      const { preemptionPolicy } = object;
      errors.push(...validateImmutable(preemptionPolicy, old.preemptionPolicy, "preemptionPolicy"));
      return errors;
    },
  },
});
