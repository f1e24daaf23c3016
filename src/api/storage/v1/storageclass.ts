/** StorageClass: a kind of storage that a provisioner makes on demand. */
import { duplicate, type FieldError, notSupported, required } from "#machinery/field-error.ts";
import { declaredImmutable } from "#machinery/meta-validation.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import { qualifiedName } from "../../core/v1/pod-validation/fields.ts";
import { deprecatedLabel } from "../../core/v1/pod-warnings.ts";
import type { TopologySelectorTerm } from "../../generated/core/v1.ts";
import type * as g from "../../generated/storage/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { validateParameters, validateProvisioner } from "./parameters.ts";

export type StorageClass = g.StorageClass;

const defaultAnnotations = [
  "storageclass.kubernetes.io/is-default-class",
  "storageclass.beta.kubernetes.io/is-default-class",
];

export const isDefaultStorageClass = ({ metadata }: StorageClass): boolean =>
  defaultAnnotations.some((key) => metadata.annotations?.[key] === "true");

/** Of several default classes the newest counts; of those of one moment the first by name. */
export function defaultStorageClassOf(classes: readonly StorageClass[]): StorageClass | undefined {
  const madeAt = ({ metadata }: StorageClass) => parseTime(metadata.creationTimestamp ?? "") ?? 0;
  return classes
    .filter(isDefaultStorageClass)
    .sort(
      (a, b) => madeAt(b) - madeAt(a) || compareUtf8(a.metadata.name ?? "", b.metadata.name ?? ""),
    )[0];
}

function validateTerm(
  { matchLabelExpressions = [] }: TopologySelectorTerm,
  path: string,
): FieldError[] {
  const keys = new Set<string>();
  return matchLabelExpressions.flatMap((term, index) => {
    const { key } = term;
    const values = term.values ?? [];
    const at = `${path}.matchLabelExpressions[${index}]`;
    const errors = values.length === 0 ? [required(`${at}.values`)] : [];
    for (const [position, value] of values.entries()) {
      if (values.indexOf(value) < position) {
        errors.push(duplicate(`${at}.values[${position}]`, value));
      }
    }
    errors.push(...qualifiedName(`${at}.key`, key));
    if (keys.has(key)) errors.push(duplicate(`${at}.key`, key));
    keys.add(key);
    return errors;
  });
}

/** What a term says, whatever the order in which it says it. */
const meaningOf = ({ matchLabelExpressions = [] }: TopologySelectorTerm) =>
  Object.fromEntries(
    matchLabelExpressions.map(({ key, values }) => [key, [...new Set(values)].sort(compareUtf8)]),
  );

function validateTopologies(terms: readonly TopologySelectorTerm[]): FieldError[] {
  const seen: object[] = [];
  return terms.flatMap((term, index) => {
    const path = `allowedTopologies[${index}]`;
    const errors = validateTerm(term, path);
    const meaning = meaningOf(term);
    // Upstream: a term that says nothing counts as said before.
    const isEmpty = Object.keys(meaning).length === 0;
    for (const _ of isEmpty ? [meaning] : seen.filter((one) => equalObjects(one, meaning))) {
      errors.push(duplicate(`${path}.matchLabelExpressions`, ""));
    }
    seen.push(meaning);
    return errors;
  });
}

function validateStorageClass(object: StorageClass): FieldError[] {
  const { reclaimPolicy = "", volumeBindingMode } = object;
  const errors = [
    ...validateProvisioner(object.provisioner, "provisioner"),
    ...validateParameters(object.parameters, "parameters"),
  ];
  const policies = ["Delete", "Retain"];
  if (reclaimPolicy !== "" && !policies.includes(reclaimPolicy)) {
    errors.push(notSupported("reclaimPolicy", reclaimPolicy, policies));
  }
  const modes = ["Immediate", "WaitForFirstConsumer"];
  if (volumeBindingMode === undefined) errors.push(required("volumeBindingMode"));
  else if (!modes.includes(volumeBindingMode)) {
    errors.push(notSupported("volumeBindingMode", volumeBindingMode, modes));
  }
  return [...errors, ...validateTopologies(object.allowedTopologies ?? [])];
}

function warnings({ allowedTopologies = [] }: StorageClass): string[] {
  return allowedTopologies.flatMap(({ matchLabelExpressions = [] }, index) =>
    matchLabelExpressions.flatMap(({ key }, position) => {
      const why = deprecatedLabel(key);
      if (why === undefined) return [];
      return [`allowedTopologies[${index}].matchLabelExpressions[${position}].key: ${why}`];
    }),
  );
}

/** In a list the class that claims without one get is marked. */
function nameCell({ metadata }: StorageClass, list: readonly StorageClass[]): string {
  const { name = "" } = metadata;
  const marked = list.length > 0 && defaultStorageClassOf(list)?.metadata.name === name;
  return marked ? `${name} (default)` : name;
}

export const StorageClass = defineResource<StorageClass>({
  group: "storage.k8s.io",
  version: "v1",
  plural: "storageclasses",
  printerColumns: [
    { name: "Name", format: "name", value: (object, _now, list) => nameCell(object, list ?? []) },
    { name: "Provisioner", value: ({ provisioner }) => provisioner },
    { name: "ReclaimPolicy", value: ({ reclaimPolicy }) => reclaimPolicy ?? "Delete" },
    {
      name: "VolumeBindingMode",
      value: ({ volumeBindingMode }) => volumeBindingMode ?? "Immediate",
    },
    { name: "AllowVolumeExpansion", value: (object) => object.allowVolumeExpansion === true },
    ageColumn,
  ],
  strategy: {
    defaults(object) {
      object.reclaimPolicy ??= "Delete";
      object.volumeBindingMode ??= "Immediate";
    },
    validate: validateStorageClass,
    validateUpdate: (object, old) => [
      ...validateStorageClass(object),
      ...(["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] as const).flatMap(
        (field) => declaredImmutable(object[field], old[field], field),
      ),
    ],
    warnings,
  },
});
