/**
 * Reading YAML the way Kubernetes' clients and servers do (sigs.k8s.io/yaml over yaml.v2): YAML 1.1's plain words ("yes", "on", 0777),
 * every document of a stream, plain JSON values as the result. The only file that uses the yaml package, and that only for
 * the syntax: what a plain scalar means is decided here. Writing is in yaml-print.ts.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  parseAllDocuments,
} from "yaml";
import { decodeBase64 } from "./base64.ts";
import { JsonSyntaxError, parseJson } from "./json.ts";
import { isObject, type JsonObject, setKey } from "./object.ts";

/** The text is no YAML, or says what JSON cannot. The message is worded as Go's library words it where it can be. */
export class YamlError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "YamlError";
  }
}

export interface YamlDocument {
  readonly value: unknown;
  /** Keys that occur twice: `line 3: key "a" already set in map`. For strict validation. */
  readonly duplicates: readonly string[];
}

/** All documents that are not empty. Throws YamlError. */
export function readYamlDocuments(source: string | Uint8Array): YamlDocument[] {
  const text = typeof source === "string" ? source : new TextDecoder().decode(source);
  const json = readAsJson(text);
  if (json !== undefined) return [{ value: json, duplicates: [] }];
  const lines = new LineCounter();
  const documents: YamlDocument[] = [];
  for (const document of parse(text, lines)) {
    const [error] = document.errors;
    if (error !== undefined) {
      // Upstream: an error on the first line names no line.
      const line = error.linePos?.[0].line ?? 1;
      const where = line === 1 ? "" : `line ${line}: `;
      throw new YamlError(`yaml: ${where}${goMessage(error.code, error.message)}`);
    }
    const reader = new Reader(lines);
    const { contents } = document;
    const value = contents === null ? null : reader.read(contents, 0);
    if (value !== null) documents.push({ value, duplicates: reader.duplicates });
  }
  return documents;
}

/** Clients send JSON where YAML is asked for, and it reads fifty times faster. What is not plain JSON takes the long way. */
function readAsJson(text: string): unknown {
  if (!text.startsWith("{")) return undefined;
  const duplicates: string[] = [];
  try {
    const value = parseJson(text, duplicates);
    return duplicates.length === 0 ? value : undefined;
  } catch (error) {
    if (error instanceof JsonSyntaxError) return undefined;
    throw error;
  }
}

/** The first document's value; null if there is none. Throws YamlError. */
export const readYaml = (source: string | Uint8Array): unknown =>
  readYamlDocuments(source)[0]?.value ?? null;

/** The line (from 1) of a place in the first document: of its key, or of the item itself; of the nearest that is there. */
export function yamlLines(
  source: string,
): (path: readonly (string | number)[]) => number | undefined {
  const lines = new LineCounter();
  const [document] = parse(source, lines);
  const lineOf = (node: Node | null): number | undefined =>
    node?.range == null ? undefined : lines.linePos(node.range[0]).line;
  return (path) => {
    let node: Node | null = document?.contents ?? null;
    let line: number | undefined;
    for (const step of path) {
      if (node !== null && isSeq(node)) {
        node = (node.items[Number(step)] as Node | undefined) ?? null;
        line = lineOf(node) ?? line;
      } else if (node !== null && isMap(node)) {
        const pair = node.items.find(({ key }) => isScalar(key) && key.value === String(step));
        if (pair === undefined) return line;
        line = lineOf(pair.key as Node) ?? line;
        node = (pair.value as Node | null) ?? null;
      } else return line;
    }
    return line;
  };
}

function parse(text: string, lineCounter: LineCounter): ReturnType<typeof parseAllDocuments> {
  checkNesting(text);
  return parseAllDocuments(text, {
    version: "1.1",
    schema: "failsafe",
    uniqueKeys: false,
    merge: false,
    prettyErrors: true,
    logLevel: "silent",
    lineCounter,
  });
}

/** The package composes documents by recursion, and a stack that ends inside it can end the process: deep text is refused before. */
const nestingMax = 250;
const tooDeep = (): YamlError => new YamlError("yaml: exceeded max depth");

function checkNesting(text: string): void {
  // Each level takes one of these at least.
  let openers = 0;
  for (let i = 0; i < text.length && openers <= nestingMax; i++) {
    if ("[{-?:".includes(text[i] ?? "")) openers += 1;
  }
  if (openers <= nestingMax) return;
  /** Columns at which block collections may have started; an upper bound of their depth. */
  const columns: number[] = [];
  let flow = 0;
  let column = 0;
  for (const token of new Lexer().lex(text)) {
    const first = token[0] ?? "";
    if (token === "[" || token === "{") flow += 1;
    else if (token === "]" || token === "}") flow = Math.max(0, flow - 1);
    else if (flow === 0 && !" \t\r\n:&!#,\u0002\u0018\u001f\ufeff".includes(first)) {
      while ((columns.at(-1) ?? -1) > column) columns.pop();
      if ((columns.at(-1) ?? -1) < column) columns.push(column);
    }
    if (columns.length + flow > nestingMax) throw tooDeep();
    const lineEnd = token.lastIndexOf("\n");
    if (lineEnd >= 0) column = token.length - lineEnd - 1;
    else if (token !== "\u001f" && token !== "\u0002" && token !== "\u0018") column += token.length;
  }
}

const goMessages: Readonly<Record<string, string>> = {
  BLOCK_AS_IMPLICIT_KEY: "mapping values are not allowed in this context",
  MULTILINE_IMPLICIT_KEY: "could not find expected ':'",
  BAD_SCALAR_START: "found character that cannot start any token",
  MISSING_CHAR: "found unexpected end of stream",
  BAD_INDENT: "did not find expected key",
  TAB_AS_INDENT: "found character that cannot start any token",
  BAD_ALIAS: "unknown anchor referenced",
  UNEXPECTED_TOKEN: "did not find expected node content",
};
const goMessage = (code: string, message: string): string =>
  goMessages[code] ?? message.split("\n")[0] ?? message;

/** Nodes that aliases may stand for, as yaml.v2 bounds them: nearly all of a small document, a tenth of a huge one. */
function allowedAliasShare(nodes: number): number {
  if (nodes <= 400_000) return 0.99;
  if (nodes >= 4_000_000) return 0.1;
  return 0.99 - 0.89 * ((nodes - 400_000) / 3_600_000);
}

/** An answer does not list more. */
const duplicatesMax = 100;

class Reader {
  readonly duplicates: string[] = [];
  readonly #lines: LineCounter;
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  #nodes = 0;
  #aliased = 0;
  #aliasDepth = 0;

  constructor(lines: LineCounter) {
    this.#lines = lines;
  }

  read(node: Node, depth: number): unknown {
    // Aliases can nest deeper than the text does.
    if (depth > 8 * nestingMax) throw tooDeep();
    this.#nodes += 1;
    if (this.#aliasDepth > 0) this.#aliased += 1;
    const isExcessive =
      this.#aliased > 100 &&
      this.#nodes > 1000 &&
      this.#aliased / this.#nodes > allowedAliasShare(this.#nodes);
    if (isExcessive) throw new YamlError("yaml: document contains excessive aliasing");
    if (isAlias(node)) return this.#follow(node.source, depth);
    if ("anchor" in node && typeof node.anchor === "string") this.#anchors.set(node.anchor, node);
    if (isScalar(node)) {
      const text = typeof node.value === "string" ? node.value : "";
      return resolveScalar(text, node.type === "PLAIN", shortTag(node.tag));
    }
    if (isSeq(node)) {
      const items: unknown[] = [];
      for (const item of node.items) items.push(this.#part(item, depth));
      return items;
    }
    return this.#map(node, {}, depth);
  }

  #part(part: unknown, depth: number): unknown {
    return part === null || part === undefined ? null : this.read(part as Node, depth + 1);
  }

  #follow(anchor: string, depth: number): unknown {
    const target = this.#anchors.get(anchor);
    if (target === undefined) throw new YamlError(`yaml: unknown anchor '${anchor}' referenced`);
    if (this.#open.has(target)) {
      throw new YamlError(`yaml: anchor '${anchor}' value contains itself`);
    }
    this.#open.add(target);
    this.#aliasDepth += 1;
    const value = this.read(target, depth + 1);
    this.#aliasDepth -= 1;
    this.#open.delete(target);
    return value;
  }

  #map(node: Node, into: JsonObject, depth: number): JsonObject {
    if (!isMap(node)) throw new YamlError("yaml: unexpected node");
    for (const { key, value } of node.items) {
      if (isScalar(key) && key.value === "<<" && key.type === "PLAIN") {
        this.#merge(value, into, depth);
        continue;
      }
      const name = keyText(this.#part(key, depth));
      const range = (value as Node | null)?.range ?? (key as Node | null)?.range;
      if (Object.hasOwn(into, name) && this.duplicates.length < duplicatesMax) {
        const line = this.#lines.linePos(range?.[0] ?? 0).line;
        this.duplicates.push(`line ${line}: key ${JSON.stringify(name)} already set in map`);
      }
      setKey(into, name, this.#part(value, depth));
    }
    return into;
  }

  /** "<<": the pairs of other maps, those of earlier ones in a list before those of later ones. */
  #merge(value: unknown, into: JsonObject, depth: number): void {
    const node = value as Node | null;
    const sources = node !== null && isSeq(node) ? [...node.items].toReversed() : [node];
    for (const source of sources) {
      const merged = this.#part(source, depth);
      if (!isObject(merged)) {
        throw new YamlError("yaml: map merge requires map or sequence of maps as the value");
      }
      for (const key of Object.keys(merged)) setKey(into, key, merged[key]);
    }
  }
}

const shortTag = (tag: string | undefined): string =>
  (tag ?? "").replace("tag:yaml.org,2002:", "!!");

function keyText(key: unknown): string {
  if (typeof key === "string") return key;
  if (typeof key === "number" || typeof key === "boolean") return String(key);
  if (key === null) throw new YamlError("unsupported map key of type: %!s(<nil>)");
  throw new YamlError(`yaml: invalid map key: ${JSON.stringify(key)}`);
}

const words: ReadonlyMap<string, boolean | null | number> = new Map<
  string,
  boolean | null | number
>([
  ...["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"].map(
    (word) => [word, true] as const,
  ),
  ...["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"].map(
    (word) => [word, false] as const,
  ),
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, null] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, Number.NaN] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map(
    (word) => [word, Number.POSITIVE_INFINITY] as const,
  ),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, Number.NEGATIVE_INFINITY] as const),
]);

/**
 * What a plain scalar stands for; the text itself if it is just a string. Also used for printing: a string that would be read as
 * something else needs quotes.
 */
export function resolvePlain(text: string): unknown {
  if (words.has(text)) return words.get(text);
  if (!/^[-+.\d]/.test(text)) return text;
  const number = resolveNumber(text);
  return number ?? text;
}
function resolveNumber(text: string): number | undefined {
  if (text.startsWith(".")) {
    return /^\.\d+(?:[eE][-+]?\d+)?$/.test(text) ? Number(text) : undefined;
  }
  const plain = text.replaceAll("_", "");
  const match = /^([-+]?)(0[xX][\da-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9]\d*)$/.exec(plain);
  if (match !== null) {
    const digits = (match[2] ?? "").replace(/^0(?=[0-7])/, "0o");
    const value = BigInt(digits);
    // Beyond 64 bits a decimal is read as a float; anything else is no number.
    if (value < 2n ** 64n) return Number(match[1] === "-" ? -value : value);
  }
  return /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/.test(plain) ? Number(plain) : undefined;
}

function resolveScalar(text: string, isPlain: boolean, tag: string): unknown {
  if (tag === "!!binary") {
    const decoded = decodeBase64(text);
    if ("problem" in decoded)
      throw new YamlError("yaml: !!binary value contains invalid base64 data");
    return new TextDecoder().decode(decoded.bytes);
  }
  if (tag === "!!str" || (tag === "" && !isPlain) || tag === "!") return text;
  const known = ["!!bool", "!!int", "!!float", "!!null", "!!timestamp"].includes(tag);
  if (tag !== "" && !known) return text;
  const value = resolvePlain(text);
  if (typeof value === "number" && !Number.isFinite(value)) {
    const shown = Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
    throw new YamlError(`json: unsupported value: ${shown}`);
  }
  const actual = tagOf(value);
  if (tag === "" || tag === "!!timestamp" || tag === actual) return value;
  if (tag === "!!float" && actual === "!!int") return value;
  throw new YamlError(`yaml: cannot decode ${actual} \`${text}\` as a ${tag}`);
}
function tagOf(value: unknown): string {
  if (value === null) return "!!null";
  if (typeof value === "boolean") return "!!bool";
  if (typeof value === "number") return Number.isInteger(value) ? "!!int" : "!!float";
  return "!!str";
}
