/** CEL's text as tokens: reads a source, gives tokens with their places and the issues of what is none. */

import type { Issue } from "./ast.ts";
import { utf8 } from "./bytes.ts";
import { Uint, type Value } from "./value.ts";

export interface Token {
  readonly kind: "ident" | "quoted" | "literal" | "operator" | "end";
  readonly text: string;
  readonly at: number;
  readonly value?: Value;
}

/** Of bytes, where "\xff" is a byte and text is its UTF-8. */
function bytesOf(parts: readonly (string | number)[]): Uint8Array {
  const all: number[] = [];
  for (const part of parts) {
    if (typeof part === "number") all.push(part);
    else all.push(...utf8(part));
  }
  return Uint8Array.from(all);
}

const simpleEscapes: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "`": "`",
  "?": "?",
};

const number =
  /(?:0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|\d+[uU]?)/y;
const word = /[A-Za-z_][A-Za-z0-9_]*/y;
const quotedWord = /`[A-Za-z0-9_.\-/ ]*`/y;
const space = /(?:[ \t\r\n\f]+|\/\/[^\n]*)+/y;
const operator = /==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()[\]{}]/y;
const opening = /(?:[bB][rR]?|[rR][bB]?)?("""|'''|"|')/y;

const int64Max = 2n ** 63n - 1n;
const uint64Max = 2n ** 64n - 1n;

class Lexer {
  readonly #source: string;
  readonly issues: Issue[] = [];
  readonly tokens: Token[] = [];
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source)?.[0];
  }

  #push(kind: Token["kind"], text: string, value?: Value): void {
    const at = this.#at;
    this.tokens.push(value === undefined ? { kind, text, at } : { kind, text, at, value });
    this.#at += text.length;
  }

  run(): void {
    for (;;) {
      const skipped = this.#match(space);
      if (skipped !== undefined) this.#at += skipped.length;
      if (this.#at >= this.#source.length) break;
      if (this.#string() || this.#number()) continue;
      const name = this.#match(word);
      if (name !== undefined) {
        this.#push("ident", name);
        continue;
      }
      const quoted = this.#match(quotedWord);
      if (quoted !== undefined) {
        this.#push("quoted", quoted);
        continue;
      }
      const sign = this.#match(operator);
      if (sign === undefined) this.#refuse();
      else this.#push("operator", sign);
    }
    this.tokens.push({ kind: "end", text: "<EOF>", at: this.#source.length });
  }

  #refuse(): void {
    const rest = this.#source.slice(this.#at);
    const isQuote = /^["']/.test(rest);
    const shown = isQuote
      ? (rest.split("\n")[0] ?? "")
      : String.fromCodePoint(rest.codePointAt(0) ?? 0);
    const message = `Syntax error: token recognition error at: '${shown}'`;
    this.issues.push({ at: this.#at, message });
    this.#at += shown.length;
  }

  #number(): boolean {
    const text = this.#match(number);
    if (text === undefined) return false;
    const at = this.#at;
    if (/^0[xX]|^\d+[uU]?$/.test(text)) {
      const isUnsigned = /[uU]$/.test(text);
      const value = BigInt(text.replace(/[uU]$/, ""));
      // The smallest int is a minus and one more than the largest.
      const isSmallest = value === int64Max + 1n && this.tokens.at(-1)?.text === "-";
      if (value > (isUnsigned ? uint64Max : int64Max) && !isSmallest)
        this.issues.push({ at, message: `invalid ${isUnsigned ? "uint" : "int"} literal` });
      this.#push("literal", text, isUnsigned ? new Uint(value) : value);
    } else this.#push("literal", text, Number(text));
    return true;
  }

  #string(): boolean {
    const head = this.#match(opening);
    if (head === undefined) return false;
    const quote = /["']+$/.exec(head)?.[0] ?? '"';
    const prefix = head.slice(0, head.length - quote.length).toLowerCase();
    const isRaw = prefix.includes("r");
    const isBytes = prefix.includes("b");
    const parts: (string | number)[] = [];
    let text = "";
    let at = this.#at + head.length;
    for (;;) {
      if (at >= this.#source.length) return false;
      if (this.#source.startsWith(quote, at)) break;
      const one = this.#source[at] ?? "";
      if (one === "\n" && quote.length === 1) return false;
      if (one !== "\\" || isRaw) {
        // Upstream: a carriage return in a text is a line feed.
        text += one === "\r" ? (this.#source[at + 1] === "\n" ? "" : "\n") : one;
        at += 1;
        continue;
      }
      const escape = readEscape(this.#source, at, isBytes);
      if (escape === undefined) {
        this.issues.push({ at: this.#at, message: "Syntax error: invalid escape sequence" });
        at += 2;
        continue;
      }
      if (typeof escape.value === "number") {
        parts.push(text, escape.value);
        text = "";
      } else text += escape.value;
      at += escape.length;
    }
    parts.push(text);
    const whole = this.#source.slice(this.#at, at + quote.length);
    this.#push("literal", whole, isBytes ? bytesOf(parts) : text);
    return true;
  }
}

function readEscape(
  source: string,
  at: number,
  isBytes: boolean,
): { value: string | number; length: number } | undefined {
  const sign = source[at + 1] ?? "";
  const simple = Object.hasOwn(simpleEscapes, sign) ? simpleEscapes[sign] : undefined;
  if (simple !== undefined) return { value: simple, length: 2 };
  const forms: readonly [RegExp, number][] = [
    [/^\\[xX]([0-9a-fA-F]{2})/, 16],
    [/^\\u([0-9a-fA-F]{4})/, 16],
    [/^\\U([0-9a-fA-F]{8})/, 16],
    [/^\\([0-3][0-7]{2})/, 8],
  ];
  for (const [form, base] of forms) {
    const found = form.exec(source.slice(at, at + 10));
    if (found === null) continue;
    const code = Number.parseInt(found[1] ?? "", base);
    const length = found[0].length;
    const isByte = isBytes && /^[xX0-3]/.test(sign);
    if (isByte) return { value: code, length };
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
    return { value: String.fromCodePoint(code), length };
  }
  return undefined;
}

export function tokenize(source: string): { tokens: readonly Token[]; issues: Issue[] } {
  const lexer = new Lexer(source);
  lexer.run();
  return { tokens: lexer.tokens, issues: lexer.issues };
}
