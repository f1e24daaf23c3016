/**
 * Builds upstream's programs from its published Go modules (suite/go.mod): the end-to-end suite, kubectl and the programs of the test
 * images. Kept until go.mod, go.sum or the Go release changes; a cold build takes many minutes.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { programFolder, suiteModule } from "./paths.ts";
import { must } from "./run.ts";

const kubernetes = "k8s.io/kubernetes";

/** Go packages of the programs that go into images or drive the cluster. */
const tools = {
  kubectl: `${kubernetes}/cmd/kubectl`,
  agnhost: `${kubernetes}/test/images/agnhost`,
  nonewprivs: `${kubernetes}/test/images/nonewprivs`,
  "regression-issue-74839": `${kubernetes}/test/images/regression-issue-74839`,
  "sample-apiserver": "k8s.io/sample-apiserver",
} as const;
export type Tool = keyof typeof tools;

export const suiteProgram = join(programFolder, "e2e.test");
export const toolProgram = (tool: Tool): string => join(programFolder, tool);

// Go's own defaults throughout, so that all programs share what was compiled for one of them.
const inModule = { cwd: suiteModule };

/** The folder of an upstream module's sources, for the files that its images carry. */
export async function moduleFolder(): Promise<string> {
  return (await must("go", ["list", "-m", "-f", "{{.Dir}}", kubernetes], inModule)).trim();
}

/** Compiles what is missing or old; gives the suite's name: its release and the first digits of its digest. */
export async function buildPrograms(say: (line: string) => void): Promise<string> {
  mkdirSync(programFolder, { recursive: true });
  const goVersion = await must("go", ["env", "GOVERSION"], inModule);
  const inputs = ["go.mod", "go.sum", "suite_test.go"].map((file) =>
    readFileSync(join(suiteModule, file)),
  );
  const key = createHash("sha256");
  for (const input of [goVersion, ...inputs]) key.update(input);
  const stamp = join(programFolder, "built");
  const wanted = key.digest("hex");
  const programs = [suiteProgram, ...Object.keys(tools).map((tool) => join(programFolder, tool))];
  const current = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  const version = suiteVersion(inputs[0]?.toString() ?? "");
  if (!current || !programs.every((program) => existsSync(program))) {
    await compile(version, say);
    writeFileSync(stamp, wanted);
  }
  const digest = createHash("sha256").update(readFileSync(suiteProgram)).digest("hex");
  return `${version} sha256:${digest.slice(0, 12)}`;
}

export function suiteVersion(goMod: string): string {
  const version = /k8s\.io\/kubernetes (v\S+)/.exec(goMod)?.[1];
  if (version === undefined) throw new Error("suite/go.mod does not require k8s.io/kubernetes");
  return version;
}

async function compile(version: string, say: (line: string) => void): Promise<void> {
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(version) ?? [];
  const base = "k8s.io/component-base/version";
  const facts = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const set = Object.entries(facts).map(([name, value]) => `-X ${base}.${name}=${value}`);
  const link = ["-ldflags", ["-s", "-w", ...set].join(" ")];
  for (const [tool, path] of Object.entries(tools)) {
    say(`building ${tool} (${path})`);
    await must("nice", ["go", "build", ...link, "-o", join(programFolder, tool), path], inModule);
  }
  const suite = `${kubernetes}/test/e2e`;
  say(`building the suite (${suite}); the first time this takes many minutes`);
  await must(
    "nice",
    ["go", "test", "-c", "-vet=off", ...link, "-o", suiteProgram, suite],
    inModule,
  );
}
