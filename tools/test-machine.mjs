/**
 * `npm run test:machine -- [AREA]`: the suites on real containers, whole: everything, or the files whose name begins with AREA.
 * A full green run of an area is recorded in test/results/<area>.json.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { run } from "./run.mjs";

const [area = "all", ...rest] = process.argv.slice(2);
if ((await run(process.execPath, ["tools/build.mjs"])) !== 0) process.exit(1);
const filter = area === "all" ? [] : [`test/machine/${area}`];
const code = await run(
  "node_modules/.bin/vitest",
  ["run", "--config", "vitest.machine.config.ts", ...filter, ...rest],
  { env: { ...process.env, WHERRY_TEST_WHOLE: "1" } },
);
if (code === 0 && rest.length === 0) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  mkdirSync("test/results", { recursive: true });
  writeFileSync(
    `test/results/${area}.json`,
    `${JSON.stringify({ area, commit, date: new Date().toISOString().slice(0, 10) }, null, 2)}\n`,
  );
}
process.exit(code);
