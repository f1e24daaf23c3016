/** CEL's macros: has, the comprehensions with one and two variables, those of optionals, sortBy. Calls in, loops out. */

import type { Call, Expr, Issue } from "./ast.ts";
import { List } from "./value.ts";

const accumulator = "@result";

const ident = (at: number, name: string): Expr => ({ kind: "ident", at, name });
const literal = (at: number, value: boolean | bigint): Expr => ({ kind: "literal", at, value });
export const callOf = (at: number, name: string, ...args: Expr[]): Call => ({
  kind: "call",
  at,
  name,
  args,
});
const listOf = (at: number, ...items: Expr[]): Expr => ({
  kind: "list",
  at,
  items,
  optional: new Set(),
});

export class MacroProblem extends Error {
  readonly issue: Issue;
  constructor(at: number, message: string) {
    super(message);
    this.issue = { at, message };
  }
}

function variableOf(expr: Expr | undefined, what: string): string {
  if (expr?.kind === "ident" && !expr.name.startsWith(".")) {
    if (expr.name === accumulator)
      throw new MacroProblem(expr.at, "iteration variable overwrites accumulator variable");
    return expr.name;
  }
  throw new MacroProblem(expr?.at ?? 0, what);
}

interface Loop {
  readonly at: number;
  readonly range: Expr;
  readonly variable: string;
  readonly second?: string;
}

function loopOf(target: Expr, at: number, args: readonly Expr[], two: boolean): Loop {
  const variable = variableOf(args[0], "argument must be a simple name");
  if (!two) return { at, range: target, variable };
  const second = variableOf(args[1], "argument must be a simple name");
  if (variable === second)
    throw new MacroProblem(args[1]?.at ?? at, `duplicate variable name: ${variable}`);
  return { at, range: target, variable, second };
}

const fold = (loop: Loop, start: Expr, condition: Expr, step: Expr, result: Expr): Expr => ({
  kind: "comprehension",
  ...loop,
  accumulator,
  start,
  condition,
  step,
  result,
});

function quantifier(kind: "all" | "exists" | "one", loop: Loop, test: Expr): Expr {
  const { at } = loop;
  const sofar = ident(at, accumulator);
  if (kind === "one") {
    const step = callOf(at, "_?_:_", test, callOf(at, "_+_", sofar, literal(at, 1n)), sofar);
    const result = callOf(at, "_==_", sofar, literal(at, 1n));
    return fold(loop, literal(at, 0n), literal(at, true), step, result);
  }
  const goesOn = kind === "all" ? sofar : callOf(at, "!_", sofar);
  const condition = callOf(at, "@not_strictly_false", goesOn);
  const step = callOf(at, kind === "all" ? "_&&_" : "_||_", sofar, test);
  return fold(loop, literal(at, kind === "all"), condition, step, sofar);
}

/** A list of what `value` is, for those that `test` lets through. */
function collect(loop: Loop, test: Expr | undefined, value: Expr): Expr {
  const { at } = loop;
  const sofar = ident(at, accumulator);
  const grown = callOf(at, "@append", sofar, value);
  const step = test === undefined ? grown : callOf(at, "_?_:_", test, grown, sofar);
  return fold(loop, listOf(at), literal(at, true), step, sofar);
}

function collectMap(loop: Loop, test: Expr | undefined, grown: (sofar: Expr) => Expr): Expr {
  const { at } = loop;
  const sofar = ident(at, accumulator);
  const more = grown(sofar);
  const step = test === undefined ? more : callOf(at, "_?_:_", test, more, sofar);
  return fold(loop, { kind: "map", at, entries: [] }, literal(at, true), step, sofar);
}

/** `let name = value in body`: a loop over nothing. */
function bind(at: number, name: string, value: Expr, body: Expr): Expr {
  return {
    kind: "comprehension",
    at,
    range: { kind: "literal", at, value: new List([]) },
    variable: "#unused",
    accumulator: name,
    start: value,
    condition: literal(at, false),
    step: ident(at, name),
    result: body,
  };
}

function optionalMap(target: Expr, at: number, args: readonly Expr[], flat: boolean): Expr {
  const name = flat ? "optFlatMap" : "optMap";
  const variable = variableOf(args[0], `${name}() variable name must be a simple identifier`);
  const member = (method: string): Expr => ({
    kind: "call",
    at,
    name: method,
    target,
    args: [],
  });
  const space: Expr = ident(at, "optional");
  const optional = (method: string, ...rest: Expr[]): Expr => ({
    kind: "call",
    at,
    name: method,
    target: space,
    args: rest,
  });
  const body = bind(at, variable, member("value"), args[1] ?? target);
  const found = flat ? body : optional("of", body);
  return callOf(at, "_?_:_", member("hasValue"), found, optional("none"));
}

function twoVariables(name: string, target: Expr, at: number, args: readonly Expr[]) {
  const loop = (): Loop => loopOf(target, at, args, true);
  const [, , third, fourth] = args;
  if (third === undefined) return undefined;
  const test = fourth === undefined ? undefined : third;
  const value = fourth ?? third;
  if (args.length === 3) {
    if (name === "all" || name === "exists") return quantifier(name, loop(), third);
    if (name === "existsOne" || name === "exists_one") return quantifier("one", loop(), third);
  }
  switch (name) {
    case "transformList":
      return collect(loop(), test, value);
    case "transformMap": {
      const made = loop();
      return collectMap(made, test, (sofar) =>
        callOf(at, "cel.@mapInsert", sofar, ident(at, made.variable), value),
      );
    }
    case "transformMapEntry":
      return collectMap(loop(), test, (sofar) => callOf(at, "cel.@mapInsert", sofar, value));
    default:
      return undefined;
  }
}

/** `cel.bind(name, value, expression)`. */
function binding({ name, target, args, at }: Call): Expr | undefined {
  const [variable, value, body] = args;
  if (target?.kind !== "ident" || target.name !== "cel" || name !== "bind") return undefined;
  if (args.length !== 3 || value === undefined || body === undefined) return undefined;
  const what = "cel.bind() variable names must be simple identifiers";
  return bind(at, variableOf(variable, what), value, body);
}

/**
 * The loop that a call to a macro stands for; undefined: no macro has this name and so many arguments. `binds`: cel.bind is one of them.
 */
export function expandMacro(call: Call, binds: boolean): Expr | undefined {
  const bound = binds ? binding(call) : undefined;
  if (bound !== undefined) return bound;
  const { name, target, args, at } = call;
  if (target === undefined) {
    if (name !== "has" || args.length !== 1) return undefined;
    const [one] = args;
    if (one?.kind === "select" && !one.test) return { ...one, at, test: true };
    throw new MacroProblem(one?.at ?? at, "invalid argument to has() macro");
  }
  if (args.length >= 3 && !(name === "map" && args.length === 3))
    return twoVariables(name, target, at, args);
  const [, second, third] = args;
  if (second === undefined) return undefined;
  const loop = (): Loop => loopOf(target, at, args, false);
  if (args.length === 3)
    return name === "map" && third !== undefined ? collect(loop(), second, third) : undefined;
  switch (name) {
    case "all":
    case "exists":
      return quantifier(name, loop(), second);
    case "exists_one":
    case "existsOne":
      return quantifier("one", loop(), second);
    case "map":
      return collect(loop(), undefined, second);
    case "filter": {
      const made = loop();
      return collect(made, second, ident(at, made.variable));
    }
    case "optMap":
      return optionalMap(target, at, args, false);
    case "optFlatMap":
      return optionalMap(target, at, args, true);
    case "sortBy": {
      const input = "@__sortBy_input__";
      const held = ident(at, input);
      const keys = collect(loopOf(held, at, args, false), undefined, second);
      const sorted: Expr = {
        kind: "call",
        at,
        name: "@sortByAssociatedKeys",
        target: held,
        args: [keys],
      };
      return bind(at, input, target, sorted);
    }
    default:
      return undefined;
  }
}
