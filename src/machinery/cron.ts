/**
 * Cron schedules: five fields or a descriptor, in a time zone. Across a change of the clock they
 * go by what the clock on the wall shows: an hour that does not happen is left out, one that
 * happens twice counts twice. Pure.
 */
import { dateOf, dayOf } from "./civil-date.ts";
import { parseGoDuration } from "./go-duration.ts";

/** Offset from UTC in milliseconds of a zone at a moment. */
export type OffsetMs = (zone: string, at: number) => number | undefined;

export interface CronSchedule {
  /** Undefined: where the schedule is read. */
  readonly zone?: string;
  /** The next moment after `after`, in milliseconds; undefined: not in the next years. */
  readonly next: (after: number, offsetMs: OffsetMs) => number | undefined;
}
export type ParsedSchedule = { readonly schedule: CronSchedule } | { readonly problem: string };

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const yearsMax = 5;

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}
const names = (text: string): readonly string[] => text.split(" ");
const fields: readonly Bounds[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: names("- jan feb mar apr may jun jul aug sep oct nov dec") },
  { min: 0, max: 6, names: names("sun mon tue wed thu fri sat") },
];

/** The values that match; `any` if it was a star: then the other of the two fields of days rules. */
interface Matching {
  readonly values: ReadonlySet<number>;
  readonly any: boolean;
}

class Refusal extends Error {}

function parseNumber(text: string): number {
  if (!/^[+-]?\d+$/.test(text)) {
    const quoted = JSON.stringify(text);
    throw new Refusal(
      `failed to parse int from ${text}: strconv.Atoi: parsing ${quoted}: invalid syntax`,
    );
  }
  const value = Number(text);
  if (value < 0) throw new Refusal(`negative number (${value}) not allowed: ${text}`);
  return value;
}
function parseValue(text: string, bounds: Bounds): number {
  const named = bounds.names?.indexOf(text.toLowerCase()) ?? -1;
  return named >= 0 && text !== "-" ? named : parseNumber(text);
}

function parseRange(text: string, bounds: Bounds, into: Set<number>): boolean {
  const [range = "", step, ...more] = text.split("/");
  const [low = "", high, ...tooMany] = range.split("-");
  let [start, end] = [bounds.min, bounds.max];
  let any = low === "*" || low === "?";
  if (!any) {
    start = parseValue(low, bounds);
    if (tooMany.length > 0) throw new Refusal(`too many hyphens: ${text}`);
    end = high === undefined ? start : parseValue(high, bounds);
  }
  if (more.length > 0) throw new Refusal(`too many slashes: ${text}`);
  const by = step === undefined ? 1 : parseNumber(step);
  if (step !== undefined && high === undefined) end = bounds.max;
  if (by > 1) any = false;
  const { min, max } = bounds;
  if (start < min) {
    throw new Refusal(`beginning of range (${start}) below minimum (${min}): ${text}`);
  }
  if (end > max) throw new Refusal(`end of range (${end}) above maximum (${max}): ${text}`);
  if (start > end) {
    throw new Refusal(`beginning of range (${start}) beyond end of range (${end}): ${text}`);
  }
  if (by === 0) throw new Refusal(`step of range should be a positive number: ${text}`);
  for (let value = start; value <= end; value += by) into.add(value);
  return any;
}

function parseField(text: string, bounds: Bounds): Matching {
  const values = new Set<number>();
  let any = false;
  for (const part of text.split(",").filter((one) => one !== "")) {
    any = parseRange(part, bounds, values) || any;
  }
  return { values, any };
}

const descriptors: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const every = "@every ";

/** Every so often, in whole seconds. */
function parseEvery(text: string): CronSchedule {
  const parsed = parseGoDuration(text.slice(every.length));
  if ("problem" in parsed) {
    throw new Refusal(`failed to parse duration ${text}: ${parsed.problem}`);
  }
  const seconds = Math.max(1, Number(parsed.nanos / 1_000_000_000n));
  return { next: (after) => (Math.floor(after / secondMs) + seconds) * secondMs };
}

/** Such a schedule can be had with a zone in front of it: "TZ=Europe/Paris 0 5 * * *". */
export function parseCron(text: string, isZone: (zone: string) => boolean): ParsedSchedule {
  try {
    return { schedule: parse(text, isZone) };
  } catch (error) {
    if (error instanceof Refusal) return { problem: error.message };
    throw error;
  }
}

function parse(text: string, isZone: (zone: string) => boolean): CronSchedule {
  if (text === "") throw new Refusal("empty spec string");
  const prefixed = /^(?:CRON_)?TZ=([^ ]*)( .*)?$/s.exec(text);
  let rest = text;
  let zone: string | undefined;
  if (prefixed !== null) {
    if (prefixed[2] === undefined) {
      const detail = "runtime error: slice bounds out of range [:-1]";
      throw new Refusal(`invalid schedule format: ${detail}`);
    }
    zone = prefixed[1] ?? "";
    if (zone !== "" && !isZone(zone)) {
      throw new Refusal(`provided bad location ${zone}: unknown time zone ${zone}`);
    }
    rest = prefixed[2].trim();
  }
  if (rest.startsWith(every)) return parseEvery(rest);
  if (rest.startsWith("@")) {
    const known = Object.hasOwn(descriptors, rest) ? descriptors[rest] : undefined;
    if (known === undefined) throw new Refusal(`unrecognized descriptor: ${rest}`);
    rest = known;
  }
  const parts = rest.split(/\s+/).filter((one) => one !== "");
  if (parts.length !== fields.length) {
    const found = `found ${parts.length}: [${parts.join(" ")}]`;
    throw new Refusal(`expected exactly ${fields.length} fields, ${found}`);
  }
  const [minute, hour, day, month, weekday] = fields.map((bounds, at) =>
    parseField(parts[at] ?? "", bounds),
  ) as [Matching, Matching, Matching, Matching, Matching];
  const times: Times = { minute, hour, day, month, weekday };
  return {
    ...(zone === undefined || zone === "" ? {} : { zone }),
    next: (after, offsetMs) => nextOf(times, after, (at) => zoned(zone, at, offsetMs)),
  };
}
const zoned = (zone: string | undefined, at: number, offsetMs: OffsetMs): number =>
  zone === undefined || zone === "" ? 0 : (offsetMs(zone, at) ?? 0);

interface Times {
  readonly minute: Matching;
  readonly hour: Matching;
  readonly day: Matching;
  readonly month: Matching;
  readonly weekday: Matching;
}

const dayMs = 24 * hourMs;

/** What the clock on the wall shows. */
function wallAt(at: number, offset: (at: number) => number) {
  const local = at + offset(at);
  const days = Math.floor(local / dayMs);
  const ofDay = local - days * dayMs;
  const weekday = (((days + 4) % 7) + 7) % 7;
  return {
    ...dateOf(days),
    days,
    weekday,
    hour: Math.floor(ofDay / hourMs),
    minute: Math.floor(ofDay / minuteMs) % 60,
  };
}
/** When the wall shows midnight of that day, or would. */
function midnightOf(days: number, offset: (at: number) => number): number {
  const local = days * dayMs;
  return local - offset(local - offset(local));
}

function matchesDay({ day, weekday }: Times, wall: ReturnType<typeof wallAt>): boolean {
  const byDay = day.values.has(wall.day);
  const byWeekday = weekday.values.has(wall.weekday);
  return day.any || weekday.any ? byDay && byWeekday : byDay || byWeekday;
}

/** The first moment of the next day, however the clock changes around it. */
function nextDay(at: number, offset: (at: number) => number): number {
  const { days } = wallAt(at, offset);
  const midnight = midnightOf(days + 1, offset);
  // Where midnight does not happen the day starts an hour later.
  return wallAt(midnight, offset).days === days ? midnight + hourMs : midnight;
}

function nextOf(times: Times, after: number, offset: (at: number) => number): number | undefined {
  let at = (Math.floor(after / minuteMs) + 1) * minuteMs;
  const lastYear = wallAt(at, offset).year + yearsMax;
  for (;;) {
    const wall = wallAt(at, offset);
    if (wall.year > lastYear) return undefined;
    if (!times.month.values.has(wall.month)) {
      const { year, month } = wall;
      const first = month === 12 ? dayOf(year + 1, 1, 1) : dayOf(year, month + 1, 1);
      at = midnightOf(first, offset);
      if (wallAt(at, offset).month === month) at += hourMs;
    } else if (!matchesDay(times, wall)) at = nextDay(at, offset);
    else if (!times.hour.values.has(wall.hour)) {
      at += hourMs - wall.minute * minuteMs - (at % minuteMs);
    } else if (times.minute.values.has(wall.minute)) return at;
    else at += minuteMs;
  }
}
