/**
 * `npm run oracle`: asks upstream's API server (built here from its published module; needs Go) the whole corpus and writes the golden
 * answers. `NOTE=1 npx vitest run test/oracle` then notes what we answer otherwise, for whoever mends it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModule } from "./bundle.mjs";

const version = "v1.37.2";
const folder = mkdtempSync(join(tmpdir(), "wherry-oracle-"));
const golden = "test/oracle/golden";

/** Ids are unique among a kind's requests: so are the ids that these speak of. */
function inKind(kind, ask) {
  const refer = (text) => text?.replaceAll("{{", `{{${kind}: `);
  const from = ask.from === undefined ? {} : { from: `${kind}: ${ask.from}` };
  return {
    ...ask,
    ...from,
    like: undefined,
    id: `${kind}: ${ask.id}`,
    path: refer(ask.path),
    body: refer(ask.body),
  };
}

try {
  const { corpus } = await loadModule("test/oracle/corpus.ts", folder);
  const { keep } = await loadModule("test/oracle/answers.ts", folder);
  const kinds = corpus("test/oracle/corpus");
  const requests = join(folder, "requests");
  const answers = join(folder, "answers");
  const asks = kinds.flatMap((kind) => kind.asks.map((ask) => inKind(kind.name, ask)));
  writeFileSync(requests, asks.map((ask) => JSON.stringify(ask)).join("\n"));
  // Its name is the field manager of what the original writes by itself.
  const program = join(".cache", "oracle", version.slice(1), "kube-apiserver");
  mkdirSync(join(program, ".."), { recursive: true });
  execFileSync("go", ["build", "-o", join(process.cwd(), program), "."], {
    cwd: "tools/oracle",
    stdio: "inherit",
  });
  execFileSync(program, ["-requests", requests, "-answers", answers], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const raw = new Map(
    readFileSync(answers, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .map((one) => [one.id, one]),
  );
  rmSync(golden, { recursive: true, force: true });
  mkdirSync(golden, { recursive: true });
  for (const kind of kinds) {
    const kept = await keep(kind, (ask) => raw.get(`${kind.name}: ${ask.id}`));
    const lines = kept.map((one) => JSON.stringify(one));
    writeFileSync(join(golden, `${kind.name}.jsonl`), `${lines.join("\n")}\n`);
  }
  writeFileSync(join(golden, "VERSION"), `${version}\n`);
  process.stdout.write(`${asks.length} answers of Kubernetes ${version} in ${golden}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
