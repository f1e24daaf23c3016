/**
 * What is wrong with an object, in upstream's order: first what its hand-written rules find, then what the rules declared on the fields
 * find. Where both look at the same, upstream tells only the second.
 */
import { type FieldError, tooMany } from "#machinery/field-error.ts";
import { equalObjects, isObject } from "#machinery/object.ts";

const repeated = (path: string, value: unknown): FieldError => ({
  path,
  type: "FieldValueDuplicate",
  message: `Duplicate value: ${goText(value)}`,
});

export class Findings {
  readonly #told: FieldError[] = [];
  readonly #declared: FieldError[] = [];

  tell(...errors: readonly FieldError[]): void {
    this.#told.push(...errors);
  }
  declare(...errors: readonly FieldError[]): void {
    this.#declared.push(...errors);
  }
  all(): FieldError[] {
    return [...this.#told, ...this.#declared];
  }
}

/** Too many are told once and not looked at; else each is looked at. */
export function eachOf<T>(
  found: Findings,
  items: readonly T[],
  path: string,
  max: number,
  look: (item: T, at: string) => void,
): void {
  if (items.length > max) {
    found.declare(tooMany(path, items.length, max));
    return;
  }
  for (const [index, item] of items.entries()) look(item, `${path}[${index}]`);
}

/** The same, of items that differ by their key; `look` is absent where nothing else is asked of them. */
export function eachOfSet<T>(
  found: Findings,
  items: readonly T[],
  path: string,
  max: number,
  keyOf: (item: T) => unknown,
  look: (item: T, at: string) => void = () => undefined,
): void {
  if (items.length <= max) found.declare(...duplicates(items, path, keyOf, (item) => item));
  eachOf(found, items, path, max, look);
}

/** The fields of requests in the order in which upstream shows them. */
const shownOrder =
  "name counterSet counters exactly firstAvailable deviceClassName selectors allocationMode count adminAccess tolerations capacity derivedAttributes".split(
    " ",
  );

/** As Go writes an object: in its order, and with nothing that HTML would read. */
function goText(value: unknown): string {
  const ordered = (one: unknown): unknown => {
    if (Array.isArray(one)) return one.map(ordered);
    if (!isObject(one)) return one;
    const place = (key: string): number => shownOrder.indexOf(key) + 1 || shownOrder.length + 1;
    const keys = Object.keys(one).sort((a, b) => place(a) - place(b));
    return Object.fromEntries(keys.map((key) => [key, ordered(one[key])]));
  };
  return JSON.stringify(ordered(value)).replace(
    /[<>&]/g,
    (char) => `\\u00${char.charCodeAt(0).toString(16)}`,
  );
}

export function duplicates<T>(
  items: readonly T[],
  path: string,
  keyOf: (item: T) => unknown,
  shown: (item: T) => unknown,
): FieldError[] {
  const seen: unknown[] = [];
  return items.flatMap((item, index) => {
    const key = keyOf(item);
    if (seen.some((one) => equalObjects(one, key)))
      return [repeated(`${path}[${index}]`, shown(item))];
    seen.push(key);
    return [];
  });
}
