/**
 * `npm run oracle:scheduling`: asks upstream's scheduler framework (built here from its published module; needs Go) about the clusters of
 * test/oracle/scheduling/clusters.ts and writes its answers beside them.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModule } from "./bundle.mjs";

const version = "v1.37.2";
const folder = mkdtempSync(join(tmpdir(), "wherry-oracle-"));
const here = "test/oracle/scheduling";

try {
  const { clusterCount, drawCluster } = await loadModule(join(here, "clusters.ts"), folder);
  const { tidy } = await loadModule(join(here, "answer.ts"), folder);
  const clusters = join(folder, "clusters");
  const answers = join(folder, "answers");
  const drawn = Array.from({ length: clusterCount }, (_, seed) => drawCluster(seed));
  writeFileSync(clusters, drawn.map((one) => JSON.stringify(one)).join("\n"));
  const program = join(".cache", "oracle", `scheduling-${version}`);
  mkdirSync(join(".cache", "oracle"), { recursive: true });
  execFileSync("go", ["build", "-o", join(process.cwd(), program), "./scheduler"], {
    cwd: "tools/oracle",
    stdio: "inherit",
  });
  execFileSync(program, ["-clusters", clusters, "-answers", answers], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const lines = readFileSync(answers, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.stringify(tidy(JSON.parse(line))));
  writeFileSync(join(here, "answers.jsonl"), `${lines.join("\n")}\n`);
  writeFileSync(join(here, "VERSION"), `${version}\n`);
  process.stdout.write(`${lines.length} answers of Kubernetes ${version} in ${here}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
