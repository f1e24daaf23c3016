/** A cluster of a test's own: its name, data folder and kubeconfig; started and purged as a user would. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import {
  kubectlProgram,
  type Outcome,
  Running,
  type RunOptions,
  run,
  wherryProgram,
} from "./programs.ts";

export class TestCluster {
  readonly name: string;
  readonly folder: string;
  readonly kubeconfig: string;
  readonly #upArguments: readonly string[];

  constructor(name: string, upArguments: readonly string[] = []) {
    this.name = name;
    this.folder = mkdtempSync(join(tmpdir(), `wh-${name}-`));
    this.kubeconfig = join(this.folder, "kubeconfig");
    this.#upArguments = upArguments;
  }
  get context(): string {
    return this.name === "wherry" ? "wherry" : `wherry-${this.name}`;
  }
  /** As given to `wherry up`; where the data lie on a disk of their own, it is a link. */
  get dataDirectory(): string {
    return join(this.folder, "data");
  }

  /** Its own discovery cache: kubectl keys that by address, and the next cluster has the same one with other kinds. */
  get kubectlEnvironment(): NodeJS.ProcessEnv {
    return { KUBECACHEDIR: join(this.folder, "cache") };
  }

  wherry(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(process.execPath, [wherryProgram, ...args], {
      ...options,
      env: { KUBECONFIG: this.kubeconfig, ...options.env },
    });
  }
  up(...more: string[]): Promise<Outcome> {
    const data = ["--data-dir", this.dataDirectory];
    return this.wherry(["up", "--name", this.name, ...data, ...this.#upArguments, ...more]);
  }
  down(...more: string[]): Promise<Outcome> {
    return this.wherry(["down", "--name", this.name, ...more]);
  }
  async start(...more: string[]): Promise<void> {
    const outcome = await this.up(...more);
    expect(outcome.code, `${outcome.stdout}${outcome.stderr}`).toBe(0);
  }
  /** Down with everything it left; for afterAll. */
  async purge(): Promise<void> {
    const outcome = await this.down("--purge");
    rmSync(this.folder, { recursive: true, force: true });
    expect(outcome.code, `${outcome.stdout}${outcome.stderr}`).toBe(0);
  }

  kubectl(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(kubectlProgram(), ["--kubeconfig", this.kubeconfig, ...args], {
      ...options,
      env: { ...this.kubectlEnvironment, ...options.env },
    });
  }
  /** Standard output of a kubectl that must succeed. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(args);
    expect(code, `kubectl ${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
    return stdout;
  }
  /** What kubectl says when it must fail. */
  async refused(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(args);
    expect(code, `kubectl ${args.join(" ")} was expected to fail\n${stdout}`).not.toBe(0);
    return `${stdout}${stderr}`;
  }
  /** An image of nothing but a shell, its tools and a process that stays: tools:1. */
  async buildTools(): Promise<void> {
    const folder = join(this.folder, "tools");
    mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), '{"name":"tools","main":"main.js"}');
    writeFileSync(join(folder, "main.js"), "setInterval(() => {}, 1e9);");
    const built = ["image", "build", folder, "-t", "tools:1", "--name", this.name];
    const { code, stderr } = await this.wherry(built);
    expect(code, stderr).toBe(0);
  }
  async apply(manifest: string): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(["apply", "-f", "-"], { input: manifest });
    expect(code, stderr).toBe(0);
    return stdout;
  }
  /** Of all pods there are. */
  async podUids(): Promise<readonly string[]> {
    const path = "jsonpath={.items[*].metadata.uid}";
    return (await this.ok("get", "pods", "-A", "-o", path)).split(" ").filter(Boolean);
  }
  background(...args: string[]): Running {
    const all = ["--kubeconfig", this.kubeconfig, ...args];
    return new Running(kubectlProgram(), all, this.kubectlEnvironment);
  }
  /**
   * Follows a watch of one object's JSONPath until it prints a value that is wanted. A list of one: `kubectl get NAME -w` leaves out the
   * first event of its watch, and with it what changed since it got the object.
   */
  async until(what: string, path: string, wanted: RegExp, ...more: string[]): Promise<string> {
    const [kind = "", name = ""] = what.split("/");
    const watch = this.background(
      "get",
      kind,
      `--field-selector=metadata.name=${name}`,
      ...more,
      "-w",
      "-o",
      `jsonpath={${path}}{"\\n"}`,
    );
    try {
      return await watch.prints(wanted);
    } finally {
      await watch.stop("SIGKILL");
    }
  }
}
