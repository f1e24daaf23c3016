/** Where the harness keeps what it makes (all of it ignored by git), and which release of the suite it runs. */
import { join } from "node:path";

export const release = "1.37";

const root = process.cwd();
export const sources = join(root, "test/conformance");
export const suiteModule = join(sources, "suite");
export const testList = join(sources, `tests-${release}.txt`);
export const resultsFile = join(sources, "results", `${release}.json`);

export const cache = join(root, ".cache/conformance");
export const programFolder = join(cache, "bin");
export const imageFolder = join(cache, "images");
export const packageFolder = join(cache, "packages");
export const reportFolder = join(cache, "reports");
export const clusterFolder = join(cache, "cluster");
export const kubeconfig = join(cache, "kubeconfig");
export const wherryProgram = join(root, "dist/wherry.mjs");
