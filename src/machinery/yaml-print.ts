/**
 * Writing YAML exactly as `kubectl -o yaml` does (sigs.k8s.io/yaml over yaml.v2): keys in its natural order, quotes only where a plain
 * word would be read as something else, long lines folded at 80 columns. Facts from yaml.v2: sorter, encode, emitterc.
 */
import { isObject } from "./object.ts";
import { resolvePlain } from "./yaml.ts";

const lineWidth = 80;
const indentStep = 2;
const simpleKeyBytesMax = 128;
const encoder = new TextEncoder();

/** The value as one YAML document, ending in a line break. */
export function printYaml(value: unknown): string {
  const printer = new Printer();
  printer.document(value);
  return printer.text;
}

const isLetter = (char: string): boolean => /^\p{L}$/u.test(char);
const isDigit = (char: string | undefined): boolean => char !== undefined && /^\p{Nd}$/u.test(char);

/** Letters by code point, other characters before letters, runs of digits by their number. */
export function compareKeys(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  for (let i = 0; i < left.length && i < right.length; i++) {
    const l = left[i] ?? "";
    const r = right[i] ?? "";
    if (l === r) continue;
    const codes = (l.codePointAt(0) ?? 0) - (r.codePointAt(0) ?? 0);
    const isLeftLetter = isLetter(l);
    const isRightLetter = isLetter(r);
    if (isLeftLetter && isRightLetter) return codes;
    if (isLeftLetter || isRightLetter) return isRightLetter ? -1 : 1;
    return compareDigits(left, right, i) || codes;
  }
  return left.length - right.length;
}
function compareDigits(left: readonly string[], right: readonly string[], at: number): number {
  let leftNumber = 0n;
  let rightNumber = 0n;
  if (left[at] === "0" || right[at] === "0") {
    // Zeros after a digit other than zero belong to its number.
    for (let j = at - 1; j >= 0 && isDigit(left[j]); j--) {
      if (left[j] !== "0") {
        leftNumber = 1n;
        rightNumber = 1n;
        break;
      }
    }
  }
  let l = at;
  let r = at;
  for (; isDigit(left[l]); l++) leftNumber = leftNumber * 10n + digitOf(left[l]);
  for (; isDigit(right[r]); r++) rightNumber = rightNumber * 10n + digitOf(right[r]);
  if (leftNumber !== rightNumber) return leftNumber < rightNumber ? -1 : 1;
  return l - r;
}
const digitOf = (char: string | undefined): bigint => BigInt((char ?? "0").charCodeAt(0) - 48);

interface Analysis {
  readonly multiline: boolean;
  readonly plain: boolean;
  readonly single: boolean;
  readonly block: boolean;
}
const isBreak = (char: string | undefined): boolean =>
  char === "\n" || char === "\r" || char === "\u0085" || char === "\u2028" || char === "\u2029";
const isBlank = (char: string | undefined): boolean => char === " " || char === "\t";
const isPrintable = (char: string): boolean => {
  const code = char.codePointAt(0) ?? 0;
  return (
    code === 0x0a ||
    (code >= 0x20 && code <= 0x7e) ||
    (code >= 0xa0 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd && code !== 0xfeff)
  );
};

/** Whether indicators forbid the text as a plain scalar in block context. */
function hasIndicators(chars: readonly string[]): boolean {
  const start = chars.slice(0, 3).join("");
  if (start === "---" || start === "...") return true;
  let afterSpace = true;
  for (const [i, char] of chars.entries()) {
    const next = chars[i + 1];
    const beforeSpace = next === undefined || isBlank(next);
    if (i === 0) {
      if ("#,[]{}&*!|>'\"%@`".includes(char)) return true;
      if ((char === "?" || char === ":" || char === "-") && beforeSpace) return true;
    } else {
      if (char === ":" && beforeSpace) return true;
      if (char === "#" && afterSpace) return true;
    }
    afterSpace = isBlank(char) || isBreak(char);
  }
  return false;
}

/** Which styles can carry the text. */
function analyze(text: string): Analysis {
  if (text === "") return { multiline: false, plain: true, single: true, block: false };
  const chars = Array.from(text);
  const last = chars.length - 1;
  let multiline = false;
  let special = false;
  let breakSpace = false;
  let spaceBreak = false;
  for (const [i, char] of chars.entries()) {
    if (!isPrintable(char)) special = true;
    if (char === " ") breakSpace ||= isBreak(chars[i - 1]);
    else if (isBreak(char)) {
      multiline = true;
      spaceBreak ||= chars[i - 1] === " ";
    }
  }
  const isEdge = (char: string | undefined): boolean => char === " " || isBreak(char);
  const edges = isEdge(chars[0]) || isEdge(chars[last]);
  const closed = spaceBreak || special;
  return {
    multiline,
    plain: !(edges || breakSpace || closed || multiline || hasIndicators(chars)),
    single: !(breakSpace || closed),
    block: !(chars[last] === " " || closed),
  };
}

/** Numbers to base 60 ("1:30") are strings for yaml.v2, but others read them as numbers: it quotes them. */
const isBase60 = (text: string): boolean =>
  /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/.test(text);
const isTimestamp = (text: string): boolean =>
  /^\d{4}-\d{1,2}-\d{1,2}(?:$|[Tt ]\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d+)?)/.test(text);

type Style = "plain" | "single" | "double" | "literal";
function styleOf(text: string, isKey: boolean): Style {
  const { multiline, plain, single, block } = analyze(text);
  const isWord = resolvePlain(text) !== text || isBase60(text) || isTimestamp(text);
  let style: Style = text.includes("\n") ? "literal" : isWord ? "double" : "plain";
  if (isKey && multiline) style = "double";
  if (style === "plain" && (!plain || (text === "" && isKey))) style = "single";
  if (style === "single" && !single) style = "double";
  if (style === "literal" && (!block || isKey)) style = "double";
  return style;
}

const namedEscapes: Readonly<Record<string, string>> = {
  "\u0000": "\\0",
  "\u0007": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\u000b": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\u001b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\u0085": "\\N",
  "\u00a0": "\\_",
  "\u2028": "\\L",
  "\u2029": "\\P",
};
function escapeChar(char: string): string {
  const named = namedEscapes[char];
  if (named !== undefined) return named;
  const code = char.codePointAt(0) ?? 0;
  const hex = (width: number): string => code.toString(16).toUpperCase().padStart(width, "0");
  if (code <= 0xff) return `\\x${hex(2)}`;
  return code <= 0xffff ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}

/** Go's shortest %g: integers within 64 bits in full, else an exponent of two digits from 1e6 up and below 1e-4. */
function formatNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 64) return BigInt(value).toString();
  const [digits = "", exponentText = ""] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 6) return String(value);
  const size = String(Math.abs(exponent)).padStart(2, "0");
  return `${digits}e${exponent < 0 ? "-" : "+"}${size}`;
}

class Printer {
  text = "";
  #column = 0;

  document(value: unknown): void {
    // What folds at the root goes one step in.
    this.#node(value, isNonEmpty(value) ? 0 : indentStep, false);
    if (!this.text.endsWith("\n")) this.#write("\n");
  }

  #write(text: string): void {
    this.text += text;
    const end = text.lastIndexOf("\n");
    this.#column = end < 0 ? this.#column + Array.from(text).length : text.length - end - 1;
  }

  /** `inline`: something stands on the line already ("key:" or "-"). */
  #node(value: unknown, indent: number, inline: boolean): void {
    if (Array.isArray(value)) {
      if (value.length === 0) this.#scalarText("[]", inline);
      else this.#sequence(value, indent);
    } else if (isObject(value)) {
      if (Object.keys(value).length === 0) this.#scalarText("{}", inline);
      else this.#mapping(value, indent);
    } else if (typeof value === "string") this.#string(value, indent, inline);
    else if (typeof value === "number") this.#scalarText(formatNumber(value), inline);
    else if (typeof value === "boolean") this.#scalarText(String(value), inline);
    else this.#scalarText("null", inline);
  }

  #scalarText(text: string, inline: boolean): void {
    this.#write(inline ? ` ${text}` : text);
  }

  /** Goes to `indent` on a fresh line, unless it is just there (after "- "). */
  #line(indent: number): void {
    if (this.text === "" || this.#column === indent) {
      if (this.text === "" || this.text.endsWith("\n") || this.#column > 0) return;
    }
    if (this.#column > 0 && !this.text.endsWith("\n")) this.#write("\n");
    this.#write(" ".repeat(indent));
  }

  #mapping(value: Readonly<Record<string, unknown>>, indent: number): void {
    let isFirst = true;
    for (const key of Object.keys(value).sort(compareKeys)) {
      const member = value[key];
      if (member === undefined) continue;
      this.#entryStart(indent, isFirst);
      isFirst = false;
      if (analyze(key).multiline || encoder.encode(key).length > simpleKeyBytesMax) {
        this.#complexEntry(key, member, indent);
        continue;
      }
      this.#string(key, indent, false, true);
      this.#write(isNonEmpty(member) ? ":\n" : ":");
      // Sequences inside mappings are not indented further.
      const inner = Array.isArray(member) ? indent : indent + indentStep;
      this.#node(member, inner, !isNonEmpty(member));
    }
  }

  /** "? key" and ": value" on lines of their own; the value starts right behind the colon. */
  #complexEntry(key: string, member: unknown, indent: number): void {
    this.#write("?");
    this.#string(key, indent + indentStep, true);
    if (!this.text.endsWith("\n")) this.#write("\n");
    this.#write(`${" ".repeat(indent)}:${isNonEmpty(member) ? " " : ""}`);
    this.#node(member, indent + indentStep, !isNonEmpty(member));
  }

  #sequence(items: readonly unknown[], indent: number): void {
    let isFirst = true;
    for (const item of items) {
      this.#entryStart(indent, isFirst);
      isFirst = false;
      this.#write("-");
      if (isNonEmpty(item)) this.#write(" ");
      this.#node(item, indent + indentStep, !isNonEmpty(item));
    }
  }

  #entryStart(indent: number, isFirst: boolean): void {
    // The first entry may follow "- " on the same line.
    if (isFirst && this.#column === indent && this.#column > 0) return;
    this.#line(indent);
  }

  #string(value: string, indent: number, inline: boolean, isKey = false): void {
    const style = styleOf(value, isKey);
    if (inline && style !== "literal" && !(style === "plain" && value === "")) this.#write(" ");
    const foldIndent = Math.max(indent, isKey ? indent + indentStep : indent);
    if (style === "literal") this.#literal(value, indent, inline);
    else if (style === "double") this.#double(value, foldIndent, !isKey);
    else if (style === "single") {
      this.#write("'");
      this.#folded(value.replaceAll("'", "''"), foldIndent, !isKey, true);
      this.#write("'");
    } else this.#folded(value, foldIndent, !isKey, false);
  }

  /** Breaks the line at single spaces beyond the width. */
  #folded(text: string, indent: number, canBreak: boolean, quoted: boolean): void {
    const chars = Array.from(text);
    let afterSpace = false;
    for (const [i, char] of chars.entries()) {
      const isSpace = char === " ";
      const isInside = !quoted || (i > 0 && i < chars.length - 1);
      if (
        isSpace &&
        canBreak &&
        !afterSpace &&
        this.#column > lineWidth &&
        chars[i + 1] !== " " &&
        isInside
      ) {
        this.#write(`\n${" ".repeat(indent)}`);
      } else this.#write(char);
      afterSpace = isSpace;
    }
  }

  #double(text: string, indent: number, canBreak: boolean): void {
    this.#write('"');
    const chars = Array.from(text);
    let afterSpace = false;
    for (const [i, char] of chars.entries()) {
      if (!isPrintable(char) || isBreak(char) || char === '"' || char === "\\") {
        this.#write(escapeChar(char));
        afterSpace = false;
      } else if (char === " ") {
        const isInside = i > 0 && i < chars.length - 1;
        if (canBreak && !afterSpace && this.#column > lineWidth && isInside) {
          this.#write(`\n${" ".repeat(indent)}`);
          if (chars[i + 1] === " ") this.#write("\\");
        } else this.#write(char);
        afterSpace = true;
      } else {
        this.#write(char);
        afterSpace = false;
      }
    }
    this.#write('"');
  }

  #literal(text: string, indent: number, inline: boolean): void {
    const first = text[0];
    const hint = first === " " || isBreak(first) ? String(indentStep) : "";
    const endsInBreak = isBreak(text.at(-1));
    const keepsAll = endsInBreak && (text.length === 1 || isBreak(text.at(-2)));
    const chomp = endsInBreak ? (keepsAll ? "+" : "") : "-";
    this.#write(`${inline ? " " : ""}|${hint}${chomp}\n`);
    const lines = text.split("\n");
    const body = endsInBreak ? lines.slice(0, -1) : lines;
    const margin = " ".repeat(Math.max(indent, indentStep));
    const printed = body.map((line) => (line === "" ? "" : `${margin}${line}`));
    this.#write(printed.join("\n"));
    if (endsInBreak) this.#write("\n");
  }
}

const isNonEmpty = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : isObject(value) && Object.keys(value).length > 0;
