/** Variables, quotes and escapes in the words of a Dockerfile (reference: "Environment replacement"). Pure. */
import { DockerfileError, shellWords } from "./parse.ts";

export type Variables = ReadonlyMap<string, string>;

interface Reader {
  readonly text: string;
  at: number;
  readonly variables: Variables;
  readonly escape: string;
}

/** One word: variables replaced, quotes and escapes taken away. Throws DockerfileError for what is no substitution. */
export function expandWord(text: string, variables: Variables, escape: string): string {
  return read({ text, at: 0, variables, escape }, "");
}

/** The words of a line, each expanded; an unquoted variable with blanks stays one word. */
export const expandWords = (text: string, variables: Variables, escape: string): string[] =>
  shellWords(text, escape).map((word) => expandWord(word, variables, escape));

/** The lines of a here-document: variables replaced, quotes kept. */
export function expandText(text: string, variables: Variables, escape: string): string {
  const reader: Reader = { text, at: 0, variables, escape };
  let out = "";
  while (reader.at < text.length) {
    const letter = text[reader.at] as string;
    if (letter === escape && "$\\`".includes(text[reader.at + 1] ?? " ")) {
      out += text[reader.at + 1];
      reader.at += 2;
    } else if (letter === "$") out += variable(reader);
    else {
      out += letter;
      reader.at++;
    }
  }
  return out;
}

/** Up to `end`, which is eaten; "" is the end of the text. */
function read(reader: Reader, end: string): string {
  let out = "";
  while (reader.at < reader.text.length) {
    const letter = reader.text[reader.at] as string;
    if (letter === end) {
      reader.at++;
      return out;
    }
    if (letter === "'") out += single(reader);
    else if (letter === '"') out += double(reader);
    else if (letter === "$") out += variable(reader);
    else if (letter === reader.escape) {
      out += reader.text[reader.at + 1] ?? "";
      reader.at += 2;
    } else {
      out += letter;
      reader.at++;
    }
  }
  if (end !== "") throw new DockerfileError(`syntax error: missing '${end}' in ${reader.text}`);
  return out;
}

function single(reader: Reader): string {
  const end = reader.text.indexOf("'", reader.at + 1);
  if (end < 0)
    throw new DockerfileError(
      `unexpected end of statement while looking for matching single-quote in ${reader.text}`,
    );
  const inner = reader.text.slice(reader.at + 1, end);
  reader.at = end + 1;
  return inner;
}

function double(reader: Reader): string {
  reader.at++;
  let out = "";
  for (;;) {
    const letter = reader.text[reader.at];
    if (letter === undefined)
      throw new DockerfileError(
        `unexpected end of statement while looking for matching double-quote in ${reader.text}`,
      );
    if (letter === '"') {
      reader.at++;
      return out;
    }
    if (letter === "$") out += variable(reader);
    else if (letter === reader.escape) {
      const next = reader.text[reader.at + 1] ?? "";
      out += next === '"' || next === "$" || next === reader.escape ? next : letter + next;
      reader.at += 2;
    } else {
      out += letter;
      reader.at++;
    }
  }
}

function variable(reader: Reader): string {
  reader.at++;
  const rest = reader.text.slice(reader.at);
  const plain = /^(?:[A-Za-z_]\w*|[0-9@*#])/.exec(rest)?.[0];
  if (plain !== undefined) {
    reader.at += plain.length;
    return reader.variables.get(plain) ?? "";
  }
  if (!rest.startsWith("{")) return "$";
  const braced = /^\{([A-Za-z_]\w*|[0-9@*#])(?:\}|(:?[-+?]|##?|%%?|\/\/?))/.exec(rest);
  if (braced === null)
    throw new DockerfileError(`unsupported modifier or bad substitution in ${reader.text}`);
  const [taken, name = "", modifier] = braced;
  reader.at += taken.length;
  const value = reader.variables.get(name);
  return modifier === undefined ? (value ?? "") : modified(reader, name, value, modifier);
}

function modified(reader: Reader, name: string, value: string | undefined, modifier: string) {
  if (modifier.startsWith("/")) {
    const [pattern = "", ...more] = read(reader, "}").split("/");
    const wanted = new RegExp(globSource(pattern, true), modifier === "//" ? "gu" : "u");
    return (value ?? "").replace(wanted, () => more.join("/"));
  }
  const word = read(reader, "}");
  const isSet = modifier.startsWith(":")
    ? value !== undefined && value !== ""
    : value !== undefined;
  switch (modifier.at(-1)) {
    case "-":
      return isSet ? (value ?? "") : word;
    case "+":
      return isSet ? word : "";
    case "?":
      if (isSet) return value ?? "";
      throw new DockerfileError(`${name}: ${word === "" ? "not allowed to be unset" : word}`);
    case "#":
      return trimmed(value ?? "", word, modifier.length === 2, false);
    default:
      return trimmed(value ?? "", word, modifier.length === 2, true);
  }
}

const globSource = (pattern: string, isGreedy: boolean): string =>
  pattern.replace(/[\\^$.|+()[\]{}]|\*|\?/g, (one) =>
    one === "*" ? `[^]*${isGreedy ? "" : "?"}` : one === "?" ? "[^]" : `\\${one}`,
  );

/** Without the shortest or longest beginning, or end, that fits the pattern. */
function trimmed(value: string, pattern: string, isLongest: boolean, fromEnd: boolean): string {
  const whole = new RegExp(`^${globSource(pattern, true)}$`, "u");
  const lengths = Array.from({ length: value.length + 1 }, (_, length) => length);
  const part = (length: number): string =>
    fromEnd ? value.slice(value.length - length) : value.slice(0, length);
  const fits = lengths.filter((length) => whole.test(part(length)));
  const length = (isLongest ? fits.at(-1) : fits[0]) ?? 0;
  return fromEnd ? value.slice(0, value.length - length) : value.slice(length);
}
