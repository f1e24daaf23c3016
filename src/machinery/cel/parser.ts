/** CEL's grammar: a source becomes an expression, macros expanded, or the issues that keep it from being one. */

import type { Expr, Issue, MapEntry, StructField } from "./ast.ts";
import { type Token, tokenize } from "./lexer.ts";
import { callOf, expandMacro, MacroProblem } from "./macros.ts";

const depthMax = 250;
const sourceLengthMax = 100_000;
const issuesMax = 30;

const reserved = new Set([
  ..."as break const continue else for function if import let loop package namespace".split(" "),
  ..."return var void while".split(" "),
]);
const keywords = new Set(["true", "false", "null", "in"]);
const starts =
  "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
const relations: Readonly<Record<string, string>> = {
  "<": "_<_",
  "<=": "_<=_",
  ">": "_>_",
  ">=": "_>=_",
  "==": "_==_",
  "!=": "_!=_",
  in: "@in",
};

class SyntaxProblem extends Error {
  readonly issue: Issue;
  constructor(at: number, message: string) {
    super(message);
    this.issue = { at, message };
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #binds: boolean;
  readonly issues: Issue[] = [];
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly Token[], binds: boolean) {
    this.#tokens = tokens;
    this.#binds = binds;
  }

  get #token(): Token {
    return this.#tokens[Math.min(this.#next, this.#tokens.length - 1)] as Token;
  }

  #is(text: string): boolean {
    const { kind } = this.#token;
    return (kind === "operator" || kind === "ident") && this.#token.text === text;
  }

  #take(text: string): Token | undefined {
    if (!this.#is(text)) return undefined;
    const token = this.#token;
    this.#next += 1;
    return token;
  }

  #refuse(expected: string): never {
    const { text, at } = this.#token;
    throw new SyntaxProblem(at, `Syntax error: mismatched input '${text}' expecting ${expected}`);
  }

  #expect(text: string): Token {
    return this.#take(text) ?? this.#refuse(`'${text}'`);
  }

  whole(): Expr {
    const expr = this.#expression();
    if (this.#token.kind !== "end") {
      const { text, at } = this.#token;
      const isLast = this.#tokens[this.#next + 1]?.kind === "end";
      const what = isLast ? "extraneous" : "mismatched";
      throw new SyntaxProblem(at, `Syntax error: ${what} input '${text}' expecting <EOF>`);
    }
    return expr;
  }

  #expression(): Expr {
    this.#depth += 1;
    if (this.#depth > depthMax)
      throw new SyntaxProblem(-1, `expression recursion limit exceeded: ${depthMax}`);
    const test = this.#or();
    const question = this.#take("?");
    let expr = test;
    if (question !== undefined) {
      const yes = this.#or();
      this.#expect(":");
      expr = callOf(question.at, "_?_:_", test, yes, this.#expression());
    }
    this.#depth -= 1;
    return expr;
  }

  #or(): Expr {
    let left = this.#and();
    for (let sign = this.#take("||"); sign !== undefined; sign = this.#take("||"))
      left = callOf(sign.at, "_||_", left, this.#and());
    return left;
  }

  #and(): Expr {
    let left = this.#relation();
    for (let sign = this.#take("&&"); sign !== undefined; sign = this.#take("&&"))
      left = callOf(sign.at, "_&&_", left, this.#relation());
    return left;
  }

  #sign(known: readonly string[]): Token | undefined {
    for (const text of known) {
      const sign = this.#take(text);
      if (sign !== undefined) return sign;
    }
    return undefined;
  }

  #relation(): Expr {
    const known = Object.keys(relations);
    let left = this.#sum();
    for (let sign = this.#sign(known); sign !== undefined; sign = this.#sign(known))
      left = callOf(sign.at, relations[sign.text] ?? "", left, this.#sum());
    return left;
  }

  #sum(): Expr {
    let left = this.#product();
    for (let sign = this.#sign(["+", "-"]); sign !== undefined; sign = this.#sign(["+", "-"]))
      left = callOf(sign.at, `_${sign.text}_`, left, this.#product());
    return left;
  }

  #product(): Expr {
    const known = ["*", "/", "%"];
    let left = this.#unary();
    for (let sign = this.#sign(known); sign !== undefined; sign = this.#sign(known))
      left = callOf(sign.at, `_${sign.text}_`, left, this.#unary());
    return left;
  }

  #unary(): Expr {
    const first = this.#token;
    for (const sign of ["!", "-"]) {
      let count = 0;
      while (this.#take(sign) !== undefined) count += 1;
      if (count === 0) continue;
      const literal = this.#token;
      const isNumber =
        literal.kind === "literal" &&
        (typeof literal.value === "bigint" || typeof literal.value === "number");
      if (sign === "-" && isNumber) {
        // "-1" is a literal, and "--1" that with a sign.
        const operand = this.#member(true);
        return count % 2 === 1 ? operand : callOf(first.at, "-_", operand);
      }
      const operand = this.#member(false);
      return count % 2 === 0 ? operand : callOf(first.at, sign === "!" ? "!_" : "-_", operand);
    }
    return this.#member(false);
  }

  #member(negative: boolean): Expr {
    let operand = this.#primary(negative);
    for (;;) {
      const dot = this.#take(".");
      if (dot !== undefined) {
        operand = this.#selection(operand, dot);
        continue;
      }
      const open = this.#take("[");
      if (open === undefined) return operand;
      const isOptional = this.#take("?") !== undefined;
      const index = this.#expression();
      this.#expect("]");
      operand = callOf(open.at, isOptional ? "_[?_]" : "_[_]", operand, index);
    }
  }

  #selection(operand: Expr, dot: Token): Expr {
    const isOptional = this.#take("?") !== undefined;
    const { kind, text, at } = this.#token;
    const isName = (kind === "ident" && text !== "in") || kind === "quoted";
    if (!isName || (kind === "ident" && keywords.has(text)))
      throw new SyntaxProblem(at, `Syntax error: no viable alternative at input '.${text}'`);
    this.#next += 1;
    const field = kind === "quoted" ? text.slice(1, -1) : text;
    if (isOptional) {
      const name: Expr = { kind: "literal", at, value: field };
      return callOf(dot.at, "_?._", operand, name);
    }
    const open = kind === "quoted" ? undefined : this.#take("(");
    if (open === undefined) return { kind: "select", at: dot.at, operand, field, test: false };
    const args = this.#list(")", () => this.#expression());
    return this.#expanded({ kind: "call", at: open.at, name: field, target: operand, args });
  }

  #expanded(call: Expr & { kind: "call" }): Expr {
    try {
      return expandMacro(call, this.#binds) ?? call;
    } catch (error) {
      if (!(error instanceof MacroProblem)) throw error;
      this.issues.push(error.issue);
      return { kind: "literal", at: call.at, value: null };
    }
  }

  /** Comma-separated, a comma at the end allowed but for arguments; takes what closes it. */
  #list<T>(close: string, one: () => T): T[] {
    const found: T[] = [];
    while (!this.#is(close)) {
      found.push(one());
      if (this.#take(",") === undefined) break;
      if (close === ")" && this.#is(close)) this.#refuse(starts);
    }
    this.#expect(close);
    return found;
  }

  #primary(negative: boolean): Expr {
    const token = this.#token;
    const { at } = token;
    if (token.kind === "literal") {
      this.#next += 1;
      const { value = null } = token;
      if (!negative) return { kind: "literal", at, value };
      if (typeof value === "bigint") return { kind: "literal", at: at - 1, value: -value };
      return { kind: "literal", at: at - 1, value: typeof value === "number" ? -value : value };
    }
    if (this.#take("(") !== undefined) {
      const inner = this.#expression();
      this.#expect(")");
      return inner;
    }
    if (this.#take("[") !== undefined) return this.#listLiteral(at);
    if (this.#take("{") !== undefined) return this.#mapLiteral(at);
    const dot = this.#take(".") === undefined ? "" : ".";
    if (this.#token.kind === "ident" && !this.#is("in")) return this.#named(dot);
    return this.#refuse(starts);
  }

  #listLiteral(at: number): Expr {
    const optional = new Set<number>();
    let index = 0;
    const items = this.#list("]", () => {
      if (this.#take("?") !== undefined) optional.add(index);
      index += 1;
      return this.#expression();
    });
    return { kind: "list", at, items, optional };
  }

  #mapLiteral(at: number): Expr {
    const entries = this.#list("}", (): MapEntry => {
      const isOptional = this.#take("?") !== undefined;
      const key = this.#expression();
      this.#expect(":");
      return { key, value: this.#expression(), optional: isOptional };
    });
    return { kind: "map", at, entries };
  }

  #named(dot: string): Expr {
    const { text, at } = this.#token;
    this.#next += 1;
    if (dot === "" && keywords.has(text))
      return { kind: "literal", at, value: text === "null" ? null : text === "true" };
    const struct = this.#structName(text);
    if (struct !== undefined) return this.#struct(`${dot}${struct.name}`, struct.tokens, at);
    if (reserved.has(text)) throw new SyntaxProblem(at, `reserved identifier: ${text}`);
    const open = this.#take("(");
    if (open === undefined) return { kind: "ident", at, name: `${dot}${text}` };
    const args = this.#list(")", () => this.#expression());
    return this.#expanded({ kind: "call", at: open.at, name: `${dot}${text}`, args });
  }

  /** "a.b.C{": the name, and how many tokens it takes besides the first. */
  #structName(first: string): { name: string; tokens: number } | undefined {
    let name = first;
    for (let ahead = this.#next; ; ahead += 2) {
      const sign = this.#tokens[ahead];
      if (sign?.kind !== "operator") return undefined;
      if (sign.text === "{") return { name, tokens: ahead - this.#next };
      const next = this.#tokens[ahead + 1];
      if (sign.text !== "." || next?.kind !== "ident") return undefined;
      name += `.${next.text}`;
    }
  }

  #struct(name: string, tokens: number, _at: number): Expr {
    this.#next += tokens;
    const { at } = this.#expect("{");
    const fields = this.#list("}", (): StructField => {
      const isOptional = this.#take("?") !== undefined;
      const { kind, text } = this.#token;
      if (kind !== "ident" && kind !== "quoted") this.#refuse("IDENTIFIER");
      this.#next += 1;
      const colon = this.#expect(":");
      const field = kind === "quoted" ? text.slice(1, -1) : text;
      return { name: field, value: this.#expression(), optional: isOptional, at: colon.at };
    });
    return { kind: "struct", at, name, fields };
  }
}

/** `binds`: values may be named by cel.bind. */
export function parse(
  source: string,
  binds = false,
): { readonly expr: Expr } | { readonly issues: Issue[] } {
  if (source.length > sourceLengthMax) {
    const size = Array.from(source).length;
    if (size > sourceLengthMax) {
      const message = `expression code point size exceeds limit: size: ${size}, limit ${sourceLengthMax}`;
      return { issues: [{ at: 0, message }] };
    }
  }
  const { tokens, issues } = tokenize(source);
  const parser = new Parser(tokens, binds);
  try {
    const expr = parser.whole();
    const found = [...issues, ...parser.issues];
    return found.length === 0 ? { expr } : { issues: found.slice(0, issuesMax) };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    return { issues: [...issues, ...parser.issues, error.issue].slice(0, issuesMax) };
  }
}
