/**
 * `npm run oracle:sequences`: plays the sequences with upstream's API server and controller manager (built here from their published
 * module; needs Go) and writes what they leave behind.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { loadModule } from "./bundle.mjs";

const version = "v1.37.2";
const golden = "test/oracle/sequences/answers.jsonl";
const folder = mkdtempSync(join(tmpdir(), "wherry-sequences-"));
const cache = join(process.cwd(), ".cache", "oracle");
const settledMs = 1_500;
const settleMsMax = 60_000;
const programs = [];

function build(name, source) {
  const program = join(cache, name);
  mkdirSync(cache, { recursive: true });
  execFileSync("go", ["build", "-o", program, source], { cwd: "tools/oracle", stdio: "inherit" });
  return program;
}
function start(program, args, log) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  child.on("exit", () => writeFileSync(join(cache, log), said));
  programs.push(child);
  return child;
}

async function startOriginal() {
  const server = start(build(version, "."), ["-serve"], "apiserver.log");
  const [line] = await new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once("line", (text) => resolve([text]));
    server.once("exit", () =>
      reject(new Error("the API server ended: .cache/oracle/apiserver.log")),
    );
  });
  const { url, token, keyFile, caFile } = JSON.parse(line);
  const kubeconfig = join(folder, "kubeconfig");
  const cluster = { server: url, "insecure-skip-tls-verify": true };
  const context = { cluster: "oracle", user: "oracle" };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "oracle", cluster }],
    users: [{ name: "oracle", user: { token } }],
    contexts: [{ name: "oracle", context }],
    "current-context": "oracle",
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const controllers = [
    `--kubeconfig=${kubeconfig}`,
    `--service-account-private-key-file=${keyFile}`,
    `--root-ca-file=${caFile}`,
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    "--secure-port=0",
    "-v=0",
  ];
  start(build(`controllers-${version}`, "./controllers"), controllers, "controllers.log");
  return { url, token };
}

const placeOf = ({ url, token }) => ({
  async ask(method, path, body, type = "application/json") {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": type };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`${url}${path}`, { method, headers, ...sent });
    return { status: response.status, body: await response.json() };
  },
  async settle(msMin, look) {
    await pause(msMin);
    let seen = await look();
    for (let waited = 0, same = 0; same < settledMs && waited < settleMsMax; waited += 250) {
      await pause(250);
      const now = await look();
      same = now === seen ? same + 250 : 0;
      seen = now;
    }
  },
});

try {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  const { sequences, play } = await loadModule("test/oracle/sequences/index.ts", folder);
  const only = process.argv[2];
  const place = placeOf(await startOriginal());
  await pause(5_000);
  const kept = new Map(
    only === undefined
      ? []
      : readFileSync(golden, "utf8")
          .trim()
          .split("\n")
          .map((line) => [JSON.parse(line).name, line]),
  );
  await Promise.all(
    sequences
      .filter(({ name }) => only === undefined || new RegExp(only).test(name))
      .map(async (sequence) => {
        const seen = [];
        for await (const one of play(sequence, place)) seen.push(one);
        kept.set(sequence.name, JSON.stringify({ name: sequence.name, version, seen }));
        process.stdout.write(`${sequence.name}: ${seen.length} steps\n`);
      }),
  );
  const lines = sequences.flatMap(({ name }) => kept.get(name) ?? []);
  writeFileSync(golden, `${lines.join("\n")}\n`);
} finally {
  for (const child of programs.toReversed()) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
