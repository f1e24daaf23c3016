/**
 * `npm run conformance [-- FOCUS]`: upstream's own end-to-end suite, unmodified, against a real cluster of ours on this machine.
 * Builds what is missing, starts a cluster, runs, and records each test's end in results/RELEASE.json as soon as it is known, so that an
 * interrupted run can be taken up again.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { clusterRuns, removeCluster, serveImages, startCluster } from "./cluster.ts";
import { buildImages } from "./images.ts";
import { resultsFile, testList } from "./paths.ts";
import { buildPrograms } from "./programs.ts";
import {
  bareName,
  completeResults,
  type ListedTest,
  markdownTable,
  mergeCases,
  type Result,
  readTestList,
  resultsText,
  tally,
} from "./results.ts";
import { listSpecs, runBatch, type Timeouts } from "./suite.ts";

const help = `npm run conformance [-- [OPTIONS] [FOCUS]]

Runs the conformance tests of upstream's suite whose name matches the regular expression FOCUS; without one, all that this commit has
not run yet. The first run compiles the suite, which takes many minutes.

  --parallel N      how many specs at once (2); those marked [Serial] run alone, at the end
  --batch N         specs a process of the suite (8)
  --limit MINUTES   a spec that takes longer is interrupted and has failed (20)
  --not-passed      of the chosen ones only those whose record is not "passed"
  --build           build the programs and images, and stop
  --nodes N         how many nodes the cluster has (2)
  --name NAME       the cluster's name (conformance)
  --keep            leave the cluster running at the end, and use the one that runs
  --table           print the table of the record and stop
  --list            print the chosen tests and stop
`;

const say = (line: string): void => {
  const time = new Date().toISOString().slice(11, 19);
  process.stdout.write(`${time} ${line}\n`);
};

function readResults(tests: readonly ListedTest[]): readonly Result[] {
  const known = existsSync(resultsFile)
    ? (JSON.parse(readFileSync(resultsFile, "utf8")) as readonly Result[])
    : [];
  return completeResults(tests, known);
}

function writeResults(results: readonly Result[]): void {
  mkdirSync(dirname(resultsFile), { recursive: true });
  writeFileSync(`${resultsFile}.new`, resultsText(results));
  renameSync(`${resultsFile}.new`, resultsFile);
}

/** What is run is dist/; what it was built from is src/. */
function commitOf(): string {
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", "src", "package-lock.json") !== "";
  return `${git("log", "-1", "--format=%h", "--", "src", "package-lock.json")}${changed ? "+" : ""}`;
}

interface Choice {
  readonly focus?: string;
  readonly notPassed: boolean;
}

function choose(results: readonly Result[], choice: Choice, commit: string): readonly Result[] {
  const focus = choice.focus === undefined ? undefined : new RegExp(choice.focus);
  const again = focus !== undefined || choice.notPassed;
  return results.filter(
    ({ name, status, commit: ran }) =>
      (focus?.test(name) ?? true) &&
      !(choice.notPassed && status === "passed") &&
      (again || ran !== commit),
  );
}

class Run {
  readonly #tests: readonly ListedTest[];
  #results: readonly Result[];
  #done = 0;
  #batches = 0;
  readonly #facts: { readonly total: number; readonly commit: string; readonly suite: string };
  readonly #timeouts: Timeouts;

  constructor(
    tests: readonly ListedTest[],
    facts: { readonly total: number; readonly commit: string; readonly suite: string },
    timeouts: Timeouts,
  ) {
    this.#tests = tests;
    this.#results = readResults(tests);
    this.#facts = facts;
    this.#timeouts = timeouts;
  }
  get results(): readonly Result[] {
    return this.#results;
  }

  /** Takes batches off the list, as many at a time as there are lanes, until it is empty. */
  async lanes(specs: readonly string[], lanes: number, batchSize: number): Promise<void> {
    const waiting = [...specs];
    const lane = async (): Promise<void> => {
      while (waiting.length > 0) {
        const batch = waiting.splice(0, batchSize);
        const unfinished = await this.#batch(batch);
        // A batch that was interrupted leaves specs that have not begun; without one that ended it would come to that again.
        if (unfinished.length < batch.length) waiting.push(...unfinished);
        else say(`the suite ended without a result for: ${unfinished.join("; ")}`);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }

  async #batch(specs: readonly string[]): Promise<readonly string[]> {
    const { commit, suite, total } = this.#facts;
    const cases = await runBatch(
      `${process.pid}-${++this.#batches}`,
      specs,
      this.#timeouts,
      (progress) => {
        this.#done++;
        say(`${this.#done}/${total} ${progress.passed ? "passed" : "FAILED"} ${progress.name}`);
      },
    );
    // Another run may be adding to the record meanwhile.
    this.#results = mergeCases(readResults(this.#tests), cases, commit, suite);
    writeResults(this.#results);
    for (const { name, status, reason } of cases) {
      if (status !== "passed") say(`  ${status}: ${bareName(name)}: ${reason}`);
    }
    const ended = new Set(cases.map(({ name }) => bareName(name)));
    return specs.filter((spec) => !ended.has(bareName(spec)));
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      parallel: { type: "string", default: "2" },
      batch: { type: "string", default: "8" },
      limit: { type: "string", default: "20" },
      "not-passed": { type: "boolean", default: false },
      build: { type: "boolean", default: false },
      nodes: { type: "string", default: "2" },
      name: { type: "string", default: "conformance" },
      keep: { type: "boolean", default: false },
      table: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const tests = readTestList(readFileSync(testList, "utf8"));
  const known = readResults(tests);
  if (values.table) {
    process.stdout.write(markdownTable(known));
    return 0;
  }
  const commit = commitOf();
  const [focus] = positionals;
  const choice = { notPassed: values["not-passed"] };
  const chosen = choose(known, { ...choice, ...(focus === undefined ? {} : { focus }) }, commit);
  if (values.list) {
    process.stdout.write(chosen.map(({ name }) => `${name}\n`).join(""));
    return 0;
  }
  const suite = await buildPrograms(say);
  const images = await buildImages(suite, say);
  if (values.build) return 0;

  // The binary spells some names with their tags in another order.
  const spelled = new Map((await listSpecs()).map((name) => [bareName(name), name]));
  const specs = chosen.flatMap(({ name }) => spelled.get(bareName(name)) ?? []);
  const missing = chosen.filter(({ name }) => !spelled.has(bareName(name)));
  for (const { name } of missing) say(`the suite has no test of this name: ${name}`);
  const serial = specs.filter((name) => name.includes("[Serial]"));
  const others = specs.filter((name) => !name.includes("[Serial]"));
  say(`${specs.length} tests (${serial.length} of them alone), Wherry at ${commit}, ${suite}`);

  if (!values.keep || !(await clusterRuns(values.name))) await startCluster(values, images);
  const registry = await serveImages(images);
  const timeouts = { specMs: Number(values.limit) * 60_000, graceMs: 120_000 };
  const run = new Run(tests, { total: specs.length, commit, suite }, timeouts);
  writeResults(run.results);
  try {
    await run.lanes(others, Number(values.parallel), Number(values.batch));
    await run.lanes(serial, 1, Number(values.batch));
  } finally {
    await registry.stop();
    if (!values.keep) await removeCluster(values.name);
  }
  const names = new Set(chosen.map(({ name }) => name));
  const [sum] = tally(run.results.filter(({ name }) => names.has(name))).slice(-1);
  say(`${sum?.passed} passed, ${sum?.failed} failed, ${sum?.notrun} not run`);
  return sum?.failed === 0 && sum.notrun === 0 ? 0 : 1;
}

process.exit(await main());
