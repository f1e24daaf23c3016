/**
 * Durations as Go writes them ("1m30s", "250ms"), for metav1.Duration fields and flags. Values are nanoseconds in a bigint:
 * Go's range (int64 nanoseconds, about 292 years) does not fit into a number exactly.
 */

const nanosOf: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  "\u00b5s": 1_000n,
  "\u03bcs": 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const nanosMax = 2n ** 63n;

export type ParsedDuration = { readonly nanos: bigint } | { readonly problem: string };

const part = /^(\d*)(?:\.(\d*))?/;
const unitText = /^[^.\d]+/;

/** Exact nanoseconds, or what is wrong in Go's words. */
export function parseGoDuration(text: string): ParsedDuration {
  const invalid = { problem: `time: invalid duration ${JSON.stringify(text)}` };
  const negative = text.startsWith("-");
  let rest = negative || text.startsWith("+") ? text.slice(1) : text;
  if (rest === "0") return { nanos: 0n };
  if (rest === "") return invalid;
  let total = 0n;
  while (rest !== "") {
    const match = part.exec(rest);
    const whole = match?.[1] ?? "";
    const fraction = match?.[2] ?? "";
    if (whole === "" && fraction === "") return invalid;
    rest = rest.slice(match?.[0].length ?? 0);
    const unit = unitText.exec(rest)?.[0] ?? "";
    if (unit === "") return { problem: `time: missing unit in duration ${JSON.stringify(text)}` };
    const nanos = Object.hasOwn(nanosOf, unit) ? nanosOf[unit] : undefined;
    if (nanos === undefined) {
      const quoted = JSON.stringify(text);
      return { problem: `time: unknown unit ${JSON.stringify(unit)} in duration ${quoted}` };
    }
    if (whole.length > 19) return invalid;
    total += BigInt(whole === "" ? "0" : whole) * nanos;
    const digits = fraction.slice(0, 18);
    if (digits !== "") total += (BigInt(digits) * nanos) / 10n ** BigInt(digits.length);
    if (total > nanosMax) return invalid;
    rest = rest.slice(unit.length);
  }
  if (!negative && total >= nanosMax) return invalid;
  return { nanos: negative ? -total : total };
}

const trimZeros = (digits: string): string => digits.replace(/0+$/, "");

/** "1m30s", "1.5s", "0s": the text that Go prints. */
export function formatGoDuration(nanos: bigint): string {
  if (nanos === 0n) return "0s";
  const sign = nanos < 0n ? "-" : "";
  const value = nanos < 0n ? -nanos : nanos;
  if (value < 1_000n) return `${sign}${value}ns`;
  const withFraction = (unit: bigint, width: number, name: string): string => {
    const fraction = trimZeros(String(value % unit).padStart(width, "0"));
    return `${sign}${value / unit}${fraction === "" ? "" : `.${fraction}`}${name}`;
  };
  if (value < 1_000_000n) return withFraction(1_000n, 3, "\u00b5s");
  if (value < 1_000_000_000n) return withFraction(1_000_000n, 6, "ms");
  const fraction = trimZeros(String(value % 1_000_000_000n).padStart(9, "0"));
  const allSeconds = value / 1_000_000_000n;
  const seconds = `${allSeconds % 60n}${fraction === "" ? "" : `.${fraction}`}s`;
  const minutes = allSeconds / 60n;
  if (minutes === 0n) return `${sign}${seconds}`;
  if (minutes < 60n) return `${sign}${minutes}m${seconds}`;
  return `${sign}${minutes / 60n}h${minutes % 60n}m${seconds}`;
}

/** Milliseconds (with fractions) of a duration; undefined if the text is none. */
export function goDurationToMs(text: string): number | undefined {
  const parsed = parseGoDuration(text);
  return "nanos" in parsed ? Number(parsed.nanos) / 1e6 : undefined;
}

export const msToGoDuration = (ms: number): string =>
  formatGoDuration(BigInt(Math.round(ms * 1e6)));
