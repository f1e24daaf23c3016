/** Reading a command line the way upstream's does: long and short flags, values joined or apart, switches run together. */
import { parseGoDuration } from "#machinery/go-duration.ts";
import { CommandError } from "./errors.ts";

export interface Flag {
  readonly name: string;
  readonly short?: string;
  /**
   * switch: true or false; list: may be repeated and holds commas; repeat: may be repeated, commas belong to the value;
   * optional: a text that may be left out (then it is `bare`).
   */
  readonly type: "text" | "switch" | "integer" | "duration" | "list" | "repeat" | "optional";
  readonly default?: string;
  readonly bare?: string;
  readonly help?: string;
}

export class Flags {
  readonly #known: ReadonlyMap<string, Flag>;
  readonly #values: ReadonlyMap<string, readonly string[]>;
  constructor(known: ReadonlyMap<string, Flag>, values: ReadonlyMap<string, readonly string[]>) {
    this.#known = known;
    this.#values = values;
  }
  given(name: string): boolean {
    return this.#values.has(name);
  }
  /** The value, its default, or "". */
  text(name: string): string {
    return this.#values.get(name)?.at(-1) ?? this.#known.get(name)?.default ?? "";
  }
  switch(name: string): boolean {
    return this.text(name) === "true";
  }
  integer(name: string): number {
    const text = this.text(name);
    return text === "" ? 0 : Number(text);
  }
  durationMs(name: string): number {
    const parsed = parseGoDuration(this.text(name) || "0");
    return "nanos" in parsed ? Number(parsed.nanos) / 1e6 : 0;
  }
  list(name: string): readonly string[] {
    const values = this.#values.get(name);
    if (values !== undefined) return values;
    const fallback = this.#known.get(name)?.default;
    return fallback === undefined || fallback === "" ? [] : fallback.split(",");
  }
  /** As if these had not been heard of. */
  without(names: readonly string[]): Flags {
    return new Flags(
      new Map([...this.#known].filter(([name]) => !names.includes(name))),
      new Map([...this.#values].filter(([name]) => !names.includes(name))),
    );
  }
  /** With others taken for given. */
  with(more: Readonly<Record<string, readonly string[]>>): Flags {
    return new Flags(this.#known, new Map([...this.#values, ...Object.entries(more)]));
  }
}

export interface Words {
  readonly flags: Flags;
  readonly args: readonly string[];
  /** How many of the arguments stand before "--"; -1: there is none. */
  readonly dashAt: number;
}

const trueWords = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const falseWords = new Set(["0", "f", "F", "false", "FALSE", "False"]);

const nameOf = (flag: Flag): string =>
  flag.short === undefined ? `--${flag.name}` : `-${flag.short}, --${flag.name}`;

function bad(flag: Flag, value: string, why: string): CommandError {
  return new CommandError(
    `invalid argument ${JSON.stringify(value)} for ${JSON.stringify(nameOf(flag))} flag: ${why}`,
  );
}

/** Fields of one line of comma-separated values. */
export function splitCommas(text: string): string[] {
  const fields: string[] = [];
  let field = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[i + 1] === '"') {
        field += '"';
        i += 1;
      } else quoted = false;
    } else if (char === '"' && field === "") quoted = true;
    else if (char === ",") {
      fields.push(field);
      field = "";
    } else field += char;
  }
  fields.push(field);
  return fields;
}

function readValue(flag: Flag, value: string): readonly string[] {
  const syntax = (parser: string): CommandError =>
    bad(flag, value, `strconv.${parser}: parsing ${JSON.stringify(value)}: invalid syntax`);
  switch (flag.type) {
    case "switch":
      if (trueWords.has(value)) return ["true"];
      if (falseWords.has(value)) return ["false"];
      throw syntax("ParseBool");
    case "integer":
      if (!/^[-+]?\d+$/.test(value)) throw syntax("ParseInt");
      return [value];
    case "duration": {
      const parsed = parseGoDuration(value);
      if ("problem" in parsed) throw bad(flag, value, parsed.problem);
      return [value];
    }
    case "list":
      return value === "" ? [] : splitCommas(value);
    default:
      return [value];
  }
}

/** With `interspersed` flags may stand behind arguments; without, the first argument ends them. Throws CommandError. */
export function readFlags(
  known: readonly Flag[],
  words: readonly string[],
  interspersed = true,
): Words {
  const byName = new Map(known.map((flag) => [flag.name, flag]));
  const byShort = new Map(known.flatMap((flag) => (flag.short ? [[flag.short, flag]] : [])));
  const values = new Map<string, string[]>();
  const args: string[] = [];
  let dashAt = -1;
  const add = (flag: Flag, value: string): void => {
    const read = readValue(flag, value);
    const many = flag.type === "list" || flag.type === "repeat";
    values.set(flag.name, many ? [...(values.get(flag.name) ?? []), ...read] : [...read]);
  };
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") {
      dashAt = args.length;
      args.push(...words.slice(at + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      if (!interspersed) {
        args.push(...words.slice(at));
        break;
      }
      args.push(word);
      continue;
    }
    if (word.startsWith("--")) {
      const equals = word.indexOf("=");
      const name = word.slice(2, equals < 0 ? undefined : equals);
      const flag = byName.get(name);
      if (flag === undefined) throw new CommandError(`unknown flag: --${name}`);
      if (equals >= 0) add(flag, word.slice(equals + 1));
      else if (flag.type === "switch") add(flag, "true");
      else if (flag.type === "optional") add(flag, flag.bare ?? "");
      else {
        const value = words[++at];
        if (value === undefined) throw new CommandError(`flag needs an argument: --${name}`);
        add(flag, value);
      }
      continue;
    }
    at += readShort(word, words[at + 1], byShort, add);
  }
  return { flags: new Flags(byName, values), args, dashAt };
}

/** "-it", "-ojson", "-n kube-system": how many further words were taken. */
function readShort(
  word: string,
  next: string | undefined,
  byShort: ReadonlyMap<string | undefined, Flag>,
  add: (flag: Flag, value: string) => void,
): number {
  for (let i = 1; i < word.length; i++) {
    const letter = word[i] ?? "";
    const flag = byShort.get(letter);
    if (flag === undefined) {
      throw new CommandError(`unknown shorthand flag: '${letter}' in -${word.slice(i)}`);
    }
    const rest = word.slice(i + 1);
    if (rest.startsWith("=")) {
      add(flag, rest.slice(1));
      return 0;
    }
    if (flag.type === "switch") add(flag, "true");
    else if (flag.type === "optional") add(flag, flag.bare ?? "");
    else if (rest !== "") {
      add(flag, rest);
      return 0;
    } else {
      if (next === undefined) {
        throw new CommandError(`flag needs an argument: '${letter}' in -${word.slice(i)}`);
      }
      add(flag, next);
      return 1;
    }
  }
  return 0;
}

type More = Omit<Flag, "name" | "type" | "help">;
const flag =
  (type: Flag["type"]) =>
  (name: string, help: string, more: More = {}): Flag => ({ name, type, help, ...more });
export const text = flag("text");
export const toggle = flag("switch");
export const integer = flag("integer");
export const duration = flag("duration");
export const list = flag("list");
export const repeat = flag("repeat");
export const optional = flag("optional");
