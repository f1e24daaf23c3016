/** Namespace: a room for names; it ends only when its contents have gone. */
import { type FieldError, invalid } from "#machinery/field-error.ts";
import { validateFinalizers } from "#machinery/meta-validation.ts";
import type * as g from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type Namespace = g.Namespace;

const nameLabel = "kubernetes.io/metadata.name";
const kubernetesFinalizer = "kubernetes";
const standardFinalizers: readonly string[] = [kubernetesFinalizer, "orphan", "foregroundDeletion"];

/** So that selectors can find a namespace by its name. */
function labelByName({ metadata }: Namespace): void {
  const { name = "" } = metadata;
  if (name !== "" && metadata.labels?.[nameLabel] !== name) {
    metadata.labels = { ...metadata.labels, [nameLabel]: name };
  }
}

function setNamespaceDefaults(namespace: Namespace): void {
  labelByName(namespace);
  if ((namespace.status.phase ?? "") === "") namespace.status.phase = "Active";
}

function validateFinalizerNames(
  { spec }: Namespace,
  pathOf: (index: number) => string,
): FieldError[] {
  return (spec.finalizers ?? []).flatMap((finalizer, index) => {
    const path = pathOf(index);
    const errors = validateFinalizers([finalizer], path);
    if (!finalizer.includes("/") && !standardFinalizers.includes(finalizer)) {
      const detail = "name is neither a standard finalizer name nor is it fully qualified";
      errors.push(invalid(path, finalizer, detail));
    }
    return errors;
  });
}

function validateNamespaceStatus({ metadata, status }: Namespace): FieldError[] {
  const ending = (metadata.deletionTimestamp ?? "") !== "";
  const phase = status.phase ?? "";
  const expected = ending ? "Terminating" : "Active";
  if (phase === expected) return [];
  const when = ending ? "is not empty" : "is empty";
  const detail = `may only be '${expected}' if \`deletionTimestamp\` ${when}`;
  return [invalid("status.Phase", phase, detail)];
}

export const Namespace = defineResource<Namespace>({
  group: "",
  version: "v1",
  plural: "namespaces",
  selectableFields: {
    "status.phase": ({ status }) => status.phase ?? "",
    // Upstream: a mistake that clients came to rely on.
    name: ({ metadata }) => metadata.name ?? "",
  },
  printerColumns: [{ name: "Status", value: ({ status }) => status.phase ?? "" }, ageColumn],
  strategy: {
    nameFormat: "label",
    specFinalizers: true,
    prepareForDelete(namespace) {
      namespace.status = { ...namespace.status, phase: "Terminating" };
    },
    defaults: setNamespaceDefaults,
    prepareForCreate(namespace) {
      labelByName(namespace);
      namespace.status = { phase: "Active" };
      const finalizers = namespace.spec.finalizers ?? [];
      if (!finalizers.includes(kubernetesFinalizer)) {
        namespace.spec.finalizers = [...finalizers, kubernetesFinalizer];
      }
    },
    prepareForUpdate(namespace, old, context) {
      labelByName(namespace);
      // Only /finalize may change them.
      if (context.subresource !== "") return;
      const { finalizers } = old.spec;
      if (finalizers === undefined) delete namespace.spec.finalizers;
      else namespace.spec.finalizers = [...finalizers];
    },
    validate: (namespace) => validateFinalizerNames(namespace, () => "spec.finalizers"),
    validateUpdate: (namespace, _old, context) =>
      validateFinalizerNames(namespace, (index) =>
        context?.subresource === "finalize" ? `spec.finalizers[${index}]` : "spec.finalizers",
      ),
    validateStatusUpdate: validateNamespaceStatus,
  },
});
