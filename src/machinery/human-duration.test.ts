import { expect, test } from "vitest";
import { humanDuration, shortHumanDuration } from "./human-duration.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const year = 365 * day;

test.each<[number, string, string]>([
  [-3 * second, "<invalid>", "<invalid>"],
  [-1 * second, "0s", "0s"],
  [-0.5 * second, "0s", "0s"],
  [second, "1s", "1s"],
  [70 * second, "70s", "1m"],
  [2 * minute, "2m", "2m"],
  [5 * minute + 10 * second, "5m10s", "5m"],
  [10 * minute + 10 * second, "10m", "10m"],
  [2 * hour, "120m", "2h"],
  [3 * hour, "3h", "3h"],
  [3 * hour + minute, "3h1m", "3h"],
  [30 * hour, "30h", "1d"],
  [2 * day, "2d", "2d"],
  [2 * day + 3 * hour, "2d3h", "2d"],
  [8 * day + 23 * hour, "8d", "8d"],
  [400 * day, "400d", "1y"],
  [2 * year, "2y", "2y"],
  [2 * year + 20 * day, "2y20d", "2y"],
  [8 * year + 20 * day, "8y", "8y"],
])("%d ms", (ms, long, short) => {
  expect(humanDuration(ms)).toBe(long);
  expect(shortHumanDuration(ms)).toBe(short);
});
