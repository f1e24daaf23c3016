/**
 * Selectors: which objects a query, a Service or a workload means, by labels or by fields. Facts from k8s.io/apimachinery: the
 * query grammar and the wording of its errors (labels, fields), what the empty and the absent selector select (meta/v1).
 */
import { type FieldError, forbidden, formatFieldError, invalid, required } from "./field-error.ts";
import { compareUtf8, sortedKeys } from "./object.ts";
import { isLabelValue, isQualifiedName } from "./validation.ts";

export type Labels = Readonly<Record<string, string>>;
export type LabelMatcher = (labels: Labels | undefined) => boolean;

/** LabelSelector of meta/v1. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: LabelSelectorRequirement[];
}
export interface LabelSelectorRequirement {
  key: string;
  operator: string;
  values?: string[] | null;
}

export type LabelOperator = "=" | "==" | "!=" | "in" | "notin" | "exists" | "!" | "gt" | "lt";
/** One term of a query. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  /** Sorted, without duplicates. */
  readonly values: readonly string[];
}
export interface LabelQuery {
  /** Sorted by key. All must hold. */
  readonly requirements: readonly LabelRequirement[];
  readonly matches: LabelMatcher;
}

const everything: LabelMatcher = () => true;
const nothing: LabelMatcher = () => false;
export const selectsEverything: LabelQuery = { requirements: [], matches: everything };

const integer = /^[+-]?\d+$/;
const int64Max = 2n ** 63n - 1n;
function parseInt64(text: string): bigint | undefined {
  if (!integer.test(text) || text.length > 40) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value > int64Max || value < -int64Max - 1n ? undefined : value;
}

function compileRequirement(requirement: LabelRequirement): LabelMatcher {
  const { key, operator, values } = requirement;
  const read = (labels: Labels | undefined): string | undefined =>
    labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
  const [first = ""] = values;
  switch (operator) {
    case "=":
    case "==":
      return (labels) => read(labels) === first;
    case "!=":
      return (labels) => read(labels) !== first;
    case "in":
      return (labels) => {
        const value = read(labels);
        return value !== undefined && values.includes(value);
      };
    case "notin":
      return (labels) => {
        const value = read(labels);
        return value === undefined || !values.includes(value);
      };
    case "exists":
      return (labels) => read(labels) !== undefined;
    case "!":
      return (labels) => read(labels) === undefined;
    default: {
      const bound = parseInt64(first);
      return (labels) => {
        const value = parseInt64(read(labels) ?? "");
        if (value === undefined || bound === undefined) return false;
        return operator === "gt" ? value > bound : value < bound;
      };
    }
  }
}

export function compileRequirements(requirements: readonly LabelRequirement[]): LabelMatcher {
  const matchers = requirements.map(compileRequirement);
  const [only] = matchers;
  if (only === undefined) return everything;
  if (matchers.length === 1) return only;
  return (labels) => {
    for (const matches of matchers) if (!matches(labels)) return false;
    return true;
  };
}

const byKey = (a: LabelRequirement, b: LabelRequirement): number => compareUtf8(a.key, b.key);
const operatorOf: Readonly<Record<string, LabelOperator>> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
};

/** The terms of a LabelSelector object, sorted by key; undefined if an operator is unknown (validation refuses those). */
export function requirementsOf(selector: LabelSelector): LabelRequirement[] | undefined {
  const requirements: LabelRequirement[] = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]) => ({ key, operator: "=", values: [value] }),
  );
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const known = Object.hasOwn(operatorOf, operator) ? operatorOf[operator] : undefined;
    if (known === undefined) return undefined;
    requirements.push({ key, operator: known, values: values ?? [] });
  }
  return requirements.sort(byKey);
}

const compiled = new WeakMap<LabelSelector, LabelMatcher>();

/** Empty selects all; absent, or with an operator that does not exist, selects nothing. */
export function compileLabelSelector(selector: LabelSelector | null | undefined): LabelMatcher {
  if (selector === undefined || selector === null) return nothing;
  const known = compiled.get(selector);
  if (known !== undefined) return known;
  const requirements = requirementsOf(selector);
  const matches = requirements === undefined ? nothing : compileRequirements(requirements);
  // Only what cannot change any more may be remembered.
  if (Object.isFrozen(selector)) compiled.set(selector, matches);
  return matches;
}
export const matchesSelector = (
  selector: LabelSelector | null | undefined,
  labels: Labels | undefined,
): boolean => compileLabelSelector(selector)(labels);

/** A plain map of labels as Services and ReplicationControllers have it. Upstream: there the empty map selects nothing. */
export function compileLabelMap(selector: Labels | null | undefined): LabelMatcher {
  const entries = Object.entries(selector ?? {});
  if (entries.length === 0) return nothing;
  return (labels) => {
    if (labels === undefined) return false;
    for (const [key, value] of entries) {
      if (!Object.hasOwn(labels, key) || labels[key] !== value) return false;
    }
    return true;
  };
}

function formatRequirement({ key, operator, values }: LabelRequirement): string {
  const list = [...values].sort(compareUtf8).join(",");
  switch (operator) {
    case "exists":
      return key;
    case "!":
      return `!${key}`;
    case "in":
    case "notin":
      return `${key} ${operator} (${list})`;
    case "gt":
    case "lt":
      return `${key}${operator === "gt" ? ">" : "<"}${list}`;
    default:
      return `${key}${operator}${list}`;
  }
}
/** As a query: "a=b,c in (x,y),!d". */
export const formatRequirements = (requirements: readonly LabelRequirement[]): string =>
  requirements.map(formatRequirement).join(",");

/** A LabelSelector object as a query, the way kubectl shows it: "<none>" where it selects all or nothing. */
export function formatLabelSelector(selector: LabelSelector | null | undefined): string {
  const requirements = requirementsOf(selector ?? {});
  if (requirements === undefined) return "<error>";
  return formatRequirements(requirements) || "<none>";
}

/** The one value that the terms leave for a label, if there is just one: for indexes. */
export function exactMatch(
  requirements: readonly LabelRequirement[],
  key: string,
): string | undefined {
  const requirement = requirements.find((one) => one.key === key);
  if (requirement === undefined || requirement.values.length !== 1) return undefined;
  return ["=", "==", "in"].includes(requirement.operator) ? requirement.values[0] : undefined;
}

export function validateLabelSelectorRequirement(
  requirement: LabelSelectorRequirement,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const { key, operator } = requirement;
  const values = requirement.values ?? [];
  if (operator === "In" || operator === "NotIn") {
    const detail = "must be specified when `operator` is 'In' or 'NotIn'";
    if (values.length === 0) errors.push(required(`${path}.values`, detail));
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
    if (values.length > 0) errors.push(forbidden(`${path}.values`, detail));
  } else errors.push(invalid(`${path}.operator`, operator, "not a valid selector operator"));
  for (const message of isQualifiedName(key)) errors.push(invalid(`${path}.key`, key, message));
  for (const [index, value] of values.entries()) {
    for (const message of isLabelValue(value)) {
      errors.push(invalid(`${path}.values[${index}]`, value, message));
    }
  }
  return errors;
}
export function validateLabelSelector(
  selector: LabelSelector | null | undefined,
  path: string,
): FieldError[] {
  const errors = validateLabels(selector?.matchLabels, `${path}.matchLabels`);
  for (const [index, requirement] of (selector?.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    errors.push(...validateLabelSelectorRequirement(requirement, at));
  }
  return errors;
}
export function validateLabels(labels: Labels | null | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of sortedKeys(labels ?? {})) {
    const value = labels?.[key] ?? "";
    for (const message of isQualifiedName(key)) errors.push(invalid(path, key, message));
    for (const message of isLabelValue(value)) errors.push(invalid(path, value, message));
  }
  return errors;
}

/** The query form: "a=b,c in (x,y),!d". The problem is worded as upstream words it. */
export type ParsedLabelQuery = { readonly query: LabelQuery } | { readonly problem: string };

const queryLengthMax = 256 * 1024;

export function parseLabelSelectorText(text: string): ParsedLabelQuery {
  if (text === "") return { query: selectsEverything };
  if (text.length > queryLengthMax) return { problem: "the label selector is too long" };
  try {
    const requirements = new QueryParser(tokens(text)).parse();
    return { query: { requirements, matches: compileRequirements(requirements) } };
  } catch (error) {
    if (error instanceof QueryError) return { problem: error.message };
    throw error;
  }
}

class QueryError extends Error {}

type TokenType = "identifier" | "in" | "notin" | "end" | "error" | Symbols;
type Symbols = ")" | "," | "!" | "==" | "=" | ">" | "<" | "!=" | "(";
interface Token {
  readonly type: TokenType;
  readonly text: string;
}
const symbols: ReadonlySet<string> = new Set([")", ",", "!", "==", "=", ">", "<", "!=", "("]);
const special = /[=!(),><]/;
const isSymbol = (text: string): text is Symbols => symbols.has(text);

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  for (;;) {
    while (/[ \t\r\n]/.test(text[at] ?? "")) at += 1;
    const char = text[at];
    if (char === undefined) {
      found.push({ type: "end", text: "" });
      return found;
    }
    let end = at + 1;
    if (special.test(char)) {
      const two = text.slice(at, at + 2);
      if (isSymbol(two)) end = at + 2;
      const symbol = text.slice(at, end);
      found.push({ type: isSymbol(symbol) ? symbol : "error", text: symbol });
    } else {
      while (end < text.length && !/[=!(),>< \t\r\n]/.test(text[end] ?? "")) end += 1;
      const word = text.slice(at, end);
      found.push({ type: word === "in" || word === "notin" ? word : "identifier", text: word });
    }
    at = end;
  }
}

/** Upstream: a term's path is unset while its key is checked, and prints so. */
const unsetPath = "<nil>";

class QueryParser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): LabelRequirement[] {
    const requirements: LabelRequirement[] = [];
    for (;;) {
      const token = this.#peek();
      if (token.type === "end") break;
      if (token.type !== "identifier" && token.type !== "!") {
        throw new QueryError(`found '${token.text}', expected: !, identifier, or 'end of string'`);
      }
      requirements.push(this.#requirement());
      const next = this.#take();
      if (next.type === "end") break;
      if (next.type !== ",") {
        throw new QueryError(`found '${next.text}', expected: ',' or 'end of string'`);
      }
      const after = this.#peek();
      if (after.type !== "identifier" && after.type !== "!") {
        throw new QueryError(`found '${after.text}', expected: identifier after ','`);
      }
    }
    return requirements.sort(byKey);
  }

  /** "in" and "notin" are names where an operator cannot stand. */
  #peek(): Token {
    const token = this.#tokens[this.#at] ?? { type: "end", text: "" };
    return token.type === "in" || token.type === "notin"
      ? { type: "identifier", text: token.text }
      : token;
  }
  #take(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  #fail(message: string): never {
    throw new QueryError(`unable to parse requirement: ${message}`);
  }

  #requirement(): LabelRequirement {
    let token = this.#take();
    const negated = token.type === "!";
    if (negated) token = this.#take();
    if (token.type !== "identifier") this.#fail(`found '${token.text}', expected: identifier`);
    const key = token.text;
    const messages = isQualifiedName(key);
    if (messages.length > 0) {
      this.#fail(formatFieldError(invalid(unsetPath, key, messages.join("; "))));
    }
    if (negated) return { key, operator: "!", values: [] };
    const next = this.#peek();
    if (next.type === "end" || next.type === ",") return { key, operator: "exists", values: [] };
    return this.#checked(key, this.#operator());
  }

  #operator(): LabelOperator {
    const token = this.#tokens[this.#at] ?? { type: "end", text: "" };
    this.#at += 1;
    switch (token.type) {
      case "in":
      case "notin":
      case "=":
      case "==":
      case "!=":
        return token.type;
      case ">":
        return "gt";
      case "<":
        return "lt";
      default:
        return this.#fail(`found '${token.text}', expected: in, notin, =, ==, !=, gt, lt`);
    }
  }

  #checked(key: string, operator: LabelOperator): LabelRequirement {
    const isSet = operator === "in" || operator === "notin";
    const values = [...new Set(isSet ? this.#list() : [this.#value()])].sort(compareUtf8);
    const errors: FieldError[] = [];
    for (const [index, value] of values.entries()) {
      if ((operator === "gt" || operator === "lt") && parseInt64(value) === undefined) {
        const detail = "for 'Gt', 'Lt' operators, the value must be an integer";
        errors.push(invalid(`values[${index}]`, value, detail));
      }
    }
    for (const [index, value] of values.entries()) {
      const messages = isLabelValue(value);
      if (messages.length === 0) continue;
      errors.push(invalid(`values[${index}][${key}]`, value, messages.join("; ")));
    }
    const texts = errors.map(formatFieldError);
    if (texts.length === 1) this.#fail(texts[0] ?? "");
    if (texts.length > 1) this.#fail(`[${texts.join(", ")}]`);
    return { key, operator, values };
  }

  #value(): string {
    const next = this.#peek();
    if (next.type === "end" || next.type === ",") return "";
    this.#at += 1;
    if (next.type === "identifier") return next.text;
    return this.#fail(`found '${next.text}', expected: identifier`);
  }

  #list(): string[] {
    const open = this.#take();
    if (open.type !== "(") this.#fail(`found '${open.text}' expected: '('`);
    const first = this.#peek();
    if (first.type === ")") {
      this.#at += 1;
      return [""];
    }
    if (first.type !== "identifier" && first.type !== ",") {
      this.#fail(`found '${first.text}', expected: ',', ')' or identifier`);
    }
    const values = this.#items();
    const close = this.#take();
    if (close.type !== ")") this.#fail(`found '${close.text}', expected: ')'`);
    return values;
  }

  /** Upstream: "(,a)", "(a,)" and "(a,,b)" name the empty value. */
  #items(): string[] {
    const values: string[] = [];
    for (;;) {
      const token = this.#take();
      if (token.type === "identifier") {
        values.push(token.text);
        const next = this.#peek();
        if (next.type === ")") return values;
        if (next.type !== ",") this.#fail(`found '${next.text}', expected: ',' or ')'`);
      } else if (token.type === ",") {
        if (values.length === 0) values.push("");
        const next = this.#peek();
        if (next.type === ")") return [...values, ""];
        if (next.type === ",") values.push("");
      } else this.#fail(`found '${token.text}', expected: ',', or identifier`);
    }
  }
}

/** One term of a field selector. */
export interface FieldRequirement {
  readonly field: string;
  readonly operator: "=" | "!=";
  readonly value: string;
}
export type ParsedFieldSelector =
  | { readonly requirements: readonly FieldRequirement[] }
  | { readonly problem: string };

function unescapeValue(text: string): { readonly value: string } | { readonly problem: string } {
  if (!/[\\,=]/.test(text)) return { value: text };
  let value = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char === "," || char === "=") {
      // Upstream prints the number of the character.
      return {
        problem: `invalid field selector: unescaped character in value: ${char.charCodeAt(0)}`,
      };
    }
    if (char !== "\\") value += char;
    else {
      at += 1;
      const next = text[at] ?? "";
      if (next !== "\\" && next !== "," && next !== "=") {
        return { problem: `invalid field selector: invalid escape sequence: \\${next}` };
      }
      value += next;
    }
  }
  return { value };
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === ",") {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms.filter((term) => term !== "").sort(compareUtf8);
}

/** "metadata.name=x,spec.nodeName!=y". Which fields there are is not known here. */
export function parseFieldSelectorText(text: string): ParsedFieldSelector {
  if (text.length > queryLengthMax) return { problem: "the field selector is too long" };
  const requirements: FieldRequirement[] = [];
  for (const term of splitTerms(text)) {
    const match = /^(.*?)(!=|==|=)(.*)$/s.exec(term);
    if (match === null) {
      return { problem: `invalid selector: '${text}'; can't understand '${term}'` };
    }
    const unescaped = unescapeValue(match[3] ?? "");
    if ("problem" in unescaped) return unescaped;
    const operator = match[2] === "!=" ? "!=" : "=";
    requirements.push({ field: match[1] ?? "", operator, value: unescaped.value });
  }
  return { requirements };
}

export const escapeFieldValue = (value: string): string => value.replace(/[\\,=]/g, "\\$&");
export const formatFieldRequirements = (requirements: readonly FieldRequirement[]): string =>
  requirements
    .map(({ field, operator, value }) => `${field}${operator}${escapeFieldValue(value)}`)
    .join(",");

/** `read` gives an object's value of a field as a string ("" where it is unset). */
export function compileFieldSelector<T>(
  requirements: readonly FieldRequirement[],
  read: (object: T, field: string) => string,
): (object: T) => boolean {
  if (requirements.length === 0) return () => true;
  return (object) => {
    for (const { field, operator, value } of requirements) {
      if ((read(object, field) === value) !== (operator === "=")) return false;
    }
    return true;
  };
}
