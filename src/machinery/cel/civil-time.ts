/** Timestamps and durations as CEL reads, writes and takes them apart: the calendar by arithmetic, time zones by fixed offset. */

import { dateOf, dayOf } from "../civil-date.ts";
import { formatGoDuration, parseGoDuration } from "../go-duration.ts";
import { CelError, Duration, Timestamp } from "./value.ts";

const second = 1_000_000_000n;
const secondsMin = -62135596800n;
const secondsMax = 253402300799n;
const int64Max = 2n ** 63n - 1n;

const floorDivide = (a: bigint, b: bigint): bigint => {
  const whole = a / b;
  return a % b < 0n ? whole - 1n : whole;
};

export function timestamp(nanos: bigint): Timestamp {
  const seconds = floorDivide(nanos, second);
  if (seconds < secondsMin || seconds > secondsMax) throw new CelError("timestamp overflow");
  return new Timestamp(nanos);
}

export function duration(nanos: bigint): Duration {
  if (nanos > int64Max || nanos < -int64Max - 1n) throw new CelError("duration overflow");
  return new Duration(nanos);
}

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
const daysIn = (year: number, month: number): number =>
  month === 2 && isLeap(year) ? 29 : (monthDays[month - 1] ?? 0);

const form =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:([Zz])|([+-])(\d\d):(\d\d))$/;

/** RFC 3339; undefined: it is none. */
export function parseTimestamp(text: string): Timestamp | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const [, years, months, days, hours, minutes, seconds, part = "", , sign, east, south] = found;
  const [year, month, day] = [Number(years), Number(months), Number(days)];
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return undefined;
  if (Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  if (Number(east ?? 0) > 24 || Number(south ?? 0) > 59) return undefined;
  const offset = (Number(east ?? 0) * 60 + Number(south ?? 0)) * (sign === "-" ? -60 : 60);
  const clock = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  const whole = BigInt(dayOf(year, month, day) * 86400 + clock - offset);
  return timestamp(whole * second + BigInt(part.padEnd(9, "0") || "0"));
}

/** "2026-11-23": midnight UTC. */
export const parseDate = (text: string): Timestamp | undefined =>
  /^\d{4}-\d\d-\d\d$/.test(text) ? parseTimestamp(`${text}T00:00:00Z`) : undefined;

const two = (value: number): string => String(value).padStart(2, "0");

export function timestampText({ nanos }: Timestamp): string {
  const parts = partsOf(nanos);
  const rest = String(parts.nanos).padStart(9, "0").replace(/0+$/, "");
  const date = `${String(parts.year).padStart(4, "0")}-${two(parts.month)}-${two(parts.day)}`;
  const clock = `${two(parts.hour)}:${two(parts.minute)}:${two(parts.second)}`;
  return `${date}T${clock}${rest === "" ? "" : `.${rest}`}Z`;
}

export interface Parts {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly nanos: number;
  /** Of the week, Sunday first. */
  readonly weekday: number;
  readonly dayOfYear: number;
}

function partsOf(nanos: bigint): Parts {
  const seconds = floorDivide(nanos, second);
  const days = Number(floorDivide(seconds, 86400n));
  const clock = Number(seconds) - days * 86400;
  const date = dateOf(days);
  return {
    ...date,
    hour: Math.floor(clock / 3600),
    minute: Math.floor((clock % 3600) / 60),
    second: clock % 60,
    nanos: Number(nanos - seconds * second),
    weekday: (((days + 4) % 7) + 7) % 7,
    dayOfYear: days - dayOf(date.year, 1, 1),
  };
}

/** Seconds east of UTC. */
function offsetOf(zone: string): bigint {
  if (zone === "" || zone === "UTC" || zone === "Etc/UTC" || zone === "GMT") return 0n;
  const found = /^([+-]?)(\d{1,2}):(\d\d)$/.exec(zone);
  if (found === null) throw new CelError(`unknown time zone ${zone}`);
  const [, sign, hours, minutes] = found;
  const offset = BigInt(Number(hours) * 3600 + Number(minutes) * 60);
  return sign === "-" ? -offset : offset;
}

export const partsIn = (time: Timestamp, zone = ""): Parts =>
  partsOf(time.nanos + offsetOf(zone) * second);

export function parseDuration(text: string): Duration | undefined {
  const parsed = parseGoDuration(text);
  return "nanos" in parsed ? duration(parsed.nanos) : undefined;
}

/** "1.5s". */
export function durationText({ nanos }: Duration): string {
  const rest = (nanos < 0n ? -nanos : nanos) % second;
  const whole = (nanos < 0n ? -nanos : nanos) / second;
  const part = rest === 0n ? "" : `.${String(rest).padStart(9, "0").replace(/0+$/, "")}`;
  return `${nanos < 0n ? "-" : ""}${whole}${part}s`;
}

export const goDurationText = ({ nanos }: Duration): string => formatGoDuration(nanos);
