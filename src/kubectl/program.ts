/** From words to a command: global flags, subcommands, help, and what is said when it fails. */

import type { Invocation, KubectlCommand } from "./command.ts";
import { asError, CommandError, ExitError, explain } from "./errors.ts";
import { duration, type Flag, integer, readFlags, repeat, text, toggle } from "./flags.ts";
import { Session } from "./session.ts";
import type { Surroundings } from "./surroundings.ts";
import { alignTabs, describeStops } from "./tab-writer.ts";

/** A command in the list: its code is loaded when it is called. */
export interface Listed {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly load: () => Promise<KubectlCommand>;
}

export const globalFlags: readonly Flag[] = [
  text("as", "Username to impersonate for the operation"),
  repeat("as-group", "Group to impersonate for the operation; may be repeated"),
  text("as-uid", "UID to impersonate for the operation"),
  repeat("as-user-extra", "User extras to impersonate for the operation (key=value)"),
  text("cache-dir", "Accepted and unused: nothing is cached"),
  text("certificate-authority", "Path to a certificate file for the certificate authority"),
  text("client-certificate", "Path to a client certificate file for TLS"),
  text("client-key", "Path to a client key file for TLS"),
  text("cluster", "The name of the kubeconfig cluster to use"),
  text("context", "The name of the kubeconfig context to use"),
  toggle("disable-compression", "Accepted and unused: answers are not compressed"),
  toggle("insecure-skip-tls-verify", "The server's certificate will not be checked for validity"),
  text("kubeconfig", "Path to the kubeconfig file to use for CLI requests"),
  text("kuberc", "Accepted and unused"),
  duration("log-flush-frequency", "Accepted and unused"),
  toggle("match-server-version", "Accepted and unused"),
  text("namespace", "If present, the namespace scope for this CLI request", { short: "n" }),
  text("password", "Password for basic authentication to the API server"),
  text("profile", "Accepted and unused"),
  text("profile-output", "Accepted and unused"),
  text("request-timeout", "The time to wait before giving up on a single server request", {
    default: "0",
  }),
  text("server", "The address and port of the Kubernetes API server", { short: "s" }),
  text("tls-server-name", "Server name to use for server certificate validation"),
  text("token", "Bearer token for authentication to the API server"),
  text("user", "The name of the kubeconfig user to use"),
  text("username", "Username for basic authentication to the API server"),
  integer("v", "Accepted and unused: there is no log", { short: "v" }),
  text("vmodule", "Accepted and unused"),
  toggle("warnings-as-errors", "Treat warnings received from the server as errors"),
];
const helpFlag: Flag = toggle("help", "Help for the command", { short: "h" });

/** Within two letters, or the beginning of it. */
function isNear(typed: string, name: string): boolean {
  if (name.startsWith(typed)) return true;
  let row = Array.from({ length: name.length + 1 }, (_, i) => i);
  for (let i = 1; i <= typed.length; i++) {
    const next = [i];
    for (let j = 1; j <= name.length; j++) {
      const same = typed[i - 1] === name[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return (row[name.length] ?? 9) <= 2;
}

function unknownCommand(typed: string, path: string, names: readonly string[]): CommandError {
  const near = names.filter((name) => isNear(typed, name));
  const hint =
    near.length === 0 ? "" : `\n\nDid you mean this?\n${near.map((one) => `\t${one}\n`).join("")}`;
  return new CommandError(
    `unknown command ${JSON.stringify(typed)} for ${JSON.stringify(path)}${hint}`,
  );
}

function overview(commands: readonly Listed[]): string {
  const rows = commands.map(({ name, summary }) => `  ${name}\t${summary}\n`).join("");
  return `wherry kubectl (or wherry k) controls Kubernetes clusters, with kubectl's commands and flags.

Available commands:
${alignTabs(rows, describeStops)}
Usage:
  kubectl [flags] [options]

Use "kubectl <command> --help" for more information about a given command.
Use "kubectl options" for a list of global command-line options (applies to all commands).
`;
}

function flagsText(flags: readonly Flag[]): string {
  const rows = flags.map((flag) => {
    const short = flag.short === undefined ? "    " : `-${flag.short}, `;
    const quoted = ["text", "optional"].includes(flag.type);
    const shown =
      flag.type === "switch"
        ? (flag.default ?? "false")
        : flag.type === "list" || flag.type === "repeat"
          ? `[${flag.default ?? ""}]`
          : quoted
            ? `'${flag.default ?? ""}'`
            : (flag.default ?? (flag.type === "duration" ? "0s" : "0"));
    return `    ${short}--${flag.name}=${shown}:\n\t${flag.help ?? ""}\n`;
  });
  return rows.join("\n");
}

function helpText(command: KubectlCommand, path: string): string {
  const parts = [`${command.summary}.`.replace("..", ".")];
  if (command.commands !== undefined) {
    const rows = command.commands.map(({ name, summary }) => `  ${name}\t${summary}\n`).join("");
    parts.push(`Available Commands:\n${alignTabs(rows, describeStops).trimEnd()}`);
  }
  const flags = command.flags ?? [];
  if (flags.length > 0) {
    const sorted = flags.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    parts.push(`Options:\n${flagsText(sorted).trimEnd()}`);
  }
  parts.push(
    `Usage:\n  ${path}${command.usage === undefined ? "" : ` ${command.usage}`}${flags.length > 0 ? " [options]" : ""}`,
  );
  parts.push(
    'Use "kubectl options" for a list of global command-line options (applies to all commands).',
  );
  return `${parts.join("\n\n")}\n`;
}

/** The place of the first word that is no global flag nor its value. */
function firstWord(words: readonly string[]): number {
  const takesValue = new Set(
    globalFlags
      .filter((flag) => flag.type !== "switch")
      .flatMap((flag) => [`--${flag.name}`, ...(flag.short ? [`-${flag.short}`] : [])]),
  );
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") return at;
    if (takesValue.has(word)) at += 1;
  }
  return -1;
}

interface Found {
  readonly command: KubectlCommand;
  readonly path: string;
  readonly words: readonly string[];
}

/** Goes down into subcommands as far as words name them. */
function descend(command: KubectlCommand, path: string, words: readonly string[]): Found {
  const at = firstWord(words);
  const name = at < 0 ? undefined : words[at];
  const inner = command.commands?.find(
    (one) => name !== undefined && (one.name === name || one.aliases?.includes(name)),
  );
  if (inner === undefined) return { command, path, words };
  return descend(inner, `${path} ${inner.name}`, words.toSpliced(at, 1));
}

async function runCommand({ command, path, words }: Found, around: Surroundings): Promise<void> {
  const known = [...(command.flags ?? []), ...globalFlags, helpFlag];
  const unique = known.filter(
    (flag, at) => known.findIndex((one) => one.name === flag.name) === at,
  );
  const shorts = new Set<string>();
  const usable = unique.map((flag) => {
    if (flag.short === undefined) return flag;
    if (shorts.has(flag.short)) return { name: flag.name, type: flag.type } satisfies Flag;
    shorts.add(flag.short);
    return flag;
  });
  let read: ReturnType<typeof readFlags>;
  try {
    read = readFlags(usable, words, command.flagsFirst !== true);
  } catch (error) {
    throw new CommandError(`${asError(error).message}\nSee '${path} --help' for usage.`);
  }
  const { flags, args, dashAt } = read;
  if (flags.switch("help")) {
    around.terminal.out(helpText(command, path));
    return;
  }
  if (command.run === undefined) {
    const [typed] = args;
    if (typed === undefined) {
      around.terminal.out(helpText(command, path));
      throw new ExitError(1);
    }
    throw new CommandError(
      `unknown command ${JSON.stringify(typed)}\nSee '${path} -h' for help and examples`,
    );
  }
  // A command's own --user is no user of the kubeconfig.
  const own = (command.flags ?? []).map(({ name }) => name);
  const session = new Session(around, flags.without(own));
  const given: Invocation = { session, flags, args, dashAt, path };
  try {
    await command.run(given);
  } finally {
    session.close();
  }
}

async function dispatch(
  commands: readonly Listed[],
  words: readonly string[],
  around: Surroundings,
): Promise<void> {
  const at = firstWord(words);
  const name = at < 0 ? undefined : words[at];
  if (name === undefined || (name === "help" && words[at + 1] === undefined)) {
    around.terminal.out(overview(commands));
    return;
  }
  if (name === "options") {
    around.terminal.out(
      `The following options can be passed to any command:\n\n${flagsText(globalFlags)}`,
    );
    return;
  }
  const wanted = name === "help" ? (words[at + 1] ?? "") : name;
  const listed = commands.find((one) => one.name === wanted || one.aliases?.includes(wanted));
  if (listed === undefined) {
    throw unknownCommand(
      wanted,
      "kubectl",
      commands.map((one) => one.name),
    );
  }
  const command = await listed.load();
  const rest = name === "help" ? [...words.slice(at + 2), "--help"] : words.toSpliced(at, 1);
  await runCommand(descend(command, `kubectl ${command.name}`, rest), around);
}

/** Runs what the words say; the exit code. */
export async function runKubectl(
  commands: readonly Listed[],
  words: readonly string[],
  around: Surroundings,
): Promise<number> {
  try {
    await dispatch(commands, words, around);
    return 0;
  } catch (error) {
    const { text, code } = explain(asError(error));
    if (text !== "") around.terminal.error(text.endsWith("\n") ? text : `${text}\n`);
    return code;
  }
}
