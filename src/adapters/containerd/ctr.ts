/** containerd's own command line, for what CRI cannot do; in the namespace where CRI keeps its images. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { RuntimeError } from "#ports/runtime.ts";

const run = promisify(execFile);
const outputBytesMax = 4 * 1024 * 1024;

export interface Ctr {
  /** The program. */
  readonly ctr: string;
  readonly socket: string;
}

export const ctrArguments = ({ socket }: Ctr, args: readonly string[]): string[] => [
  "-a",
  socket,
  "-n",
  "k8s.io",
  ...args,
];

export const ctrFailure = (args: readonly string[], detail: string): RuntimeError =>
  new RuntimeError("failed", `\`ctr ${args.slice(0, 2).join(" ")}\` failed: ${detail}`);

/** What it prints; rejects with a RuntimeError that says what it says. */
export async function ctr(options: Ctr, args: readonly string[]): Promise<string> {
  try {
    const whole = ctrArguments(options, args);
    const { stdout } = await run(options.ctr, whole, { maxBuffer: outputBytesMax });
    return stdout;
  } catch (error) {
    const detail =
      error instanceof Error && "stderr" in error && String(error.stderr).trim() !== ""
        ? String(error.stderr).trim()
        : String(error);
    throw ctrFailure(args, detail);
  }
}
