/** A program of the simulated runtime that shows a test what a container finds at a path; stops when it is asked to. */
import type { ProgramRule } from "#adapters/memory/runtime.ts";

/** Runs in the containers named "show"; `read` asks the one that started last, "" before any did or while the file is missing. */
export function fileShowing(path: string): { program: ProgramRule; read: () => Promise<string> } {
  let read: () => Promise<string> = () => Promise.resolve("");
  const program: ProgramRule = {
    matches: ({ name }) => name === "show",
    program: {
      async start(started) {
        started.onTerminate(() => started.exit(0));
        const { files } = started.surroundings;
        read = async () => new TextDecoder().decode((await files.read(path)) ?? new Uint8Array());
      },
    },
  };
  return { program, read: () => read() };
}
