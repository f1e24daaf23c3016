import { expect, test } from "vitest";
import { parseCron } from "./cron.ts";
import { formatTime, parseTime } from "./time.ts";

/** The European Union changes its clocks on the last Sundays of March and October at 1:00 UTC. */
const changes = [
  ["2030-03-31T01:00:00Z", 2],
  ["2030-10-27T01:00:00Z", 1],
  ["2031-03-30T01:00:00Z", 2],
] as const;
const offsetMs = (zone: string, at: number): number | undefined => {
  if (zone !== "Europe/Berlin") return undefined;
  const last = changes.findLast(([time]) => at >= (parseTime(time) ?? 0));
  return (last?.[1] ?? 1) * 3_600_000;
};
const isZone = (zone: string) => offsetMs(zone, 0) !== undefined;

function following(text: string, from: string, count: number): string[] {
  const parsed = parseCron(text, isZone);
  if ("problem" in parsed) throw new Error(parsed.problem);
  const times: string[] = [];
  let at = parseTime(from) ?? 0;
  for (let n = 0; n < count; n += 1) {
    const next = parsed.schedule.next(at, offsetMs);
    if (next === undefined) break;
    times.push(formatTime(next));
    at = next;
  }
  return times;
}

test.each<[string, string, string[]]>([
  [
    "*/20 * * * *",
    "2030-01-01T00:00:30Z",
    ["00:20", "00:40", "01:00"].map((t) => `2030-01-01T${t}:00Z`),
  ],
  ["0 5 * * 1-5", "2030-01-04T05:00:00Z", ["2030-01-07T05:00:00Z"]],
  ["0 0 29 2 *", "2030-01-01T00:00:00Z", ["2032-02-29T00:00:00Z"]],
  ["0 0 30 2 *", "2030-01-01T00:00:00Z", []],
  [
    "0 0 1,15 * fri",
    "2030-01-01T00:00:00Z",
    ["2030-01-04T00:00:00Z", "2030-01-11T00:00:00Z", "2030-01-15T00:00:00Z"],
  ],
  ["30 23 31 dec *", "2030-12-31T23:30:00Z", ["2031-12-31T23:30:00Z"]],
  ["@weekly", "2030-01-01T00:00:00Z", ["2030-01-06T00:00:00Z"]],
  ["@every 90m", "2030-01-01T00:00:00Z", ["2030-01-01T01:30:00Z", "2030-01-01T03:00:00Z"]],
])("%s", (text, from, expected) => {
  expect(following(text, from, Math.max(1, expected.length))).toEqual(expected);
});

test("in a zone, an hour that does not happen is left out, one that happens twice counts twice", () => {
  expect(following("TZ=Europe/Berlin 30 2 * * *", "2030-03-29T12:00:00Z", 3)).toEqual([
    "2030-03-30T01:30:00Z",
    "2030-04-01T00:30:00Z",
    "2030-04-02T00:30:00Z",
  ]);
  expect(following("TZ=Europe/Berlin 30 2 * * *", "2030-10-26T12:00:00Z", 3)).toEqual([
    "2030-10-27T00:30:00Z",
    "2030-10-27T01:30:00Z",
    "2030-10-28T01:30:00Z",
  ]);
  expect(following("TZ=Europe/Berlin 0 0 * * *", "2030-03-30T12:00:00Z", 2)).toEqual([
    "2030-03-30T23:00:00Z",
    "2030-03-31T22:00:00Z",
  ]);
});

test.each([
  ["", "empty spec string"],
  ["* * * *", "expected exactly 5 fields, found 4: [* * * *]"],
  ["60 * * * *", "end of range (60) above maximum (59): 60"],
  ["* * 0 * *", "beginning of range (0) below minimum (1): 0"],
  ["5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"],
  ["*/0 * * * *", "step of range should be a positive number: */0"],
  ["1-2-3 * * * *", "too many hyphens: 1-2-3"],
  ["1/2/3 * * * *", "too many slashes: 1/2/3"],
  ["x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'],
  ["@never", "unrecognized descriptor: @never"],
  [
    "TZ=Mars/Olympus 0 0 * * *",
    "provided bad location Mars/Olympus: unknown time zone Mars/Olympus",
  ],
])("refuses %s", (text, problem) => {
  expect(parseCron(text, isZone)).toEqual({ problem });
});
