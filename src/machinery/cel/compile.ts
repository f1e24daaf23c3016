/** CEL from source to program: what users of the engine call. */

import { regexpProblem } from "../regexp.ts";
import { type Expr, type Issue, issuesText } from "./ast.ts";
import { type Checked, check } from "./checker.ts";
import { parseDuration, parseTimestamp } from "./civil-time.ts";
import { type Environment, functionsOf, type Overload } from "./environment.ts";
import { type Program, program } from "./interpret.ts";
import { kubernetesLibrary } from "./kubernetes-library.ts";
import { listLibrary } from "./list-library.ts";
import { parse } from "./parser.ts";
import { semverLibrary } from "./semver-library.ts";
import { standardLibrary } from "./standard.ts";
import { textLibrary } from "./text-library.ts";
import type { Type } from "./type.ts";

/** All that Kubernetes' expressions may call, besides the authorizer. */
export const kubernetesFunctions: readonly Overload[] = [
  ...standardLibrary,
  ...textLibrary,
  ...listLibrary,
  ...kubernetesLibrary,
  ...semverLibrary,
];
const baseFunctions = functionsOf(kubernetesFunctions);

export function environmentOf(
  variables: readonly (readonly [string, Type])[],
  more: Partial<Pick<Environment, "functions" | "structs" | "binds">> = {},
): Environment {
  return {
    functions: more.functions ?? baseFunctions,
    variables: new Map(variables),
    structs: more.structs ?? (() => undefined),
    ...(more.binds === true ? { binds: true } : {}),
  };
}

const childrenOf = (expr: Expr): readonly Expr[] => {
  switch (expr.kind) {
    case "select":
      return [expr.operand];
    case "call":
      return expr.target === undefined ? expr.args : [expr.target, ...expr.args];
    case "list":
      return expr.items;
    case "map":
      return expr.entries.flatMap(({ key, value }) => [key, value]);
    case "struct":
      return expr.fields.map(({ value }) => value);
    case "comprehension":
      return [expr.range, expr.start, expr.condition, expr.step, expr.result];
    default:
      return [];
  }
};

/** Durations, times and patterns that are written out must be such. */
function literalIssues(expr: Expr, issues: Issue[]): void {
  if (expr.kind === "call") {
    const { name, args } = expr;
    const isMatch = name === "matches";
    const literal = isMatch && expr.target === undefined ? args[1] : args[0];
    if (literal?.kind === "literal" && typeof literal.value === "string") {
      const text = literal.value;
      const isBad =
        (isMatch && regexpProblem(text) !== undefined) ||
        (name === "duration" && args.length === 1 && parseDuration(text) === undefined) ||
        (name === "timestamp" && args.length === 1 && parseTimestamp(text) === undefined);
      if (isBad) issues.push({ at: literal.at, message: `invalid ${name} argument` });
    }
  }
  for (const child of childrenOf(expr)) literalIssues(child, issues);
}

export type Compiled =
  | { readonly program: Program; readonly checked: Checked }
  | { readonly problem: string };

/** The program, or all that is wrong with the text, as cel-go says it. */
export function compile(source: string, environment: Environment): Compiled {
  const fail = (issues: readonly Issue[]): Compiled => ({ problem: issuesText(source, issues) });
  const parsed = parse(source, environment.binds);
  if ("issues" in parsed) return fail(parsed.issues);
  const found = check(parsed.expr, environment);
  if ("issues" in found) return fail(found.issues);
  const issues: Issue[] = [];
  literalIssues(parsed.expr, issues);
  if (issues.length > 0) return fail(issues);
  return { program: program(found.checked, environment), checked: found.checked };
}
