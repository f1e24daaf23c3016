/**
 * Structural schemas: what a definition's schema must be like so that values can be pruned, defaulted and merged by it. The rules and
 * their wording are upstream's (apiextensions-apiserver's pkg/apiserver/schema).
 */

import {
  type FieldError,
  forbidden,
  formatFieldError,
  invalid,
  required,
} from "#machinery/field-error.ts";
import { equalObjects, sortedKeys } from "#machinery/object.ts";
import { regexpProblem } from "#machinery/regexp.ts";
import { itemsOf, valuesOf } from "../../custom-resource/pruning.ts";
import type { JSONSchemaProps } from "../../generated/apiextensions/v1.ts";

type Props = JSONSchemaProps;
type Level = "root" | "item" | "field";

/** Keywords that no structural schema may hold; the first that is found, in upstream's words. */
export function unsupportedKeyword(props: Props): string | undefined {
  const keywords: readonly (readonly [string, unknown])[] = [
    ["id", props.id],
    ["schema", props.$schema],
    ["$ref", props.$ref],
    ["patternProperties", sizeOf(props.patternProperties)],
    ["dependencies", sizeOf(props.dependencies)],
    ["additionalItems", props.additionalItems],
    ["definitions", sizeOf(props.definitions)],
  ];
  const found = keywords.find(([, value]) => value !== undefined && value !== "");
  if (found !== undefined) return `OpenAPIV3Schema '${found[0]}' is not supported`;
  if (Array.isArray(props.items))
    return "OpenAPIV3Schema 'items' must be a schema, but is an array";
  if (props["x-kubernetes-preserve-unknown-fields"] === false)
    return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
  for (const child of childrenOf(props)) {
    const problem = unsupportedKeyword(child);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const sizeOf = (map: object | undefined): number | undefined =>
  map === undefined || Object.keys(map).length === 0 ? undefined : 1;

/** The schemas right below this one, wherever they stand. */
export function childrenOf(props: Props): Props[] {
  const one = (value: Props | boolean | undefined): Props[] =>
    typeof value === "object" ? [value] : [];
  const { items } = props;
  return [
    ...(Array.isArray(items) ? items : one(items)),
    ...(props.allOf ?? []),
    ...(props.anyOf ?? []),
    ...(props.oneOf ?? []),
    ...one(props.not),
    ...Object.values(props.properties ?? {}),
    ...one(props.additionalProperties),
    ...Object.values(props.patternProperties ?? {}),
    ...one(props.additionalItems),
    ...Object.values(props.definitions ?? {}),
    ...Object.values(props.dependencies ?? {}).flatMap((value) =>
      Array.isArray(value) ? [] : one(value),
    ),
  ];
}

/** Whether the schema, or one below it, is like that. */
export const schemaHas = (props: Props, test: (one: Props) => boolean): boolean =>
  test(props) || childrenOf(props).some((child) => schemaHas(child, test));

export function validateStructural(props: Props, path: string): FieldError[] {
  const errors = [...invariants(props, "root", path), ...completeness(props, props, path, path)];
  return errors.sort((a, b) => (formatFieldError(a) < formatFieldError(b) ? -1 : 1));
}

const key = (path: string, name: string): string => `${path}.properties[${name}]`;
const isSet = (text: string | undefined): boolean => text !== undefined && text !== "";

function invariants(props: Props, level: Level, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const items = itemsOf(props);
  if (props.type === "array" && items === undefined)
    errors.push(required(`${path}.items`, "must be specified"));
  if (items !== undefined) errors.push(...invariants(items, "item", `${path}.items`));
  for (const name of sortedKeys(props.properties ?? {})) {
    const property = props.properties?.[name];
    if (property !== undefined) errors.push(...invariants(property, "field", key(path, name)));
  }
  if (props.additionalProperties !== undefined) {
    const at = `${path}.additionalProperties`;
    if (level === "root") errors.push(forbidden(at, "must not be used at the root"));
    const values = valuesOf(props);
    if (values !== undefined) errors.push(...invariants(values, "field", at));
  }
  errors.push(...extensionRules(props, path));
  const skips = {
    anyOf: equalObjects(props.anyOf, intOrString),
    firstAllOf: equalObjects(props.allOf?.[0]?.anyOf, intOrString),
  };
  errors.push(...valueRules(props, skips, path), ...typeRules(props, level, path));
  errors.push(...metaRules(props, level, path));
  return errors;
}

/** How "integer or string" may be spelled out. */
const intOrString = [{ type: "integer" }, { type: "string" }];

function extensionRules(props: Props, path: string): FieldError[] {
  if (props["x-kubernetes-int-or-string"] !== true) return [];
  const why = "must be false if x-kubernetes-int-or-string is true";
  return (["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] as const)
    .filter((name) => props[name] === true)
    .map((name) => invalid(`${path}.${name}`, true, why));
}

const emptyType = {
  root: "must not be empty at the root",
  item: "must not be empty for specified array items",
  field: "must not be empty for specified object fields",
} as const;

function typeRules(props: Props, level: Level, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const at = `${path}.type`;
  const type = props.type ?? "";
  const embedded = props["x-kubernetes-embedded-resource"] === true;
  if (embedded && type !== "object") {
    const why = "must be object if x-kubernetes-embedded-resource is true";
    errors.push(type === "" ? required(at, why) : invalid(at, type, why));
  } else if (
    type === "" &&
    props["x-kubernetes-int-or-string"] !== true &&
    props["x-kubernetes-preserve-unknown-fields"] !== true
  ) {
    errors.push(required(at, emptyType[level]));
  }
  if (embedded && props.additionalProperties !== undefined) {
    const why = "must not be used if x-kubernetes-embedded-resource is set";
    errors.push(forbidden(`${path}.additionalProperties`, why));
  }
  if (level === "root" && type !== "" && type !== "object")
    errors.push(invalid(at, type, "must be object at the root"));
  return errors;
}

function metaRules(props: Props, level: Level, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { properties = {} } = props;
  const embedded = props["x-kubernetes-embedded-resource"] === true;
  const checks = level === "root" || embedded;
  for (const name of ["kind", "apiVersion"]) {
    const property = properties[name];
    if (checks && property !== undefined && property.type !== "string")
      errors.push(invalid(`${key(path, name)}.type`, property.type ?? "", "must be string"));
  }
  const { metadata } = properties;
  if (metadata !== undefined) {
    const at = key(path, "metadata");
    if (checks && metadata.type !== "object")
      errors.push(invalid(`${at}.type`, metadata.type ?? "", "must be object"));
    if (level === "root" && !isPlainMeta(metadata)) {
      const why =
        "must not specify anything other than name and generateName, but metadata is implicitly specified";
      errors.push(forbidden(at, why));
    }
  }
  const preserves = props["x-kubernetes-preserve-unknown-fields"] === true;
  if (embedded && !preserves && Object.keys(properties).length === 0) {
    const why =
      "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
    errors.push(required(`${path}.properties`, why));
  }
  return errors;
}

function isPlainMeta({ type: _type, default: _default, properties, ...rest }: Props): boolean {
  const names = Object.keys(properties ?? {});
  return (
    Object.keys(rest).length === 0 &&
    names.every((name) => name === "name" || name === "generateName")
  );
}

interface Skips {
  readonly anyOf: boolean;
  readonly firstAllOf: boolean;
}

function valueRules(props: Props, skips: Skips, path: string): FieldError[] {
  const none = { anyOf: false, firstAllOf: false };
  const errors: FieldError[] = [];
  if (!skips.anyOf) {
    for (const [index, one] of (props.anyOf ?? []).entries())
      errors.push(...nestedRules(one, none, `${path}.anyOf[${index}]`));
  }
  for (const [index, one] of (props.allOf ?? []).entries()) {
    const anyOf = skips.firstAllOf && index === 0;
    errors.push(...nestedRules(one, { ...none, anyOf }, `${path}.allOf[${index}]`));
  }
  for (const [index, one] of (props.oneOf ?? []).entries())
    errors.push(...nestedRules(one, none, `${path}.oneOf[${index}]`));
  if (props.not !== undefined) errors.push(...nestedRules(props.not, none, `${path}.not`));
  if (isSet(props.pattern)) {
    const problem = regexpProblem(props.pattern ?? "");
    if (problem !== undefined) {
      const why = `must be a valid regular expression, but isn't: ${problem}`;
      errors.push(invalid(`${path}.pattern`, props.pattern, why));
    }
  }
  return errors;
}

/** Inside allOf, anyOf, oneOf and not there are values' rules only, no structure. */
function nestedRules(props: Props, skips: Skips, path: string): FieldError[] {
  const errors = valueRules(props, skips, path);
  const none = { anyOf: false, firstAllOf: false };
  const items = itemsOf(props);
  if (items !== undefined) errors.push(...nestedRules(items, none, `${path}.items`));
  for (const [name, property] of Object.entries(props.properties ?? {}))
    errors.push(...nestedRules(property, none, key(path, name)));
  const refuse = (name: string, wrong: boolean, what: string): void => {
    if (wrong) errors.push(forbidden(`${path}.${name}`, `must be ${what} to be structural`));
  };
  refuse("type", isSet(props.type), "empty");
  const open = props.additionalProperties !== undefined && props.additionalProperties !== false;
  refuse("additionalProperties", open, "undefined");
  refuse("default", props.default !== undefined, "undefined");
  refuse("title", isSet(props.title), "empty");
  refuse("description", isSet(props.description), "empty");
  refuse("nullable", props.nullable === true, "false");
  for (const name of [
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
  ] as const)
    refuse(name, props[name] === true, "false");
  refuse(
    "x-kubernetes-list-map-keys",
    (props["x-kubernetes-list-map-keys"] ?? []).length > 0,
    "empty",
  );
  refuse("x-kubernetes-list-type", props["x-kubernetes-list-type"] !== undefined, "undefined");
  refuse("x-kubernetes-map-type", props["x-kubernetes-map-type"] !== undefined, "undefined");
  refuse("x-kubernetes-validations", (props["x-kubernetes-validations"] ?? []).length > 0, "empty");
  if (props.properties?.metadata !== undefined)
    errors.push(forbidden(key(path, "metadata"), "must not be specified in a nested context"));
  return errors;
}

/** Whatever is judged in an alternative must be there in the structure. */
function completeness(
  nested: Props,
  structure: Props | undefined,
  structurePath: string,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const check = (one: Props, at: string): void => {
    errors.push(...nestedCompleteness(one, structure, structurePath, at));
  };
  if (nested.not !== undefined) check(nested.not, `${path}.not`);
  for (const name of ["allOf", "anyOf", "oneOf"] as const)
    for (const [index, one] of (nested[name] ?? []).entries())
      check(one, `${path}.${name}[${index}]`);
  return errors;
}

function nestedCompleteness(
  nested: Props,
  structure: Props | undefined,
  structurePath: string,
  path: string,
): FieldError[] {
  if (structure === undefined) return [required(structurePath, `because it is defined in ${path}`)];
  const errors = completeness(nested, structure, structurePath, path);
  const items = itemsOf(nested);
  if (items !== undefined) {
    const own = itemsOf(structure);
    errors.push(...nestedCompleteness(items, own, `${structurePath}.items`, `${path}.items`));
  }
  for (const name of sortedKeys(nested.properties ?? {})) {
    const property = nested.properties?.[name];
    if (property === undefined) continue;
    const own = structure.properties?.[name];
    const at = key(structurePath, name);
    errors.push(...nestedCompleteness(property, own, at, key(path, name)));
  }
  return errors;
}
