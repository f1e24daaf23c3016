/**
 * What an expression can cost at most, before it ever runs: from the sizes that a schema allows. In the units of run-cost.ts. This is what
 * keeps a definition with a quadratic rule over unbounded lists from being accepted.
 */

import type { Call, Comprehension, Expr } from "./ast.ts";
import { utf8 } from "./bytes.ts";
import type { Checked } from "./checker.ts";
import { List } from "./value.ts";

/** How large a value may be (characters, members), and what is in it. */
export interface Sized {
  readonly max: number;
  readonly field?: (name: string) => Sized | undefined;
  readonly key?: Sized;
  readonly element?: Sized;
}
interface Estimate {
  readonly cost: number;
  readonly sized: Sized | undefined;
}

const one: Sized = { max: 1 };
const textMax = 3 * 1024 * 1024;

const sizeOf = (estimate: Estimate | undefined): number => estimate?.sized?.max ?? textMax;
const tenth = (size: number): number => Math.ceil(size * 0.1);

class Estimator {
  readonly #checked: Checked;
  readonly #scopes: Map<string, Sized | undefined>[];

  constructor(checked: Checked, variables: ReadonlyMap<string, Sized | undefined>) {
    this.#checked = checked;
    this.#scopes = [new Map(variables)];
  }

  estimate(expr: Expr): Estimate {
    switch (expr.kind) {
      case "literal":
        return { cost: 0, sized: literalSize(expr) };
      case "ident":
        return { cost: 1, sized: this.#find(expr.name) };
      case "select": {
        const operand = this.estimate(expr.operand);
        if (expr.test) return { cost: operand.cost, sized: one };
        const sized = operand.sized?.field?.(expr.field) ?? operand.sized?.element;
        return { cost: operand.cost + 1, sized: sized ?? this.#byType(expr) };
      }
      case "list": {
        const items = expr.items.map((item) => this.estimate(item));
        const cost = items.reduce((sum, item) => sum + item.cost, 10);
        const element: Sized = { max: Math.max(1, ...items.map(sizeOf)) };
        return { cost, sized: { max: items.length, element } };
      }
      case "map": {
        const cost = expr.entries
          .flatMap(({ key, value }) => [key, value])
          .reduce((sum, part) => sum + this.estimate(part).cost, 30);
        return { cost, sized: { max: expr.entries.length } };
      }
      case "struct": {
        const cost = expr.fields.reduce((sum, { value }) => sum + this.estimate(value).cost, 40);
        return { cost, sized: one };
      }
      case "call":
        return this.#call(expr);
      default:
        return this.#comprehension(expr);
    }
  }

  #find(name: string): Sized | undefined {
    for (let at = this.#scopes.length - 1; at >= 0; at--) {
      const scope = this.#scopes[at];
      if (scope?.has(name) === true) return scope.get(name);
    }
    return undefined;
  }

  /** What has no length counts as one. */
  #byType(expr: Expr): Sized | undefined {
    const kind = this.#checked.types.get(expr)?.kind ?? "dyn";
    const fixed = ["int", "uint", "double", "bool", "null", "timestamp", "duration", "type"];
    return fixed.includes(kind) ? one : undefined;
  }

  #call(expr: Call): Estimate {
    const parts = this.#checked.calls.get(expr)?.args ?? expr.args;
    const args = parts.map((part) => this.estimate(part));
    const [a, b, c] = args;
    const cost = args.reduce((sum, arg) => sum + arg.cost, 0);
    const known = (own: number, sized?: Sized): Estimate => ({
      cost: cost + own,
      sized: sized ?? this.#byType(expr),
    });
    switch (expr.name) {
      case "_&&_":
      case "_||_":
      case "@not_strictly_false":
        return known(0, one);
      case "_?_:_": {
        const branch = Math.max(b?.cost ?? 0, c?.cost ?? 0);
        const larger = sizeOf(b) >= sizeOf(c) ? b?.sized : c?.sized;
        return { cost: (a?.cost ?? 0) + branch, sized: larger };
      }
      case "_[_]":
      case "_[?_]":
      case "_?._":
        return known(1, a?.sized?.element);
      case "@append": {
        const element = b?.sized;
        return known(11, { max: sizeOf(a), ...(element === undefined ? {} : { element }) });
      }
      case "_+_": {
        const isText = this.#checked.types.get(parts[0] as Expr)?.kind === "string";
        const own = isText ? tenth(sizeOf(a) + sizeOf(b)) : 1;
        const element = a?.sized?.element;
        const max = sizeOf(a) + sizeOf(b);
        return known(Math.max(1, own), { max, ...(element === undefined ? {} : { element }) });
      }
      default:
        return known(Math.max(1, callMax(expr.name, args)), resultSize(expr.name, args));
    }
  }

  #comprehension(expr: Comprehension): Estimate {
    const range = this.estimate(expr.range);
    const start = this.estimate(expr.start);
    const times = sizeOf(range);
    const isMap = this.#checked.types.get(expr.range)?.kind === "map";
    const inner = new Map<string, Sized | undefined>();
    const member = range.sized?.element;
    const key = isMap ? range.sized?.key : one;
    if (expr.second === undefined) inner.set(expr.variable, isMap ? range.sized?.key : member);
    else inner.set(expr.variable, key).set(expr.second, member);
    const collects = start.sized?.max === 0;
    const sofar = collects ? { max: times } : start.sized;
    this.#scopes.push(new Map([[expr.accumulator, sofar]]), inner);
    const condition = this.estimate(expr.condition);
    const step = this.estimate(expr.step);
    this.#scopes.pop();
    const element = collects ? step.sized?.element : undefined;
    if (element !== undefined) this.#scopes.at(-1)?.set(expr.accumulator, { max: times, element });
    const result = this.estimate(expr.result);
    this.#scopes.pop();
    const loop = times * (condition.cost + step.cost);
    return { cost: range.cost + start.cost + loop + result.cost, sized: result.sized };
  }
}

function literalSize(expr: Expr): Sized {
  if (expr.kind !== "literal") return one;
  const { value } = expr;
  if (typeof value === "string") return { max: utf8(value).length };
  if (value instanceof Uint8Array) return { max: value.length };
  return value instanceof List ? { max: value.items.length } : one;
}

const orders = new Set(["_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"]);
const scans = new Set(
  "lowerAscii upperAscii trim replace split substring charAt join url isURL quantity isQuantity ip isIP cidr isCIDR semver isSemver validate string bytes format".split(
    " ",
  ),
);
const walks = new Set(
  "isSorted sum min max indexOf lastIndexOf distinct flatten reverse slice sort".split(" "),
);

function callMax(name: string, args: readonly Estimate[]): number {
  const [a, b] = args;
  if (orders.has(name)) return tenth(Math.min(sizeOf(a), sizeOf(b)));
  if (scans.has(name)) return tenth(sizeOf(a));
  if (walks.has(name)) return sizeOf(a);
  switch (name) {
    case "contains":
      return tenth(sizeOf(a)) * tenth(sizeOf(b));
    case "startsWith":
    case "endsWith":
      return tenth(sizeOf(b));
    case "matches":
    case "find":
    case "findAll":
      return tenth(1 + sizeOf(a)) * Math.ceil(sizeOf(b) * 0.25);
    case "@in":
      return sizeOf(b) === textMax ? textMax : b?.sized?.element === undefined ? 1 : sizeOf(b);
    case "check":
      return 350_000;
    default:
      return 1;
  }
}

/** Functions that give at most what they were given. */
const keeps = new Set(
  "lowerAscii upperAscii trim replace split substring join distinct reverse slice sort filter find findAll string bytes".split(
    " ",
  ),
);

const resultSize = (name: string, args: readonly Estimate[]): Sized | undefined =>
  keeps.has(name) ? args[0]?.sized : undefined;

export function costMax(
  checked: Checked,
  variables: ReadonlyMap<string, Sized | undefined>,
): number {
  const estimator = new Estimator(checked, variables);
  return estimator.estimate(checked.expr).cost;
}
