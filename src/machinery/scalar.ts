/**
 * Scalars on their way in: each function gives the value as Go prints it after reading it, or says in Go's words what is wrong.
 * Used by decode.ts (which asks only whether) and decode-diagnosis.ts (which asks what).
 */
import { canonicalBase64 } from "./base64.ts";
import { formatGoDuration, parseGoDuration } from "./go-duration.ts";
import { parseQuantity } from "./quantity.ts";
import type { ScalarSchema } from "./schema.ts";
import { formatMicroTime, formatTime, parseTime } from "./time.ts";

/** `expected`: a JSON value of the wrong kind, for this Go type. `problem`: the right kind, but it does not parse. */
export type ScalarResult =
  | { readonly value: unknown }
  | { readonly expected: string }
  | { readonly problem: string };

const int32Max = 2147483647;
const isInt32 = (value: number): boolean =>
  Number.isInteger(value) && value >= -int32Max - 1 && value <= int32Max;

const canonicalSeconds =
  /^(?!0001-)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}Z$/;
const canonicalMicros =
  /^(?!0001-)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{6}Z$/;
const wholeSeconds = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const microSeconds = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/;
const zeroTime = "0001-01-01T00:00:00Z";

const layouts = {
  time: "2006-01-02T15:04:05Z07:00",
  microTime: "2006-01-02T15:04:05.000000Z07:00",
};
/** The elements of both layouts, in order, with the text that Go names when one does not fit. */
const elements: readonly (readonly [RegExp, string])[] = [
  [/^\d{4}/, "2006"],
  [/^-/, "-"],
  [/^\d\d/, "01"],
  [/^-/, "-"],
  [/^\d\d/, "02"],
  [/^T/, "T"],
  [/^\d\d?/, "15"],
  [/^:/, ":"],
  [/^\d\d/, "04"],
  [/^:/, ":"],
  [/^\d\d/, "05"],
];
const daysIn = (year: number, month: number): number =>
  month === 2
    ? (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
      ? 29
      : 28
    : [4, 6, 9, 11].includes(month)
      ? 30
      : 31;

/** What Go's time.Parse says of the text; undefined: nothing. */
export function timeProblem(text: string, type: "time" | "microTime"): string | undefined {
  const layout = layouts[type];
  const quoted = JSON.stringify(text);
  const cannot = (rest: string, element: string): string =>
    `parsing time ${quoted} as "${layout}": cannot parse ${JSON.stringify(rest)} as "${element}"`;
  const outOfRange = (what: string): string => `parsing time ${quoted}: ${what} out of range`;
  const numbers: number[] = [];
  let rest = text;
  for (const [pattern, element] of elements) {
    const match = pattern.exec(rest);
    if (match === null) return cannot(rest, element);
    if (element.length > 1) numbers.push(Number(match[0]));
    rest = rest.slice(match[0].length);
  }
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = numbers;
  if (month < 1 || month > 12) return outOfRange("month");
  if (hour > 23) return outOfRange("hour");
  if (minute > 59) return outOfRange("minute");
  if (second > 59) return outOfRange("second");
  const fraction = /^[.,]\d+/.exec(rest)?.[0] ?? "";
  if (type === "microTime") {
    if (!/^\.\d{6}/.test(rest)) return cannot(rest, ".000000");
    rest = rest.slice(7);
  } else rest = rest.slice(fraction.length);
  const zone = /^(?:Z|[+-]\d\d:\d\d)/.exec(rest)?.[0];
  if (zone === undefined) return cannot(rest, "Z07:00");
  if (rest.length > zone.length) {
    return `parsing time ${quoted}: extra text: ${JSON.stringify(rest.slice(zone.length))}`;
  }
  if (day < 1 || day > daysIn(year, month)) return outOfRange("day");
  return undefined;
}

/** A valid time in the form that upstream prints: UTC, whole seconds or six digits; null is the zero time. */
function canonicalTime(text: string, type: "time" | "microTime"): string | null | undefined {
  // Most times come from another Kubernetes program and are in that form already.
  if ((type === "time" ? canonicalSeconds : canonicalMicros).test(text)) return text;
  const pattern = type === "time" ? wholeSeconds : microSeconds;
  if (!pattern.test(text) && timeProblem(text, type) !== undefined) return undefined;
  const day = Number(text.slice(8, 10));
  // Up to the 28th every month has the day, and the pattern alone bounds nothing else that matters below.
  if (day > 28 && timeProblem(text, type) !== undefined) return undefined;
  const ms = parseTime(text.replace(",", "."));
  if (ms === undefined) return undefined;
  const digits = /\.(\d+)/.exec(text)?.[1] ?? "";
  const seconds = digits === "" ? ms : Math.floor(ms / 1000) * 1000;
  const whole = formatTime(seconds);
  if (whole === zeroTime && Number(digits) === 0) return null;
  if (type === "time") return whole;
  return digits === "" ? formatMicroTime(ms) : `${whole.slice(0, -1)}.${digits.slice(0, 6)}Z`;
}

function fromString(type: "time" | "microTime" | "duration" | "bytes", text: string): ScalarResult {
  if (type === "bytes") {
    const canonical = canonicalBase64(text);
    return "text" in canonical ? { value: canonical.text } : canonical;
  }
  if (type === "duration") {
    const parsed = parseGoDuration(text);
    return "nanos" in parsed ? { value: formatGoDuration(parsed.nanos) } : parsed;
  }
  const time = canonicalTime(text, type);
  if (time !== undefined) return { value: time };
  const problem = timeProblem(text, type);
  return { problem: problem ?? `parsing time ${JSON.stringify(text)}: out of range` };
}

/** Reads one scalar; `value` is neither null nor undefined. */
export function readScalar(type: ScalarSchema["type"], value: unknown): ScalarResult {
  switch (type) {
    case "string":
      return typeof value === "string" ? { value } : { expected: "string" };
    case "boolean":
      return typeof value === "boolean" ? { value } : { expected: "bool" };
    case "int32":
      return typeof value === "number" && isInt32(value) ? { value } : { expected: "int32" };
    case "int64":
      return Number.isSafeInteger(value) ? { value } : { expected: "int64" };
    case "float64":
      return typeof value === "number" && Number.isFinite(value)
        ? { value }
        : { expected: "float64" };
    case "bytes":
      return typeof value === "string" ? fromString(type, value) : { expected: "[]uint8" };
    case "time":
    case "microTime":
    case "duration":
      return typeof value === "string" ? fromString(type, value) : { expected: "string" };
    case "quantity": {
      // Upstream: a bare number is a quantity too ("cpu: 2" in YAML).
      const text =
        typeof value === "string"
          ? value.trim()
          : typeof value === "number"
            ? String(value)
            : JSON.stringify(value);
      const parsed = parseQuantity(text);
      return "quantity" in parsed ? { value: parsed.quantity.text } : parsed;
    }
    case "intOrString":
      if (typeof value === "string") return { value };
      return typeof value === "number" && isInt32(value) ? { value } : { expected: "int32" };
    default:
      return { value };
  }
}
