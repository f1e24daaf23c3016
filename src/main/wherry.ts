#!/usr/bin/env node
/** The program `wherry`: finds the command, runs it, turns what went wrong into a sentence and an exit code (2: used wrongly). */
import { type Command, commandHelp, distance, readArguments, UsageError } from "./arguments.ts";
import { version } from "./version.ts";

/** Loaded when asked for, so that `wherry --help` is quick. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import("./up-command.ts")).upCommand,
  down: async () => (await import("./down-command.ts")).downCommand,
  status: async () => (await import("./status-command.ts")).statusCommand,
  join: async () => (await import("./join-command.ts")).joinCommand,
  token: async () => (await import("./token-command.ts")).tokenCommand,
  image: async () => (await import("./image-command.ts")).imageCommand,
  compose: async () => (await import("./compose-command.ts")).composeCommand,
};

/** kubectl's words are its own: it reads them itself. */
const runKubectl = async (words: readonly string[]): Promise<number> =>
  (await import("./kubectl/run.ts")).runSystemKubectl(words);

const overview = `wherry ${version}: Kubernetes, whole, on this machine.

Usage: wherry COMMAND [options]

  up       starts a cluster (or returns at once if it runs) and points kubectl at it
  down     stops it; its pods stop too (--purge: and deletes its data)
  status   what runs where, versions, health, resource use
  join     makes this machine a node of a cluster that runs elsewhere
  token    what other machines join with: create, list, delete
  image    images without Docker: build, load, list, remove, pull
  compose  a docker compose file on the cluster: up, convert, down
  kubectl  kubectl's commands, for machines that have none (also: wherry k)

wherry COMMAND --help says more.
`;

async function main(words: readonly string[]): Promise<number> {
  const [name = "--help", ...rest] = words;
  if (["--help", "-h", "help"].includes(name)) {
    process.stdout.write(overview);
    return 0;
  }
  if (["--version", "-v", "version"].includes(name)) {
    process.stdout.write(`wherry ${version}\n`);
    return 0;
  }
  if (name === "kubectl" || name === "k") return runKubectl(rest);
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) {
    const near = [...Object.keys(commands), "kubectl"].find((known) => distance(known, name) <= 2);
    const hint = near === undefined ? "" : ` Did you mean ${near}?`;
    throw new UsageError(`wherry ${name}: there is no such command.${hint} See wherry --help.`);
  }
  const command = await load();
  const options = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (options.includes("--help") || options.includes("-h")) {
    process.stdout.write(commandHelp(command));
    return 0;
  }
  return command.run(readArguments(command, rest));
}

function explain(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  const details = process.env["WHERRY_DEBUG"] === undefined ? undefined : (error as Error).stack;
  process.stderr.write(`${details ?? (error instanceof Error ? error.message : String(error))}\n`);
  return 1;
}

process.exitCode = await main(process.argv.slice(2)).catch(explain);
