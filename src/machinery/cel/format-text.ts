/** "…".format([…]): CEL's formatting clauses. */

import { utf8, utf8Text } from "./bytes.ts";
import { durationText, timestampText } from "./civil-time.ts";
import { doubleText } from "./numbers.ts";
import {
  CelError,
  Duration,
  List,
  MapValue,
  Timestamp,
  TypeValue,
  typeName,
  Uint,
  type Value,
} from "./value.ts";

const precisionMax = 1000;
const wrong = (clause: string, value: Value): CelError =>
  new CelError(
    `error during formatting: ${clause} clause can only be used on ${clauseUse[clause] ?? "values"}, was given ${typeName(value)}`,
  );
const clauseUse: Readonly<Record<string, string>> = {
  decimal: "integers",
  "fixed-point": "doubles",
  scientific: "doubles",
  binary: "integers and bools",
  octal: "integers",
  hex: "integers, byte buffers, and strings",
};

function stringOf(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "string") return value;
  if (typeof value === "number") return special(value) ?? doubleText(value);
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Uint8Array) return utf8Text(value) ?? "";
  if (value instanceof Timestamp) return timestampText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof TypeValue) return value.name;
  if (value instanceof List) return `[${value.items.map(stringOf).join(", ")}]`;
  if (value instanceof MapValue) {
    const entries = [...value.keys()].map(
      (key) => `${stringOf(key)}: ${stringOf(value.get(key) ?? null)}`,
    );
    return `{${entries.sort().join(", ")}}`;
  }
  throw new CelError(
    `error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given ${typeName(value)}`,
  );
}

function special(value: number): string | undefined {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return undefined;
  return value > 0 ? "Infinity" : "-Infinity";
}

const integerOf = (value: Value): bigint | undefined => {
  if (typeof value === "bigint") return value;
  return value instanceof Uint ? value.value : undefined;
};

function doubleOf(clause: string, value: Value): number {
  if (typeof value === "number") return value;
  const whole = integerOf(value);
  if (whole === undefined) throw wrong(clause, value);
  return Number(whole);
}

const hexOf = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function scientific(value: number, precision: number): string {
  const [mantissa = "", exponent = "+0"] = value.toExponential(Math.min(precision, 100)).split("e");
  const sign = exponent.startsWith("-") ? "-" : "+";
  return `${mantissa}e${sign}${exponent.replace(/^[+-]/, "").padStart(2, "0")}`;
}

function clauseText(verb: string, precision: number, value: Value): string {
  const whole = integerOf(value);
  switch (verb) {
    case "s":
      return stringOf(value);
    case "d": {
      if (whole !== undefined) return String(whole);
      const text = typeof value === "number" ? special(value) : undefined;
      if (text === undefined) throw wrong("decimal", value);
      return text;
    }
    case "f": {
      const number = doubleOf("fixed-point", value);
      return special(number) ?? number.toFixed(Math.min(precision, 100));
    }
    case "e": {
      const number = doubleOf("scientific", value);
      return special(number) ?? scientific(number, precision);
    }
    case "b":
      if (typeof value === "boolean") return value ? "1" : "0";
      if (whole === undefined) throw wrong("binary", value);
      return whole.toString(2);
    case "o":
      if (whole === undefined) throw wrong("octal", value);
      return whole.toString(8);
    default: {
      const text = hexText(value, whole);
      return verb === "X" ? text.toUpperCase() : text;
    }
  }
}

function hexText(value: Value, whole: bigint | undefined): string {
  if (whole !== undefined) return whole.toString(16);
  if (typeof value === "string") return hexOf(utf8(value));
  if (value instanceof Uint8Array) return hexOf(value);
  throw wrong("hex", value);
}

export function formatText(format: string, args: List): string {
  let made = "";
  let next = 0;
  for (let at = 0; at < format.length; at++) {
    const char = format[at] ?? "";
    if (char !== "%") {
      made += char;
      continue;
    }
    at += 1;
    if (format[at] === "%") {
      made += "%";
      continue;
    }
    const digits = /^\.(\d+)/.exec(format.slice(at, at + 12));
    if (digits !== null) at += digits[0].length;
    const precision = digits === null ? 6 : Number(digits[1]);
    if (precision > precisionMax)
      throw new CelError(
        `precision ${precision} exceeds maximum allowed precision ${precisionMax}`,
      );
    const verb = format[at];
    if (verb === undefined) throw new CelError("unexpected end of string");
    if (!"sdfebxXo".includes(verb))
      throw new CelError(
        `could not parse formatting clause: unrecognized formatting clause "${verb}"`,
      );
    const value = args.items[next];
    if (value === undefined) throw new CelError(`index ${next} out of range`);
    next += 1;
    made += clauseText(verb, precision, value);
  }
  return made;
}
