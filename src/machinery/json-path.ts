/**
 * JSONPath as kubectl and printer columns take it (client-go's dialect): `.spec.items[*].name`, `['a.b']`, `[0]`, `[-1:]`, `..name`,
 * `[?(@.type=="Ready")]`. One path, without the template's braces. Missing keys give nothing.
 */
import { equalObjects, getKey, isObject } from "./object.ts";

export class JsonPathError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonPathError";
  }
}

type Step = (values: readonly unknown[]) => unknown[];
export type JsonPath = (value: unknown) => readonly unknown[];

const stepsMax = 200;

/** Throws JsonPathError. */
export function compileJsonPath(path: string): JsonPath {
  const steps = new Parser(path).steps();
  return (value) => steps.reduce<unknown[]>((values, step) => step(values), [value]);
}

const flat =
  (one: (value: unknown) => readonly unknown[]): Step =>
  (values) =>
    values.flatMap((value) => one(value));

const field = (name: string): Step =>
  flat((value) => {
    const found = isObject(value) ? getKey(value, name) : undefined;
    return found === undefined ? [] : [found];
  });

const everything = flat((value) =>
  Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [],
);

const slice = (from: number | undefined, to: number | undefined, by: number): Step =>
  flat((value) => {
    if (!Array.isArray(value)) return [];
    return value.slice(from ?? 0, to).filter((_, index) => index % by === 0);
  });

const index = (at: number): Step =>
  flat((value) => {
    const found: unknown = Array.isArray(value) ? value.at(at) : undefined;
    return found === undefined ? [] : [found];
  });

/** The value and all that is in it. */
function* descend(value: unknown): Generator<unknown, void, undefined> {
  yield value;
  const members = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
  for (const member of members) yield* descend(member);
}

type Operator = "==" | "!=" | "<" | ">" | "<=" | ">=";

function compare(left: unknown, operator: Operator, right: unknown): boolean {
  if (operator === "==") return equalObjects(left, right);
  if (operator === "!=") return !equalObjects(left, right);
  const bothNumbers = typeof left === "number" && typeof right === "number";
  const bothTexts = typeof left === "string" && typeof right === "string";
  if (!bothNumbers && !bothTexts) return false;
  if (operator === "<") return left < right;
  if (operator === ">") return left > right;
  return operator === "<=" ? left <= right : left >= right;
}

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  #fail(why: string): never {
    throw new JsonPathError(`${why} in JSONPath ${JSON.stringify(this.#text)}`);
  }
  #rest(): string {
    return this.#text.slice(this.#at);
  }

  steps(): Step[] {
    const steps: Step[] = [];
    if (/^[@$]/.test(this.#text)) this.#at++;
    while (this.#at < this.#text.length) {
      if (steps.length >= stepsMax) this.#fail("too many steps");
      const rest = this.#rest();
      if (rest.startsWith("..")) {
        this.#at += 2;
        steps.push((values) => values.flatMap((value) => [...descend(value)]));
        if (!this.#rest().startsWith("[")) this.#name(steps);
      } else if (rest.startsWith(".")) {
        this.#at++;
        const next = this.#rest();
        if (next !== "" && !next.startsWith("[")) this.#name(steps);
      } else if (rest.startsWith("[")) this.#bracket(steps);
      else if (steps.length === 0) this.#name(steps);
      else this.#fail(`unexpected ${JSON.stringify(rest.slice(0, 1))}`);
    }
    return steps;
  }

  /** A name runs to the next dot or bracket; a backslash takes the next character as it is. */
  #name(steps: Step[]): void {
    const match = /^(?:\\.|[^.[\]\\{}\s])+/.exec(this.#rest());
    if (match === null) this.#fail("a name is missing");
    this.#at += match[0].length;
    const name = match[0].replace(/\\(.)/g, "$1");
    steps.push(name === "*" ? everything : field(name));
  }

  #bracket(steps: Step[]): void {
    const rest = this.#rest();
    const filter = /^\[\?\(/.exec(rest);
    if (filter !== null) {
      this.#filter(steps);
      return;
    }
    const end = closing(rest);
    if (end === -1) this.#fail("unterminated array");
    const inside = rest.slice(1, end).trim();
    this.#at += end + 1;
    const parts = splitUnion(inside);
    if (parts.length === 1) {
      steps.push(this.#selection(parts[0] ?? ""));
      return;
    }
    const selections = parts.map((part) => this.#selection(part));
    steps.push((values) => values.flatMap((value) => selections.flatMap((one) => one([value]))));
  }

  #selection(text: string): Step {
    const quoted = /^(['"])(.*)\1$/s.exec(text);
    if (quoted !== null) return field((quoted[2] ?? "").replace(/\\(.)/g, "$1"));
    if (text === "*") return everything;
    if (/^-?\d+$/.test(text)) return index(Number(text));
    const range = /^(-?\d+)?:(-?\d+)?(?::(\d+))?$/.exec(text);
    if (range === null) return this.#fail(`invalid array index ${text}`);
    const number = (part: string | undefined): number | undefined =>
      part === undefined ? undefined : Number(part);
    return slice(number(range[1]), number(range[2]), Math.max(1, Number(range[3] ?? "1")));
  }

  #filter(steps: Step[]): void {
    const match = /^\[\?\((.*?)\)\]/s.exec(this.#rest());
    if (match === null) this.#fail("unterminated filter");
    this.#at += match[0].length;
    const parts = /^(.*?)\s*(==|!=|<=|>=|<|>)\s*(.*)$/s.exec((match[1] ?? "").trim());
    if (parts === null) {
      const exists = compileJsonPath((match[1] ?? "").trim());
      steps.push(flat((list) => itemsOf(list).filter((item) => exists(item).length > 0)));
      return;
    }
    const left = this.#operand(parts[1] ?? "");
    const right = this.#operand(parts[3] ?? "");
    const operator = parts[2] as Operator;
    const holds = (item: unknown): boolean => {
      const [a] = left(item);
      const [b] = right(item);
      return a !== undefined && b !== undefined && compare(a, operator, b);
    };
    steps.push(flat((list) => itemsOf(list).filter(holds)));
  }

  #operand(text: string): JsonPath {
    if (text.startsWith("@") || text.startsWith("$") || text.startsWith("."))
      return compileJsonPath(text);
    const quoted = /^(['"])(.*)\1$/s.exec(text);
    if (quoted !== null) {
      const value = (quoted[2] ?? "").replace(/\\(.)/g, "$1");
      return () => [value];
    }
    if (text === "true" || text === "false") return () => [text === "true"];
    if (text !== "" && Number.isFinite(Number(text))) return () => [Number(text)];
    return this.#fail(`cannot read ${JSON.stringify(text)}`);
  }
}

const itemsOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Where the bracket that opens the text closes; quotes hide brackets. */
function closing(text: string): number {
  let quote = "";
  for (let at = 1; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char === "\\") at++;
    else if (quote !== "") {
      if (char === quote) quote = "";
    } else if (char === "'" || char === '"') quote = char;
    else if (char === "]") return at;
  }
  return -1;
}

function splitUnion(text: string): string[] {
  return (text.match(/'(?:\\.|[^'])*'|"(?:\\.|[^"])*"|[^,]+/g) ?? [text]).map((part) =>
    part.trim(),
  );
}
