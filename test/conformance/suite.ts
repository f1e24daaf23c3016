/**
 * Runs specs of upstream's suite in batches: each batch is a process of its own that leaves a JUnit file, so that what has ended is kept
 * whatever happens to the rest. Spec by spec progress, and nothing more, is read from what the suite prints.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Case, readJunit } from "./junit.ts";
import { kubeconfig, reportFolder } from "./paths.ts";
import { suiteProgram, toolProgram } from "./programs.ts";
import { conformanceTag } from "./results.ts";
import { Logged, must } from "./run.ts";

export interface Timeouts {
  /** A spec that runs longer is interrupted, and has failed. */
  readonly specMs: number;
  /** How long an interrupted process may take to write its report. */
  readonly graceMs: number;
}
export interface Progress {
  readonly passed: boolean;
  readonly name: string;
}

/** The conformance tests that the binary holds, in its own spelling; others may share their words. */
export async function listSpecs(): Promise<readonly string[]> {
  const text = await must(suiteProgram, ["--list-tests"]);
  return text
    .split("\n")
    .map((line) => line.replace(/^\s*\S+\.go:\d+: /, "").trim())
    .filter((line) => line.startsWith("[") && line.includes(conformanceTag));
}

/** A focus that selects exactly these specs. */
export const focusOn = (names: readonly string[]): string =>
  `(?:${names.map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})$`;

export async function runBatch(
  batch: string,
  specs: readonly string[],
  timeouts: Timeouts,
  onProgress: (progress: Progress) => void,
): Promise<readonly Case[]> {
  const reports = join(reportFolder, batch);
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  let touched = (): void => undefined;
  const follow = progressReader((progress) => {
    touched();
    onProgress(progress);
  });
  const process_ = new Logged(
    suiteProgram,
    [
      `--kubeconfig=${kubeconfig}`,
      `--kubectl-path=${toolProgram("kubectl")}`,
      `--report-dir=${reports}`,
      `--ginkgo.focus=${focusOn(specs)}`,
      "--ginkgo.timeout=24h",
      "--ginkgo.no-color",
      "--ginkgo.v",
      // Neither a provider's log collection nor a wait for the system's daemons applies: there are none.
      "--provider=skeleton",
      "--disable-log-dump",
      "--allowed-not-ready-nodes=-1",
    ],
    join(reports, "suite.log"),
    follow,
    { env: { ...process.env, KUBECONFIG: kubeconfig } },
  );
  const watch = new Watch(process_, timeouts);
  touched = () => watch.touch();
  try {
    await process_.ended;
  } finally {
    watch.end();
  }
  const report = join(reports, "junit_01.xml");
  const cases = existsSync(report) ? readJunit(readFileSync(report, "utf8")) : [];
  return judgeInterrupted(cases, watch.interrupted ? timeouts.specMs : undefined);
}

/** A spec that the time limit ended has failed; one that somebody ended from outside has not been run. */
export function judgeInterrupted(
  cases: readonly Case[],
  limitMs: number | undefined,
): readonly Case[] {
  const isInterrupted = ({ status, reason }: Case): boolean =>
    status === "failed" && reason.startsWith("Interrupted by User");
  if (limitMs === undefined) return cases.filter((one) => !isInterrupted(one));
  const reason = `interrupted: it ran for more than ${limitMs / 60_000} minutes`;
  return cases.map((one) => (isInterrupted(one) ? { ...one, reason } : one));
}

/** Takes the lines that the suite prints: a spec's name when it begins, a bullet with its time when it has ended. */
export function progressReader(onProgress: (progress: Progress) => void): (line: string) => void {
  let name = "";
  return (line) => {
    if (line.startsWith("[sig-")) name = line.replace(/ \[[^\]]*, [^\]]*\]$/, "");
    const ended = /^(?:•|S) (?:\[([A-Z]+)!?\] )?\[[\d.]+ seconds\]/.exec(line);
    if (ended !== null) onProgress({ passed: ended[1] === undefined, name });
  };
}

/** Interrupts a process in which no spec ends for too long, and kills it if it does not heed that. */
class Watch {
  readonly #process: Logged;
  readonly #timeouts: Timeouts;
  #timer: NodeJS.Timeout | undefined;
  interrupted = false;

  constructor(process_: Logged, timeouts: Timeouts) {
    this.#process = process_;
    this.#timeouts = timeouts;
    this.touch();
  }
  touch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.interrupted = true;
      this.#process.kill("SIGINT");
      this.#timer = setTimeout(() => this.#process.kill("SIGKILL"), this.#timeouts.graceMs);
    }, this.#timeouts.specMs);
  }
  end(): void {
    clearTimeout(this.#timer);
  }
}
