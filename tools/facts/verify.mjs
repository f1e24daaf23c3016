/**
 * Verifies that the generated facts are what the generator makes: compares the hashes in
 * manifest.json with the generator's sources and its outputs. With --regenerate, and where Go is
 * installed, it also generates them again and compares bytes.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const generated = join(here, "..", "..", "src", "api", "generated");
const command = "cd tools/facts && go run . -out ../../src/api/generated -manifest manifest.json";

function filesUnder(folder) {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => name.split(sep).join("/"))
    .sort();
}

const hashOf = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** What differs between the hashes that are expected and the files that are there. */
function differences(expected, folder, names) {
  const found = [];
  for (const name of names) {
    if (!Object.hasOwn(expected, name))
      found.push(`${name}: is there, but the manifest does not know it`);
    else if (hashOf(join(folder, name)) !== expected[name]) found.push(`${name}: was changed`);
  }
  for (const name of Object.keys(expected)) {
    if (!names.includes(name)) found.push(`${name}: is missing`);
  }
  return found;
}

function regenerated(manifestPath) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-facts-"));
  try {
    const out = join(folder, "generated");
    const again = join(folder, "manifest.json");
    const args = ["run", ".", "-out", out, "-manifest", again];
    const result = spawnSync("go", args, { cwd: here, encoding: "utf8" });
    if (result.status !== 0) return [`the generator failed: ${result.stderr}`];
    const { outputs } = JSON.parse(readFileSync(again, "utf8"));
    const found = differences(outputs, generated, filesUnder(generated));
    if (hashOf(again) !== hashOf(manifestPath)) found.push("manifest.json: differs from a new one");
    return found;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const manifestPath = join(here, "manifest.json");
const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
const sources = readdirSync(here).filter((name) => name.endsWith(".go") || name === "go.mod");
const problems = [
  ...differences(manifest.generator, here, sources).map((text) => `tools/facts/${text}`),
  ...differences(manifest.outputs, generated, filesUnder(generated)).map(
    (text) => `${relative(join(here, "..", ".."), generated)}/${text}`,
  ),
];
if (process.argv.includes("--regenerate")) {
  if (spawnSync("go", ["version"]).status === 0) problems.push(...regenerated(manifestPath));
  else process.stdout.write("facts: Go is not installed, so only the hashes are compared\n");
}
if (problems.length > 0) {
  process.stderr.write(
    `${problems.join("\n")}\nThe facts are stale; regenerate them: ${command}\n`,
  );
  process.exit(1);
}
const count = Object.keys(manifest.outputs).length;
process.stdout.write(`facts: ${count} generated files match the manifest\n`);
