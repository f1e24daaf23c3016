/**
 * What simulated containers run when nobody says otherwise: sleep, true, false, echo and small shell
 * scripts do what they say; everything else runs for ever, answers HTTP on its declared ports, and ends
 * well on SIGTERM.
 */
import type { ContainerFiles, Program, SimulatedProcess } from "./runtime-process.ts";

/** Written by the kubelet onto each container: the ports of its spec, as JSON. */
const portsAnnotation = "io.kubernetes.container.ports";
const stepsMax = 10_000;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The TCP ports that the container's spec declares. */
export function declaredPorts(annotations: Readonly<Record<string, string>>): readonly number[] {
  const text = annotations[portsAnnotation];
  if (text === undefined) return [];
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: unknown) => {
    if (typeof item !== "object" || item === null) return [];
    const [port, protocol]: unknown[] = [
      Reflect.get(item, "containerPort"),
      Reflect.get(item, "protocol"),
    ];
    const isTcp = protocol === undefined || protocol === "TCP";
    return typeof port === "number" && isTcp ? [port] : [];
  });
}

/** Serves until told to end: what a web server, a database, anything long-running amounts to. */
export function serveForever(process: SimulatedProcess): void {
  process.onTerminate(() => process.exit(0));
  const { container, sandbox, files } = process.surroundings;
  files.opaque = true;
  for (const port of declaredPorts(container.annotations)) {
    // A port that cannot be had ends the process by itself.
    void process.serve(port, async (request) => ({
      status: 200,
      headers: { "content-type": "text/plain" },
      body: encoder.encode(`${sandbox.hostname} ${request.method} ${request.target}\n`),
    }));
  }
}

/** Seconds of `sleep`'s words: "1", "0.5", "2m", "infinity"; undefined if they are none. */
function sleepMs(words: readonly string[]): number | undefined {
  const units: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 };
  let seconds = 0;
  for (const word of words) {
    if (word === "infinity" || word === "inf") return Infinity;
    const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(word);
    if (match === null) return undefined;
    seconds += Number(match[1]) * (units[match[2] ?? ""] ?? 1);
  }
  return words.length === 0 ? undefined : seconds * 1000;
}

const unknownCommand = Symbol("unknown command");
type CommandResult = number | typeof unknownCommand;
type Put = (text: string) => Promise<void> | void;

async function fileCommand(
  [name = "", ...words]: readonly string[],
  files: ContainerFiles,
  put: Put,
  complain: (text: string) => void,
): Promise<CommandResult> {
  const paths = words.filter((word) => !word.startsWith("-"));
  if (name === "rm") {
    for (const path of paths) await files.remove(path);
    return 0;
  }
  if (name === "touch") {
    for (const path of paths) {
      if (!(await files.exists(path))) await files.write(path, new Uint8Array(0));
    }
    return 0;
  }
  if (name === "test" || name === "[") {
    const [flag, path = ""] = words;
    if (flag !== "-e" && flag !== "-f" && flag !== "-d") return unknownCommand;
    return files.opaque || (await files.exists(path)) ? 0 : 1;
  }
  for (const path of paths) {
    const bytes = await files.read(path);
    if (bytes === undefined && !files.opaque) {
      complain(`cat: can't open '${path}': No such file or directory\n`);
      return 1;
    }
    if (bytes !== undefined) await put(decoder.decode(bytes));
  }
  return 0;
}

/** Copies standard input to where output goes, as `cat` alone does. */
async function copyInput(process: SimulatedProcess, put: Put): Promise<number> {
  for (;;) {
    const bytes = await process.input.read();
    if (bytes === undefined) return 0;
    await put(decoder.decode(bytes));
  }
}

const fileCommands = ["rm", "touch", "test", "[", "cat"];

/** One simple command. `put` takes its output. */
async function runCommand(
  process: SimulatedProcess,
  words: readonly string[],
  put: Put,
): Promise<CommandResult> {
  const [path = "", ...rest] = words;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const { files, sandbox, container } = process.surroundings;
  if (name === "cat" && rest.length === 0) return copyInput(process, put);
  if (fileCommands.includes(name)) {
    const complain = (text: string): void => process.write(encoder.encode(text), "stderr");
    return fileCommand([name, ...rest], files, put, complain);
  }
  switch (name) {
    case "true":
    case ":":
    case "mkdir":
    case "chmod":
      return 0;
    case "false":
      return 1;
    case "echo":
      await put(`${rest.filter((word) => word !== "-n").join(" ")}${rest[0] === "-n" ? "" : "\n"}`);
      return 0;
    case "hostname":
      await put(`${sandbox.hostname}\n`);
      return 0;
    case "env":
    case "printenv":
      await put(container.env.map((item) => `${item.name}=${item.value}\n`).join(""));
      return 0;
    case "sleep": {
      const ms = sleepMs(rest);
      if (ms === undefined) return 1;
      // For ever: only a signal ends it.
      await (ms === Infinity ? new Promise<never>(() => undefined) : process.sleep(ms));
      return 0;
    }
    case "sh":
    case "bash":
    case "ash":
    case "dash":
      return rest[0] === "-c" || rest[0] === "-ec" ? runScript(process, rest[1] ?? "", put) : 0;
    default:
      return unknownCommand;
  }
}

interface Step {
  readonly joint: ";" | "&&" | "||";
  readonly words: readonly string[];
  readonly redirect: { readonly path: string; readonly append: boolean } | undefined;
}

const beyondUs = /^(while|until|for|if|case|function|\{|\(|trap|set)$/;

/** A script as steps; undefined if it needs a real shell (loops, pipes, background jobs, …). */
export function parseScript(
  script: string,
  variable: (name: string) => string | undefined,
): readonly Step[] | undefined {
  const steps: Step[] = [];
  let joint: Step["joint"] = ";";
  let words: string[] = [];
  const endStep = (next: Step["joint"]): boolean => {
    const step = readStep(words, joint);
    if (step === undefined) return false;
    if (step.words.length > 0) steps.push(step);
    joint = next;
    words = [];
    return true;
  };
  const token =
    /[^\S\n]*(\n|;|&&|\|\||>>|>|[|&<(){}`]|(?:[^\s;&|<>(){}`"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\$\{\w+\})+)/y;
  const text = script.replace(/\\\n/g, " ").trimEnd();
  while (token.lastIndex < text.length) {
    const match = token.exec(text);
    if (match === null) return undefined;
    const [, part = ""] = match;
    if (part === "\n" || part === ";") {
      if (!endStep(";")) return undefined;
    } else if (part === "&&" || part === "||") {
      if (!endStep(part)) return undefined;
    } else if (/^[|&<(){}`]$/.test(part)) {
      return undefined;
    } else {
      words.push(part === ">" || part === ">>" ? part : expand(part, variable));
    }
  }
  return endStep(";") ? steps : undefined;
}

function readStep(words: readonly string[], joint: Step["joint"]): Step | undefined {
  if (words.some((word) => word.includes("$("))) return undefined;
  if (beyondUs.test(words[0] ?? "")) return undefined;
  const arrow = words.findIndex((word) => word === ">" || word === ">>");
  if (arrow < 0) return { joint, words, redirect: undefined };
  const path = words[arrow + 1];
  if (path === undefined || arrow + 2 !== words.length) return undefined;
  const redirect = { path, append: words[arrow] === ">>" };
  return { joint, words: words.slice(0, arrow), redirect };
}

function expand(word: string, variable: (name: string) => string | undefined): string {
  return word.replace(
    /'([^']*)'|\\(.)|\$\{(\w+)\}|\$(\w+)|"/g,
    (_, single?: string, escaped?: string, braced?: string, bare?: string) =>
      single ?? escaped ?? variable(braced ?? bare ?? "") ?? "",
  );
}

/** Runs the steps; a script or command that is beyond the simulation gives `unknownCommand`. */
async function runScript(
  process: SimulatedProcess,
  script: string,
  put: Put,
): Promise<CommandResult> {
  const steps = parseScript(script, (name) => process.variable(name));
  if (steps === undefined || steps.length > stepsMax) return unknownCommand;
  let status = 0;
  for (const { joint, words, redirect } of steps) {
    if (process.over) return status;
    if ((joint === "&&" && status !== 0) || (joint === "||" && status === 0)) continue;
    const command = words[0] === "exec" ? words.slice(1) : words;
    if (command[0] === "exit") return Number(command[1] ?? status) & 255;
    const { files } = process.surroundings;
    let text = "";
    const result = await runCommand(
      process,
      command,
      redirect === undefined
        ? put
        : (more) => {
            text += more;
          },
    );
    if (result === unknownCommand) return unknownCommand;
    if (redirect !== undefined) {
      const before = redirect.append ? await files.read(redirect.path) : undefined;
      const all = (before === undefined ? "" : decoder.decode(before)) + text;
      await files.write(redirect.path, encoder.encode(all));
    }
    status = result;
  }
  return status;
}

/** Runs it to its end, or, where the simulation does not know it, does `otherwise`. */
function runOr(process: SimulatedProcess, otherwise: () => void): void {
  const put: Put = (text) => process.write(encoder.encode(text));
  runCommand(process, process.command, put).then(
    (result) => {
      if (result === unknownCommand) otherwise();
      else process.exit(result);
    },
    (error: unknown) => {
      process.print(String(error), "stderr");
      process.exit(126);
    },
  );
}

/** A command of an image that is only a name here: it is taken to have done its work. */
export const defaultExec = (process: SimulatedProcess): void =>
  runOr(process, () => process.exit(0));

export const defaultProgram: Program = {
  start: (process) => {
    if (process.command.length === 0) serveForever(process);
    else runOr(process, () => serveForever(process));
  },
};
