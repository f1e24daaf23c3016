/**
 * `npm test`: the gate, the unit suites and the machine suites that CI runs, then one line that sums them up.
 * What a laptop lacks (root, containerd, …) is skipped and said; with CI set a missing tool is a failure.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.mjs";

const folder = mkdtempSync(join(tmpdir(), "wherry-test-"));
const sum = { passed: 0, failed: 0, skipped: 0 };

async function suite(name, args) {
  const report = join(folder, `${name}.json`);
  const code = await run("node_modules/.bin/vitest", [
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...args,
  ]);
  let tests;
  try {
    tests = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    sum.failed++;
    return;
  }
  sum.passed += tests.numPassedTests;
  sum.failed += tests.numFailedTests;
  sum.skipped += tests.numPendingTests;
  // A file that does not load has no tests to fail, yet it has failed.
  const broken = tests.testResults.filter(
    (file) =>
      file.status === "failed" && file.assertionResults.every((one) => one.status !== "failed"),
  ).length;
  sum.failed += broken;
  if (code !== 0 && tests.numFailedTests + broken === 0) sum.failed++;
}

const only = process.argv.slice(2);
if (!only.includes("--no-check")) {
  if ((await run(process.execPath, ["tools/check.mjs"])) === 0) sum.passed++;
  else sum.failed++;
}
await suite("unit", []);
if (!only.includes("--no-machine")) {
  if ((await run(process.execPath, ["tools/build.mjs"])) !== 0) sum.failed++;
  await suite("machine", ["--config", "vitest.machine.config.ts"]);
}
rmSync(folder, { recursive: true, force: true });

const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : "";
process.stdout.write(`\n${sum.passed} passed, ${sum.failed} failed${skipped}\n`);
process.exit(sum.failed === 0 ? 0 : 1);
