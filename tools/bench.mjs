/** `npm run bench -- [NAME [CASE]]`: bundles bench/NAME.ts and runs it; without a name, all of them in turn. */
import { readdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { build } from "esbuild";
import { run } from "./run.mjs";

const [name, ...rest] = process.argv.slice(2);
const all = readdirSync("bench")
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -3));
if (name !== undefined && !all.includes(name)) {
  process.stderr.write(`There is no bench/${name}.ts. There are: ${all.join(", ")}.\n`);
  process.exit(1);
}
await run(process.execPath, ["tools/build.mjs"]);
let worst = 0;
for (const one of name === undefined ? all : [name]) {
  await build({
    entryPoints: [`bench/${one}.ts`],
    outfile: `dist/bench/${one}.mjs`,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    logLevel: "warning",
  });
  process.stdout.write(
    `# ${one}: ${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}\n`,
  );
  worst = Math.max(worst, await run(process.execPath, [`dist/bench/${one}.mjs`, ...rest]));
}
process.exit(worst);
