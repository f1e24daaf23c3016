/**
 * FieldError: one thing wrong with one field, worded as upstream words it.
 * Facts from k8s.io/apimachinery/pkg/util/validation/field: types, the text of `detail`, the order "path: type: value: detail".
 */

import { quote } from "./quote.ts";

export type FieldErrorType =
  | "FieldValueNotFound"
  | "FieldValueRequired"
  | "FieldValueDuplicate"
  | "FieldValueInvalid"
  | "FieldValueNotSupported"
  | "FieldValueForbidden"
  | "FieldValueTooLong"
  | "FieldValueTooMany"
  | "InternalError"
  | "FieldValueTypeInvalid";

export interface FieldError {
  readonly path: string;
  readonly type: FieldErrorType;
  /** Without the path: "Invalid value: 3: must be …". This is `message` of a Status cause. */
  readonly message: string;
  /** See `declared`. */
  readonly isDeclared?: true;
}

/** Upstream: what its generated validation finds is told after all that its written validation says. */
export const declared = (error: FieldError): FieldError => ({ ...error, isDeclared: true });

/** As they are told: each once, the declared ones last. */
export function inOrder(errors: readonly FieldError[]): FieldError[] {
  const told = new Map<string, FieldError>();
  for (const error of errors) {
    const text = formatFieldError(error);
    if (error.isDeclared !== true && !told.has(text)) told.set(text, error);
  }
  return [...told.values(), ...errors.filter(({ isDeclared }) => isDeclared === true)];
}

/** A value as Go prints it in a field error: strings quoted, objects as compact JSON. */
function show(value: unknown): string {
  if (value === undefined || value === null) return "null";
  if (typeof value === "string") return quote(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return JSON.stringify(value);
}

export const required = (path: string, detail = ""): FieldError => ({
  path,
  type: "FieldValueRequired",
  message: detail === "" ? "Required value" : `Required value: ${detail}`,
});
export const invalid = (path: string, value: unknown, detail: string): FieldError => ({
  path,
  type: "FieldValueInvalid",
  message: `Invalid value: ${show(value)}${detail === "" ? "" : `: ${detail}`}`,
});
/** Where the value is too large to be told, or is several. */
export const invalidWithoutValue = (path: string, detail: string): FieldError => ({
  path,
  type: "FieldValueInvalid",
  message: `Invalid value: ${detail}`,
});
export const duplicate = (path: string, value: unknown): FieldError => ({
  path,
  type: "FieldValueDuplicate",
  message: `Duplicate value: ${show(value)}`,
});
export const forbidden = (path: string, detail: string): FieldError => ({
  path,
  type: "FieldValueForbidden",
  message: detail === "" ? "Forbidden" : `Forbidden: ${detail}`,
});
export const notFoundField = (path: string, value: unknown): FieldError => ({
  path,
  type: "FieldValueNotFound",
  message: `Not found: ${show(value)}`,
});
export const notSupported = (
  path: string,
  value: unknown,
  supported: readonly string[],
): FieldError => {
  const known = supported.map((one) => JSON.stringify(one)).join(", ");
  const detail = supported.length === 0 ? "" : `: supported values: ${known}`;
  return {
    path,
    type: "FieldValueNotSupported",
    message: `Unsupported value: ${show(value)}${detail}`,
  };
};
export const tooLong = (path: string, bytesMax: number): FieldError => ({
  path,
  type: "FieldValueTooLong",
  message:
    bytesMax < 0
      ? "Too long: value is too long"
      : `Too long: may not be more than ${bytesMax} bytes`,
});
export const tooMany = (path: string, actual: number, max: number): FieldError => ({
  path,
  type: "FieldValueTooMany",
  message: `Too many: ${actual}: must have at most ${max} item${max === 1 ? "" : "s"}`,
});
export const typeInvalid = (path: string, value: unknown, detail: string): FieldError => ({
  path,
  type: "FieldValueTypeInvalid",
  message: `Invalid value: ${show(value)}: ${detail}`,
});

/** "spec.replicas: Invalid value: -1: must be …". */
export const formatFieldError = (error: FieldError): string => `${error.path}: ${error.message}`;
