/**
 * Builds dist/: the `wherry` program and the threads that it starts. Runs in `prepare`, so it is quick and needs nothing but esbuild.
 * Earlier builds' parts stay, for a cluster that runs from them loads some only when it needs them; a package has those of its build alone.
 */
import { existsSync } from "node:fs";
import { chmod, rm } from "node:fs/promises";
import { build } from "esbuild";

if (existsSync("src/main/wherry.ts")) {
  if (["pack", "publish"].includes(process.env.npm_command ?? ""))
    await rm("dist", { recursive: true, force: true });
  await build({
    entryPoints: {
      wherry: "src/main/wherry.ts",
      "node-thread": "src/main/node-thread.ts",
      "ingress-thread": "src/main/ingress-thread.ts",
    },
    outdir: "dist",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    splitting: true,
    // Beside the programs: whoever starts a thread names its program by a path from its own file.
    chunkNames: "[name]-[hash]",
    // lmdb is a native module; it is resolved at run time, where npm put it.
    external: ["lmdb"],
    // Bundled CommonJS packages call require().
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    sourcemap: "linked",
    legalComments: "none",
    logLevel: "warning",
  });
  await chmod("dist/wherry.mjs", 0o755);
}
