/**
 * `npm run test:kubectls`: the tour of every kubectl verb with kubectls of several versions: the one that comes in an npm package, the
 * machine's own, if it has one, and upstream's newest, built from its published Go module (needs Go; kept in .cache).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run.mjs";

const built = join(process.cwd(), ".cache/kubectl/kubectl");
mkdirSync(join(built, ".."), { recursive: true });
// The module of the conformance suite: both have the same release.
const build = ["build", "-ldflags", "-s -w", "-o", built, "k8s.io/kubernetes/cmd/kubectl"];
if ((await run("go", build, { cwd: "test/conformance/suite" })) !== 0) process.exit(1);
if ((await run(process.execPath, ["tools/build.mjs"])) !== 0) process.exit(1);

const own = spawnSync("sh", ["-c", "command -v kubectl"], { encoding: "utf8" }).stdout.trim();
const env = { ...process.env, KUBECTLS: [built, own].filter((path) => path !== "").join(":") };
const args = ["run", "--config", "vitest.machine.config.ts", "test/machine/kubectl-tour"];
process.exit(await run("node_modules/.bin/vitest", args, { env }));
