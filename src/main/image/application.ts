/** The application layer of `wherry image build DIR`: the folder's files below /app, and how the application starts. */
import { existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { type LayerEntry, linkEntry } from "./layer.ts";

const alwaysLeftOut = [".git", ".dockerignore", "Dockerfile"];

/** One line of .dockerignore as a test of a path relative to the folder. Globs: * within a name, ** across. */
function ignoreRule(line: string): { readonly test: RegExp; readonly keep: boolean } {
  const keep = line.startsWith("!");
  const pattern = (keep ? line.slice(1) : line).replace(/^\/+|\/+$/g, "");
  const source = pattern
    .split(/(\*\*\/?|\*|\?)/)
    .map((part) => {
      if (part.startsWith("**")) return "(?:.*/)?";
      if (part === "*") return "[^/]*";
      if (part === "?") return "[^/]";
      return part.replace(/[.+^${}()|[\]\\]/g, "\\$&");
    })
    .join("");
  return { test: new RegExp(`^${source}(?:/|$)`), keep };
}

function ignores(folder: string): (path: string) => boolean {
  const file = join(folder, ".dockerignore");
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
  const rules = [...alwaysLeftOut, ...lines.map((line) => line.trim())]
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(ignoreRule);
  // The last rule that speaks of a path decides, as in docker.
  return (path) => {
    const rule = rules.findLast(({ test }) => test.test(path));
    return rule !== undefined && !rule.keep;
  };
}

export async function applicationEntries(folder: string): Promise<LayerEntry[]> {
  const ignored = ignores(folder);
  const entries: LayerEntry[] = [];
  for (const item of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const from = join(item.parentPath, item.name);
    const path = relative(folder, from);
    if (ignored(path)) continue;
    if (item.isSymbolicLink()) entries.push(await linkEntry(`app/${path}`, from));
    else if (item.isDirectory())
      entries.push({ path: `app/${path}`, type: "directory", mode: 0o755 });
    else if (item.isFile()) entries.push({ path: `app/${path}`, type: "copy", from });
  }
  return entries;
}

/** Arguments after `node`: what package.json's start script or main names, else index.js or server.js. */
export function startArguments(folder: string): string[] {
  const manifestFile = join(folder, "package.json");
  if (existsSync(manifestFile)) {
    const manifest = JSON.parse(readFileSync(manifestFile, "utf8")) as {
      main?: string;
      scripts?: { start?: string };
    };
    const start = manifest.scripts?.start?.match(/^node\s+(.+)$/)?.[1];
    if (start !== undefined) return start.trim().split(/\s+/);
    if (manifest.main !== undefined) return [manifest.main];
  }
  const instead = existsSync(join(folder, "Dockerfile")) ? ` ${dockerfileNotRead}` : "";
  const usual = ["server.js", "server.mjs", "index.js", "index.mjs", "main.js", "main.mjs"];
  const found = usual.find((name) => existsSync(join(folder, name)));
  if (found !== undefined) return [found];
  throw new Error(
    `${folder} does not say what to start: package.json has neither a start script of the form "node FILE" nor "main", ` +
      `and there is none of ${usual.join(", ")}. Add one, or give the command after --.${instead}`,
  );
}

/** For folders that have one. */
const dockerfileNotRead =
  "A Dockerfile is not read here: build with it where Docker is (docker build, docker save) and bring the archive with wherry image load.";
