/** --sort-by: objects in the order of a field of theirs, read with JSONPath. */
import { isObject } from "#machinery/object.ts";
import { compareQuantities, parseQuantity } from "#machinery/quantity.ts";
import { CommandError } from "./errors.ts";
import { parseJsonPath, relaxedPath } from "./jsonpath.ts";
import { plainText } from "./objects.ts";

/** Runs of digits by their number, everything else by its letters. */
export function compareNaturally(a: string, b: string): number {
  const parts = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [l = "", r = ""] = [left[i], right[i]];
    if (l === r) continue;
    if (/^\d/.test(l) && /^\d/.test(r)) {
      const difference = BigInt(l) - BigInt(r);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
      return l.length - r.length;
    }
    return l < r ? -1 : 1;
  }
  return left.length - right.length;
}

function compareValues(a: unknown, b: unknown): number {
  if (a === undefined || a === null) return b === undefined || b === null ? 0 : -1;
  if (b === undefined || b === null) return 1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  const [left, right] = [plainText(a), plainText(b)];
  const [x, y] = [parseQuantity(left), parseQuantity(right)];
  if ("quantity" in x && "quantity" in y) return compareQuantities(x.quantity, y.quantity);
  return compareNaturally(left, right);
}

export function sortByPath<T>(
  items: readonly T[],
  objectOf: (item: T) => unknown,
  spec: string,
): T[] {
  const field = relaxedPath(spec);
  const path = parseJsonPath(field);
  const keyed = items.map((item) => ({ item, value: path.find(objectOf(item)).flat()[0] }));
  if (keyed.length > 0 && keyed.every(({ value }) => value === undefined)) {
    throw new CommandError(
      `couldn't find any field with path ${JSON.stringify(field)} in the list of objects`,
    );
  }
  const odd = keyed.find(({ value }) => Array.isArray(value) || isObject(value));
  if (odd !== undefined) throw new CommandError("unsortable type: map[string]interface {}");
  return keyed.toSorted((a, b) => compareValues(a.value, b.value)).map(({ item }) => item);
}
