/**
 * JSONPath templates as kubectl's users write them: text with actions in braces; fields, indices, slices, unions, filters, recursive
 * descent, range … end, quoted text. Pure: a template and a value give a text.
 */
import { isObject, sortedKeys } from "#machinery/object.ts";
import { CommandError } from "./errors.ts";
import { compactJson } from "./json-print.ts";
import { plainText } from "./objects.ts";

type Node =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "field"; readonly name: string }
  | { readonly type: "word"; readonly name: string }
  | {
      readonly type: "slice";
      readonly from?: number;
      readonly to?: number;
      readonly step?: number;
      readonly single: boolean;
    }
  | {
      readonly type: "filter";
      readonly left: readonly Node[];
      readonly operator: string;
      readonly right: readonly Node[];
    }
  | { readonly type: "union"; readonly lists: readonly (readonly Node[])[] }
  | { readonly type: "wildcard" }
  | { readonly type: "recursive" }
  | { readonly type: "value"; readonly value: number | boolean };
/** An action in braces, or text between actions. */
type Part = { readonly text: string } | { readonly nodes: readonly Node[] };

const depthMax = 100;
const fail = (message: string): never => {
  throw new CommandError(message);
};

class Reader {
  readonly #text: string;
  #at = 0;
  constructor(text: string) {
    this.#text = text;
  }
  parts(): Part[] {
    const parts: Part[] = [];
    while (this.#at < this.#text.length) {
      const open = this.#text.indexOf("{", this.#at);
      if (open !== this.#at) {
        const end = open < 0 ? this.#text.length : open;
        parts.push({ text: this.#text.slice(this.#at, end) });
        this.#at = end;
        continue;
      }
      this.#at += 1;
      parts.push({ nodes: this.nodes("}", 0) });
    }
    return parts;
  }
  /** Up to the closing character ("" : the end of the text). */
  nodes(close: string, depth: number): Node[] {
    if (depth > depthMax) fail("the template nests too deeply");
    const nodes: Node[] = [];
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) {
        if (close === "") return nodes;
        fail("unclosed action");
      }
      if (char === close) {
        this.#at += 1;
        return nodes;
      }
      this.#node(char ?? "", nodes, depth);
    }
  }
  #node(char: string, nodes: Node[], depth: number): void {
    const rest = this.#text.slice(this.#at);
    if (rest.startsWith("[?(")) nodes.push(this.#filter(depth));
    else if (rest.startsWith("..")) {
      if (nodes.at(-1)?.type === "recursive") fail("invalid multiple recursive descent");
      this.#at += 2;
      nodes.push({ type: "recursive" });
      if (/^[\p{L}\p{N}_]/u.test(rest.slice(2))) this.#field(nodes);
    } else if (char === "\n" || char === "\r") fail("unclosed action");
    else if (char === " " || char === "@" || char === "$") this.#at += 1;
    else if (char === "[") this.#array(nodes, depth);
    else if (char === '"' || char === "'") nodes.push({ type: "text", text: this.#quoted(char) });
    else if (char === ".") {
      this.#at += 1;
      this.#field(nodes);
    } else if (/[-+\d]/.test(char)) {
      const number = /^[-+]?[\d.]*/.exec(rest)?.[0] ?? "";
      if (Number.isNaN(Number(number)) || number === "") fail(`cannot parse number ${number}`);
      this.#at += number.length;
      nodes.push({ type: "value", value: Number(number) });
    } else if (/[\p{L}\p{N}_]/u.test(char)) {
      const word = /^[^\s.,[\]$@{}]+/.exec(rest)?.[0] ?? "";
      this.#at += word.length;
      nodes.push(
        word === "true" || word === "false"
          ? { type: "value", value: word === "true" }
          : { type: "word", name: word },
      );
    } else {
      const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
      fail(`unrecognized character in action: U+${code} '${char}'`);
    }
  }
  #quoted(quote: string): string {
    let raw = "";
    for (this.#at += 1; ; this.#at += 1) {
      const char = this.#text[this.#at];
      if (char === undefined || char === "\n") fail("unterminated quoted string");
      if (char === "\\") {
        raw += char + (this.#text[++this.#at] ?? "");
        continue;
      }
      if (char === quote) break;
      raw += char ?? "";
    }
    this.#at += 1;
    return unescape(raw);
  }
  #field(nodes: Node[]): void {
    let name = "";
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || /[\s.,[\]$@{}()=<>!]/.test(char)) break;
      if (char === "\\") {
        name += this.#text[this.#at + 1] ?? "";
        this.#at += 2;
        continue;
      }
      name += char;
      this.#at += 1;
    }
    if (name === "*") nodes.push({ type: "wildcard" });
    else if (name !== "") nodes.push({ type: "field", name });
  }
  #array(nodes: Node[], depth: number): void {
    const end = closingOf(this.#text, this.#at);
    if (end < 0) fail("unterminated array");
    const inside = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    const parts = inside.split(",");
    if (parts.length > 1) {
      const lists = parts.map((part) => new Reader(`[${part.trim()}]`).nodes("", depth + 1));
      nodes.push({ type: "union", lists });
      return;
    }
    const key = /^'([^']*)'$/.exec(inside);
    if (key !== null) {
      nodes.push({ type: "field", name: (key[1] ?? "").replace(/\\(.)/g, "$1") });
      return;
    }
    nodes.push(sliceOf(inside === "*" ? ":" : inside));
  }
  #filter(depth: number): Node {
    const start = this.#at + 3;
    let open = 1;
    let at = start;
    for (let quote = ""; at < this.#text.length && open > 0; at++) {
      const char = this.#text[at] ?? "";
      if (quote !== "") {
        if (char === "\\") at += 1;
        else if (char === quote) quote = "";
      } else if (char === '"' || char === "'") quote = char;
      else if (char === "(") open += 1;
      else if (char === ")") open -= 1;
    }
    if (open > 0) fail("unterminated filter");
    if (this.#text[at] !== "]") fail("unclosed array expect ]");
    const inside = this.#text.slice(start, at - 1);
    this.#at = at + 1;
    const match =
      /^((?:[^!<>="']|"(?:\\.|[^"])*"|'(?:\\.|[^'])*')+?)(==|!=|<=|>=|<|>|=)(.+?)$/.exec(inside);
    const side = (text: string): Node[] => new Reader(text.trim()).nodes("", depth + 1);
    if (match === null)
      return { type: "filter", left: side(inside), operator: "exists", right: [] };
    return {
      type: "filter",
      left: side(match[1] ?? ""),
      operator: match[2] ?? "",
      right: side(match[3] ?? ""),
    };
  }
}

function closingOf(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === "'") {
      const end = text.indexOf("'", at + 1);
      if (end < 0) return -1;
      at = end;
    } else if (text[at] === "]") return at;
    else if (text[at] === "\n") return -1;
  }
  return -1;
}

function sliceOf(text: string): Node {
  const match = /^(-?\d*)(:-?\d*)?(:-?\d*)?$/.exec(text);
  if (match === null || text === "") return fail(`invalid array index ${text}`);
  const read = (part: string | undefined): number | undefined => {
    const digits = (part ?? "").replace(":", "");
    return digits === "" ? undefined : Number(digits);
  };
  const [from, to, step] = [read(match[1]), read(match[2]), read(match[3])];
  return {
    type: "slice",
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(step === undefined ? {} : { step }),
    single: match[2] === undefined,
  };
}

const named: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  "0": "\0",
};
const unescape = (raw: string): string =>
  raw.replace(
    /\\u([\da-fA-F]{4})|\\(.)/g,
    (_, code: string | undefined, char: string | undefined) =>
      code === undefined
        ? (named[char ?? ""] ?? char ?? "")
        : String.fromCharCode(parseInt(code, 16)),
  );

interface Rules {
  readonly allowMissing: boolean;
}

function fieldOf(value: unknown, name: string, rules: Rules): unknown[] {
  if (value === null || value === undefined) return [];
  if (isObject(value) && Object.hasOwn(value, name)) return [value[name]];
  if (rules.allowMissing) return [];
  return fail(`${name} is not found`);
}

function sliceItems(value: unknown, node: Node & { type: "slice" }, rules: Rules): unknown[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value))
    return rules.allowMissing && !node.single ? [] : fail(`${goKind(value)} is not array or slice`);
  const { length } = value;
  const step = node.step ?? 1;
  if (step <= 0) return step === 0 ? value.slice() : fail("step must be > 0");
  let from = node.from ?? 0;
  if (node.single) {
    const index = from < 0 ? from + length : from;
    if (index < 0 || index >= length) {
      if (length === 0) return [];
      return fail(`array index out of bounds: index ${from}, length ${length}`);
    }
    return [value[index]];
  }
  if (from < 0) from += length;
  let to = node.to ?? length;
  if (to < 0) to += length;
  if (from > length || from < 0)
    return length === 0
      ? []
      : fail(`array index out of bounds: index ${node.from}, length ${length}`);
  const items: unknown[] = [];
  for (let i = from; i < Math.min(to, length); i += step) items.push(value[i]);
  return items;
}
const goKind = (value: unknown): string =>
  isObject(value) ? "map[string]interface {}" : typeof value;

function descendants(value: unknown, found: unknown[]): void {
  if (Array.isArray(value)) {
    for (const item of value) {
      found.push(item);
      descendants(item, found);
    }
  } else if (isObject(value)) {
    for (const key of sortedKeys(value)) {
      found.push(value[key]);
      descendants(value[key], found);
    }
  }
}

function compare(left: unknown, operator: string, right: unknown): boolean {
  if (operator === "==" || operator === "=") return left === right;
  if (operator === "!=") return left !== right;
  if (typeof left !== typeof right) return fail("incompatible types for comparison");
  if (typeof left === "number" || typeof left === "string") {
    const other = right as typeof left;
    if (operator === "<") return left < other;
    if (operator === ">") return left > other;
    return operator === "<=" ? left <= other : left >= other;
  }
  return false;
}

function filterItems(
  values: readonly unknown[],
  node: Node & { type: "filter" },
  rules: Rules,
): unknown[] {
  const kept: unknown[] = [];
  for (const value of values) {
    if (!Array.isArray(value)) {
      if (value === null || value === undefined) continue;
      return fail(`${goKind(value)} is not array or slice and cannot be filtered`);
    }
    for (const item of value) {
      const lefts = walk([item], node.left, { allowMissing: true });
      if (node.operator === "exists") {
        if (lefts.length > 0) kept.push(item);
        continue;
      }
      if (lefts.length === 0) continue;
      if (lefts.length > 1) return fail("can only compare one element at a time");
      const rights = walk([item], node.right, rules);
      if (rights.length > 1) return fail("can only compare one element at a time");
      if (rights.length === 1 && compare(lefts[0], node.operator, rights[0])) kept.push(item);
    }
  }
  return kept;
}

/** One step for all current values. */
function step(values: readonly unknown[], node: Node, rules: Rules): unknown[] {
  switch (node.type) {
    case "text":
      return [node.text];
    case "value":
      return [node.value];
    case "field":
      return values.flatMap((value) => fieldOf(value, node.name, rules));
    case "wildcard":
      return values.flatMap((value) => {
        if (Array.isArray(value)) return value as unknown[];
        return isObject(value) ? sortedKeys(value).map((key) => value[key]) : [];
      });
    case "slice":
      return values.flatMap((value) => sliceItems(value, node, rules));
    case "filter":
      return filterItems(values, node, rules);
    case "union":
      return node.lists.flatMap((list) => walk(values, list, rules));
    case "recursive": {
      const found: unknown[] = [];
      for (const value of values) {
        found.push(value);
        descendants(value, found);
      }
      return found;
    }
    default:
      return fail(`unrecognized identifier ${node.name}`);
  }
}
function walk(values: readonly unknown[], nodes: readonly Node[], rules: Rules): unknown[] {
  let current: readonly unknown[] = values;
  let relaxed = rules;
  for (const node of nodes) {
    current = step(current, node, relaxed);
    // What recursive descent passes through need not have the field.
    relaxed = node.type === "recursive" ? { allowMissing: true } : rules;
  }
  return [...current];
}

export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return typeof value === "object" ? compactJson(value) : plainText(value);
}

export class JsonPath {
  readonly #parts: readonly Part[];
  readonly #rules: Rules;
  constructor(template: string, allowMissing = true) {
    this.#parts = new Reader(template).parts();
    this.#rules = { allowMissing };
  }

  /** The results of each action, range unrolled. */
  find(root: unknown): unknown[][] {
    const groups: unknown[][] = [];
    this.#run(root, 0, this.#parts.length, root, (group) => groups.push([...group]));
    return groups;
  }
  text(root: unknown): string {
    let out = "";
    this.#run(root, 0, this.#parts.length, root, (group) => {
      out += group.map(valueText).join(" ");
    });
    return out;
  }

  #endOf(start: number): number {
    let open = 1;
    for (let at = start; at < this.#parts.length; at++) {
      const word = firstWord(this.#parts[at]);
      if (word === "range") open += 1;
      else if (word === "end") {
        open -= 1;
        if (open === 0) return at;
      }
    }
    return fail("unclosed range");
  }
  #run(
    current: unknown,
    from: number,
    to: number,
    root: unknown,
    emit: (group: readonly unknown[]) => void,
  ): void {
    for (let at = from; at < to; at++) {
      const part = this.#parts[at];
      if (part === undefined) continue;
      if ("text" in part) {
        emit([part.text]);
        continue;
      }
      const word = firstWord(part);
      if (word === "end") fail("not in range, nothing to end");
      if (word !== "range") {
        emit(walk([current], part.nodes, this.#rules));
        continue;
      }
      const end = this.#endOf(at + 1);
      for (const item of walk([current], part.nodes.slice(1), this.#rules)) {
        this.#run(item, at + 1, end, root, emit);
      }
      at = end;
    }
  }
}
const firstWord = (part: Part | undefined): string => {
  if (part === undefined || "text" in part) return "";
  const [first] = part.nodes;
  return first?.type === "word" ? first.name : "";
};

/** Throws CommandError in upstream's words. */
export function parseJsonPath(template: string, allowMissing = true): JsonPath {
  try {
    return new JsonPath(template, allowMissing);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandError(`error parsing jsonpath ${template}, ${why}`);
  }
}

/** "x.y", ".x.y" and "{.x.y}" alike become "{.x.y}". */
export function relaxedPath(text: string): string {
  if (text === "") return "";
  const match = /^\{\.?([^{}]+)\}$|^\.?([^{}]+)$/.exec(text);
  if (match === null) {
    throw new CommandError(
      `unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'`,
    );
  }
  const path = match[1] ?? match[2] ?? "";
  return `{.${path}}`;
}
