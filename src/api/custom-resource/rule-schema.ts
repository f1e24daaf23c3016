/**
 * A definition's schema as CEL sees it: the type of each value, how JSON becomes that value, how large it may be. Facts from apiserver's
 * pkg/cel/common: what is exposed, minimal and maximal sizes.
 */

import { decodeBase64 } from "#machinery/base64.ts";
import { parseDate, parseDuration, parseTimestamp } from "#machinery/cel/civil-time.ts";
import type { Sized } from "#machinery/cel/cost.ts";
import {
  type Adapt,
  type AdaptedField,
  escapeName,
  JsonFields,
  JsonMap,
  jsonValue,
} from "#machinery/cel/json-value.ts";
import {
  boolType,
  bytesType,
  doubleType,
  durationType,
  dynType,
  intType,
  listOf,
  mapOf,
  stringType,
  type Type,
  timestampType,
} from "#machinery/cel/type.ts";
import { CelError, List, type ListRule, type Value } from "#machinery/cel/value.ts";
import { isObject } from "#machinery/object.ts";
import { itemsOf, type Props, valuesOf } from "./pruning.ts";

const requestSizeMax = 3 * 1024 * 1024;
const nameLengthMax = 253;

export interface Shape {
  readonly type: Type;
  readonly adapt: Adapt;
  readonly sized: Sized;
  /** Bytes of the smallest JSON text. */
  readonly bytesMin: number;
}

const one: Sized = { max: 1 };
const plain: Adapt = (value) => value as Value;
const nullable =
  (adapt: Adapt): Adapt =>
  (value) =>
    value === null ? null : adapt(value);
const broken = (format: string, text: unknown): CelError =>
  new CelError(`Invalid ${format} format ${JSON.stringify(text)}`);

function textAs<T extends Value>(format: string, read: (text: string) => T | undefined): Adapt {
  return (value) => {
    const found = typeof value === "string" ? read(value) : undefined;
    if (found === undefined) throw broken(format, value);
    return found;
  };
}

const readBytes = (text: string): Uint8Array | undefined => {
  const decoded = decodeBase64(text);
  return "bytes" in decoded ? decoded.bytes : undefined;
};

function textSize(props: Props): number {
  const { maxLength, enum: values = [] } = props;
  // A character may take four bytes.
  if (maxLength !== undefined) return Math.max(0, maxLength) * 4;
  if (values.length > 0)
    return Math.max(...values.map((one) => (typeof one === "string" ? one.length : 0)));
  return requestSizeMax - 2;
}

function textShape(props: Props): Shape {
  const make = (type: Type, adapt: Adapt, bytesMin: number, max: number): Shape => ({
    type,
    adapt,
    bytesMin,
    sized: { max },
  });
  switch (props.format) {
    case "byte":
      return make(bytesType, textAs("byte", readBytes), 2, props.maxLength ?? requestSizeMax - 2);
    case "duration":
      return make(durationType, textAs("duration", parseDuration), 4, 1);
    case "date":
      return make(timestampType, textAs("date", parseDate), 12, 1);
    case "date-time":
      return make(timestampType, textAs("date-time", parseTimestamp), 21, 1);
    default:
      return make(stringType, plain, 2, textSize(props));
  }
}

function listShape(props: Props): Shape | undefined {
  const items = itemsOf(props);
  const item = items === undefined ? undefined : shapeOf(items, isResource(items));
  if (item === undefined) return undefined;
  const listType = props["x-kubernetes-list-type"];
  const keys = props["x-kubernetes-list-map-keys"] ?? [];
  const rule: ListRule | undefined =
    listType === "set" || listType === "map" ? { type: listType, keys } : undefined;
  const max = props.maxItems ?? Math.floor((requestSizeMax - 2) / (item.bytesMin + 1));
  const adapt = nullable(item.adapt);
  return {
    type: listOf(item.type),
    adapt: (value) => new List(Array.isArray(value) ? value.map(adapt) : [], rule),
    sized: { max: Math.max(0, max), element: item.sized },
    bytesMin: 2,
  };
}

function mapShape(values: Props, props: Props): Shape | undefined {
  const value = shapeOf(values, isResource(values));
  if (value === undefined) return undefined;
  const max = props.maxProperties ?? Math.floor((requestSizeMax - 2) / (value.bytesMin + 6));
  const adapt = nullable(value.adapt);
  return {
    type: mapOf(stringType, value.type),
    adapt: (raw) => new JsonMap(isObject(raw) ? raw : {}, adapt),
    sized: { max: Math.max(0, max), element: value.sized, key: { max: requestSizeMax - 2 } },
    bytesMin: 2,
  };
}

const isResource = (props: Props): boolean => props["x-kubernetes-embedded-resource"] === true;

/** Kind, apiVersion and the names are always there. */
function withHead(props: Props): Props {
  const text: Props = { type: "string" };
  const limited = (max: number): Props => ({ type: "string", maxLength: max });
  const properties = { name: limited(nameLengthMax), generateName: limited(nameLengthMax - 1) };
  const metadata: Props = { type: "object", properties };
  return {
    ...props,
    type: "object",
    properties: { ...props.properties, kind: text, apiVersion: text, metadata },
  };
}

let objects = 0;

function objectShape(props: Props): Shape {
  const fields = new Map<string, AdaptedField & { readonly shape: Shape }>();
  let bytesMin = 2;
  for (const [name, property] of Object.entries(props.properties ?? {})) {
    const shape = shapeOf(property, isResource(property));
    if (shape === undefined) continue;
    const escaped = escapeName(name);
    if (escaped !== undefined) fields.set(escaped, { name, adapt: nullable(shape.adapt), shape });
    if (props.required?.includes(name) === true && property.default === undefined)
      bytesMin += name.length + shape.bytesMin + 4;
  }
  objects += 1;
  const identity = `object${objects}`;
  const field = (name: string): Shape | undefined => fields.get(name)?.shape;
  return {
    type: { kind: "object", name: identity, field: (name) => field(name)?.type },
    adapt: (value) => new JsonFields(isObject(value) ? value : {}, fields),
    sized: { max: 1, field: (name) => field(name)?.sized },
    bytesMin,
  };
}

/** Undefined: expressions do not see values of this schema. */
export function shapeOf(given: Props, isRoot: boolean): Shape | undefined {
  if (given["x-kubernetes-int-or-string"] === true)
    return { type: dynType, adapt: jsonValue, sized: { max: textSize(given) }, bytesMin: 1 };
  const props = isRoot ? withHead(given) : given;
  switch (props.type) {
    case "array":
      return listShape(props);
    case "object": {
      const values = valuesOf(props);
      return values === undefined ? objectShape(props) : mapShape(values, props);
    }
    case "string":
      return textShape(props);
    case "boolean":
      return { type: boolType, adapt: plain, sized: one, bytesMin: 4 };
    case "number":
      return { type: doubleType, adapt: plain, sized: one, bytesMin: 1 };
    case "integer":
      return {
        type: intType,
        adapt: (value) => BigInt(Math.trunc(Number(value))),
        sized: one,
        bytesMin: 1,
      };
    default:
      return undefined;
  }
}

/** How many values of this shape a request can hold at most. */
export const cardinalityMax = (shape: Shape): number =>
  Math.floor(requestSizeMax / (shape.bytesMin + 1));
