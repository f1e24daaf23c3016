/** Plain JSON objects as values: copying, freezing, comparing, and writing a key without touching a prototype. */
import type { Schema } from "./schema.ts";

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `target[key] = value`, also for "__proto__", which plain assignment would take for the prototype. */
export function setKey(target: JsonObject, key: string, value: unknown): void {
  if (key !== "__proto__") target[key] = value;
  else {
    Object.defineProperty(target, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}

/** An own property, or undefined: what a prototype has never counts. */
export const getKey = (target: JsonObject, key: string): unknown =>
  Object.hasOwn(target, key) ? target[key] : undefined;

/** A deep copy of a plain JSON value. The copy is never frozen. */
export function cloneJson<T>(value: T): T {
  return (typeof value === "object" && value !== null ? cloneComposite(value) : value) as T;
}
function cloneComposite(value: object): object {
  if (Array.isArray(value)) {
    const copy: unknown[] = value.slice();
    for (let i = 0; i < copy.length; i++) {
      const item = copy[i];
      if (typeof item === "object" && item !== null) copy[i] = cloneComposite(item);
    }
    return copy;
  }
  // Spreading defines own properties, so that a key named "__proto__" stays a key; assigning to it then finds it there.
  const copy: JsonObject = { ...(value as JsonObject) };
  for (const key of Object.keys(copy)) {
    const member = copy[key];
    if (typeof member === "object" && member !== null) copy[key] = cloneComposite(member);
  }
  return copy;
}

/**
 * A deep copy of a decoded value. Measured: asking the schema what may be nested costs more than looking at each value, so the
 * schema only says what the value is.
 */
export const cloneBySchema = <T>(_schema: Schema, value: T): T => cloneJson(value);

/** Freezes a plain JSON value through and through, and returns it. What is frozen already is taken to be so throughout. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === "object") deepFreeze(item);
    return value;
  }
  const record = value as JsonObject;
  for (const key of Object.keys(record)) {
    const member = record[key];
    if (typeof member === "object") deepFreeze(member);
  }
  return value;
}

const isNoItems = (value: unknown): boolean =>
  value === null || (Array.isArray(value) && value.length === 0);

/**
 * Deep equality of plain JSON values; the order of keys is irrelevant, a key with undefined counts as absent. `semantic`: null and the
 * empty list are one, as in Go's nil and empty slices.
 */
export function equalObjects(a: unknown, b: unknown, semantic = false): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  if (a === null || b === null) return semantic && isNoItems(a) && isNoItems(b);
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equalObjects(a[i], b[i], semantic)) return false;
    return true;
  }
  const left = a as JsonObject;
  const right = b as JsonObject;
  let count = 0;
  for (const key of Object.keys(left)) {
    const value = left[key];
    if (value === undefined) continue;
    count += 1;
    if (!Object.hasOwn(right, key) || !equalObjects(value, right[key], semantic)) return false;
  }
  for (const key of Object.keys(right)) if (right[key] !== undefined) count -= 1;
  return count === 0;
}

/** The order in which Go sorts strings: by UTF-8 bytes, that is by code points. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    // Surrogates stand for code points above all that single units stand for.
    const leftRank = left >= 0xd800 && left <= 0xdfff ? left + 0x10000 : left;
    const rightRank = right >= 0xd800 && right <= 0xdfff ? right + 0x10000 : right;
    return leftRank - rightRank;
  }
  return a.length - b.length;
}

/** Keys in Go's order, which is how Go prints maps. */
export function sortedKeys(object: object): string[] {
  const keys = Object.keys(object);
  for (let i = 1; i < keys.length; i++) {
    if (compareUtf8(keys[i - 1] ?? "", keys[i] ?? "") > 0) return keys.sort(compareUtf8);
  }
  return keys;
}
