/**
 * Validation of ObjectMeta and of request options: the same for every kind. Facts from k8s.io/apimachinery: api/validation
 * (objectmeta), apis/meta/v1/validation.
 */
import {
  declared,
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
  tooLong,
} from "./field-error.ts";
import type { ManagedFieldsEntry, ObjectMeta, OwnerReference } from "./meta.ts";
import { compareUtf8, equalObjects, sortedKeys } from "./object.ts";
import { validateLabels } from "./selector.ts";
import {
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isPathSegmentPrefix,
  isQualifiedName,
  regexMessage,
} from "./validation.ts";

export type NameFormat = "subdomain" | "label" | "rfc1035label" | "pathSegment";

export const immutableMessage = "field is immutable";
export const negativeMessage = "must be greater than or equal to 0";
const annotationsBytesMax = 256 * 1024;
const encoder = new TextEncoder();

/** What is wrong with a name; `prefix`: it is a generateName, which may end in a dash. */
export function nameProblems(name: string, format: NameFormat, prefix = false): string[] {
  if (format === "pathSegment") return prefix ? isPathSegmentPrefix(name) : isPathSegmentName(name);
  const masked = prefix && name.length > 1 && name.endsWith("-") ? `${name.slice(0, -2)}a` : name;
  if (format === "label") return isDns1123Label(masked);
  return format === "rfc1035label" ? isDns1035Label(masked) : isDns1123Subdomain(masked);
}

export interface MetaRules {
  readonly namespaced: boolean;
  readonly nameFormat?: NameFormat;
  /** Instead of nameFormat, for kinds with names of their own. */
  readonly nameProblems?: (name: string, prefix: boolean) => string[];
}

export function validateObjectMeta(
  meta: ObjectMeta,
  rules: MetaRules,
  path = "metadata",
): FieldError[] {
  const errors: FieldError[] = [];
  const problems =
    rules.nameProblems ??
    ((name: string, prefix: boolean) =>
      nameProblems(name, rules.nameFormat ?? "subdomain", prefix));
  const { name = "", generateName = "", namespace = "" } = meta;
  if (generateName !== "") {
    for (const message of problems(generateName, true)) {
      errors.push(invalid(`${path}.generateName`, generateName, message));
    }
  }
  if (name === "") errors.push(required(`${path}.name`, "name or generateName is required"));
  else {
    for (const message of problems(name, false)) {
      errors.push(invalid(`${path}.name`, name, message));
    }
  }
  if (!rules.namespaced) {
    if (namespace !== "") errors.push(forbidden(`${path}.namespace`, "not allowed on this type"));
  } else if (namespace === "") errors.push(required(`${path}.namespace`));
  else {
    for (const message of isDns1123Label(namespace)) {
      errors.push(invalid(`${path}.namespace`, namespace, message));
    }
  }
  errors.push(...validateGeneration(meta, path), ...validateCollections(meta, path));
  errors.push(...validateFinalizers(meta.finalizers ?? [], `${path}.finalizers`));
  errors.push(...validateManagedFields(meta.managedFields ?? [], `${path}.managedFields`));
  return errors;
}

function validateGeneration(meta: ObjectMeta, path: string): FieldError[] {
  const { generation = 0 } = meta;
  return generation < 0 ? [invalid(`${path}.generation`, generation, negativeMessage)] : [];
}
const validateCollections = (meta: ObjectMeta, path: string): FieldError[] => [
  ...validateLabels(meta.labels, `${path}.labels`),
  ...validateAnnotations(meta.annotations, `${path}.annotations`),
  ...validateOwnerReferences(meta.ownerReferences ?? [], `${path}.ownerReferences`),
];

export function validateObjectMetaUpdate(
  meta: ObjectMeta,
  old: ObjectMeta,
  path = "metadata",
): FieldError[] {
  const errors: FieldError[] = [];
  if (old.deletionTimestamp !== undefined) {
    const known = new Set(old.finalizers ?? []);
    const extra = [...new Set(meta.finalizers ?? [])].filter((one) => !known.has(one));
    if (extra.length > 0) {
      const list = extra.sort(compareUtf8).map((one) => JSON.stringify(one));
      const detail = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list.join(", ")}}`;
      errors.push(forbidden(`${path}.finalizers`, detail));
    }
  }
  if ((meta.resourceVersion ?? "") === "") {
    errors.push(invalid(`${path}.resourceVersion`, "", "must be specified for an update"));
  }
  errors.push(...validateGeneration(meta, path));
  const { generation = 0 } = meta;
  if (generation < (old.generation ?? 0)) {
    errors.push(invalid(`${path}.generation`, generation, "must not be decremented"));
  }
  for (const field of ["name", "namespace", "uid"] as const) {
    errors.push(...validateImmutable(meta[field] ?? "", old[field] ?? "", `${path}.${field}`));
  }
  const times = ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] as const;
  for (const field of times) {
    errors.push(...validateImmutable(meta[field], old[field], `${path}.${field}`));
  }
  errors.push(...validateCollections(meta, path));
  errors.push(...validateManagedFields(meta.managedFields ?? [], `${path}.managedFields`));
  return errors;
}

/** Upstream: generated validation does not tell what stands there now. */
export const declaredImmutable = (value: unknown, old: unknown, path: string): FieldError[] =>
  equalObjects(value, old) ? [] : [declared(invalid(path, null, immutableMessage))];

export const validateImmutable = (value: unknown, old: unknown, path: string): FieldError[] =>
  equalObjects(value, old) ? [] : [invalid(path, value, immutableMessage)];

export function validateAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const key of sortedKeys(annotations ?? {})) {
    for (const message of isQualifiedName(key.toLowerCase())) {
      errors.push(invalid(path, key, message));
    }
    bytes += encoder.encode(key).length + encoder.encode(annotations?.[key] ?? "").length;
  }
  if (bytes > annotationsBytesMax) errors.push(tooLong(path, annotationsBytesMax));
  return errors;
}

export function validateOwnerReferences(
  references: readonly OwnerReference[],
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  let controller: string | undefined;
  for (const [index, reference] of references.entries()) {
    errors.push(...validateOwnerReference(reference, `${path}[${index}]`));
    if (reference.controller !== true) continue;
    const name = `${reference.kind}/${reference.name}`;
    if (controller === undefined) controller = name;
    else {
      const detail = `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`;
      errors.push(invalid(path, references, detail));
    }
  }
  return errors;
}
function validateOwnerReference(reference: OwnerReference, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const parts = reference.apiVersion.split("/");
  if (reference.apiVersion === "") {
    errors.push(required(`${path}.apiVersion`, "must not be empty"));
  } else if (parts.length > 2 || parts.at(-1) === "") {
    const detail = "must be <group>/<version> or <version>";
    errors.push(invalid(`${path}.apiVersion`, reference.apiVersion, detail));
  }
  for (const field of ["kind", "name", "uid"] as const) {
    if (reference[field] === "") errors.push(required(`${path}.${field}`, "must not be empty"));
  }
  if (reference.apiVersion === "v1" && reference.kind === "Event") {
    const detail = "/v1, Kind=Event is disallowed from being an owner";
    errors.push(invalid(path, reference, detail));
  }
  return errors;
}

const standardFinalizers: readonly string[] = ["kubernetes", "orphan", "foregroundDeletion"];

/** What has no domain must be one of upstream's own. */
export const validateOwnFinalizers = (finalizers: readonly string[], path: string): FieldError[] =>
  finalizers.flatMap((one, index) => {
    if (one.includes("/") || standardFinalizers.includes(one)) return [];
    const why = "name is neither a standard finalizer name nor is it fully qualified";
    return [invalid(`${path}[${index}]`, one, why)];
  });

export function validateFinalizers(finalizers: readonly string[], path: string): FieldError[] {
  const errors = finalizers.flatMap((one) =>
    isQualifiedName(one).map((message) => invalid(path, one, message)),
  );
  if (finalizers.includes("orphan") && finalizers.includes("foregroundDeletion")) {
    const detail = "finalizer foregroundDeletion and orphan cannot be both set";
    errors.push(invalid(path, finalizers, detail));
  }
  return errors;
}

const managerLengthMax = 128;
const subresourceLengthMax = 256;

export function validateManagedFields(
  entries: readonly ManagedFieldsEntry[],
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, entry] of entries.entries()) {
    const at = `${path}[${index}]`;
    const { operation = "", fieldsType = "", subresource = "" } = entry;
    if (operation === "") errors.push(required(`${at}.operation`, "must not be empty"));
    else if (operation !== "Apply" && operation !== "Update") {
      errors.push(notSupported(`${at}.operation`, operation, ["Apply", "Update"]));
    }
    if (fieldsType !== "" && fieldsType !== "FieldsV1") {
      errors.push(invalid(`${at}.fieldsType`, fieldsType, "must be `FieldsV1`"));
    }
    errors.push(...validateFieldManager(entry.manager ?? "", `${at}.manager`));
    if (subresource.length > subresourceLengthMax) {
      errors.push(tooLong(`${at}.subresource`, subresourceLengthMax));
    }
  }
  return errors;
}

const unprintable = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

export function validateFieldManager(manager: string, path = "fieldManager"): FieldError[] {
  const errors: FieldError[] = [];
  if (encoder.encode(manager).length > managerLengthMax) {
    errors.push(tooLong(path, managerLengthMax));
  }
  let at = 0;
  for (const char of manager) {
    if (unprintable.test(char)) {
      const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
      const detail = `invalid character U+${code} (at position ${at})`;
      errors.push(invalid(path, manager, detail));
    }
    at += encoder.encode(char).length;
  }
  return errors;
}

export const validateDryRun = (dryRun: readonly string[], path = "dryRun"): FieldError[] =>
  dryRun.every((one) => one === "All") ? [] : [notSupported(path, dryRun, ["All"])];

export const validateFieldValidation = (value: string, path = "fieldValidation"): FieldError[] =>
  ["", "Ignore", "Warn", "Strict"].includes(value)
    ? []
    : [notSupported(path, value, ["", "Ignore", "Strict", "Warn"])];

/** metav1.Condition, as strictly as upstream's own kinds ask. */
export interface ConditionFields {
  readonly type?: string;
  readonly status?: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime?: string | null;
  readonly reason?: string;
  readonly message?: string;
}
export function validateConditions(
  conditions: readonly ConditionFields[],
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, condition] of conditions.entries()) {
    const at = `${path}[${index}]`;
    const { type = "" } = condition;
    if (seen.has(type)) errors.push(duplicate(at, type));
    seen.add(type);
    errors.push(...validateCondition(condition, at));
  }
  return errors;
}
function validateCondition(condition: ConditionFields, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { type = "", status = "", reason = "", message = "", observedGeneration = 0 } = condition;
  if (type === "") errors.push(required(`${path}.type`, "is required"));
  else for (const text of isQualifiedName(type)) errors.push(invalid(`${path}.type`, type, text));
  const statuses = ["False", "True", "Unknown"];
  if (status === "") errors.push(required(`${path}.status`));
  else if (!statuses.includes(status)) {
    errors.push(notSupported(`${path}.status`, status, statuses));
  }
  if (observedGeneration < 0) {
    const detail = "must be greater than or equal to zero";
    errors.push(invalid(`${path}.observedGeneration`, observedGeneration, detail));
  }
  if ((condition.lastTransitionTime ?? "") === "") {
    errors.push(required(`${path}.lastTransitionTime`));
  }
  if (reason === "") errors.push(required(`${path}.reason`));
  else {
    if (!/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/.test(reason)) {
      const text = regexMessage(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        "my_name",
        "MY_NAME",
        "MyName",
        "ReasonA,ReasonB",
        "ReasonA:ReasonB",
      );
      errors.push(invalid(`${path}.reason`, reason, text));
    }
    if (reason.length > 1024) errors.push(tooLong(`${path}.reason`, 1024));
  }
  if (encoder.encode(message).length > 32 * 1024)
    errors.push(tooLong(`${path}.message`, 32 * 1024));
  return errors;
}
