/**
 * JSON text to plain values. The fast way is JSON.parse; a parser of our own runs only when there is something to report: keys
 * that occur twice (for strict validation) and syntax errors in the words of Go's encoding/json, which clients print.
 */

/** Upstream's bound on nesting is 10,000; what the stack of a worker thread surely carries is less. */
export const jsonDepthMax = 2000;
/** As upstream: an answer does not list more. */
const duplicatesMax = 100;

export class JsonSyntaxError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonSyntaxError";
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The value that the text stands for; throws JsonSyntaxError. With `duplicates`, the paths of keys that occur more than once
 * ("spec.containers[0].name") are added to it.
 */
export function parseJson(source: string | Uint8Array, duplicates?: string[]): unknown {
  const text = typeof source === "string" ? source : utf8.decode(source);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    new Parser(text, []).parse();
    throw new JsonSyntaxError(error.message);
  }
  // What is short cannot nest too deeply: whatever opens must close.
  const isShort = text.length < 2 * jsonDepthMax;
  if (duplicates === undefined && isShort) return value;
  const found = scan(text);
  if (found.depth > jsonDepthMax) throw new JsonSyntaxError("exceeded max depth");
  if (duplicates !== undefined && found.members !== countKeys(value)) {
    new Parser(text, duplicates).parse();
  }
  return value;
}

/** Of valid JSON: how deeply it nests, and how many members its objects have (colons outside strings). */
function scan(text: string): { readonly members: number; readonly depth: number } {
  let members = 0;
  let depth = 0;
  let open = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 92) i += 1;
      else if (code === 34) inString = false;
    } else if (code === 34) inString = true;
    else if (code === 58) members += 1;
    else if (code === 123 || code === 91) {
      open += 1;
      if (open > depth) depth = open;
    } else if (code === 125 || code === 93) open -= 1;
  }
  return { members, depth };
}
function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === "object") count += countKeys(item);
    return count;
  }
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    const member = record[key];
    count += 1;
    if (typeof member === "object") count += countKeys(member);
  }
  return count;
}

/** A character as Go quotes it in a syntax error. Go looks at bytes: of what is not ASCII, the first. */
function quoteChar(char: string): string {
  if (char === "'") return "'\\''";
  if (char === '"') return "'\"'";
  const code = new TextEncoder().encode(char)[0] ?? 0;
  const shown = String.fromCharCode(code);
  const named: Readonly<Record<string, string>> = {
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
    "\u000b": "\\v",
    "\u0007": "\\a",
    "\\": "\\\\",
  };
  if (named[shown] !== undefined) return `'${named[shown]}'`;
  if (code < 32 || code === 127) return `'\\x${code.toString(16).padStart(2, "0")}'`;
  if (code > 127 && code < 160) return `'\\u${code.toString(16).padStart(4, "0")}'`;
  return `'${shown}'`;
}

const isDigit = (char: string | undefined): boolean =>
  char !== undefined && char >= "0" && char <= "9";

/** Reads no values, only structure: where keys repeat, and where the text stops being JSON. */
class Parser {
  readonly #text: string;
  readonly #duplicates: string[];
  readonly #seen = new Set<string>();
  #at = 0;

  constructor(text: string, duplicates: string[]) {
    this.#text = text;
    this.#duplicates = duplicates;
  }

  parse(): void {
    this.#space();
    this.#value("", 0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail("after top-level value");
  }

  #fail(context: string): never {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined) throw new JsonSyntaxError("unexpected end of JSON input");
    const char = String.fromCodePoint(code);
    throw new JsonSyntaxError(`invalid character ${quoteChar(char)} ${context}`);
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
      this.#at += 1;
    }
  }

  #value(path: string, depth: number): void {
    if (depth > jsonDepthMax) throw new JsonSyntaxError("exceeded max depth");
    const char = this.#text[this.#at];
    if (char === "{") this.#object(path, depth);
    else if (char === "[") this.#array(path, depth);
    else if (char === '"') this.#string();
    else if (char === "-" || isDigit(char)) this.#number();
    else if (char === "t") this.#literal("true");
    else if (char === "f") this.#literal("false");
    else if (char === "n") this.#literal("null");
    else this.#fail("looking for beginning of value");
  }

  #literal(word: string): void {
    for (const char of word) {
      if (this.#text[this.#at] !== char) this.#fail(`in literal ${word} (expecting '${char}')`);
      this.#at += 1;
    }
  }

  #digits(context: string): void {
    if (!isDigit(this.#text[this.#at])) this.#fail(context);
    while (isDigit(this.#text[this.#at])) this.#at += 1;
  }

  #number(): void {
    if (this.#text[this.#at] === "-") this.#at += 1;
    if (this.#text[this.#at] === "0") this.#at += 1;
    else this.#digits("in numeric literal");
    if (this.#text[this.#at] === ".") {
      this.#at += 1;
      this.#digits("after decimal point in numeric literal");
    }
    const exponent = this.#text[this.#at];
    if (exponent !== "e" && exponent !== "E") return;
    this.#at += 1;
    const sign = this.#text[this.#at];
    if (sign === "+" || sign === "-") this.#at += 1;
    this.#digits("in exponent of numeric literal");
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) this.#fail("in string literal");
      if (char === '"') break;
      if (char < " ") this.#fail("in string literal");
      if (char === "\\") this.#escape();
      this.#at += 1;
    }
    this.#at += 1;
    const parsed: unknown = JSON.parse(this.#text.slice(start, this.#at));
    return String(parsed);
  }

  #escape(): void {
    this.#at += 1;
    const char = this.#text[this.#at];
    if (char === undefined || !'"\\/bfnrtu'.includes(char)) this.#fail("in string escape code");
    if (char !== "u") return;
    for (let i = 0; i < 4; i++) {
      this.#at += 1;
      const digit = this.#text[this.#at];
      if (digit === undefined || !/[0-9a-fA-F]/.test(digit)) {
        this.#fail("in \\u hexadecimal character escape");
      }
    }
  }

  #object(path: string, depth: number): void {
    this.#at += 1;
    this.#space();
    if (this.#text[this.#at] === "}") {
      this.#at += 1;
      return;
    }
    const keys = new Set<string>();
    for (;;) {
      if (this.#text[this.#at] !== '"') this.#fail("looking for beginning of object key string");
      const key = this.#string();
      const keyPath = path === "" ? key : `${path}.${key}`;
      if (keys.has(key)) this.#report(keyPath);
      keys.add(key);
      this.#space();
      if (this.#text[this.#at] !== ":") this.#fail("after object key");
      this.#at += 1;
      this.#space();
      this.#value(keyPath, depth + 1);
      this.#space();
      const char = this.#text[this.#at];
      if (char !== "," && char !== "}") this.#fail("after object key:value pair");
      this.#at += 1;
      if (char === "}") return;
      this.#space();
    }
  }

  #array(path: string, depth: number): void {
    this.#at += 1;
    this.#space();
    if (this.#text[this.#at] === "]") {
      this.#at += 1;
      return;
    }
    for (let index = 0; ; index++) {
      this.#value(`${path}[${index}]`, depth + 1);
      this.#space();
      const char = this.#text[this.#at];
      if (char !== "," && char !== "]") this.#fail("after array element");
      this.#at += 1;
      if (char === "]") return;
      this.#space();
    }
  }

  #report(path: string): void {
    if (this.#seen.has(path) || this.#duplicates.length >= duplicatesMax) return;
    this.#seen.add(path);
    this.#duplicates.push(path);
  }
}

const escapes: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};
/** JSON as Go prints it: safe to stand in HTML. */
export function goJson(value: unknown): string {
  // Names and the like, which is nearly all there is, need no escapes.
  if (typeof value === "string" && /^[\w ./:-]*$/.test(value)) return `"${value}"`;
  const text = JSON.stringify(value);
  return /[<>&\u2028\u2029]/.test(text)
    ? text.replace(/[<>&\u2028\u2029]/g, (char) => escapes[char] ?? char)
    : text;
}
