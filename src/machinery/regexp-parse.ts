/**
 * Reads a regular expression in RE2's syntax (what Go takes; no back references, no lookaround) into a tree. Errors are worded as Go
 * words them. The other half, matching in linear time, is regexp.ts.
 */

/** Whether a code point belongs to a class. */
export type CharTest = (codePoint: number) => boolean;
export type Assertion = "textStart" | "textEnd" | "lineStart" | "lineEnd" | "word" | "notWord";
export type Node =
  | { readonly type: "char"; readonly test: CharTest }
  | { readonly type: "assert"; readonly what: Assertion }
  | { readonly type: "sequence"; readonly items: readonly Node[] }
  | { readonly type: "choice"; readonly items: readonly Node[] }
  | {
      readonly type: "repeat";
      readonly item: Node;
      readonly min: number;
      readonly max: number;
      /** As few as possible rather than as many. */
      readonly lazy: boolean;
    };

export class RegexpError extends Error {
  constructor(message: string) {
    super(`error parsing regexp: ${message}`);
    this.name = "RegexpError";
  }
}

const repeatMax = 1000;
const nestingMax = 1000;

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
}

const between =
  (...pairs: readonly (readonly [string, string])[]): CharTest =>
  (at) =>
    pairs.some(([from, to]) => at >= (from.codePointAt(0) ?? 0) && at <= (to.codePointAt(0) ?? 0));
const not =
  (test: CharTest): CharTest =>
  (at) =>
    !test(at);

const digit = between(["0", "9"]);
export const isWordChar = between(["0", "9"], ["A", "Z"], ["a", "z"], ["_", "_"]);
const space: CharTest = (at) =>
  at === 0x20 || at === 0x09 || at === 0x0a || at === 0x0c || at === 0x0d;
const perlClasses: Readonly<Record<string, CharTest>> = {
  d: digit,
  D: not(digit),
  w: isWordChar,
  W: not(isWordChar),
  s: space,
  S: not(space),
};
const posixClasses: Readonly<Record<string, CharTest>> = {
  alnum: between(["0", "9"], ["A", "Z"], ["a", "z"]),
  alpha: between(["A", "Z"], ["a", "z"]),
  ascii: (at) => at <= 0x7f,
  blank: (at) => at === 0x20 || at === 0x09,
  cntrl: (at) => at <= 0x1f || at === 0x7f,
  digit,
  graph: between(["!", "~"]),
  lower: between(["a", "z"]),
  print: between([" ", "~"]),
  punct: between(["!", "/"], [":", "@"], ["[", "`"], ["{", "~"]),
  space: (at) => space(at) || at === 0x0b,
  upper: between(["A", "Z"]),
  word: isWordChar,
  xdigit: between(["0", "9"], ["A", "F"], ["a", "f"]),
};
const escapedChars: Readonly<Record<string, number>> = {
  a: 7,
  f: 0x0c,
  t: 9,
  n: 0x0a,
  r: 0x0d,
  v: 0x0b,
};

function foldsTo(test: CharTest): CharTest {
  return (at) => {
    if (test(at)) return true;
    const char = String.fromCodePoint(at);
    const lower = char.toLowerCase();
    const upper = char.toUpperCase();
    return (
      (lower !== char && test(lower.codePointAt(0) ?? 0)) ||
      (upper !== char && test(upper.codePointAt(0) ?? 0))
    );
  };
}

function unicodeClass(name: string, text: string): CharTest {
  const known = unicodePattern(`General_Category=${name}`) ?? unicodePattern(`Script=${name}`);
  if (known === undefined || !/^[A-Z][A-Za-z_]*$/.test(name))
    throw new RegexpError(`invalid character class range: \`${text}\``);
  return (at) => known.test(String.fromCodePoint(at));
}

function unicodePattern(property: string): RegExp | undefined {
  try {
    return new RegExp(`^\\p{${property}}$`, "u");
  } catch {
    return undefined;
  }
}

export function parseRegexp(source: string): Node {
  return new Parser(source).whole();
}

class Parser {
  readonly #source: string;
  readonly #chars: readonly string[];
  #at = 0;
  #depth = 0;
  #flags: Flags = { ignoreCase: false, multiline: false, dotAll: false };

  constructor(source: string) {
    this.#source = source;
    this.#chars = Array.from(source);
  }

  whole(): Node {
    const node = this.#choice();
    if (this.#at < this.#chars.length) throw new RegexpError(`unexpected ): \`${this.#source}\``);
    return node;
  }

  #peek(ahead = 0): string | undefined {
    return this.#chars[this.#at + ahead];
  }
  #rest(from: number): string {
    return this.#chars.slice(from).join("");
  }
  #taken(from: number): string {
    return this.#chars.slice(from, this.#at).join("");
  }

  #choice(): Node {
    if (++this.#depth > nestingMax) throw new RegexpError("expression nests too deeply");
    const items = [this.#sequence()];
    while (this.#peek() === "|") {
      this.#at++;
      items.push(this.#sequence());
    }
    this.#depth--;
    return items.length === 1 ? (items[0] as Node) : { type: "choice", items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    for (let char = this.#peek(); char !== undefined; char = this.#peek()) {
      if (char === "|" || char === ")") break;
      const atom = this.#atom(char);
      if (atom !== undefined) items.push(this.#repeated(atom));
    }
    return { type: "sequence", items };
  }

  /** Undefined: it set flags, and matches nothing. */
  #atom(char: string): Node | undefined {
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return { type: "char", test: this.#class() };
      case ".": {
        this.#at++;
        const all = this.#flags.dotAll;
        return { type: "char", test: (at) => all || at !== 0x0a };
      }
      case "^":
        this.#at++;
        return { type: "assert", what: this.#flags.multiline ? "lineStart" : "textStart" };
      case "$":
        this.#at++;
        return { type: "assert", what: this.#flags.multiline ? "lineEnd" : "textEnd" };
      case "*":
      case "+":
      case "?":
        throw new RegexpError(`missing argument to repetition operator: \`${char}\``);
      case "\\":
        return this.#escape();
      default:
        this.#at++;
        return this.#literal(char);
    }
  }

  #literal(char: string): Node {
    const wanted = char.codePointAt(0) ?? 0;
    const test: CharTest = (at) => at === wanted;
    return { type: "char", test: this.#flags.ignoreCase ? foldsTo(test) : test };
  }

  #repeated(atom: Node): Node {
    let node = atom;
    let last = -1;
    for (;;) {
      const start = this.#at;
      const count = this.#count();
      if (count === undefined) return node;
      const lazy = this.#peek() === "?";
      if (lazy) this.#at++;
      if (last >= 0)
        throw new RegexpError(`invalid nested repetition operator: \`${this.#taken(last)}\``);
      last = start;
      node = { type: "repeat", item: node, ...count, lazy };
    }
  }

  #count(): { readonly min: number; readonly max: number } | undefined {
    const char = this.#peek();
    const simple = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] } as const;
    if (char === "*" || char === "+" || char === "?") {
      this.#at++;
      const [min, max] = simple[char];
      return { min, max };
    }
    if (char !== "{") return undefined;
    const match = /^\{(\d+)(?:(,)(\d*))?\}/.exec(this.#rest(this.#at));
    // A brace that is no count is a brace.
    if (match === null) return undefined;
    const [text, low, comma, high] = match;
    const min = Number(low);
    const max = comma === undefined ? min : high === "" ? Infinity : Number(high);
    if (min > repeatMax || (max !== Infinity && max > repeatMax) || max < min)
      throw new RegexpError(`invalid repeat count: \`${text}\``);
    this.#at += text.length;
    return { min, max };
  }

  #group(): Node | undefined {
    const start = this.#at;
    this.#at++;
    const outer = this.#flags;
    if (this.#peek() === "?") {
      const named = /^\?P?<([A-Za-z_]\w*)>/.exec(this.#rest(this.#at));
      if (named !== null) this.#at += named[0].length;
      else {
        const flags = /^\?([imsU]*)(?:-([imsU]+))?([:)])/.exec(this.#rest(this.#at));
        if (flags === null || (flags[1] === "" && flags[3] === ")")) {
          const shown = this.#rest(start).slice(0, 3);
          throw new RegexpError(`invalid or unsupported Perl syntax: \`${shown}\``);
        }
        this.#at += flags[0].length;
        this.#setFlags(flags[1] ?? "", true);
        this.#setFlags(flags[2] ?? "", false);
        if (flags[3] === ")") return undefined;
      }
    }
    const node = this.#choice();
    if (this.#peek() !== ")") throw new RegexpError(`missing closing ): \`${this.#source}\``);
    this.#at++;
    this.#flags = outer;
    return node;
  }

  #setFlags(letters: string, on: boolean): void {
    for (const letter of letters) {
      if (letter === "i") this.#flags = { ...this.#flags, ignoreCase: on };
      if (letter === "m") this.#flags = { ...this.#flags, multiline: on };
      if (letter === "s") this.#flags = { ...this.#flags, dotAll: on };
    }
  }

  #escape(): Node {
    const next = this.#peek(1);
    if (next === undefined) throw new RegexpError("trailing backslash at end of expression: ``");
    const asserts: Readonly<Record<string, Assertion>> = {
      A: "textStart",
      z: "textEnd",
      b: "word",
      B: "notWord",
    };
    const what = Object.hasOwn(asserts, next) ? asserts[next] : undefined;
    if (what !== undefined) {
      this.#at += 2;
      return { type: "assert", what };
    }
    if (next === "Q") return this.#quoted();
    const test = this.#charEscape();
    return { type: "char", test: this.#flags.ignoreCase ? foldsTo(test) : test };
  }

  #quoted(): Node {
    this.#at += 2;
    const rest = this.#rest(this.#at);
    const end = rest.indexOf("\\E");
    const text = end === -1 ? rest : rest.slice(0, end);
    this.#at += Array.from(text).length + (end === -1 ? 0 : 2);
    return { type: "sequence", items: Array.from(text).map((char) => this.#literal(char)) };
  }

  /** Behind a backslash, inside a class or outside. */
  #charEscape(): CharTest {
    const start = this.#at;
    const char = this.#peek(1);
    if (char === undefined) throw new RegexpError("trailing backslash at end of expression: ``");
    this.#at += 2;
    const perl = Object.hasOwn(perlClasses, char) ? perlClasses[char] : undefined;
    if (perl !== undefined) return perl;
    if (char === "p" || char === "P") {
      const match = /^(?:\{(\^?)(\w+)\}|(\w))/.exec(this.#rest(this.#at));
      if (match === null)
        throw new RegexpError(`invalid character class range: \`${this.#rest(start)}\``);
      this.#at += match[0].length;
      const test = unicodeClass(match[2] ?? match[3] ?? "", this.#taken(start));
      return (char === "P") !== (match[1] === "^") ? not(test) : test;
    }
    const wanted = this.#charCode(char, start);
    return (at) => at === wanted;
  }

  #charCode(char: string, start: number): number {
    const control = Object.hasOwn(escapedChars, char) ? escapedChars[char] : undefined;
    if (control !== undefined) return control;
    if (char === "x") {
      const match = /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))/.exec(this.#rest(this.#at));
      if (match !== null) {
        this.#at += match[0].length;
        return Number.parseInt(match[1] ?? match[2] ?? "", 16);
      }
    } else if (/[0-7]/.test(char)) {
      const match = /^[0-7]{0,2}/.exec(this.#rest(this.#at))?.[0] ?? "";
      // A single digit from 1 on would be a back reference.
      if (char === "0" || match !== "") {
        this.#at += match.length;
        return Number.parseInt(char + match, 8);
      }
    } else if (!/[\w]/.test(char)) return char.codePointAt(0) ?? 0;
    throw new RegexpError(`invalid escape sequence: \`${this.#taken(start)}\``);
  }

  #class(): CharTest {
    const start = this.#at;
    this.#at++;
    const negated = this.#peek() === "^";
    if (negated) this.#at++;
    const tests: CharTest[] = [];
    for (let first = true; ; first = false) {
      const char = this.#peek();
      if (char === undefined) throw new RegexpError(`missing closing ]: \`${this.#rest(start)}\``);
      if (char === "]" && !first) break;
      const posix = /^\[:(\^?)(\w*):\]/.exec(this.#rest(this.#at));
      if (posix !== null) {
        const named = posixClasses[posix[2] ?? ""];
        if (named === undefined)
          throw new RegexpError(`invalid character class range: \`${posix[0]}\``);
        tests.push(posix[1] === "^" ? not(named) : named);
        this.#at += posix[0].length;
      } else tests.push(this.#range());
    }
    this.#at++;
    const any: CharTest = (at) => tests.some((test) => test(at));
    const folded = this.#flags.ignoreCase ? foldsTo(any) : any;
    return negated ? not(folded) : folded;
  }

  #range(): CharTest {
    const start = this.#at;
    const next = this.#peek(1) ?? "";
    if (this.#peek() === "\\" && /[dDwWsSpP]/.test(next)) return this.#charEscape();
    const low = this.#classChar();
    let high = low;
    if (this.#peek() === "-" && this.#peek(1) !== "]" && this.#peek(1) !== undefined) {
      this.#at++;
      high = this.#classChar();
      if (high < low)
        throw new RegexpError(`invalid character class range: \`${this.#taken(start)}\``);
    }
    return (at) => at >= low && at <= high;
  }

  #classChar(): number {
    const start = this.#at;
    const char = this.#peek() ?? "";
    if (char !== "\\") {
      this.#at++;
      return char.codePointAt(0) ?? 0;
    }
    const escaped = this.#peek(1);
    if (escaped === undefined) throw new RegexpError("trailing backslash at end of expression: ``");
    this.#at += 2;
    return this.#charCode(escaped, start);
  }
}
