/**
 * docs/story, page after page, on real containers: every command of a page is run as it stands there and must print what the page says.
 * With WHERRY_TEST_WHOLE (npm run test:machine -- story) all pages run, twice: with kubectl, then with `wherry kubectl`.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { kubectlProgram, type Outcome, run, wherryProgram } from "./programs.ts";
import { describeWith } from "./requirements.ts";
import { clusterOf, isLook, prints, type Step, stepsOf } from "./story-page.ts";

const folder = "docs/story";
const pages = readdirSync(folder)
  .filter((file) => /^\d+-.*\.md$/.test(file))
  .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
const isWhole = process.env["WHERRY_TEST_WHOLE"] === "1";
/** CI has to end in time: of the story it runs what takes under half a minute a page. */
const brief = /^(3|4|7|9|10)-/;
const clients = isWhole ? ["kubectl", "wherry kubectl"] : ["kubectl"];
const lookMsMax = 90_000;
const lookPauseMs = 250;

/** What "kubectl" and "wherry" mean in the pages. */
function useClient(cluster: TestCluster, client: string): void {
  const bin = join(cluster.folder, "bin");
  mkdirSync(bin, { recursive: true });
  const wherry = `exec ${process.execPath} ${wherryProgram}`;
  const kubectl = client === "kubectl" ? `exec ${kubectlProgram()}` : `${wherry} kubectl`;
  for (const [name, line] of Object.entries({ kubectl, wherry })) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${line} "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
}

function shell(cluster: TestCluster, { command }: Step): Promise<Outcome> {
  const env = {
    KUBECONFIG: cluster.kubeconfig,
    ...cluster.kubectlEnvironment,
    PATH: `${join(cluster.folder, "bin")}:${process.env["PATH"] ?? ""}`,
  };
  return run("/bin/sh", ["-c", `${command} 2>&1`], { env, timeoutMs: 150_000 });
}

async function perform(cluster: TestCluster, step: Step): Promise<void> {
  const deadline = Date.now() + lookMsMax;
  for (;;) {
    const { stdout } = await shell(cluster, step);
    if (prints(stdout, step.expected)) return;
    if (!isLook(step.command) || Date.now() > deadline) {
      expect(stdout, `line ${step.line}: ${step.command}`).toBe(step.expected.join("\n"));
      return;
    }
    await pause(lookPauseMs);
  }
}

async function start(cluster: TestCluster): Promise<void> {
  await cluster.start();
  const args = ["image", "build", `${folder}/app`, "-t", "story:1", "--name", cluster.name];
  const built = await cluster.wherry(args);
  expect(built.code, built.stderr).toBe(0);
}

describeWith(["root", "containerd", "runc", "cni", "nft"], "the story", () => {
  const usual = new TestCluster("story");
  let own: TestCluster | undefined;

  beforeAll(() => start(usual), 180_000);
  afterEach(async () => {
    const cluster = own;
    own = undefined;
    await cluster?.purge();
  }, 180_000);
  afterAll(() => usual.purge(), 180_000);

  /** The one that all pages share, or one as the page wants it, by the name that its commands use. */
  async function clusterFor(page: string): Promise<TestCluster> {
    const wanted = clusterOf(page);
    if (wanted === undefined) return usual;
    const [option, name, ...more] = wanted;
    expect(option, "a page that wants a cluster of its own names it first").toBe("--name");
    own = new TestCluster(name ?? "", more);
    await start(own);
    return own;
  }

  describe.each(clients)("with %s", (client) => {
    test.each(isWhole ? pages : pages.filter((page) => brief.test(page)))(
      "%s",
      async (file) => {
        const page = readFileSync(join(folder, file), "utf8");
        const cluster = await clusterFor(page);
        useClient(cluster, client);
        const steps = stepsOf(page);
        expect(steps.length).toBeGreaterThan(3);
        for (const step of steps) await perform(cluster, step);
      },
      600_000,
    );
  });
});
