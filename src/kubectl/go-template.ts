/**
 * The part of Go's text/template that `-o go-template` is used with: fields, variables, pipelines, if, with, range, and the standard
 * functions. What it does not know it refuses by name.
 */
import { decodeBase64 } from "#machinery/base64.ts";
import { isObject, sortedKeys } from "#machinery/object.ts";
import { CommandError } from "./errors.ts";
import { plainText } from "./objects.ts";

type Term =
  | { readonly type: "value"; readonly value: unknown }
  | { readonly type: "dot"; readonly path: readonly string[] }
  | { readonly type: "variable"; readonly name: string; readonly path: readonly string[] }
  | { readonly type: "function"; readonly name: string }
  | { readonly type: "pipe"; readonly pipe: Pipeline; readonly path: readonly string[] };
interface Pipeline {
  readonly assign: readonly string[];
  readonly declares: boolean;
  readonly commands: readonly (readonly Term[])[];
}
type Node =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "print"; readonly pipe: Pipeline }
  | {
      readonly type: "if" | "with" | "range";
      readonly pipe: Pipeline;
      readonly inner: readonly Node[];
      readonly otherwise: readonly Node[];
    };

const depthMax = 100;
const fail = (message: string): never => {
  throw new CommandError(`error parsing template: template: output:1: ${message}`);
};
const missing = Symbol("missing");

const tokenPattern =
  /\s+|"(?:\\.|[^"\\])*"|`[^`]*`|:=|=|\||\(|\)|,|\$\w*(?:\.\w+)*|(?:\.[\p{L}_][\p{L}\p{N}_]*)+|\.|[-+]?\d[\d.]*|[\p{L}_][\p{L}\p{N}_]*|'(?:\\.|[^'])'/uy;

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < text.length) {
    const at = tokenPattern.lastIndex;
    const match = tokenPattern.exec(text);
    if (match === null) return fail(`unexpected ${JSON.stringify(text[at])} in action`);
    if (match[0].trim() !== "") tokens.push(match[0]);
  }
  return tokens;
}

class PipelineReader {
  readonly #tokens: readonly string[];
  #at = 0;
  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }
  pipeline(close: string | undefined, depth = 0): Pipeline {
    if (depth > depthMax) fail("the template nests too deeply");
    const assign: string[] = [];
    let declares = false;
    const operator = this.#tokens.slice(this.#at).findIndex((one) => one === ":=" || one === "=");
    if (operator > 0 && close === undefined) {
      for (const one of this.#tokens.slice(this.#at, this.#at + operator))
        if (one !== ",") assign.push(one);
      declares = this.#tokens[this.#at + operator] === ":=";
      this.#at += operator + 1;
    }
    const commands: Term[][] = [[]];
    for (;;) {
      const token = this.#tokens[this.#at++];
      if (token === close) break;
      if (token === undefined) return fail("unclosed left paren");
      if (token === "|") commands.push([]);
      else if (token === "(") {
        const pipe = this.pipeline(")", depth + 1);
        commands.at(-1)?.push({ type: "pipe", pipe, path: this.#path() });
      } else commands.at(-1)?.push(termOf(token));
    }
    if (commands.some((command) => command.length === 0)) fail("missing value for command");
    return { assign, declares, commands };
  }
  /** ".a.b" right behind a parenthesis. */
  #path(): readonly string[] {
    const next = this.#tokens[this.#at];
    if (next === undefined || !/^\.\w/.test(next)) return [];
    this.#at += 1;
    return next.slice(1).split(".");
  }
}

function termOf(token: string): Term {
  if (token.startsWith('"')) return { type: "value", value: JSON.parse(token) as unknown };
  if (token.startsWith("`")) return { type: "value", value: token.slice(1, -1) };
  if (token.startsWith("'")) return { type: "value", value: token.charCodeAt(1) };
  if (/^[-+]?\d/.test(token)) return { type: "value", value: Number(token) };
  if (token === ".") return { type: "dot", path: [] };
  if (token.startsWith(".")) return { type: "dot", path: token.slice(1).split(".") };
  if (token.startsWith("$")) {
    const [name = "", ...path] = token.split(".");
    return { type: "variable", name, path };
  }
  if (token === "true" || token === "false") return { type: "value", value: token === "true" };
  if (token === "nil") return { type: "value", value: null };
  return { type: "function", name: token };
}

interface Piece {
  readonly text: string;
  readonly action: boolean;
}
function piecesOf(template: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trim = false;
  const push = (text: string): void => {
    pieces.push({ text: trim ? text.trimStart() : text, action: false });
  };
  for (;;) {
    const open = template.indexOf("{{", at);
    if (open < 0) {
      push(template.slice(at));
      return pieces;
    }
    const close = template.indexOf("}}", open);
    if (close < 0) return fail("unclosed action");
    let body = template.slice(open + 2, close);
    const before = template.slice(at, open);
    const trimsLeft = /^-\s/.test(body);
    push(trimsLeft ? before.trimEnd() : before);
    trim = /\s-$/.test(body);
    body = body.replace(/^-\s/, "").replace(/\s-$/, "").trim();
    if (!body.startsWith("/*")) pieces.push({ text: body, action: true });
    at = close + 2;
  }
}

class TemplateReader {
  readonly #pieces: readonly Piece[];
  #at = 0;
  constructor(pieces: readonly Piece[]) {
    this.#pieces = pieces;
  }
  nodes(inside: boolean, depth: number): { readonly nodes: Node[]; readonly ended: string } {
    if (depth > depthMax) fail("the template nests too deeply");
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#at++];
      if (piece === undefined) {
        if (inside) fail("unexpected EOF");
        return { nodes, ended: "" };
      }
      if (!piece.action) {
        nodes.push({ type: "text", text: piece.text });
        continue;
      }
      const [, word = "", rest = ""] = /^(\w+)\b\s*([\s\S]*)$/.exec(piece.text) ?? [];
      if (word === "end" || word === "else") {
        if (!inside) fail(`unexpected {{${word}}}`);
        return { nodes, ended: piece.text };
      }
      if (word === "if" || word === "with" || word === "range") {
        nodes.push(this.#block(word, rest, depth));
      } else if (["define", "template", "block", "break", "continue"].includes(word)) {
        throw new CommandError(
          `go-template: {{${word}}} is not part of wherry kubectl; use jsonpath or custom-columns`,
        );
      } else {
        const pipe = new PipelineReader(tokensOf(piece.text)).pipeline(undefined);
        nodes.push({ type: "print", pipe });
      }
    }
  }
  #block(type: "if" | "with" | "range", text: string, depth: number): Node {
    const pipe = new PipelineReader(tokensOf(text)).pipeline(undefined);
    const { nodes, ended } = this.nodes(true, depth + 1);
    if (ended === "end") return { type, pipe, inner: nodes, otherwise: [] };
    const chained = /^else\s+(if|with)\s+([\s\S]*)$/.exec(ended);
    if (chained !== null) {
      const chain = this.#block(chained[1] === "with" ? "with" : "if", chained[2] ?? "", depth + 1);
      return { type, pipe, inner: nodes, otherwise: [chain] };
    }
    const other = this.nodes(true, depth + 1);
    return { type, pipe, inner: nodes, otherwise: other.nodes };
  }
}

const isTrue = (value: unknown): boolean => {
  if (value === missing || value === null || value === undefined || value === "") return false;
  if (Array.isArray(value)) return value.length > 0;
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
};

function goText(value: unknown): string {
  if (value === missing || value === undefined) return "<no value>";
  if (value === null) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  if (isObject(value))
    return `map[${sortedKeys(value)
      .map((key) => `${key}:${goText(value[key])}`)
      .join(" ")}]`;
  return plainText(value);
}

function format(pattern: string, args: readonly unknown[]): string {
  let next = 0;
  return pattern.replace(
    /%([-+# 0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (_, flags: string, width: string, digits: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      const value = args[next++];
      let shown = goText(value);
      if (verb === "q") shown = JSON.stringify(shown);
      else if (verb === "f")
        shown = Number(value).toFixed(digits === undefined ? 6 : Number(digits));
      else if (verb === "x" && typeof value === "number") shown = value.toString(16);
      else if (verb === "d" && typeof value !== "number") shown = `%!d(${typeof value}=${shown})`;
      const size = Number(width);
      if (flags.includes("-")) return shown.padEnd(size);
      return shown.padStart(size, flags.includes("0") && verb === "d" ? "0" : " ");
    },
  );
}

const ordered = (a: unknown, b: unknown): number => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  const [left, right] = [goText(a), goText(b)];
  return left < right ? -1 : left > right ? 1 : 0;
};
const sizeOf = (value: unknown): number => {
  if (typeof value === "string") return new TextEncoder().encode(value).length;
  if (Array.isArray(value)) return value.length;
  return isObject(value) ? Object.keys(value).length : 0;
};
const indexOf = (value: unknown, key: unknown): unknown => {
  if (Array.isArray(value)) {
    const index = Number(key);
    if (index < 0 || index >= value.length)
      throw new CommandError(`error calling index: reflect: slice index out of range`);
    return value[index];
  }
  return isObject(value) && Object.hasOwn(value, String(key)) ? value[String(key)] : missing;
};

const functions: Readonly<Record<string, (...args: unknown[]) => unknown>> = {
  and: (...args) => args.find((one) => !isTrue(one)) ?? args.at(-1),
  or: (...args) => args.find(isTrue) ?? args.at(-1),
  not: (value) => !isTrue(value),
  eq: (first, ...others) => others.some((one) => one === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => ordered(a, b) < 0,
  le: (a, b) => ordered(a, b) <= 0,
  gt: (a, b) => ordered(a, b) > 0,
  ge: (a, b) => ordered(a, b) >= 0,
  len: (value) => sizeOf(value),
  index: (value, ...keys) => keys.reduce<unknown>(indexOf, value),
  slice: (value, from = 0, to) =>
    typeof value === "string" || Array.isArray(value)
      ? value.slice(Number(from), to === undefined ? undefined : Number(to))
      : value,
  print: (...args) => args.map(goText).join(""),
  println: (...args) => `${args.map(goText).join(" ")}\n`,
  printf: (pattern, ...args) => format(String(pattern), args),
  html: (...args) =>
    args
      .map(goText)
      .join("")
      .replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`),
  urlquery: (...args) => encodeURIComponent(args.map(goText).join("")),
  js: (...args) => JSON.stringify(args.map(goText).join("")).slice(1, -1),
  exists: (value, ...keys) =>
    keys.reduce<unknown>(
      (inner, key) => (isObject(inner) || Array.isArray(inner) ? indexOf(inner, key) : missing),
      value,
    ) !== missing,
  base64decode: (value) => {
    const decoded = decodeBase64(goText(value));
    if ("problem" in decoded)
      throw new CommandError(`error calling base64decode: ${decoded.problem}`);
    return new TextDecoder().decode(decoded.bytes);
  },
};

class Run {
  out = "";
  readonly #allowMissing: boolean;
  readonly #variables: [string, unknown][] = [];
  constructor(root: unknown, allowMissing: boolean) {
    this.#allowMissing = allowMissing;
    this.#variables.push(["$", root]);
  }
  #walk(value: unknown, path: readonly string[]): unknown {
    let inner = value;
    for (const name of path) {
      if (isObject(inner) && Object.hasOwn(inner, name)) inner = inner[name];
      else if (!this.#allowMissing)
        throw new CommandError(`map has no entry for key ${JSON.stringify(name)}`);
      else if (inner === missing || inner === null) {
        throw new CommandError(`nil pointer evaluating interface {}.${name}`);
      } else inner = missing;
    }
    return inner;
  }
  #term(term: Term, dot: unknown): unknown {
    switch (term.type) {
      case "value":
        return term.value;
      case "dot":
        return this.#walk(dot, term.path);
      case "variable": {
        const found = this.#variables.findLast(([name]) => name === term.name);
        if (found === undefined) return fail(`undefined variable ${JSON.stringify(term.name)}`);
        return this.#walk(found[1], term.path);
      }
      case "pipe":
        return this.#walk(this.pipeline(term.pipe, dot), term.path);
      default:
        return this.#call(term.name, []);
    }
  }
  #call(name: string, args: readonly unknown[]): unknown {
    const called = Object.hasOwn(functions, name) ? functions[name] : undefined;
    if (called === undefined) return fail(`function ${JSON.stringify(name)} not defined`);
    return called(...args);
  }
  pipeline(pipe: Pipeline, dot: unknown): unknown {
    let value: unknown;
    for (const [at, command] of pipe.commands.entries()) {
      const [head, ...rest] = command;
      if (head === undefined) continue;
      const args = rest.map((term) => this.#term(term, dot));
      if (at > 0) args.push(value);
      value = head.type === "function" ? this.#call(head.name, args) : this.#term(head, dot);
    }
    if (pipe.assign.length === 1) this.#set(pipe.assign[0] ?? "", value, pipe.declares);
    return value;
  }
  #set(name: string, value: unknown, declares: boolean): void {
    const known = this.#variables.findLast(([one]) => one === name);
    if (!declares && known !== undefined) known[1] = value;
    else this.#variables.push([name, value]);
  }
  nodes(nodes: readonly Node[], dot: unknown): void {
    const depth = this.#variables.length;
    for (const node of nodes) this.#node(node, dot);
    this.#variables.length = depth;
  }
  #node(node: Node, dot: unknown): void {
    if (node.type === "text") this.out += node.text;
    else if (node.type === "print") {
      const value = this.pipeline(node.pipe, dot);
      if (node.pipe.assign.length === 0) this.out += goText(value);
    } else if (node.type === "range") this.#range(node, dot);
    else {
      const value = this.pipeline(node.pipe, dot);
      if (isTrue(value)) this.nodes(node.inner, node.type === "with" ? value : dot);
      else this.nodes(node.otherwise, dot);
    }
  }
  #range(node: Node & { type: "if" | "with" | "range" }, dot: unknown): void {
    const value = this.pipeline({ ...node.pipe, assign: [] }, dot);
    const entries: [unknown, unknown][] = Array.isArray(value)
      ? value.map((item, i) => [i, item])
      : isObject(value)
        ? sortedKeys(value).map((key) => [key, value[key]])
        : [];
    if (entries.length === 0) this.nodes(node.otherwise, dot);
    const { assign } = node.pipe;
    for (const [key, item] of entries) {
      const depth = this.#variables.length;
      if (assign.length === 1) this.#set(assign[0] ?? "", item, true);
      else if (assign.length === 2) {
        this.#set(assign[0] ?? "", key, true);
        this.#set(assign[1] ?? "", item, true);
      }
      this.nodes(node.inner, item);
      this.#variables.length = depth;
    }
  }
}

/** Throws CommandError where the template is wrong or asks for what is not here. */
export function parseTemplate(template: string, allowMissing: boolean): (value: unknown) => string {
  const { nodes } = new TemplateReader(piecesOf(template)).nodes(false, 0);
  return (value) => {
    const run = new Run(value, allowMissing);
    try {
      run.nodes(nodes, value);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CommandError(
        `error executing template ${JSON.stringify(template)}: template: output:1: ${why}`,
      );
    }
    return run.out;
  };
}
