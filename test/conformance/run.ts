/** Runs programs to their end. */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Standard output of a program that must succeed. */
export function must(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let error = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      error = (error + text).slice(-20_000);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${program} ${args.join(" ")}: ${signal ?? `exit ${code}`}\n${error}`));
    });
  });
}

/** A program that writes to a log file; its lines are shown to whoever follows it. */
export class Logged {
  readonly ended: Promise<void>;
  readonly #kill: (signal: NodeJS.Signals) => void;

  constructor(
    program: string,
    args: readonly string[],
    log: string,
    onLine: (line: string) => void,
    options: RunOptions = {},
  ) {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    const file = createWriteStream(log);
    child.stdout.pipe(file, { end: false });
    createInterface({ input: child.stdout }).on("line", onLine);
    child.stderr.pipe(file, { end: false });
    this.ended = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", () => file.end(resolve));
    });
    this.#kill = (signal) => child.kill(signal);
  }
  kill(signal: NodeJS.Signals): void {
    this.#kill(signal);
  }
}
