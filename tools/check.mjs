/** `npm run check`: the one gate: types (pure and Node), lint, format, architecture, generated facts. Runs all, then judges. */
import { existsSync } from "node:fs";
import { run } from "./run.mjs";

/** @type {[string, string, string[]][]} */
const steps = [
  ["types of pure code", "tsc", ["-p", "tsconfig.pure.json"]],
  ["types of all code", "tsc", ["-p", "tsconfig.node.json"]],
  ["lint", "oxlint", ["--type-aware", "--quiet", "src", "test", "bench", "tools"]],
  ["format", "biome", ["check", "--reporter=summary", "src", "test", "bench", "tools"]],
  ["architecture", "vitest", ["run", "test/architecture.test.ts"]],
];
if (existsSync("tools/facts/verify.mjs")) {
  steps.push(["generated facts", process.execPath, ["tools/facts/verify.mjs"]]);
}

/** @type {string[]} */
const failed = [];
for (const [name, command, args] of steps) {
  const program = command === process.execPath ? command : `node_modules/.bin/${command}`;
  process.stdout.write(`== ${name}\n`);
  if ((await run(program, args)) !== 0) failed.push(name);
}
if (failed.length > 0) {
  process.stderr.write(`check failed: ${failed.join(", ")}\n`);
  process.exit(1);
}
process.stdout.write("check passed\n");
