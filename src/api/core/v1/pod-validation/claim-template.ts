/**
 * The claim of an ephemeral volume: a PersistentVolumeClaim's spec with nothing but labels and
 * annotations around it.
 */
import { type FieldError, forbidden, invalid, required } from "#machinery/field-error.ts";
import { validateAnnotations } from "#machinery/meta-validation.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { validateLabelSelector, validateLabels } from "#machinery/selector.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import type {
  PersistentVolumeClaimSpec,
  PersistentVolumeClaimTemplate,
  TypedLocalObjectReference,
  TypedObjectReference,
} from "../../../generated/core/v1.ts";
import { validateAccessModes, volumeModes } from "../storage-names.ts";
import { dnsSubdomain, each, notEmpty, oneOf } from "./fields.ts";

export interface ClaimRules {
  readonly allowInvalidSelector?: boolean;
  readonly allowInvalidApiGroup?: boolean;
}

function validateDataSource(
  source: TypedObjectReference,
  path: string,
  rules: ClaimRules,
): FieldError[] {
  const { name, kind, namespace = "" } = source;
  const apiGroup = source.apiGroup ?? "";
  const errors = [...notEmpty(`${path}.name`, name), ...notEmpty(`${path}.kind`, kind)];
  if (apiGroup === "" && kind !== "PersistentVolumeClaim") {
    const detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
    errors.push(invalid(path, kind, detail));
  }
  if (apiGroup !== "" && rules.allowInvalidApiGroup !== true)
    errors.push(...dnsSubdomain(`${path}.apiGroup`, apiGroup));
  if (namespace === "") return errors;
  return [...errors, ...each(`${path}.namespace`, namespace, isDns1123Label(namespace))];
}

function validateSources(
  { dataSource, dataSourceRef }: PersistentVolumeClaimSpec,
  path: string,
  rules: ClaimRules,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [field, source] of Object.entries({ dataSource, dataSourceRef })) {
    if (source !== undefined) {
      errors.push(...validateDataSource(source, `${path}.${field}`, rules));
    }
  }
  if (dataSource === undefined || dataSourceRef === undefined) return errors;
  const at = `${path}.dataSource`;
  if ((dataSourceRef.namespace ?? "") !== "") {
    const detail = "may not be specified when dataSourceRef.namespace is specified";
    errors.push(invalid(path, at, detail));
  } else if (!isSameSource(dataSource, dataSourceRef)) {
    errors.push(invalid(path, at, "must match dataSourceRef"));
  }
  return errors;
}

const isSameSource = (one: TypedLocalObjectReference, other: TypedObjectReference): boolean =>
  one.apiGroup === other.apiGroup && one.kind === other.kind && one.name === other.name;

/** The spec of a claim, whether it stands on its own or in a template. */
export function validateClaimSpec(
  spec: PersistentVolumeClaimSpec,
  path: string,
  rules: ClaimRules = {},
): FieldError[] {
  const errors: FieldError[] = [];
  const { accessModes = [] } = spec;
  if (accessModes.length === 0) {
    errors.push(required(`${path}.accessModes`, "at least 1 access mode is required"));
  }
  if (spec.selector !== undefined && rules.allowInvalidSelector !== true) {
    errors.push(...validateLabelSelector(spec.selector, `${path}.selector`));
  }
  errors.push(...validateAccessModes(accessModes, `${path}.accessModes`));
  const storage = spec.resources?.requests?.["storage"];
  const storagePath = `${path}.resources[storage]`;
  if (storage === undefined) errors.push(required(storagePath));
  else if (quantityOf(storage).nanos <= 0n) {
    errors.push(invalid(storagePath, storage, "must be greater than zero"));
  }
  const { storageClassName = "", volumeAttributesClassName = "" } = spec;
  if (storageClassName !== "") {
    errors.push(...dnsSubdomain(`${path}.storageClassName`, storageClassName));
  }
  if (spec.volumeMode !== undefined) {
    errors.push(...oneOf(`${path}.volumeMode`, spec.volumeMode, volumeModes));
  }
  errors.push(...validateSources(spec, path, rules));
  if (volumeAttributesClassName !== "") {
    errors.push(...dnsSubdomain(`${path}.volumeAttributesClassName`, volumeAttributesClassName));
  }
  return errors;
}

/** Upstream: as the field is called inside. */
const nameInPaths: Readonly<Record<string, string>> = { uid: "uID" };

export function validateClaimTemplate(
  { metadata, spec }: PersistentVolumeClaimTemplate,
  path: string,
): FieldError[] {
  const { labels, annotations, ...others } = metadata ?? {};
  return [
    ...validateAnnotations(annotations, `${path}.metadata.annotations`),
    ...validateLabels(labels, `${path}.metadata.labels`),
    ...Object.keys(others).map((field) =>
      forbidden(`${path}.metadata.${nameInPaths[field] ?? field}`, "cannot be set"),
    ),
    ...validateClaimSpec(spec, `${path}.spec`),
  ];
}
