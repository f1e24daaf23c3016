/** JSON as Go's encoder prints it: keys sorted or in field order, <, > and & escaped. */
import { isObject, sortedKeys } from "#machinery/object.ts";

const escapes: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};
const quote = (text: string): string =>
  JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (char) => escapes[char] ?? char);

function numberText(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e21) return BigInt(value).toString();
  return String(value).replace(/e-(\d)$/, "e-0$1");
}

function print(value: unknown, step: string, margin: string, sorted: boolean): string {
  if (typeof value === "string") return quote(value);
  if (typeof value === "number") return numberText(value);
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean") return String(value);
  const inner = margin + step;
  const [open, separator, close] =
    step === "" ? ["", ",", ""] : [`\n${inner}`, `,\n${inner}`, `\n${margin}`];
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[${open}${value.map((item) => print(item, step, inner, sorted)).join(separator)}${close}]`;
  }
  if (!isObject(value)) return "null";
  const keys = (sorted ? sortedKeys(value) : Object.keys(value)).filter(
    (key) => value[key] !== undefined,
  );
  if (keys.length === 0) return "{}";
  const colon = step === "" ? ":" : ": ";
  const members = keys.map((key) => quote(key) + colon + print(value[key], step, inner, sorted));
  return `{${open}${members.join(separator)}${close}}`;
}

/** On one line, keys sorted. */
export const compactJson = (value: unknown): string => print(value, "", "", true);
/** Indented by four, keys sorted. */
export const indentedJson = (value: unknown, step = "    "): string => print(value, step, "", true);
/** Indented by four, keys as they stand. */
export const indentedInOrder = (value: unknown): string => print(value, "    ", "", false);
/** On one line, keys as they stand. */
export const compactInOrder = (value: unknown): string => print(value, "", "", false);
