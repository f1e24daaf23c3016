/**
 * docs/story, page after page, on real containers: every command of a page is run as it stands there and must print what the page says.
 * With WHERRY_TEST_WHOLE (npm run test:machine -- story) all pages run, twice: with kubectl, then with `wherry kubectl`.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { kubectlProgram, type Outcome, run, wherryProgram } from "./programs.ts";
import { describeWith } from "./requirements.ts";
import { isLook, prints, type Step, stepsOf } from "./story-page.ts";

const folder = "docs/story";
const pages = readdirSync(folder)
  .filter((file) => /^\d+-.*\.md$/.test(file))
  .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
const isWhole = process.env["WHERRY_TEST_WHOLE"] === "1";
/** CI has to end in time: of the story it runs what takes under half a minute a page. */
const brief = /^(3|4|5|7|10)-/;
const clients = isWhole ? ["kubectl", "wherry kubectl"] : ["kubectl"];
const lookMsMax = 90_000;
const lookPauseMs = 250;

describeWith(["root", "containerd", "runc", "cni", "nft"], "the story", () => {
  const cluster = new TestCluster("story");
  const bin = join(cluster.folder, "bin");

  beforeAll(async () => {
    await cluster.start();
    const args = ["image", "build", `${folder}/app`, "-t", "story:1", "--name", cluster.name];
    const built = await cluster.wherry(args);
    expect(built.code, built.stderr).toBe(0);
  }, 180_000);
  afterAll(() => cluster.purge(), 180_000);

  /** What "kubectl" and "wherry" mean in the pages. */
  function useClient(client: string): void {
    mkdirSync(bin, { recursive: true });
    const wherry = `exec ${process.execPath} ${wherryProgram}`;
    const kubectl = client === "kubectl" ? `exec ${kubectlProgram()}` : `${wherry} kubectl`;
    for (const [name, line] of Object.entries({ kubectl, wherry })) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${line} "$@"\n`);
      chmodSync(join(bin, name), 0o755);
    }
  }

  function shell({ command }: Step): Promise<Outcome> {
    const env = {
      KUBECONFIG: cluster.kubeconfig,
      ...cluster.kubectlEnvironment,
      PATH: `${bin}:${process.env["PATH"] ?? ""}`,
      WHERRY_NAME: cluster.name,
    };
    return run("/bin/sh", ["-c", `${command} 2>&1`], { env, timeoutMs: 150_000 });
  }

  async function perform(step: Step): Promise<void> {
    const deadline = Date.now() + lookMsMax;
    for (;;) {
      const { stdout } = await shell(step);
      if (prints(stdout, step.expected)) return;
      if (!isLook(step.command) || Date.now() > deadline) {
        expect(stdout, `line ${step.line}: ${step.command}`).toBe(step.expected.join("\n"));
        return;
      }
      await pause(lookPauseMs);
    }
  }

  describe.each(clients)("with %s", (client) => {
    test.each(isWhole ? pages : pages.filter((page) => brief.test(page)))(
      "%s",
      async (page) => {
        useClient(client);
        const steps = stepsOf(readFileSync(join(folder, page), "utf8"));
        expect(steps.length).toBeGreaterThan(3);
        for (const step of steps) await perform(step);
      },
      600_000,
    );
  });
});
