/** What a CustomResourceDefinition must be like; the rules of its schemas are in schema-rules.ts. Wording and paths are upstream's. */

import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
  tooMany,
} from "#machinery/field-error.ts";
import { validateImmutable } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { isDns1035Label, isDns1123Subdomain } from "#machinery/validation.ts";
import { type Props, propertyOf, valuesOf } from "../../custom-resource/pruning.ts";
import type {
  CustomResourceColumnDefinition,
  CustomResourceConversion,
  CustomResourceDefinition,
  CustomResourceDefinitionNames,
  CustomResourceDefinitionSpec,
  CustomResourceDefinitionVersion,
  CustomResourceSubresources,
  SelectableField,
} from "../../generated/apiextensions/v1.ts";
import { validateSchema } from "./schema-rules.ts";

const approvalAnnotation = "api-approved.kubernetes.io";
const enhancement = "https://github.com/kubernetes/enhancements/pull/1111";
const selectableMax = 8;
const columnTypes = ["boolean", "date", "integer", "number", "string"];
const columnFormats = [
  "byte",
  "date",
  "date-time",
  "double",
  "float",
  "int32",
  "int64",
  "password",
];

export const isEstablished = (crd: CustomResourceDefinition): boolean =>
  (crd.status?.conditions ?? []).some(
    ({ type, status }) => type === "Established" && status === "True",
  );

export function validateDefinition(crd: CustomResourceDefinition): FieldError[] {
  const { spec, metadata } = crd;
  const errors: FieldError[] = [];
  if ((metadata.name ?? "") !== `${spec.names.plural}.${spec.group}`)
    errors.push(
      invalid("metadata.name", metadata.name, 'must be spec.names.plural+"."+spec.group'),
    );
  return [
    ...errors,
    ...validateSpec(spec, undefined),
    ...validateStatus(crd),
    ...validateStoredVersions(crd),
    ...validateApproval(crd, undefined),
    ...validatePreserving(spec),
  ];
}

export function validateDefinitionUpdate(
  crd: CustomResourceDefinition,
  old: CustomResourceDefinition,
): FieldError[] {
  const errors = validateSpec(crd.spec, old.spec);
  if (isEstablished(old)) {
    errors.push(...validateImmutable(crd.spec.scope, old.spec.scope, "spec.scope"));
    const { kind } = crd.spec.names;
    errors.push(...validateImmutable(kind, old.spec.names.kind, "spec.names.kind"));
  }
  errors.push(...validateImmutable(crd.spec.group, old.spec.group, "spec.group"));
  const { plural } = crd.spec.names;
  errors.push(...validateImmutable(plural, old.spec.names.plural, "spec.names.plural"));
  return [
    ...errors,
    ...validateStatus(crd),
    ...validateStoredVersions(crd),
    ...validateApproval(crd, old),
    ...(old.spec.preserveUnknownFields === true ? [] : validatePreserving(crd.spec)),
  ];
}

export const validateStatus = (crd: CustomResourceDefinition): FieldError[] =>
  crd.status === undefined ? [] : validateNames(crd.status.acceptedNames, "status.acceptedNames");

function validateStoredVersions({ spec, status }: CustomResourceDefinition): FieldError[] {
  const path = "status.storedVersions";
  const stored = status?.storedVersions ?? [];
  if (stored.length === 0) return [invalid(path, null, "must have at least one stored version")];
  const errors: FieldError[] = [];
  const left = new Set(stored);
  // Upstream: the second of two versions of one name finds it gone.
  for (const { name, storage } of spec.versions ?? [])
    if (!left.delete(name) && storage)
      errors.push(invalid(path, stored, `must have the storage version ${name}`));
  for (const [index, name] of stored.entries()) {
    if (!left.has(name)) continue;
    const why = `missing from spec.versions; ${name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${name} and removes ${name} from status.storedVersions`;
    errors.push(invalid(`${path}[${index}]`, name, why));
  }
  return errors;
}

const isProtected = (group: string): boolean =>
  ["k8s.io", "kubernetes.io"].some((one) => group === one || group.endsWith(`.${one}`));

type Approval = "missing" | "bypassed" | "approved" | "invalid";

function approvalOf(crd: CustomResourceDefinition): Approval {
  const text = crd.metadata.annotations?.[approvalAnnotation] ?? "";
  if (text === "") return "missing";
  if (text.startsWith("unapproved")) return "bypassed";
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/\s]+/.test(text) ? "approved" : "invalid";
}

function validateApproval(
  crd: CustomResourceDefinition,
  old: CustomResourceDefinition | undefined,
): FieldError[] {
  if (!isProtected(crd.spec.group)) return [];
  const state = approvalOf(crd);
  if (old !== undefined && approvalOf(old) === state) return [];
  const path = `metadata.annotations[${approvalAnnotation}]`;
  const head = `protected groups must have approval annotation "${approvalAnnotation}"`;
  if (state === "missing") return [required(path, `${head}, see ${enhancement}`)];
  if (state !== "invalid") return [];
  const why = `${head} with either a URL or a reason starting with "unapproved", see ${enhancement}`;
  return [invalid(path, crd.metadata.annotations?.[approvalAnnotation], why)];
}

const validatePreserving = (spec: CustomResourceDefinitionSpec): FieldError[] =>
  spec.preserveUnknownFields === true
    ? [
        invalid(
          "spec.preserveUnknownFields",
          true,
          "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
      ]
    : [];

function validateGroup(group: string): FieldError[] {
  if (group === "") return [required("spec.group")];
  const problems = isDns1123Subdomain(group);
  if (problems.length > 0) return [invalid("spec.group", group, problems.join(","))];
  return group.includes(".")
    ? []
    : [invalid("spec.group", group, "should be a domain with at least one dot")];
}

function oneOf(path: string, value: string, known: readonly string[]): FieldError[] {
  if (value === "") return [required(path)];
  return known.includes(value) ? [] : [notSupported(path, value, known)];
}

function validateSpec(
  spec: CustomResourceDefinitionSpec,
  old: CustomResourceDefinitionSpec | undefined,
): FieldError[] {
  const errors = [
    ...validateGroup(spec.group),
    ...oneOf("spec.scope", spec.scope, ["Cluster", "Namespaced"]),
  ];
  const versions = spec.versions ?? [];
  const shared = sharedParts(versions);
  if (shared.schema?.openAPIV3Schema === undefined)
    for (const [index, { schema }] of versions.entries())
      if (shared.names.has("schema") || schema?.openAPIV3Schema === undefined)
        errors.push(required(`spec.versions[${index}].schema.openAPIV3Schema`));
  for (const [index, version] of versions.entries()) {
    const path = `spec.versions[${index}]`;
    const problems = isDns1035Label(version.name);
    if (problems.length > 0) errors.push(invalid(`${path}.name`, version.name, problems.join(",")));
    const before = old?.versions.find(({ name }) => name === version.name);
    errors.push(...validateVersion(version, shared, before, path));
  }
  const names = new Set((spec.versions ?? []).map(({ name }) => name));
  if (names.size < (spec.versions ?? []).length)
    errors.push(invalid("spec.versions", spec.versions, "must contain unique version names"));
  if ((spec.versions ?? []).filter(({ storage }) => storage).length !== 1) {
    const why = "must have exactly one version marked as storage version";
    errors.push(invalid("spec.versions", spec.versions, why));
  }
  const [first] = versions;
  if (first !== undefined && first.name !== "") {
    // Upstream: the first version's name also stands in a field of a retired version of this API.
    const problems = isDns1035Label(first.name);
    if (problems.length > 0) errors.push(invalid("spec.version", first.name, problems.join(",")));
  }
  for (const name of ["plural", "singular", "kind", "listKind"] as const)
    if ((spec.names[name] ?? "") === "") errors.push(required(`spec.names.${name}`));
  return [
    ...errors,
    ...validateNames(spec.names, "spec.names"),
    ...validateShared(shared, versions, old),
    ...validateConversion(spec.conversion),
  ];
}

export function validateNames(names: CustomResourceDefinitionNames, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const label = (at: string, value: string): void => {
    const problems = isDns1035Label(value);
    if (value !== "" && problems.length > 0) errors.push(invalid(at, value, problems.join(",")));
  };
  label(`${path}.plural`, names.plural);
  label(`${path}.singular`, names.singular ?? "");
  for (const name of ["kind", "listKind"] as const) {
    const value = names[name] ?? "";
    const problems = isDns1035Label(value.toLowerCase());
    if (value === "" || problems.length === 0) continue;
    const why = `may have mixed case, but should otherwise match: ${problems.join(",")}`;
    errors.push(invalid(`${path}.${name}`, value, why));
  }
  const listed = (name: "shortNames" | "categories"): void => {
    for (const [index, value] of (names[name] ?? []).entries()) {
      const problems = isDns1035Label(value);
      if (problems.length > 0)
        errors.push(invalid(`${path}.${name}[${index}]`, value, problems.join(",")));
    }
  };
  listed("shortNames");
  if (names.kind !== "" && names.kind === names.listKind) {
    const why = "kind and listKind may not be the same";
    errors.push(invalid(`${path}.listKind`, names.listKind, why));
  }
  listed("categories");
  return errors;
}

const isPrintable = (char: string): boolean => /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(char);

/** What all versions have in common is told once, as of the spec: so it stood in a retired version of this API. */
interface Shared
  extends Partial<
    Pick<CustomResourceDefinitionVersion, "schema" | "subresources" | "selectableFields">
  > {
  readonly names: ReadonlySet<SharedName>;
  readonly additionalPrinterColumns?: readonly CustomResourceColumnDefinition[];
}
const sharedNames = [
  "schema",
  "subresources",
  "additionalPrinterColumns",
  "selectableFields",
] as const;
type SharedName = (typeof sharedNames)[number];

function sharedParts(versions: readonly CustomResourceDefinitionVersion[]): Shared {
  const [first] = versions;
  if (first === undefined) return { names: new Set() };
  const isShared = (name: SharedName): boolean =>
    versions.every((version) => equalObjects(version[name], first[name]));
  const names = new Set(sharedNames.filter(isShared));
  const parts = sharedNames.flatMap((name) =>
    names.has(name) && first[name] !== undefined ? [[name, first[name]]] : [],
  );
  return { ...Object.fromEntries(parts), names };
}

const hasStatus = ({ subresources }: Partial<CustomResourceDefinitionVersion>): boolean =>
  subresources?.status !== undefined;

/** What is the version's own. */
function validateVersion(
  version: CustomResourceDefinitionVersion,
  { names }: Shared,
  old: CustomResourceDefinitionVersion | undefined,
  path: string,
): FieldError[] {
  const errors = validateDeprecation(version, path);
  const props = names.has("schema") ? undefined : version.schema?.openAPIV3Schema;
  if (props !== undefined)
    errors.push(...validateSchema(props, `${path}.schema.openAPIV3Schema`, hasStatus(version)));
  if (!names.has("subresources"))
    errors.push(...validateSubresources(version.subresources, `${path}.subresources`));
  if (!names.has("additionalPrinterColumns"))
    errors.push(...validateColumns(version.additionalPrinterColumns ?? [], path));
  const fields = version.selectableFields ?? [];
  if (names.has("selectableFields") || fields.length === 0) return errors;
  const at = `${path}.selectableFields`;
  if (props === undefined) {
    const why = "may only be set when `version.schema.openAPIV3Schema` is not included";
    return [...errors, invalid(at, "", why)];
  }
  const unchanged = equalObjects(fields, old?.selectableFields);
  return [...errors, ...validateSelectable(fields, props, unchanged, at)];
}

function validateShared(
  shared: Shared,
  versions: readonly CustomResourceDefinitionVersion[],
  old: CustomResourceDefinitionSpec | undefined,
): FieldError[] {
  const { schema, subresources, additionalPrinterColumns = [], selectableFields = [] } = shared;
  const props = schema?.openAPIV3Schema;
  const errors: FieldError[] = [];
  if (props !== undefined) {
    const path = "spec.validation.openAPIV3Schema";
    errors.push(...validateSchema(props, path, versions.some(hasStatus)));
  }
  errors.push(...validateSubresources(subresources, "spec.subresources"));
  errors.push(...validateColumns(additionalPrinterColumns, "spec"));
  if (selectableFields.length === 0) return errors;
  const at = "spec.selectableFields";
  if (props === undefined) {
    const why = "may only be set when validations.schema is included";
    return [...errors, invalid(at, "", why)];
  }
  const unchanged =
    old !== undefined && equalObjects(selectableFields, sharedParts(old.versions).selectableFields);
  return [...errors, ...validateSelectable(selectableFields, props, unchanged, at)];
}

const validateColumns = (
  columns: readonly CustomResourceColumnDefinition[],
  path: string,
): FieldError[] =>
  columns.flatMap((column, index) =>
    validateColumn(column, `${path}.additionalPrinterColumns[${index}]`),
  );

function validateDeprecation(version: CustomResourceDefinitionVersion, path: string) {
  const { deprecated, deprecationWarning: warning } = version;
  if (warning === undefined) return [];
  const at = `${path}.deprecationWarning`;
  if (deprecated !== true) return [invalid(at, warning, "can only be set for deprecated versions")];
  const errors: FieldError[] = [];
  if (warning.length > 256) errors.push(invalid(at, warning, "must be <= 256 characters long"));
  if (warning === "") errors.push(invalid(at, warning, "must not be an empty string"));
  const bad = Array.from(warning).findIndex((char) => !isPrintable(char));
  if (bad !== -1) {
    const why = `must only contain printable UTF-8 characters; non-printable character found at index ${bad}`;
    errors.push(invalid(at, warning, why));
  }
  return errors;
}

function validateColumn(column: CustomResourceColumnDefinition, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { name, type, format = "", jsonPath } = column;
  if (name === "") errors.push(required(`${path}.name`));
  const types = `must be one of ${columnTypes.join(",")}`;
  if (type === "") errors.push(required(`${path}.type`, types));
  else if (!columnTypes.includes(type)) errors.push(invalid(`${path}.type`, type, types));
  if (format !== "" && !columnFormats.includes(format)) {
    const formats = `must be one of ${columnFormats.join(",")}`;
    errors.push(invalid(`${path}.format`, format, formats));
  }
  const at = `${path}.JSONPath`;
  if (jsonPath === "") errors.push(required(at));
  else if (!jsonPath.startsWith("."))
    errors.push(invalid(at, jsonPath, "must be a simple json path starting with ."));
  return errors;
}

function validateSubresources(
  subresources: CustomResourceSubresources | undefined,
  path: string,
): FieldError[] {
  const scale = subresources?.scale;
  if (scale === undefined) return [];
  const errors: FieldError[] = [];
  const under = (name: string, value: string, roots: readonly string[], why: string): void => {
    const at = `${path}.scale.${name}`;
    if (!value.startsWith("."))
      errors.push(invalid(at, value, "must be a simple json path starting with ."));
    else if (!roots.some((root) => value.startsWith(root))) errors.push(invalid(at, value, why));
  };
  const { specReplicasPath: spec, statusReplicasPath: status, labelSelectorPath = "" } = scale;
  if (spec === "") errors.push(required(`${path}.scale.specReplicasPath`));
  else under("specReplicasPath", spec, [".spec."], "should be a json path under .spec");
  if (status === "") errors.push(required(`${path}.scale.statusReplicasPath`));
  else under("statusReplicasPath", status, [".status."], "should be a json path under .status");
  if (labelSelectorPath !== "") {
    const why = "should be a json path under either .spec or .status";
    under("labelSelectorPath", labelSelectorPath, [".spec.", ".status."], why);
  }
  return errors;
}

/** The schema that a plain path leads to; text: why there is none. */
function follow(path: string, props: Props): Props | string {
  let at = props;
  const parts = path.match(/[.[\]]|[^.[\]]+/g) ?? [];
  for (let index = 0; index < parts.length; index += 2) {
    const [mark, name] = [parts[index] ?? "", parts[index + 1]];
    if (mark === "[") return "array notation is not allowed";
    if (mark !== ".") return `expected [ or . but got: ${mark}`;
    if (name === undefined) return "unexpected end of JSON path";
    const next = at.properties === undefined ? valuesOf(at) : propertyOf(at, name);
    if (next === undefined) return "does not refer to a valid field";
    at = next;
  }
  return at;
}

function validateSelectable(
  fields: readonly SelectableField[],
  props: Props,
  unchanged: boolean,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, { jsonPath }] of fields.entries()) {
    const at = `${path}[${index}].jsonPath`;
    if (jsonPath === "") {
      errors.push(required(at));
      continue;
    }
    const found = follow(jsonPath, props);
    if (/^\.metadata(?:\.|$)/.test(jsonPath))
      errors.push(invalid(at, jsonPath, "must not point to fields in metadata"));
    else if (typeof found === "string") {
      errors.push(invalid(at, jsonPath, `is an invalid path: ${found}`));
      continue;
    } else if (!["string", "boolean", "integer"].includes(found.type ?? "")) {
      const why =
        "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
      errors.push(invalid(at, jsonPath, why));
    }
    if (seen.has(jsonPath)) errors.push(duplicate(at, jsonPath));
    seen.add(jsonPath);
  }
  if (seen.size > selectableMax && !unchanged) errors.push(tooMany(path, seen.size, selectableMax));
  return errors;
}

function validateConversion(conversion: CustomResourceConversion | undefined): FieldError[] {
  if (conversion === undefined) return [];
  const path = "spec.conversion";
  const { strategy, webhook } = conversion;
  const errors = oneOf(`${path}.strategy`, strategy, ["None", "Webhook"]);
  const client = `${path}.webhookClientConfig`;
  if (strategy !== "Webhook") {
    const why = "should not be set when strategy is not set to Webhook";
    if (webhook?.clientConfig !== undefined) errors.push(forbidden(client, why));
    if ((webhook?.conversionReviewVersions ?? []).length > 0)
      errors.push(forbidden(`${path}.conversionReviewVersions`, why));
    return errors;
  }
  const config = webhook?.clientConfig;
  if (config === undefined)
    errors.push(required(client, "required when strategy is set to Webhook"));
  else if ((config.url === undefined) === (config.service === undefined))
    errors.push(required(client, "exactly one of url or service is required"));
  const versions = webhook?.conversionReviewVersions ?? [];
  const at = `${path}.conversionReviewVersions`;
  if (versions.length === 0) errors.push(required(at));
  else if (!versions.some((one) => one === "v1" || one === "v1beta1"))
    errors.push(invalid(at, versions, "must include at least one of v1, v1beta1"));
  return errors;
}
