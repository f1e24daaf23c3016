/** RuntimeClass: which of a node's container runtimes runs a pod, what that costs, and which nodes have it. */
import { declared, duplicate, type FieldError, invalid, required } from "#machinery/field-error.ts";
import { declaredImmutable } from "#machinery/meta-validation.ts";
import { sortedKeys } from "#machinery/object.ts";
import { validateLabels } from "#machinery/selector.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import { validateOverhead } from "../../core/v1/pod-validation/resources.ts";
import { strictRules } from "../../core/v1/pod-validation/rules.ts";
import { validateTolerations } from "../../core/v1/pod-validation/tolerations.ts";
import { deprecatedLabel } from "../../core/v1/pod-warnings.ts";
import type * as g from "../../generated/node/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type RuntimeClass = g.RuntimeClass;

function validateHandler(handler: string): FieldError[] {
  if (handler === "") return [declared(required("handler"))];
  return isDns1123Label(handler).map((message) => declared(invalid("handler", handler, message)));
}

function validateScheduling({ nodeSelector, tolerations = [] }: g.Scheduling): FieldError[] {
  const path = "scheduling";
  const errors = [
    ...(nodeSelector === undefined ? [] : validateLabels(nodeSelector, `${path}.nodeSelector`)),
    ...validateTolerations(tolerations, `${path}.tolerations`, strictRules),
  ];
  const seen = new Set<string>();
  for (const [index, toleration] of tolerations.entries()) {
    const { key = "", operator = "", value = "", effect = "" } = toleration;
    const identity = JSON.stringify([key, operator, value, effect]);
    // Upstream prints its internal type, whose fields are written in capitals.
    const shown = { Key: key, Operator: operator, Value: value, Effect: effect };
    const { tolerationSeconds: TolerationSeconds = null } = toleration;
    if (seen.has(identity))
      errors.push(duplicate(`${path}.tolerations[${index}]`, { ...shown, TolerationSeconds }));
    seen.add(identity);
  }
  return errors;
}

function validateRuntimeClass({ handler, overhead, scheduling }: RuntimeClass): FieldError[] {
  return [
    ...validateHandler(handler),
    ...(overhead === undefined
      ? []
      : validateOverhead(overhead.podFixed ?? {}, "overhead", strictRules)),
    ...(scheduling === undefined ? [] : validateScheduling(scheduling)),
  ];
}

export const RuntimeClass = defineResource<RuntimeClass>({
  group: "node.k8s.io",
  version: "v1",
  plural: "runtimeclasses",
  printerColumns: [{ name: "Handler", value: ({ handler }) => handler }, ageColumn],
  strategy: {
    allowCreateOnUpdate: true,
    allowUnconditionalUpdate: false,
    validate: validateRuntimeClass,
    validateUpdate: (object, old) => [
      ...validateRuntimeClass(object),
      ...declaredImmutable(object.handler, old.handler, "handler"),
    ],
    warnings: ({ scheduling }) =>
      sortedKeys(scheduling?.nodeSelector ?? {}).flatMap((key) => {
        const why = deprecatedLabel(key);
        return why === undefined ? [] : [`scheduling.nodeSelector: ${why}`];
      }),
  },
});
