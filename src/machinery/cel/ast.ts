/** What the parser makes of an expression. `at` is where it stands, as an offset in the source: errors point there. */
import type { Value } from "./value.ts";

export type Expr =
  | { readonly kind: "literal"; readonly at: number; readonly value: Value }
  | { readonly kind: "ident"; readonly at: number; readonly name: string }
  | Select
  | Call
  | ListExpr
  | MapExpr
  | StructExpr
  | Comprehension;

export interface Select {
  readonly kind: "select";
  readonly at: number;
  readonly operand: Expr;
  readonly field: string;
  /** has(operand.field). */
  readonly test: boolean;
}
export interface Call {
  readonly kind: "call";
  readonly at: number;
  readonly name: string;
  readonly target?: Expr;
  readonly args: readonly Expr[];
}
export interface ListExpr {
  readonly kind: "list";
  readonly at: number;
  readonly items: readonly Expr[];
  readonly optional: ReadonlySet<number>;
}
export interface MapEntry {
  readonly key: Expr;
  readonly value: Expr;
  readonly optional: boolean;
}
export interface MapExpr {
  readonly kind: "map";
  readonly at: number;
  readonly entries: readonly MapEntry[];
}
export interface StructField {
  readonly name: string;
  readonly value: Expr;
  readonly optional: boolean;
  readonly at: number;
}
export interface StructExpr {
  readonly kind: "struct";
  readonly at: number;
  readonly name: string;
  readonly fields: readonly StructField[];
}
/** A loop: `accumulator` begins as `start`, becomes `step` for each member while `condition` holds; then `result` is the value. */
export interface Comprehension {
  readonly kind: "comprehension";
  readonly at: number;
  readonly range: Expr;
  readonly variable: string;
  /** With two: the first is the index or key. */
  readonly second?: string;
  readonly accumulator: string;
  readonly start: Expr;
  readonly condition: Expr;
  readonly step: Expr;
  readonly result: Expr;
}

/** One thing wrong with the text. */
export interface Issue {
  readonly at: number;
  readonly message: string;
}

/** As cel-go shows issues: each with its line and a caret. */
export function issuesText(source: string, issues: readonly Issue[]): string {
  // Upstream: an empty text has no line that could be shown.
  if (source === "")
    return issues.map(({ message }) => `ERROR: <input>:1:0: ${message}`).join("\n");
  const lines = source.split("\n");
  const placed = issues.map((issue) => {
    let left = Math.min(Math.max(issue.at, 0), source.length);
    let line = 0;
    while (line < lines.length - 1 && left > (lines[line] ?? "").length) {
      left -= (lines[line] ?? "").length + 1;
      line += 1;
    }
    const before = Array.from((lines[line] ?? "").slice(0, left));
    return { line, before, message: issue.message };
  });
  placed.sort((a, b) => a.line - b.line || a.before.length - b.before.length);
  return placed
    .map(({ line, before, message }) => {
      const head = `ERROR: <input>:${line + 1}:${before.length + 1}: ${message}`;
      const dots = before.map((one) => ((one.codePointAt(0) ?? 0) > 0x7f ? "．" : ".")).join("");
      return `${head}\n | ${(lines[line] ?? "").replaceAll("\t", " ")}\n | ${dots}^`;
    })
    .join("\n");
}
