/**
 * The record of a release: one entry for each conformance test, in the order of the published list. Taken only from the suite's JUnit
 * files; a test that was not run since the record began is "notrun".
 */
import type { Case } from "./junit.ts";

export interface Result {
  readonly name: string;
  readonly status: "passed" | "failed" | "notrun";
  readonly reason: string;
  readonly seconds: number;
  /** Of Wherry; a plus sign behind it: with changes that were not committed. */
  readonly commit: string;
  /** The suite: its release and the first digits of its digest. */
  readonly binary: string;
}

export interface ListedTest {
  readonly name: string;
  /** The file of the suite that holds it. */
  readonly file: string;
}

/** The published list: testname | codename | release | file. */
export function readTestList(text: string): readonly ListedTest[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name = "", , file = ""] = line.split(" | ");
      return { name, file };
    });
}

/** What every test of the list carries. */
export const conformanceTag = "[Conformance]";

/** What a name is compared by: its words; the tags' order varies. */
export const bareName = (name: string): string =>
  name
    .replace(/\[[^\]]*\]/g, " ")
    .replace(/\s+/g, " ")
    .trim();

export const notRun = (name: string): Result => ({
  name,
  status: "notrun",
  reason: "",
  seconds: 0,
  commit: "",
  binary: "",
});

/** All tests of the list; what is no longer on it falls away. */
export function completeResults(
  tests: readonly ListedTest[],
  known: readonly Result[],
): readonly Result[] {
  const byName = new Map(known.map((result) => [bareName(result.name), result]));
  return tests.map(({ name }) => ({ ...(byName.get(bareName(name)) ?? notRun(name)), name }));
}

/** A test that the suite skips here (it wants a second node, say) has not shown what it is there to show: failed. */
export function mergeCases(
  results: readonly Result[],
  cases: readonly Case[],
  commit: string,
  binary: string,
): readonly Result[] {
  const listed = cases.filter(({ name }) => name.includes(conformanceTag));
  const byName = new Map(listed.map((one) => [bareName(one.name), one]));
  return results.map((result) => {
    const ran = byName.get(bareName(result.name));
    if (ran === undefined) return result;
    const { reason, seconds } = ran;
    const status = ran.status === "passed" ? "passed" : "failed";
    return { name: result.name, status, reason, seconds, commit, binary };
  });
}

export interface Tally {
  readonly area: string;
  readonly passed: number;
  readonly failed: number;
  readonly notrun: number;
}

export const areaOf = (name: string): string => /\[(sig-[\w-]+)\]/.exec(name)?.[1] ?? "other";

/** A line for each special interest group, and the total. */
export function tally(results: readonly Result[]): readonly Tally[] {
  const areas = [...new Set(results.map(({ name }) => areaOf(name)))].toSorted();
  const count = (area: string, of: readonly Result[]): Tally => {
    const having = (status: Result["status"]): number =>
      of.filter((result) => result.status === status).length;
    return {
      area,
      passed: having("passed"),
      failed: having("failed"),
      notrun: having("notrun"),
    };
  };
  return [
    ...areas.map((area) =>
      count(
        area,
        results.filter(({ name }) => areaOf(name) === area),
      ),
    ),
    count("total", results),
  ];
}

/** The README's table. */
export function markdownTable(results: readonly Result[]): string {
  const rows = tally(results).map(
    ({ area, passed, failed, notrun }) =>
      `| ${area} | ${passed} of ${passed + failed + notrun} | ${failed} | ${notrun} |`,
  );
  return ["| area | passed | failed | not run |", "| --- | --- | --- | --- |", ...rows, ""].join(
    "\n",
  );
}

export const resultsText = (results: readonly Result[]): string =>
  `[\n${results.map((result) => `  ${JSON.stringify(result)}`).join(",\n")}\n]\n`;
