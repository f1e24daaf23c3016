/** What one call costs at run time, in the units of the limits that upstream documents: 1, and more where a function reads its arguments. */

import { List, MapValue, type Value } from "./value.ts";

export function sizeOf(value: Value | undefined): number {
  if (typeof value === "string") return value.length;
  if (value instanceof Uint8Array) return value.length;
  if (value instanceof List) return value.items.length;
  if (value instanceof MapValue) return value.size;
  return 1;
}

const tenth = (size: number): number => Math.ceil(size * 0.1);
/** Reads its first argument once. */
const reads = new Set([
  ..."lowerAscii upperAscii trim replace split substring charAt join quote strings.quote".split(
    " ",
  ),
  ..."url isURL quantity isQuantity ip isIP cidr isCIDR semver isSemver validate".split(" "),
  ..."bytes string format".split(" "),
]);
/** Goes through its first argument's members. */
const walks = new Set(
  "isSorted sum min max indexOf lastIndexOf flatten distinct reverse slice sort".split(" "),
);
const orders = new Set(["_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"]);
export const authorizerCheckCost = 350_000;

function compared(value: Value | undefined): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length * 0.1;
  if (value instanceof List || value instanceof MapValue) return sizeOf(value);
  return 1;
}

export function callCost(name: string, args: readonly Value[], result: Value | undefined): number {
  const [a, b] = args;
  if (orders.has(name)) return Math.max(1, Math.ceil(Math.min(compared(a), compared(b))));
  switch (name) {
    case "_+_":
      return typeof a === "string" ? Math.max(1, tenth(sizeOf(a) + sizeOf(b))) : 1;
    case "contains":
      return Math.max(1, tenth(sizeOf(a)) * tenth(sizeOf(b)));
    case "startsWith":
    case "endsWith":
      return Math.max(1, tenth(sizeOf(b)));
    case "matches":
    case "find":
    case "findAll":
      return Math.max(1, tenth(1 + sizeOf(a)) * Math.ceil(sizeOf(b) * 0.25));
    case "@in":
      return b instanceof List ? Math.max(1, sizeOf(b)) : 1;
    case "check":
      return authorizerCheckCost;
    case "sets.contains":
    case "sets.intersects":
      return Math.max(1, sizeOf(a) * sizeOf(b));
    case "sets.equivalent":
      return Math.max(1, 2 * sizeOf(a) * sizeOf(b));
    case "lists.range":
      return Math.max(1, sizeOf(result));
    default:
      if (walks.has(name) && a instanceof List) return Math.max(1, sizeOf(a));
      return reads.has(name) || walks.has(name) ? Math.max(1, tenth(sizeOf(a))) : 1;
  }
}
