/** CEL's arithmetic: int and uint of 64 bits that refuse to overflow, and numbers' texts as Go writes them. */

import { CelError, Uint } from "./value.ts";

const intMax = 2n ** 63n - 1n;
const intMin = -(2n ** 63n);
const uintMax = 2n ** 64n - 1n;

export function int(value: bigint): bigint {
  if (value > intMax || value < intMin) throw new CelError("integer overflow");
  return value;
}

export function uint(value: bigint): Uint {
  if (value > uintMax || value < 0n) throw new CelError("unsigned integer overflow");
  return new Uint(value);
}

export function divide(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new CelError("division by zero");
  return a / b;
}

export function remainder(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new CelError("modulus by zero");
  return a % b;
}

export function intFromDouble(value: number): bigint {
  // The two ends are no doubles themselves: what rounds to them lies outside.
  if (!Number.isFinite(value) || value <= -(2 ** 63) || value >= 2 ** 63)
    throw new CelError("integer overflow");
  return BigInt(Math.trunc(value));
}

export function uintFromDouble(value: number): Uint {
  if (!Number.isFinite(value) || value < 0 || value >= 2 ** 64)
    throw new CelError("unsigned integer overflow");
  return new Uint(BigInt(Math.trunc(value)));
}

/** As Go's strconv does with format 'g' and the shortest precision. */
export function doubleText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (Object.is(value, -0)) return "-0";
  const [mantissa = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 6) return plainText(value);
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${mantissa}e${power < 0 ? "-" : "+"}${digits}`;
}

/** Without an exponent, however small the number is. */
function plainText(value: number): string {
  const text = String(value);
  const [mantissa = "", exponent] = text.split("e");
  if (exponent === undefined) return text;
  const digits = mantissa.replace("-", "").replace(".", "");
  const zeros = "0".repeat(-Number(exponent) - 1);
  return `${value < 0 ? "-" : ""}0.${zeros}${digits}`;
}
