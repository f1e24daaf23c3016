/**
 * Judges a value by a definition's schema: types, bounds, patterns, formats, enums, alternatives; worded as upstream words it. On
 * updates what has not changed is not held against anyone (validation ratcheting). Facts from kube-openapi's pkg/validation.
 */
import {
  type FieldError,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
  typeInvalid,
} from "#machinery/field-error.ts";
import { equalObjects, getKey, isObject, type JsonObject, sortedKeys } from "#machinery/object.ts";
import { compileRegexp } from "#machinery/regexp.ts";
import { isKnownFormat, stringFormat } from "./formats.ts";
import { itemsOf, type Props, propertyOf, valuesOf } from "./pruning.ts";

/** The value as it was, where it can be told which one it was. */
export type Before = { readonly value: unknown } | undefined;

interface Result {
  readonly errors: FieldError[];
  /** How much was fine: tells which of several alternatives was meant. */
  matches: number;
}

/** Upstream: what has no place of its own is said of this one. */
const nowhere = "<nil>";

const placeOf = (path: string): string => (path.startsWith(".") ? path.slice(1) : path);
const child = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);

/** Go's name of a value's JSON type. */
function typeOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

const typesOf = (props: Props): readonly string[] =>
  props["x-kubernetes-int-or-string"] === true
    ? ["integer", "string"]
    : (props.type ?? "") === ""
      ? []
      : [props.type ?? ""];

function typeFailure(path: string, types: readonly string[], found: string): FieldError {
  const wanted = types.join(",");
  const message = `${path} in body must be of type ${wanted}: ${JSON.stringify(found)}`;
  return typeInvalid(placeOf(path), found, message);
}

function checkType(props: Props, value: unknown, path: string, result: Result): void {
  const types = typesOf(props);
  if (types.length === 0) return;
  const found = typeOf(value);
  if (found === "null") {
    if (props.nullable === true || types.includes("null")) result.matches++;
    else result.errors.push(typeFailure(path, types, "null"));
    return;
  }
  const fits = types.includes(found) || (found === "integer" && types.includes("number"));
  if (fits) result.matches++;
  else result.errors.push(typeFailure(path, types, found));
}

const bad = (path: string, value: unknown, why: string): FieldError =>
  invalid(placeOf(path), value, `${path} in body ${why}`);

function checkString(props: Props, value: string, path: string, result: Result): void {
  const { maxLength, minLength, pattern } = props;
  const length = Array.from(value).length;
  if (maxLength !== undefined && length > maxLength)
    result.errors.push(tooLong(placeOf(path), maxLength));
  else if (minLength !== undefined && length < minLength)
    result.errors.push(bad(path, value, `should be at least ${minLength} chars long`));
  else if (pattern !== undefined && pattern !== "" && !compileRegexp(pattern).matches(value))
    result.errors.push(bad(path, value, `should match '${pattern}'`));
  else result.matches++;
  const { format } = props;
  if (format === undefined || !isKnownFormat(props.type, format)) return;
  const fits = stringFormat(format);
  if (fits === undefined) return;
  if (fits(value)) result.matches++;
  else {
    const message = `${path} in body must be of type ${format}: ${JSON.stringify(value)}`;
    result.errors.push(typeInvalid(placeOf(path), value, message));
  }
}

const integerBounds: Readonly<Record<string, number>> = { int32: 2 ** 31, int64: 2 ** 63 };

function checkNumber(props: Props, value: number, path: string, result: Result): void {
  const { maximum, minimum, multipleOf, exclusiveMaximum, exclusiveMinimum, format, type } = props;
  const before = result.errors.length;
  const bound = type === "integer" ? integerBounds[format ?? "int64"] : undefined;
  if (bound !== undefined && (value >= bound || value < -bound)) {
    const named = format === undefined ? "(default format)" : `with format ${format}`;
    const message = `Checked value must be of type integer ${named} in ${path}`;
    result.errors.push(invalid(nowhere, "", message));
  }
  if (multipleOf !== undefined && multipleOf > 0) {
    const times = multipleOf < 1 ? (1 / multipleOf) * value : value / multipleOf;
    if (Math.abs(times - Math.round(times)) > 1e-9)
      result.errors.push(bad(path, value, `should be a multiple of ${multipleOf}`));
  }
  if (minimum !== undefined) {
    const exclusive = exclusiveMinimum === true;
    if (value < minimum || (exclusive && value === minimum)) {
      const words = exclusive ? "should be greater than" : "should be greater than or equal to";
      result.errors.push(bad(path, value, `${words} ${minimum}`));
    }
  }
  if (maximum !== undefined) {
    const exclusive = exclusiveMaximum === true;
    if (value > maximum || (exclusive && value === maximum)) {
      const words = exclusive ? "should be less than" : "should be less than or equal to";
      result.errors.push(bad(path, value, `${words} ${maximum}`));
    }
  }
  if (result.errors.length === before) result.matches++;
}

/** The item of the old list that has the same keys. */
function sameItem(props: Props, item: unknown, before: Before): Before {
  const keys = props["x-kubernetes-list-map-keys"] ?? [];
  const isMap = props["x-kubernetes-list-type"] === "map" && keys.length > 0;
  if (!isMap || before === undefined || !Array.isArray(before.value) || !isObject(item))
    return undefined;
  const found: unknown = before.value.find(
    (old: unknown) =>
      isObject(old) && keys.every((key) => equalObjects(getKey(old, key), getKey(item, key))),
  );
  return found === undefined ? undefined : { value: found };
}

function checkList(
  props: Props,
  value: readonly unknown[],
  path: string,
  before: Before,
  result: Result,
): void {
  const items = itemsOf(props);
  if (items !== undefined) {
    for (const [index, item] of value.entries())
      merge(result, judge(items, item, `${path}[${index}]`, sameItem(props, item, before)));
  }
  const { minItems, maxItems } = props;
  if (minItems !== undefined && value.length < minItems)
    result.errors.push(bad(path, value.length, `should have at least ${minItems} items`));
  if (maxItems !== undefined && value.length > maxItems)
    result.errors.push(tooMany(placeOf(path), value.length, maxItems));
  result.matches++;
}

function memberBefore(props: Props, key: string, before: Before): Before {
  if (before === undefined || props["x-kubernetes-map-type"] === "atomic") return undefined;
  const old = isObject(before.value) ? getKey(before.value, key) : undefined;
  return old === undefined ? undefined : { value: old };
}

function checkObject(
  props: Props,
  value: JsonObject,
  path: string,
  before: Before,
  result: Result,
): void {
  const keys = sortedKeys(value);
  const { minProperties, maxProperties } = props;
  if (minProperties !== undefined && keys.length < minProperties)
    result.errors.push(bad(path, keys.length, `should have at least ${minProperties} properties`));
  if (maxProperties !== undefined && keys.length > maxProperties)
    result.errors.push(tooMany(placeOf(path), keys.length, maxProperties));
  const values = valuesOf(props);
  for (const key of keys) {
    const at = child(path, key);
    const property = propertyOf(props, key);
    if (property === undefined && props.additionalProperties === false) {
      const message = `${path}.${key} in body is a forbidden property`;
      result.errors.push(invalid(placeOf(path), "", message));
    }
    const schema = property ?? values;
    if (schema === undefined) continue;
    const isTypeMeta = path === "" && (key === "kind" || key === "apiVersion");
    const old = isTypeMeta ? undefined : memberBefore(props, key, before);
    merge(result, judge(schema, value[key], at, old));
  }
  for (const name of props.required ?? [])
    if (!Object.hasOwn(value, name)) result.errors.push(required(placeOf(`${path}.${name}`)));
}

function merge(into: Result, other: Result): void {
  into.errors.push(...other.errors);
  into.matches += other.matches;
}

/** Of several that failed, the one that fits best says why. */
function best(results: readonly Result[]): Result | undefined {
  let found: Result | undefined;
  for (const result of results)
    if (found === undefined || result.matches > found.matches) found = result;
  return found;
}

function checkAlternatives(props: Props, value: unknown, path: string, result: Result): void {
  const run = (schemas: readonly Props[]): Result[] =>
    schemas.map((schema) => judge(schema, value, path, undefined));
  const named = JSON.stringify(path);
  const fail = (why: string): void => void result.errors.push(invalid(nowhere, "", why));
  const isFine = ({ errors }: Result): boolean => errors.length === 0;
  if ((props.anyOf ?? []).length > 0) {
    const results = run(props.anyOf ?? []);
    const chosen = results.find(isFine);
    if (chosen === undefined) fail(`${named} must validate at least one schema (anyOf)`);
    const shown = chosen ?? best(results);
    if (shown !== undefined) merge(result, shown);
  }
  if ((props.oneOf ?? []).length > 0) {
    const results = run(props.oneOf ?? []);
    const fine = results.filter(isFine);
    const [only] = fine;
    if (fine.length === 1 && only !== undefined) merge(result, only);
    else {
      const found =
        fine.length === 0 ? "Found none valid" : `Found ${fine.length} valid alternatives`;
      fail(`${named} must validate one and only one schema (oneOf). ${found}`);
      const shown = fine.length === 0 ? best(results) : undefined;
      if (shown !== undefined) merge(result, shown);
    }
  }
  if ((props.allOf ?? []).length > 0) {
    const results = run(props.allOf ?? []);
    const fine = results.filter(isFine).length;
    for (const one of results) merge(result, one);
    if (fine < results.length)
      fail(`${named} must validate all the schemas (allOf)${fine === 0 ? ". None validated" : ""}`);
  }
  if (props.not !== undefined && isFine(judge(props.not, value, path, undefined)))
    fail(`${named} must not validate the schema (not)`);
}

function checkEnum(props: Props, value: unknown, path: string, result: Result): void {
  const allowed = props.enum ?? [];
  if (allowed.length === 0) return;
  if (allowed.some((one) => equalObjects(one, value))) {
    result.matches++;
    return;
  }
  const names = allowed.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
  result.errors.push(notSupported(placeOf(path), value, names));
}

function judge(props: Props, value: unknown, path: string, before: Before): Result {
  const result: Result = { errors: [], matches: 0 };
  checkType(props, value, path, result);
  if (value !== null && value !== undefined) {
    checkAlternatives(props, value, path, result);
    if (typeof value === "string") checkString(props, value, path, result);
    else if (typeof value === "number") checkNumber(props, value, path, result);
    else if (Array.isArray(value)) checkList(props, value, path, before, result);
  }
  checkEnum(props, value, path, result);
  if (isObject(value)) checkObject(props, value, path, before, result);
  if (result.errors.length > 0 && before !== undefined && equalObjects(before.value, value))
    return { errors: [], matches: result.matches };
  return result;
}

/** What is wrong with a value. `path` "" is the resource itself. */
export const validateValue = (
  props: Props,
  value: unknown,
  path: string,
  before?: Before,
): FieldError[] => judge(props, value, path, before).errors;
