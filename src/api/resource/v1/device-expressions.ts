/**
 * The CEL expressions that select devices: what they may name (device and its fields), what they must give, and what they may cost. The
 * sizes are the limits that a ResourceSlice's devices are held to.
 */
import { compile, environmentOf } from "#machinery/cel/compile.ts";
import { costMax, type Sized } from "#machinery/cel/cost.ts";
import type { Program } from "#machinery/cel/interpret.ts";
import {
  anyType,
  boolType,
  mapOf,
  type ObjectType,
  opaque,
  stringType,
  type Type,
  typeText,
} from "#machinery/cel/type.ts";
import { type FieldError, forbidden, invalid, tooLong } from "#machinery/field-error.ts";

const expressionBytesMax = 10 * 1024;
const selectorCostMax = 1_000_000;

const fields: Readonly<Record<string, Type>> = {
  driver: stringType,
  allowMultipleAllocations: boolType,
  attributes: mapOf(stringType, mapOf(stringType, anyType)),
  capacity: mapOf(stringType, mapOf(stringType, opaque("kubernetes.Quantity"))),
};
const deviceType: ObjectType = {
  kind: "object",
  name: "kubernetes.DRADevice",
  field: (name) => (Object.hasOwn(fields, name) ? fields[name] : undefined),
};
const environment = environmentOf([["device", deviceType]], { binds: true });

const domain: Sized = { max: 63 };
const id: Sized = { max: 32 };
const byName = (element: Sized): Sized => ({
  max: 32,
  key: domain,
  element: { max: 32, key: id, element },
});
const sizes: Readonly<Record<string, Sized>> = {
  driver: { max: 63 },
  allowMultipleAllocations: { max: 1 },
  attributes: byName({ max: 64 }),
  capacity: byName({ max: 1 }),
};
const sizedDevice: Sized = {
  max: 1,
  field: (name) => (Object.hasOwn(sizes, name) ? sizes[name] : undefined),
};
const sized = new Map([["device", sizedDevice]]);

export type CompiledSelector =
  | { readonly program: Program; readonly cost: number }
  | { readonly problem: string };

export function compileSelector(expression: string): CompiledSelector {
  const compiled = compile(expression, environment);
  if ("problem" in compiled) return { problem: `compilation failed: ${compiled.problem}` };
  const { program, checked } = compiled;
  const { type } = program;
  if (type.kind !== "bool" && type !== anyType)
    return { problem: `must evaluate to bool or the unknown type, not ${typeText(type)}` };
  return { program, cost: costMax(checked, sized) };
}

const encoder = new TextEncoder();

export function validateSelectorExpression(expression: string, path: string): FieldError[] {
  if (encoder.encode(expression).length > expressionBytesMax)
    return [tooLong(path, expressionBytesMax)];
  const compiled = compileSelector(expression);
  if ("problem" in compiled) return [invalid(path, expression, compiled.problem)];
  if (compiled.cost <= selectorCostMax) return [];
  return [forbidden(path, "too complex, exceeds cost limit")];
}
