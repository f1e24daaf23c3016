/**
 * What a definition's schema may hold, keyword by keyword, besides being structural; and whether its defaults fit it. Wording and paths
 * are upstream's.
 */

import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { cloneJson, equalObjects, isObject, sortedKeys } from "#machinery/object.ts";
import { itemsOf, prune, valuesOf } from "../../custom-resource/pruning.ts";
import { normalizePath } from "../../custom-resource/rule-path.ts";
import { validateEmbedded, validateListTypes } from "../../custom-resource/validate-lists.ts";
import { validateValue } from "../../custom-resource/validate-value.ts";
import type { JSONSchemaProps } from "../../generated/apiextensions/v1.ts";
import { validateRules } from "./rule-validation.ts";
import { unsupportedKeyword, validateStructural } from "./structural-schema.ts";

type Props = JSONSchemaProps;

const types = ["array", "boolean", "integer", "number", "object", "string"];
const metaNames = new Set(["metadata", "kind", "apiVersion"]);

/** What the place of a schema forbids. */
interface Place {
  readonly root: boolean;
  /** Inside the metadata of this or an embedded resource. */
  readonly inMeta: boolean;
  /** Why there can be no default here. */
  readonly noDefaults?: string;
}

const rootPlace: Place = { root: true, inMeta: false };

/** A list of schemas, of which definitions may hold one. */
const severalItems = (props: Props): boolean =>
  Array.isArray(props.items) && props.items.length > 0;

function keywords(props: Props, path: string, place: Place): FieldError[] {
  const errors: FieldError[] = [];
  const { type = "" } = props;
  if (type !== "" && !types.includes(type)) errors.push(notSupported(`${path}.type`, type, types));
  if (props.default !== undefined && place.noDefaults !== undefined)
    errors.push(forbidden(`${path}.default`, `must not be set ${place.noDefaults}`));
  const refuse = (name: string, present: boolean): void => {
    if (present) errors.push(forbidden(`${path}.${name}`, `${name} is not supported`));
  };
  const filled = (map: object | undefined): boolean =>
    map !== undefined && Object.keys(map).length > 0;
  refuse("id", (props.id ?? "") !== "");
  refuse("additionalItems", props.additionalItems !== undefined);
  refuse("patternProperties", filled(props.patternProperties));
  refuse("definitions", filled(props.definitions));
  refuse("dependencies", props.dependencies !== undefined);
  refuse("$ref", props.$ref !== undefined);
  if (type === "null") {
    const why = "type cannot be set to null, use nullable as an alternative";
    errors.push(forbidden(`${path}.type`, why));
  }
  if (severalItems(props))
    errors.push(forbidden(`${path}.items`, "items must be a schema object and not an array"));
  if (place.inMeta && props["x-kubernetes-embedded-resource"] === true) {
    const why = "must not be used inside of resource meta";
    errors.push(forbidden(`${path}.x-kubernetes-embedded-resource`, why));
  }
  if (props.uniqueItems === true) {
    const why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
    errors.push(forbidden(`${path}.uniqueItems`, why));
  }
  return errors;
}

function below(props: Props, path: string, place: Place): FieldError[] {
  const errors: FieldError[] = [];
  const inner = { ...place, root: false };
  const { additionalProperties } = props;
  if (additionalProperties !== undefined) {
    const at = `${path}.additionalProperties`;
    const hasProperties = Object.keys(props.properties ?? {}).length > 0;
    if (hasProperties && additionalProperties !== true)
      errors.push(forbidden(at, "additionalProperties and properties are mutual exclusive"));
    const values = valuesOf(props);
    const noDefaults = "inside additionalProperties applying to object metadata";
    if (values !== undefined)
      errors.push(...schemaRules(values, at, place.inMeta ? { ...inner, noDefaults } : inner));
  }
  for (const name of sortedKeys(props.properties ?? {})) {
    const property = props.properties?.[name];
    if (property === undefined) continue;
    let own: Place = inner;
    if ((place.root || props["x-kubernetes-embedded-resource"] === true) && metaNames.has(name)) {
      own = { ...own, inMeta: true };
      if (place.root) own = { ...own, noDefaults: `in top-level ${name}` };
    }
    errors.push(...schemaRules(property, `${path}.properties[${name}]`, own));
  }
  if (props.not !== undefined) errors.push(...schemaRules(props.not, `${path}.not`, inner));
  for (const name of ["allOf", "oneOf", "anyOf"] as const)
    for (const [index, one] of (props[name] ?? []).entries())
      errors.push(...schemaRules(one, `${path}.${name}[${index}]`, inner));
  const items = itemsOf(props);
  if (items !== undefined) errors.push(...schemaRules(items, `${path}.items`, inner));
  return errors;
}

function mustBe(props: Props, path: string, type: string, keyword: string): FieldError[] {
  if (props.type === type) return [];
  const why = `must be ${type} if ${keyword} is specified`;
  const at = `${path}.type`;
  return [(props.type ?? "") === "" ? required(at, why) : invalid(at, props.type, why)];
}

function setItems(props: Props, path: string): FieldError[] {
  const items = itemsOf(props);
  if (props["x-kubernetes-list-type"] !== "set" || items === undefined) return [];
  const why = "must be atomic as item of a list with x-kubernetes-list-type=set";
  const listType = items["x-kubernetes-list-type"];
  if (items.type === "array" && listType !== undefined && listType !== "atomic")
    return [invalid(`${path}.items.x-kubernetes-list-type`, listType, why)];
  if (items.type === "object" && items["x-kubernetes-map-type"] !== "atomic")
    return [invalid(`${path}.items.x-kubernetes-map-type`, listType, why)];
  return [];
}

function listMap(props: Props, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const keys = props["x-kubernetes-list-map-keys"] ?? [];
  const keysAt = `${path}.x-kubernetes-list-map-keys`;
  const items = itemsOf(props);
  if (keys.length === 0)
    errors.push(required(keysAt, "must not be empty if x-kubernetes-list-type is map"));
  if (props.items === undefined)
    errors.push(required(`${path}.items`, "must have a schema if x-kubernetes-list-type is map"));
  else if (items === undefined) {
    const why = "must only have a single schema if x-kubernetes-list-type is map";
    errors.push(invalid(`${path}.items`, props.items, why));
  }
  if (items === undefined) return errors;
  if (items.type !== "object") {
    const why = "must be object if parent array's x-kubernetes-list-type is map";
    return [...errors, invalid(`${path}.items.type`, items.type ?? "", why)];
  }
  const seen = new Set<string>();
  for (const name of keys) {
    const property = items.properties?.[name];
    if (property === undefined)
      errors.push(invalid(keysAt, keys, "entries must all be names of item properties"));
    else if (property.type === "array" || property.type === "object") {
      const at = `${path}.items.properties[${name}].type`;
      const why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
      errors.push(invalid(at, items.type, why));
    }
    if (seen.has(name)) errors.push(invalid(keysAt, keys, "must not contain duplicate entries"));
    seen.add(name);
  }
  return errors;
}

function keyRules(props: Props, path: string): FieldError[] {
  const listType = props["x-kubernetes-list-type"];
  const items = itemsOf(props);
  if (items === undefined || (listType !== "set" && listType !== "map")) return [];
  const errors: FieldError[] = [];
  if (items.nullable === true) {
    const why = `cannot be nullable when x-kubernetes-list-type is ${listType}`;
    errors.push(forbidden(`${path}.items.nullable`, why));
  }
  if (listType === "set") return errors;
  for (const name of props["x-kubernetes-list-map-keys"] ?? []) {
    const property = items.properties?.[name];
    if (property === undefined) continue;
    const at = `${path}.items.properties[${name}]`;
    if (items.required?.includes(name) !== true && property.default === undefined) {
      const why =
        "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
      errors.push(required(`${at}.default`, why));
    }
    if (property.nullable === true) {
      const why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
      errors.push(forbidden(`${at}.nullable`, why));
    }
  }
  return errors;
}

function extensions(props: Props, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (props["x-kubernetes-preserve-unknown-fields"] === false) {
    const at = `${path}.x-kubernetes-preserve-unknown-fields`;
    errors.push(invalid(at, false, "must be true or undefined"));
  }
  const mapType = props["x-kubernetes-map-type"];
  if (mapType !== undefined) {
    errors.push(...mustBe(props, path, "object", "x-kubernetes-map-type"));
    const known = ["atomic", "granular"];
    if (!known.includes(mapType))
      errors.push(notSupported(`${path}.x-kubernetes-map-type`, mapType, known));
  }
  const listType = props["x-kubernetes-list-type"];
  const listAt = `${path}.x-kubernetes-list-type`;
  if (listType !== undefined) {
    const misplaced = mustBe(props, path, "array", "x-kubernetes-list-type");
    errors.push(...(misplaced.length > 0 ? misplaced : setItems(props, path)));
    const known = ["atomic", "set", "map"];
    if (!known.includes(listType)) errors.push(notSupported(listAt, listType, known));
  }
  if ((props["x-kubernetes-list-map-keys"] ?? []).length > 0 && listType !== "map") {
    const why = "must be map if x-kubernetes-list-map-keys is non-empty";
    errors.push(listType === undefined ? required(listAt, why) : invalid(listAt, listType, why));
  }
  if (listType === "map") errors.push(...listMap(props, path));
  return [...errors, ...keyRules(props, path), ...ruleTexts(props, path)];
}

const reasons = [
  "FieldValueDuplicate",
  "FieldValueForbidden",
  "FieldValueInvalid",
  "FieldValueRequired",
];

/** The form of x-kubernetes-validations; rule-validation.ts reads the expressions. */
function ruleTexts(props: Props, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const breaks = /[\n\r]/;
  for (const [index, one] of (props["x-kubernetes-validations"] ?? []).entries()) {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    const { rule, message = "", messageExpression = "", reason, fieldPath = "" } = one;
    if (rule.trim() === "") errors.push(required(`${at}.rule`, "rule is not specified"));
    else if (message !== "" && message.trim() === "")
      errors.push(invalid(`${at}.message`, message, "must be non-empty if specified"));
    else if (breaks.test(message.trim()))
      errors.push(invalid(`${at}.message`, message, "must not contain line breaks"));
    else if (breaks.test(rule.trim()) && message.trim() === "") {
      const why = "message must be specified if rule contains line breaks";
      errors.push(required(`${at}.message`, why));
    }
    if (messageExpression !== "" && messageExpression.trim() === "") {
      const why = "messageExpression must be non-empty if specified";
      errors.push(required(`${at}.messageExpression`, why));
    }
    if (reason !== undefined && !reasons.includes(reason))
      errors.push(notSupported(`${at}.reason`, reason, reasons));
    if (fieldPath !== "" && fieldPath.trim() === "")
      errors.push(invalid(`${at}.fieldPath`, fieldPath, "must be non-empty if specified"));
    if (breaks.test(fieldPath))
      errors.push(invalid(`${at}.fieldPath`, fieldPath, "must not contain line breaks"));
    if (fieldPath !== "" && normalizePath(fieldPath, props) === undefined)
      errors.push(invalid(`${at}.fieldPath`, fieldPath, "must be a valid path"));
  }
  return errors;
}

const schemaRules = (props: Props, path: string, place: Place): FieldError[] => [
  ...keywords(props, path, place),
  ...below(props, path, place),
  ...extensions(props, path),
];

/** Each default must be a value that the schema takes, without fields that would be pruned. */
function defaultRules(props: Props, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (props.default !== undefined) {
    const at = `${path}.default`;
    const value = cloneJson(props.default);
    const pruned = prune(value, props, "", []);
    if (!equalObjects(pruned, value))
      errors.push(invalid(at, value, "must not have unknown fields"));
    else {
      // Upstream: what is wrong in a default is named from the default on.
      const found = validateValue(props, value, "").map((error) => ({
        ...error,
        path: error.path === "" ? at : `${at}.${error.path}`,
      }));
      const listed = isObject(value)
        ? [...validateListTypes(value, props), ...validateEmbedded(value, props)]
        : [];
      const placed = listed.map((error) => ({ ...error, path: `${at}.${error.path}` }));
      errors.push(...found, ...placed);
    }
  }
  const items = itemsOf(props);
  if (items !== undefined) errors.push(...defaultRules(items, `${path}.items`));
  const values = valuesOf(props);
  if (values !== undefined) errors.push(...defaultRules(values, `${path}.additionalProperties`));
  for (const name of sortedKeys(props.properties ?? {})) {
    const property = props.properties?.[name];
    if (property !== undefined)
      errors.push(...defaultRules(property, `${path}.properties[${name}]`));
  }
  return errors;
}

/** With a status subresource, the status is judged by itself: nothing beside its own schema may speak of it. */
const rootWithStatus: Readonly<Record<string, string>> = {
  description: "Description",
  type: "Type",
  format: "Format",
  title: "Title",
  maximum: "Maximum",
  exclusiveMaximum: "ExclusiveMaximum",
  minimum: "Minimum",
  exclusiveMinimum: "ExclusiveMinimum",
  maxLength: "MaxLength",
  minLength: "MinLength",
  pattern: "Pattern",
  maxItems: "MaxItems",
  minItems: "MinItems",
  uniqueItems: "UniqueItems",
  multipleOf: "MultipleOf",
  required: "Required",
  items: "Items",
  properties: "Properties",
  externalDocs: "ExternalDocs",
  example: "Example",
  "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields",
  "x-kubernetes-validations": "XValidations",
};

function statusRules(props: Props, path: string): FieldError[] {
  if (props.type !== undefined && props.type !== "object") {
    const why =
      'only "object" is allowed as the type at the root of the schema if the status subresource is enabled';
    return [invalid(`${path}.type`, props.type, why)];
  }
  if (Object.keys(props).every((name) => Object.hasOwn(rootWithStatus, name))) return [];
  const allowed = `[${Object.values(rootWithStatus).join(" ")}]`;
  const why = `only ${allowed} fields are allowed at the root of the schema if the status subresource is enabled`;
  return [invalid(path, props, why)];
}

/** `path` is that of openAPIV3Schema. */
export function validateSchema(props: Props, path: string, hasStatus: boolean): FieldError[] {
  const errors: FieldError[] = hasStatus ? statusRules(props, path) : [];
  if (props.nullable === true)
    errors.push(forbidden(`${path}.nullable`, "nullable cannot be true at the root"));
  const unsupported = unsupportedKeyword(props);
  if (unsupported === undefined) {
    const structural = validateStructural(props, path);
    errors.push(...(structural.length > 0 ? structural : defaultRules(props, path)));
  }
  errors.push(...schemaRules(props, path, rootPlace));
  if (errors.length === 0 && unsupported === undefined) errors.push(...validateRules(props, path));
  if (errors.length === 0 && unsupported !== undefined) errors.push(invalid(path, "", unsupported));
  return errors;
}
