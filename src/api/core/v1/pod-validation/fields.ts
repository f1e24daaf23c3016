/**
 * Checks that many fields of a pod's spec share. Each gives the errors of one field; the words are
 * upstream's.
 */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { negativeMessage } from "#machinery/meta-validation.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isPortName,
  isPortNumber,
  isQualifiedName,
  isUserId,
  isValidIpForLegacyField,
} from "#machinery/validation.ts";
import type { KeyToPath } from "../../../generated/core/v1.ts";

export const fileModeMessage = "must be a number between 0 and 0777 (octal), both inclusive";
const fileModeMax = 0o777;

export const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

export const dnsLabel = (path: string, value: string): FieldError[] =>
  each(path, value, isDns1123Label(value));
export const dnsSubdomain = (path: string, value: string): FieldError[] =>
  each(path, value, isDns1123Subdomain(value));
export const qualifiedName = (path: string, value: string): FieldError[] =>
  each(path, value, isQualifiedName(value));
export const labelValue = (path: string, value: string): FieldError[] =>
  each(path, value, isLabelValue(value));
export const userId = (path: string, value: number | undefined): FieldError[] =>
  value === undefined ? [] : each(path, value, isUserId(value));

export const nonNegative = (path: string, value: number | undefined): FieldError[] =>
  value !== undefined && value < 0 ? [invalid(path, value, negativeMessage)] : [];
export const positive = (path: string, value: number): FieldError[] =>
  value <= 0 ? [invalid(path, value, "must be greater than zero")] : [];

export const notEmpty = (path: string, value: string | undefined, detail = ""): FieldError[] =>
  (value ?? "") === "" ? [required(path, detail)] : [];
export const oneOf = (
  path: string,
  value: string | undefined,
  supported: readonly string[],
): FieldError[] =>
  supported.includes(value ?? "") ? [] : [notSupported(path, value ?? "", supported)];
/** Required, and one of a few. */
export const requiredOneOf = (
  path: string,
  value: string | undefined,
  supported: readonly string[],
): FieldError[] => ((value ?? "") === "" ? [required(path)] : oneOf(path, value, supported));

export const fileMode = (path: string, mode: number | undefined): FieldError[] =>
  mode !== undefined && (mode > fileModeMax || mode < 0)
    ? [invalid(path, mode, fileModeMessage)]
    : [];

export function portNumberOrName(path: string, port: number | string): FieldError[] {
  const messages = typeof port === "number" ? isPortNumber(port) : isPortName(port);
  return each(path, port, messages);
}

/** Strict, but an address that stood there before may stay as it is. */
export const ipAddress = (
  path: string,
  value: string,
  known: readonly string[] = [],
): FieldError[] => (known.includes(value) ? [] : isValidIpForLegacyField(path, value, true));

export const noBacksteps = (path: string, target: string): FieldError[] =>
  target.split("/").includes("..") ? [invalid(path, target, "must not contain '..'")] : [];

export function localDescendingPath(path: string, target: string): FieldError[] {
  const errors = target.startsWith("/") ? [invalid(path, target, "must be a relative path")] : [];
  return [...errors, ...noBacksteps(path, target)];
}

/** Names that start with two dots are the kubelet's own. */
export function localNonReservedPath(path: string, target: string): FieldError[] {
  const errors = localDescendingPath(path, target);
  if (target.startsWith("..") && !target.startsWith("../")) {
    errors.push(invalid(path, target, "must not start with '..'"));
  }
  return errors;
}

/** A key of a Secret or ConfigMap, and the file it becomes. */
export function validateKeyToPath(item: KeyToPath, path: string): FieldError[] {
  return [
    ...notEmpty(`${path}.key`, item.key),
    ...notEmpty(`${path}.path`, item.path),
    ...localNonReservedPath(`${path}.path`, item.path),
    ...fileMode(`${path}.mode`, item.mode),
    ...userId(`${path}.user`, item.user),
  ];
}
