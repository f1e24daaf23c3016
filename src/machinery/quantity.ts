/**
 * Quantity: amounts of resources ("100m", "1.5Gi", "2e3"), exact. Everything is kept as whole nano-units in a bigint, since
 * upstream rounds what is finer up to nano. Facts from k8s.io/apimachinery/pkg/api/resource: grammar, canonical form,
 * which input is printed as it came, the wording of errors.
 */

export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** Frozen: parsed quantities are cached and shared. */
export interface Quantity {
  readonly nanos: bigint;
  readonly format: QuantityFormat;
  /** As printed. */
  readonly text: string;
}
export type ParsedQuantity = { readonly quantity: Quantity } | { readonly problem: string };

const formatWrong =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const suffixWrong = "unable to parse quantity's suffix";
const numberWrong = "unable to parse numeric part of quantity";
const grammar = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/;
const nanosPerOne = 1_000_000_000n;
const valueMax = 2n ** 63n - 1n;
/** Decimal exponents beyond this are refused: nothing real is that large, and the digits would have to be written out. */
const exponentMax = 1000;
const digitsMax = 1000;

const decimalSuffixes: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const binarySuffixes: Readonly<Record<string, number>> = {
  Ki: 10,
  Mi: 20,
  Gi: 30,
  Ti: 40,
  Pi: 50,
  Ei: 60,
};
const suffixOfExponent = new Map(
  Object.entries(decimalSuffixes).map(([suffix, exponent]) => [exponent, suffix]),
);
const suffixOfPower = ["", ...Object.keys(binarySuffixes)];

interface Suffix {
  readonly format: QuantityFormat;
  readonly exponent: number;
}
function interpretSuffix(suffix: string): Suffix | undefined {
  const decimal = Object.hasOwn(decimalSuffixes, suffix) ? decimalSuffixes[suffix] : undefined;
  if (decimal !== undefined) return { format: "DecimalSI", exponent: decimal };
  const binary = Object.hasOwn(binarySuffixes, suffix) ? binarySuffixes[suffix] : undefined;
  if (binary !== undefined) return { format: "BinarySI", exponent: binary };
  if (!/^[eE][-+]?\d+$/.test(suffix)) return undefined;
  const exponent = Number(suffix.slice(1));
  return Math.abs(exponent) > exponentMax ? undefined : { format: "DecimalExponent", exponent };
}

const powers: bigint[] = [];
function powerOfTen(exponent: number): bigint {
  const known = powers[exponent];
  if (known !== undefined) return known;
  const made = 10n ** BigInt(exponent);
  if (exponent < 64) powers[exponent] = made;
  return made;
}

const divideUp = (value: bigint, by: bigint): bigint => (value + by - 1n) / by;

/**
 * Upstream: a number that already looks canonical (or nearly so: "1.500", "+1", "2e3") is printed as it was written, so clients
 * that compare texts see their own text again.
 */
function keepsText(suffix: Suffix, digits: string, fractionDigits: number, value: bigint): boolean {
  if (suffix.format === "BinarySI") {
    const room = 15 - (digits.length - fractionDigits) - Math.trunc((suffix.exponent * 3) / 10) - 1;
    return fractionDigits === 0 && room >= 0 && (value & 7n) !== 0n;
  }
  const scale = suffix.exponent - fractionDigits;
  if (digits.length > 18 || scale < -9) return false;
  return scale % 3 === 0 && !digits.endsWith("000") && !digits.startsWith("0");
}

function parseUncached(text: string): ParsedQuantity {
  const match = text === "" || text.length > digitsMax ? null : grammar.exec(text);
  if (match === null) return { problem: formatWrong };
  const negative = match[1] === "-";
  const whole = (match[2] ?? "").replace(/^0+/, "") || "0";
  const fraction = match[3] ?? "";
  const suffix = interpretSuffix(match[4] ?? "");
  if (suffix === undefined) return { problem: suffixWrong };
  const digits = whole + fraction;
  // Upstream: no digits at all count as zero, but not where the suffix is too large for its fast way.
  const isBare = match[2] === "" && fraction === "";
  if (isBare && suffix.format === "BinarySI" && suffix.exponent >= 50) {
    return { problem: numberWrong };
  }
  const value = BigInt(digits);
  let format = suffix.format;
  let nanos: bigint;
  if (format === "BinarySI") {
    const scaled = (value << BigInt(suffix.exponent)) * nanosPerOne;
    nanos = divideUp(scaled, powerOfTen(fraction.length));
    if (nanos > valueMax * nanosPerOne) nanos = valueMax * nanosPerOne;
    if (nanos > 0n && nanos < nanosPerOne) format = "DecimalSI";
  } else {
    const exponent = suffix.exponent - fraction.length + 9;
    nanos = exponent >= 0 ? value * powerOfTen(exponent) : divideUp(value, powerOfTen(-exponent));
  }
  if (negative) nanos = -nanos;
  const kept = nanos !== 0n && keepsText(suffix, digits, fraction.length, value);
  return { quantity: Object.freeze({ nanos, format, text: kept ? text : print(nanos, format) }) };
}

function print(nanos: bigint, format: QuantityFormat): string {
  if (nanos === 0n) return "0";
  const size = nanos < 0n ? -nanos : nanos;
  if (format === "BinarySI" && size >= 1024n * nanosPerOne && nanos % nanosPerOne === 0n) {
    let amount = nanos / nanosPerOne;
    let power = 0;
    while (amount % 1024n === 0n && power < suffixOfPower.length - 1) {
      amount /= 1024n;
      power += 1;
    }
    return `${amount}${suffixOfPower[power] ?? ""}`;
  }
  let amount = nanos;
  let exponent = -9;
  while (amount % 1000n === 0n) {
    amount /= 1000n;
    exponent += 3;
  }
  if (format === "DecimalExponent") return exponent === 0 ? `${amount}` : `${amount}e${exponent}`;
  return `${amount}${suffixOfExponent.get(exponent) ?? `e${exponent}`}`;
}

const cacheMax = 8192;
const cache = new Map<string, ParsedQuantity>();

/** The quantity, or what is wrong with the text in upstream's words. */
export function parseQuantity(text: string): ParsedQuantity {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const parsed = parseUncached(text);
  if (cache.size >= cacheMax) cache.clear();
  if (text.length <= 64) cache.set(text, parsed);
  return parsed;
}

/** For text that was validated before (everything in a decoded object was). Throws on anything else. */
export function quantityOf(text: string | number): Quantity {
  const parsed = parseQuantity(typeof text === "number" ? String(text) : text);
  if ("problem" in parsed) throw new Error(`not a quantity: ${text}: ${parsed.problem}`);
  return parsed.quantity;
}

export const zeroQuantity: Quantity = quantityOf("0");

/** As printed: "1024Mi" is "1Gi". */
export const formatQuantity = (quantity: Quantity): string => quantity.text;

export function makeQuantity(nanos: bigint, format: QuantityFormat = "DecimalSI"): Quantity {
  return Object.freeze({ nanos, format, text: print(nanos, format) });
}
/** A quantity of whole units, or of whole milli-units. */
export const quantityFromInteger = (value: number | bigint, format?: QuantityFormat): Quantity =>
  makeQuantity(BigInt(value) * nanosPerOne, format);
export const quantityFromMilli = (milli: number | bigint, format?: QuantityFormat): Quantity =>
  makeQuantity(BigInt(milli) * 1_000_000n, format);

export const compareQuantities = (a: Quantity, b: Quantity): -1 | 0 | 1 =>
  a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;

/** The format is the first one's, unless that is zero. */
export const addQuantities = (a: Quantity, b: Quantity): Quantity =>
  makeQuantity(a.nanos + b.nanos, a.nanos === 0n ? b.format : a.format);
export const subtractQuantities = (a: Quantity, b: Quantity): Quantity =>
  makeQuantity(a.nanos - b.nanos, a.nanos === 0n ? b.format : a.format);

/** The nearest number; exact for whole units below 2^53. */
export function quantityToNumber(quantity: Quantity | string): number {
  const { nanos } = typeof quantity === "string" ? quantityOf(quantity) : quantity;
  return nanos % nanosPerOne === 0n ? Number(nanos / nanosPerOne) : Number(nanos) / 1e9;
}

/** Away from zero. */
function roundUp(nanos: bigint, unit: bigint): number {
  return Number(nanos < 0n ? -divideUp(-nanos, unit) : divideUp(nanos, unit));
}
/** Whole units, rounded up (Quantity.Value). */
export const toWhole = (quantity: Quantity | string): number =>
  roundUp((typeof quantity === "string" ? quantityOf(quantity) : quantity).nanos, nanosPerOne);
/** Whole milli-units, rounded up (Quantity.MilliValue). */
export const toMilli = (quantity: Quantity | string): number =>
  roundUp((typeof quantity === "string" ? quantityOf(quantity) : quantity).nanos, 1_000_000n);
