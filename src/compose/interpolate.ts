/** Variables in a compose file: $NAME, ${NAME}, with defaults, alternatives and demands, as docker compose reads them. Pure. */

export type Environment = (name: string) => string | undefined;

/** A variable that is demanded is not there. */
export class MissingVariable extends Error {
  constructor(message: string) {
    super(message);
    this.name = "MissingVariable";
  }
}

const depthMax = 20;

/** `missing` hears the names that are neither set nor given a default; they read as empty. */
export function interpolate(
  text: string,
  environment: Environment,
  missing: (name: string) => void,
  depth = 0,
): string {
  if (!text.includes("$") || depth > depthMax) return text;
  let out = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char !== "$") {
      out += char;
      continue;
    }
    const next = text[at + 1];
    if (next === "$") {
      out += "$";
      at += 1;
    } else if (next === "{") {
      const end = closing(text, at + 1);
      if (end < 0) throw new MissingVariable(`${text.slice(at)} has no closing brace`);
      out += expand(text.slice(at + 2, end), environment, missing, depth);
      at = end;
    } else {
      const name = /^[A-Za-z_]\w*/.exec(text.slice(at + 1))?.[0];
      if (name === undefined) {
        out += "$";
        continue;
      }
      out += plain(name, environment, missing);
      at += name.length;
    }
  }
  return out;
}

function closing(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "{") depth += 1;
    else if (text[at] === "}") {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

function plain(name: string, environment: Environment, missing: (name: string) => void): string {
  const value = environment(name);
  if (value === undefined) missing(name);
  return value ?? "";
}

function expand(
  inside: string,
  environment: Environment,
  missing: (name: string) => void,
  depth: number,
): string {
  const match = /^([A-Za-z_]\w*)(?:(:?[-?+])(.*))?$/s.exec(inside);
  if (match === null) throw new MissingVariable(`\${${inside}} names no variable`);
  const [, name = "", operator, word = ""] = match;
  if (operator === undefined) return plain(name, environment, missing);
  const value = environment(name);
  const isSet = value !== undefined && !(operator.startsWith(":") && value === "");
  const other = (): string => interpolate(word, environment, missing, depth + 1);
  if (operator.endsWith("+")) return isSet ? other() : "";
  if (isSet) return value;
  if (operator.endsWith("-")) return other();
  throw new MissingVariable(`${name} must be set${word === "" ? "" : `: ${other()}`}`);
}

/** The lines of a .env file. Quotes are taken off; comments are left out; values in double quotes and bare ones are interpolated. */
export function readDotEnv(content: string, environment: Environment): Map<string, string> {
  const values = new Map<string, string>();
  const known: Environment = (name) => environment(name) ?? values.get(name);
  for (const raw of content.split("\n")) {
    const line = raw.trim().replace(/^export\s+/, "");
    const match = /^([A-Za-z_][\w.-]*)\s*=\s*(.*)$/.exec(line);
    if (match === null) continue;
    const [, name = "", text = ""] = match;
    const single = /^'([^']*)'/.exec(text);
    const double = /^"((?:\\.|[^"\\])*)"/.exec(text);
    const value =
      single?.[1] ??
      double?.[1]?.replace(/\\n/g, "\n").replace(/\\(.)/g, "$1") ??
      text.replace(/\s+#.*$/, "");
    values.set(name, single === null ? interpolate(value, known, () => undefined) : value);
  }
  return values;
}
