/** `npm run conformance -- [FOCUS]`: builds dist/, bundles test/conformance/main.ts and runs it. */
import { build } from "esbuild";
import { run } from "./run.mjs";

if ((await run(process.execPath, ["tools/build.mjs"])) !== 0) process.exit(1);
await build({
  entryPoints: ["test/conformance/main.ts"],
  outfile: "dist/conformance/main.mjs",
  bundle: true,
  platform: "node",
  target: "node20",
  format: "esm",
  packages: "external",
  logLevel: "warning",
});
process.exit(await run(process.execPath, ["dist/conformance/main.mjs", ...process.argv.slice(2)]));
