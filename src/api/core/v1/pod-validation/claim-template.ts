/**
 * The claim of an ephemeral volume: a PersistentVolumeClaim's spec with nothing but labels and
 * annotations around it.
 */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import { validateAnnotations } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { validateLabelSelector, validateLabels } from "#machinery/selector.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import type {
  PersistentVolumeClaimSpec,
  PersistentVolumeClaimTemplate,
  TypedObjectReference,
} from "../../../generated/core/v1.ts";
import { dnsSubdomain, each, notEmpty, oneOf } from "./fields.ts";

const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const volumeModes = ["Block", "Filesystem"];

function validateDataSource(source: TypedObjectReference, path: string): FieldError[] {
  const { name, kind, namespace = "" } = source;
  const apiGroup = source.apiGroup ?? "";
  const errors = [...notEmpty(`${path}.name`, name), ...notEmpty(`${path}.kind`, kind)];
  if (apiGroup === "" && kind !== "PersistentVolumeClaim") {
    const detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
    errors.push(invalid(path, kind, detail));
  }
  if (apiGroup !== "") errors.push(...dnsSubdomain(`${path}.apiGroup`, apiGroup));
  if (namespace === "") return errors;
  return [...errors, ...each(`${path}.namespace`, namespace, isDns1123Label(namespace))];
}

function validateAccessModes(modes: readonly string[], path: string): FieldError[] {
  if (modes.length === 0) return [required(path, "at least 1 access mode is required")];
  const errors = modes.flatMap((mode) => oneOf(path, mode, accessModes));
  const known = modes.filter((mode) => accessModes.includes(mode));
  const once = "ReadWriteOncePod";
  if (known.includes(once) && known.some((mode) => mode !== once)) {
    errors.push(forbidden(path, "may not use ReadWriteOncePod with other access modes"));
  }
  return errors;
}

export function validateClaimSpec(spec: PersistentVolumeClaimSpec, path: string): FieldError[] {
  const errors = validateAccessModes(spec.accessModes ?? [], `${path}.accessModes`);
  if (spec.selector !== undefined) {
    errors.push(...validateLabelSelector(spec.selector, `${path}.selector`));
  }
  const storage = spec.resources?.requests?.["storage"];
  const storagePath = `${path}.resources[storage]`;
  if (storage === undefined) errors.push(required(storagePath));
  else if (quantityOf(storage).nanos <= 0n) {
    errors.push(invalid(storagePath, storage, "must be greater than zero"));
  }
  for (const field of ["storageClassName", "volumeAttributesClassName"] as const) {
    const name = spec[field] ?? "";
    if (name !== "") errors.push(...dnsSubdomain(`${path}.${field}`, name));
  }
  if (spec.volumeMode !== undefined) {
    errors.push(...oneOf(`${path}.volumeMode`, spec.volumeMode, volumeModes));
  }
  const { dataSource, dataSourceRef } = spec;
  for (const [field, source] of Object.entries({ dataSource, dataSourceRef })) {
    if (source !== undefined) errors.push(...validateDataSource(source, `${path}.${field}`));
  }
  if (dataSource === undefined || dataSourceRef === undefined) return errors;
  const at = `${path}.dataSource`;
  if ((dataSourceRef.namespace ?? "") !== "") {
    const detail = "may not be specified when dataSourceRef.namespace is specified";
    errors.push(invalid(path, at, detail));
  } else if (!equalObjects(dataSource, dataSourceRef)) {
    errors.push(invalid(path, at, "must match dataSourceRef"));
  }
  return errors;
}

export function validateClaimTemplate(
  { metadata, spec }: PersistentVolumeClaimTemplate,
  path: string,
): FieldError[] {
  const { labels, annotations, ...others } = metadata ?? {};
  return [
    ...validateAnnotations(annotations, `${path}.metadata.annotations`),
    ...validateLabels(labels, `${path}.metadata.labels`),
    ...Object.keys(others).map((field) => forbidden(`${path}.metadata.${field}`, "cannot be set")),
    ...validateClaimSpec(spec, `${path}.spec`),
  ];
}
