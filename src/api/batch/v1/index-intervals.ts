/** Completion indexes as text: "1,3-5,7". Pure. */

/** Both ends belong to it. */
export interface Interval {
  readonly first: number;
  readonly last: number;
}
export type Intervals = readonly Interval[];

const isInteger = (text: string): boolean => /^[+-]?\d+$/.test(text);

interface Parsed {
  readonly interval?: Interval;
  readonly problem?: string;
}
function parseInterval(text: string, completions: number): Parsed {
  const [from = "", to, ...more] = text.split("-");
  const quoted = (part: string) => JSON.stringify(part);
  if (more.length > 0) {
    return {
      problem: `the fragment ${quoted(text)} violates the requirement that an index interval can have at most two parts separated by '-'`,
    };
  }
  for (const part of to === undefined ? [from] : [from, to]) {
    if (!isInteger(part)) {
      return { problem: `cannot convert string to integer for index: ${quoted(part)}` };
    }
    if (Number(part) >= completions) return { problem: `too large index: ${quoted(part)}` };
  }
  const first = Number(from);
  if (to === undefined) return { interval: { first, last: first } };
  const last = Number(to);
  if (first < last) return { interval: { first, last } };
  return { problem: `non-increasing order, previous: ${first}, current: ${last}` };
}

/** Strictly, as users write them: how many, or what is wrong. */
export function checkIndexes(
  text: string,
  completions: number,
): { readonly total: number; readonly problem?: string } {
  let total = 0;
  let previous = -1;
  for (const part of text === "" ? [] : text.split(",")) {
    const { interval, problem } = parseInterval(part, completions);
    if (interval === undefined) return { total: 0, ...(problem === undefined ? {} : { problem }) };
    const { first, last } = interval;
    if (previous >= first) {
      return {
        total: 0,
        problem: `non-increasing order, previous: ${previous}, current: ${first}`,
      };
    }
    total += last - first + 1;
    previous = last;
  }
  return { total };
}

/** The first index that is in both; undefined: none, or one of them cannot be read. */
export function overlapOf(a: string, b: string, completions: number): number | undefined {
  const read = (text: string) =>
    text
      .split(",")
      .map((part) => parseInterval(part, completions).interval)
      .filter((one) => one !== undefined);
  if (a === "" || b === "") return undefined;
  const others = read(b);
  for (const one of read(a)) {
    const hit = others.find((other) => one.first <= other.last && other.first <= one.last);
    if (hit !== undefined) return Math.max(one.first, hit.first);
  }
  return undefined;
}

/** Leniently, as they stand in a status; what is beyond the completions is cut off. */
export function readIndexes(text: string, completions: number): Intervals {
  const list: Interval[] = [];
  for (const part of text === "" ? [] : text.split(",")) {
    const [from = "", to = from] = part.split("-");
    if (!isInteger(from) || !isInteger(to)) continue;
    if (Number(from) >= completions) break;
    list.push({ first: Number(from), last: Math.min(Number(to), completions - 1) });
  }
  return mergeIntervals(list);
}

/** In order, without overlaps or neighbours. */
export function mergeIntervals(list: Intervals): Intervals {
  const merged: Interval[] = [];
  for (const one of [...list].sort((a, b) => a.first - b.first)) {
    const last = merged.at(-1);
    if (last === undefined || one.first > last.last + 1) merged.push(one);
    else if (one.last > last.last) merged[merged.length - 1] = { ...last, last: one.last };
  }
  return merged;
}
export const withIndexes = (list: Intervals, indexes: Iterable<number>): Intervals =>
  mergeIntervals([...list, ...[...indexes].map((index) => ({ first: index, last: index }))]);

export const countOf = (list: Intervals): number =>
  list.reduce((sum, { first, last }) => sum + last - first + 1, 0);

export function hasIndex(list: Intervals, index: number): boolean {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.last ?? 0) >= index) high = middle;
    else low = middle + 1;
  }
  return (list[low]?.first ?? Infinity) <= index;
}

/** How many are in both. */
export const countCommon = (a: Intervals, b: Intervals): number =>
  a.reduce(
    (sum, one) =>
      sum +
      b.reduce(
        (inner, other) =>
          inner +
          Math.max(0, Math.min(one.last, other.last) - Math.max(one.first, other.first) + 1),
        0,
      ),
    0,
  );

export const formatIndexes = (list: Intervals): string =>
  list
    .map(({ first, last }) => {
      if (first === last) return String(first);
      return `${first}${last === first + 1 ? "," : "-"}${last}`;
    })
    .join(",");

/** The lowest that are in none of them. */
export function missingIndexes(list: Intervals, count: number, completions: number): number[] {
  const missing: number[] = [];
  let candidate = 0;
  for (const { first, last } of [...list, { first: completions, last: completions }]) {
    while (candidate < Math.min(first, completions) && missing.length < count) {
      missing.push(candidate);
      candidate += 1;
    }
    candidate = Math.max(candidate, last + 1);
  }
  return missing;
}
