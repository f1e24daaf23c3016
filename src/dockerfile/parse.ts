/**
 * A Dockerfile's text as instructions: parser directives, comments, continued lines, flags, the JSON form, here-documents
 * (Dockerfile reference, "Format"). Says nothing about what the instructions mean. Pure.
 */

/** A Dockerfile, or a wish about it, that cannot be built; the message names the line. */
export class DockerfileError extends Error {
  override readonly name = "DockerfileError";
}

export interface Heredoc {
  readonly name: string;
  readonly content: string;
  /** Variables in it are replaced: its name was not quoted. */
  readonly isExpanded: boolean;
}

export interface Flag {
  readonly name: string;
  /** "" when there is none. */
  readonly value: string;
}

export interface Instruction {
  /** In capitals. */
  readonly keyword: string;
  /** From 1. */
  readonly line: number;
  readonly flags: readonly Flag[];
  /** What follows keyword and flags, continued lines joined. */
  readonly text: string;
  /** The JSON form, ["a", "b"], taken apart. */
  readonly list?: readonly string[];
  readonly heredocs: readonly Heredoc[];
}

export interface Dockerfile {
  readonly instructions: readonly Instruction[];
  /** Of lines and of characters. */
  readonly escape: "\\" | "`";
}

export const failAt = (line: number, what: string): never => {
  throw new DockerfileError(`Dockerfile:${line}: ${what}`);
};

const keywords = new Set([
  ..."ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER".split(" "),
  ..."ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split(" "),
]);
const flagged: Readonly<Record<string, readonly string[]>> = {
  ADD: ["chown", "chmod", "link", "checksum", "exclude"],
  COPY: ["from", "chown", "chmod", "link", "exclude"],
  FROM: ["platform"],
  HEALTHCHECK: ["interval", "timeout", "start-period", "start-interval", "retries"],
  RUN: ["mount", "network", "security"],
};
const withHeredocs = new Set(["RUN", "COPY", "ADD"]);
const directive = /^#\s*([a-zA-Z][\w-]*)\s*=\s*(.*?)\s*$/;
const heredocWord = /^\d*<<(-?)(?:"([A-Za-z_][\w.]*)"|'([A-Za-z_][\w.]*)'|([A-Za-z_][\w.]*))$/;

/** The words of a text as a shell would part them, quotes and escapes left in place. */
export function shellWords(text: string, escape: string): string[] {
  const words: string[] = [];
  let word = "";
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string;
    if (letter === escape && quote !== "'") {
      word += letter + (text[++at] ?? "");
    } else if (quote === "" && /\s/.test(letter)) {
      if (word !== "") words.push(word);
      word = "";
    } else {
      if (letter === quote) quote = "";
      else if (quote === "" && (letter === '"' || letter === "'")) quote = letter;
      word += letter;
    }
  }
  if (word !== "") words.push(word);
  return words;
}

class Lines {
  readonly #lines: readonly string[];
  #at = 0;
  constructor(text: string) {
    this.#lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  }
  /** Of the line that comes next, from 1. */
  get number(): number {
    return this.#at + 1;
  }
  next(): string | undefined {
    return this.#lines[this.#at++];
  }
  back(): void {
    this.#at--;
  }
}

export function parseDockerfile(text: string): Dockerfile {
  const lines = new Lines(text);
  const escape = readDirectives(lines);
  const instructions: Instruction[] = [];
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const number = lines.number - 1;
    instructions.push(instructionOf(number, joined(line, lines, escape), lines, escape));
  }
  if (instructions.length === 0) throw new DockerfileError("the Dockerfile has no instructions");
  return { instructions, escape };
}

function readDirectives(lines: Lines): "\\" | "`" {
  let escape: "\\" | "`" = "\\";
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const found = directive.exec(line);
    if (found === null) break;
    if (found[1]?.toLowerCase() !== "escape") continue;
    if (found[2] !== "\\" && found[2] !== "`")
      return failAt(lines.number - 1, `invalid escape token '${found[2]}' does not match \` or \\`);
    escape = found[2];
  }
  lines.back();
  return escape;
}

/** A line with those that continue it; comments and empty lines among them are skipped. */
function joined(first: string, lines: Lines, escape: string): string {
  const goesOn = (line: string): boolean => line.trimEnd().endsWith(escape);
  const withoutEnd = (line: string): string => line.trimEnd().slice(0, -1);
  let whole = "";
  let line: string | undefined = first;
  while (line !== undefined && goesOn(line)) {
    whole += withoutEnd(line);
    do line = lines.next();
    while (line !== undefined && /^\s*(#|$)/.test(line));
  }
  return (whole + (line ?? "")).trim();
}

function instructionOf(line: number, whole: string, lines: Lines, escape: string): Instruction {
  const [, word = "", rest = ""] = /^(\S+)\s*([^]*)$/.exec(whole) ?? [];
  const keyword = word.toUpperCase();
  if (!keywords.has(keyword)) return failAt(line, `unknown instruction: ${word}`);
  const { flags, text } = takeFlags(line, keyword, rest);
  if (text === "" && keyword !== "MAINTAINER")
    return failAt(line, `${keyword} requires at least one argument`);
  const heredocs = withHeredocs.has(keyword) ? readHeredocs(line, text, lines, escape) : [];
  const list = heredocs.length === 0 ? jsonList(text) : undefined;
  return { keyword, line, flags, text, heredocs, ...(list === undefined ? {} : { list }) };
}

function takeFlags(line: number, keyword: string, rest: string): { flags: Flag[]; text: string } {
  const known = flagged[keyword];
  const flags: Flag[] = [];
  let text = rest;
  for (;;) {
    const found = /^--([a-z][\w-]*)(?:=("[^"]*"|\S*))?(?:\s+|$)/.exec(text);
    if (known === undefined || found === null) return { flags, text };
    const [taken, name = "", value = ""] = found;
    if (!known.includes(name)) return failAt(line, `unknown flag: --${name}`);
    flags.push({ name, value: value.replace(/^"(.*)"$/, "$1") });
    text = text.slice(taken.length);
  }
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Upstream: what is no JSON is a shell's command that begins with a bracket.
    return undefined;
  }
  if (!Array.isArray(parsed)) return undefined;
  return parsed.every((one) => typeof one === "string") ? parsed : undefined;
}

function readHeredocs(line: number, text: string, lines: Lines, escape: string): Heredoc[] {
  const found: Heredoc[] = [];
  for (const word of shellWords(text, escape)) {
    const match = heredocWord.exec(word);
    if (match === null) continue;
    const name = match[2] ?? match[3] ?? match[4] ?? "";
    const trim = (one: string): string => (match[1] === "-" ? one.replace(/^\t+/, "") : one);
    const content: string[] = [];
    for (;;) {
      const next = lines.next();
      if (next === undefined) return failAt(line, `unterminated heredoc: ${name} never comes`);
      if (trim(next) === name) break;
      content.push(`${trim(next)}\n`);
    }
    found.push({ name, content: content.join(""), isExpanded: match[4] !== undefined });
  }
  return found;
}

export const isHeredocWord = (word: string): boolean => heredocWord.test(word);
