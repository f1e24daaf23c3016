/** What is wrong with a PersistentVolumeClaim, in upstream's words and order. Pure. */
import { type FieldError, forbidden, notSupported, required } from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { cloneJson, equalObjects, sortedKeys } from "#machinery/object.ts";
import { compareQuantities, quantityOf } from "#machinery/quantity.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type { PersistentVolumeClaim, PersistentVolumeClaimSpec } from "../../generated/core/v1.ts";
import { differenceOf } from "./difference.ts";
import { isNativeResource, type ResourceList } from "./pod-resources.ts";
import { validateClaimSpec } from "./pod-validation/claim-template.ts";
import { each } from "./pod-validation/fields.ts";
import { storageClassAnnotation, validateBasicAmount } from "./storage-names.ts";

const resizeStatuses = [
  "ControllerResizeInProgress",
  "ControllerResizeInfeasible",
  "NodeResizePending",
  "NodeResizeInProgress",
  "NodeResizeInfeasible",
];

export const validatePersistentVolumeClaim = ({ spec }: PersistentVolumeClaim): FieldError[] =>
  validateClaimSpec(spec, "spec");

function setOrDelete<T, K extends keyof T>(target: T, field: K, value: T[K] | undefined): void {
  if (value === undefined) delete target[field];
  else target[field] = value;
}

/** The class was an annotation and becomes the field, or there was none and now there is one. */
function mayTakeClass(claim: PersistentVolumeClaim, old: PersistentVolumeClaim): boolean {
  const named = claim.spec.storageClassName;
  const annotated = old.metadata.annotations?.[storageClassAnnotation];
  if (named === undefined || old.spec.storageClassName !== undefined) return false;
  return annotated === undefined || annotated === named;
}

function validateClassAnnotation(
  claim: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
): FieldError[] {
  const before = old.metadata.annotations?.[storageClassAnnotation];
  const now = claim.metadata.annotations?.[storageClassAnnotation];
  const becomesField =
    before !== undefined && mayTakeClass(claim, old) && (now === undefined || now === before);
  if (becomesField) return [];
  const path = `metadata.annotations.${storageClassAnnotation}`;
  return validateImmutable(now ?? "", before ?? "", path);
}

function validateSpecChange(
  claim: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
): FieldError[] {
  const next = cloneJson(claim.spec);
  const before = cloneJson(old.spec);
  if ((before.volumeName ?? "") === "") setOrDelete(before, "volumeName", next.volumeName);
  if (mayTakeClass(claim, old)) setOrDelete(next, "storageClassName", before.storageClassName);
  if (claim.status.phase === "Bound") {
    const { requests } = next.resources ?? {};
    const size = before.resources?.requests?.["storage"];
    if (requests !== undefined && size !== undefined) requests["storage"] = size;
    setOrDelete(next, "volumeAttributesClassName", before.volumeAttributesClassName);
  }
  if (equalObjects(next, before)) return [];
  const difference = differenceOf("PersistentVolumeClaimSpec", before, next);
  const detail = `spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n${difference}`;
  return [forbidden("spec", detail)];
}

/** A claim may shrink no further than what it has. */
function validateSize({ spec }: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const sizeOf = (one: PersistentVolumeClaimSpec) =>
    quantityOf(one.resources?.requests?.["storage"] ?? "0");
  const size = sizeOf(spec);
  if (compareQuantities(size, sizeOf(old.spec)) >= 0) return [];
  const present = quantityOf(old.status.capacity?.["storage"] ?? "0");
  if (compareQuantities(size, present) > 0) return [];
  const path = "spec.resources.requests.storage";
  return [forbidden(path, "field can not be less than status.capacity")];
}

function validateAttributesClass(
  claim: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
): FieldError[] {
  const { volumeAttributesClassName: now } = claim.spec;
  const applied = old.status.currentVolumeAttributesClassName;
  if (now === old.spec.volumeAttributesClassName || applied === undefined) return [];
  if (now !== undefined && now !== "") return [];
  const what = now === undefined ? "nil" : "empty string";
  const detail = `update to ${what} is forbidden when status.currentVolumeAttributesClassName is not nil`;
  return [forbidden("spec.volumeAttributesClassName", detail)];
}

const isGrouped = (source: { readonly apiGroup: string | null } | undefined): boolean =>
  (source?.apiGroup ?? null) !== null;

export function validatePersistentVolumeClaimUpdate(
  claim: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
): FieldError[] {
  const { dataSource, dataSourceRef, selector } = old.spec;
  const rules = {
    allowInvalidApiGroup: isGrouped(dataSource) || isGrouped(dataSourceRef),
    allowInvalidSelector: selector !== undefined && validateLabelSelector(selector, "").length > 0,
  };
  return [
    ...validateClaimSpec(claim.spec, "spec", rules),
    ...validateClassAnnotation(claim, old),
    ...validateSpecChange(claim, old),
    ...validateSize(claim, old),
    ...validateImmutable(claim.spec.volumeMode, old.spec.volumeMode, "volumeMode"),
    ...validateAttributesClass(claim, old),
  ];
}

function validateResourceName(name: string, path: string): FieldError[] {
  const errors = each(path, name, isQualifiedName(name));
  if (errors.length > 0) return errors;
  if (!isNativeResource(name) || name === "storage") return [];
  return [notSupported(path, name, ["storage"])];
}

const validateAmounts = (amounts: ResourceList, path: string): FieldError[] =>
  sortedKeys(amounts).flatMap((name) =>
    validateBasicAmount(amounts[name] ?? "0", `${path}[${name}]`),
  );

function validateAllocated(amounts: ResourceList, path: string): FieldError[] {
  return sortedKeys(amounts).flatMap((name) => {
    const errors = validateResourceName(name, path);
    if (errors.length > 0) return errors;
    return validateBasicAmount(amounts[name] ?? "0", `${path}[${name}]`);
  });
}

export function validatePersistentVolumeClaimStatus({
  spec,
  status,
}: PersistentVolumeClaim): FieldError[] {
  const errors: FieldError[] = [];
  if ((spec.accessModes ?? []).length === 0) errors.push(required("Spec.accessModes"));
  errors.push(...validateAmounts(status.capacity ?? {}, "status.capacity"));
  const statuses = status.allocatedResourceStatuses ?? {};
  const path = "status.allocatedResourceStatuses";
  for (const name of sortedKeys(statuses)) {
    errors.push(...validateResourceName(name, path));
    // Upstream: what is said to be unsupported is the name, not the state.
    if (!resizeStatuses.includes(statuses[name] ?? "")) {
      errors.push(notSupported(path, name, [...resizeStatuses].sort()));
    }
  }
  errors.push(...validateAllocated(status.allocatedResources ?? {}, "status.allocatedResources"));
  return errors;
}
