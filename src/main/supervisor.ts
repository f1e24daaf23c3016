/**
 * Starts the cluster's process in the background and keeps it running: a few lines of shell, a session of their own, restart it when
 * it dies. Progress comes back through a pipe (file descriptor 3) until the cluster is ready.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** The daemon's exit codes that mean: do not start it again. */
export const exitStopped = 0;
export const exitRefused = 78;
/** By SIGTERM: stopped, but for a thread that would not go. */
const exitTerminated = 143;

/**
 * What the shell runs: "$@" is the daemon's command line. A life that lasted over a minute forgives the deaths before it.
 * The pause between deaths grows to 30 s.
 */
const script = `
pause=1
while :; do
  began=$(date +%s)
  "$@"
  code=$?
  if [ $code -eq ${exitTerminated} ]; then exit ${exitStopped}; fi
  if [ $code -eq ${exitStopped} ] || [ $code -eq ${exitRefused} ]; then exit $code; fi
  if [ $(( $(date +%s) - began )) -gt 60 ]; then pause=1; fi
  echo "wherry ended with code $code; starting it again in $pause s"
  sleep $pause
  pause=$(( pause * 2 )); if [ $pause -gt 30 ]; then pause=30; fi
  exec 3>/dev/null
done`;

/** One line of the pipe. */
export type Progress =
  | { readonly say: string }
  | { readonly ready: true }
  | { readonly failed: string };

export interface Started {
  readonly child: ChildProcess;
  /** Calls `each` for every line until the cluster is ready or has failed; resolves with the last, or undefined if it died. */
  follow(each: (progress: Progress) => void): Promise<Progress | undefined>;
  /** Lets go of it: it runs on when we end. */
  release(): void;
}

export function startDaemon(command: readonly string[], logFile: string): Started {
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o750 });
  const log = openSync(logFile, "a", 0o640);
  const child = spawn("/bin/sh", ["-c", script, "wherry", ...command], {
    detached: true,
    stdio: ["ignore", log, log, "pipe"],
    cwd: "/",
    env: { ...process.env, WHERRY_SUPERVISED: "1" },
  });
  closeSync(log);
  const pipe = child.stdio[3] as Readable;
  return {
    child,
    follow: (each) => followLines(pipe, each),
    release: () => {
      pipe.destroy();
      child.unref();
    },
  };
}

function followLines(
  pipe: Readable,
  each: (progress: Progress) => void,
): Promise<Progress | undefined> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: pipe });
    lines.on("line", (line) => {
      const progress = JSON.parse(line) as Progress;
      each(progress);
      if ("say" in progress) return;
      resolve(progress);
      lines.close();
    });
    pipe.on("close", () => resolve(undefined));
    pipe.on("error", () => resolve(undefined));
  });
}
