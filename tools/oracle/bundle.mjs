/** Loads a module of the project, TypeScript with our imports, into a program of the judges: bundled, then imported. */
import { basename, join } from "node:path";
import { build } from "esbuild";

/** `folder` keeps the bundle; it must live as long as what is imported. */
export async function loadModule(entryPoint, folder) {
  const outfile = join(folder, `${basename(entryPoint, ".ts")}.mjs`);
  await build({
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "bundle",
    logLevel: "warning",
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
  });
  return import(outfile);
}
