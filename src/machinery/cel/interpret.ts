/**
 * A checked expression as a program: closures over the slots of a frame, made once, run often. Counts what a run costs as cel-go does
 * and stops it at its limit.
 */

import type { Call, Comprehension, Expr, ListExpr, MapExpr, StructExpr } from "./ast.ts";
import { type Checked, chainOf, type Resolved } from "./checker.ts";
import type { Environment, Overload } from "./environment.ts";
import { callCost } from "./run-cost.ts";
import { isDyn, type Type } from "./type.ts";
import {
  Building,
  CelError,
  Entries,
  equalValues,
  hasType,
  List,
  MapValue,
  none,
  Optional,
  TypeValue,
  typeName,
  Uint,
  type Value,
} from "./value.ts";

/** A run has cost more than it may. No expression can catch this. */
export class CostExceeded extends Error {
  constructor() {
    super("operation cancelled: actual cost limit exceeded");
  }
}

export interface Frame {
  readonly slots: (Value | undefined)[];
  cost: number;
  readonly costMax: number;
}
type Code = (frame: Frame) => Value;

function spend(frame: Frame, cost: number): void {
  frame.cost += cost;
  if (frame.cost > frame.costMax) throw new CostExceeded();
}

const noOverload = (): CelError => new CelError("no such overload");

function keyText(key: Value): string {
  if (key instanceof Uint) return String(key.value);
  return typeof key === "object" ? typeName(key) : String(key);
}

/** An object that an expression constructs. */
class Made extends Entries {
  readonly #name: string;
  constructor(name: string) {
    super();
    this.#name = name;
  }
  override get typeName(): string {
    return this.#name;
  }
}

/** The member of a map or list; undefined: there is none. */
function memberOf(operand: Value, key: Value): Value | undefined {
  if (operand instanceof MapValue) return operand.get(key);
  if (!(operand instanceof List)) throw noOverload();
  let index: number;
  if (typeof key === "bigint") index = Number(key);
  else if (typeof key === "number" && Number.isInteger(key)) index = key;
  else if (typeof key === "object" && key !== null && "value" in key) index = Number(key.value);
  else throw new CelError(`unsupported index type '${typeName(key)}' in list`);
  return operand.items[index];
}

function mustMember(operand: Value, key: Value): Value {
  if (operand instanceof Optional) {
    if (operand.value === undefined) return none;
    const found = memberOf(operand.value, key);
    return found === undefined ? none : new Optional(found);
  }
  const found = memberOf(operand, key);
  if (found !== undefined) return found;
  throw operand instanceof List
    ? new CelError(`index out of bounds: ${keyText(key)}`)
    : new CelError(`no such key: ${keyText(key)}`);
}

function optionalMember(operand: Value, key: Value): Value {
  const from = operand instanceof Optional ? operand.value : operand;
  if (from === undefined) return none;
  const found = memberOf(from, key);
  return found === undefined ? none : new Optional(found);
}

class Planner {
  readonly #checked: Checked;
  readonly #environment: Environment;
  readonly #scopes: Map<string, number>[] = [];
  slots: number;

  constructor(checked: Checked, environment: Environment) {
    this.#checked = checked;
    this.#environment = environment;
    const globals = new Map<string, number>();
    for (const name of environment.variables.keys()) globals.set(name, globals.size);
    this.#scopes.push(globals);
    this.slots = globals.size;
  }

  #slotOf(name: string): number | undefined {
    if (name.startsWith(".")) return this.#scopes[0]?.get(name.slice(1));
    for (let at = this.#scopes.length - 1; at >= 0; at--) {
      const slot = this.#scopes[at]?.get(name);
      if (slot !== undefined) return slot;
    }
    return undefined;
  }

  plan(expr: Expr): Code {
    const type = this.#checked.typeValues.get(expr);
    if (type !== undefined) {
      const value = new TypeValue(type);
      return () => value;
    }
    switch (expr.kind) {
      case "literal": {
        const { value } = expr;
        return () => value;
      }
      case "ident":
        return this.#ident(expr.name);
      case "select": {
        const chain = expr.test ? undefined : chainOf(expr);
        if (chain !== undefined && this.#environment.variables.has(chain))
          return this.#ident(chain);
        const operand = this.plan(expr.operand);
        return expr.test ? this.#presence(operand, expr.field) : field(operand, expr.field);
      }
      case "call":
        return this.#call(expr);
      case "list":
        return this.#list(expr);
      case "map":
        return this.#map(expr);
      case "struct":
        return this.#struct(expr);
      default:
        return this.#comprehension(expr);
    }
  }

  #ident(name: string): Code {
    const slot = this.#slotOf(name);
    if (slot === undefined) throw new Error(`the checker let an unknown name pass: ${name}`);
    const problem = `no such attribute(s): ${name.replace(/^\./, "")}`;
    return (frame) => {
      spend(frame, 1);
      const value = frame.slots[slot];
      if (value === undefined) throw new CelError(problem);
      return value;
    };
  }

  #presence(operand: Code, name: string): Code {
    return (frame) => {
      const from = operand(frame);
      const target = from instanceof Optional ? from.value : from;
      if (target === undefined) return false;
      if (!(target instanceof MapValue)) throw noOverload();
      return target.get(name) !== undefined;
    };
  }

  #call(expr: Call): Code {
    const { name, args } = expr;
    if (name === "_?._") {
      const [operand, key] = args.map((one) => this.plan(one));
      return (frame) => {
        spend(frame, 1);
        return optionalMember(operand?.(frame) ?? null, key?.(frame) ?? null);
      };
    }
    const resolved = this.#checked.calls.get(expr);
    if (resolved === undefined) throw new Error(`the checker let an unknown call pass: ${name}`);
    const codes = resolved.args.map((one) => this.plan(one));
    const [a, b, c] = codes;
    if (a !== undefined && b !== undefined) {
      if (name === "_&&_") return decide(a, b, false);
      if (name === "_||_") return decide(a, b, true);
      if (name === "or") return fallback(a, b, false);
      if (name === "orValue") return fallback(a, b, true);
      if (name === "_[_]")
        return (frame) => {
          const from = a(frame);
          const key = b(frame);
          spend(frame, 1);
          return mustMember(from, key);
        };
      if (name === "_[?_]") return (frame) => optionalMember(a(frame), b(frame));
      if (name === "_==_" || name === "_!=_") return equality(a, b, name === "_==_");
      if (name === "@append") return append(a, b);
      if (name === "_?_:_" && c !== undefined) return conditional(a, b, c);
    }
    return this.#dispatch(name, resolved, codes);
  }

  #dispatch(name: string, resolved: Resolved, codes: readonly Code[]): Code {
    const { overloads, args } = resolved;
    const types = args.map((one) => this.#checked.types.get(one));
    const [only] = overloads;
    const isStatic =
      overloads.length === 1 && types.every((one) => one !== undefined && !isDyn(one));
    if (only !== undefined && isStatic) return direct(only, codes);
    const plain = resolved.overloads[0];
    const known = (this.#environment.functions.get(plain?.name ?? name) ?? []).filter(
      (one) => one.member === (plain?.member ?? false) && one.args.length === codes.length,
    );
    const isOperator = /^[_@!-]/.test(name);
    return (frame) => {
      const values = codes.map((code) => code(frame));
      const fits = (one: Overload): boolean =>
        one.args.every((type, index) => hasType(values[index] ?? null, type));
      const found = known.find(fits);
      if (found === undefined) {
        if (isOperator) throw noOverload();
        const shown = values.map(typeName).join(", ");
        throw new CelError(`no such overload: ${name}(${shown})`);
      }
      const result = found.call(...values);
      spend(frame, callCost(found.name, values, result));
      return result;
    };
  }

  #list(expr: ListExpr): Code {
    const codes = expr.items.map((one) => this.plan(one));
    const { optional } = expr;
    return (frame) => {
      spend(frame, 10);
      const items: Value[] = [];
      for (const [index, code] of codes.entries()) {
        const value = code(frame);
        if (!optional.has(index)) items.push(value);
        else if (value instanceof Optional) {
          if (value.value !== undefined) items.push(value.value);
        } else throw noOverload();
      }
      return new List(items);
    };
  }

  #map(expr: MapExpr): Code {
    const codes = expr.entries.map(({ key, value, optional }) => ({
      key: this.plan(key),
      value: this.plan(value),
      optional,
    }));
    return (frame) => {
      spend(frame, 30);
      const made = new Entries();
      for (const one of codes) put(made, one.key(frame), one.value(frame), one.optional);
      return made;
    };
  }

  #struct(expr: StructExpr): Code {
    const name = expr.name.replace(/^\./, "");
    const codes = expr.fields.map((one) => ({ ...one, code: this.plan(one.value) }));
    return (frame) => {
      spend(frame, 40);
      const made = new Made(name);
      for (const one of codes) put(made, one.name, one.code(frame), one.optional);
      return made;
    };
  }

  #slot(scope: Map<string, number>, name: string): number {
    const slot = this.slots;
    this.slots += 1;
    scope.set(name, slot);
    return slot;
  }

  #comprehension(expr: Comprehension): Code {
    const range = this.plan(expr.range);
    const start = isEmptyList(expr.start) ? () => new Building() : this.plan(expr.start);
    const scope = new Map<string, number>();
    const accumulator = this.#slot(scope, expr.accumulator);
    const inner = new Map<string, number>();
    const first = this.#slot(inner, expr.variable);
    const second = expr.second === undefined ? undefined : this.#slot(inner, expr.second);
    this.#scopes.push(scope, inner);
    const quantifier = this.#quantifier(expr);
    const condition = quantifier === undefined ? this.plan(expr.condition) : undefined;
    const step = quantifier?.test ?? this.plan(expr.step);
    this.#scopes.pop();
    const result = this.plan(expr.result);
    this.#scopes.pop();
    const loop = { range, first, second };
    if (quantifier !== undefined) return decideAll(loop, step, quantifier.stopsAt);
    return (frame) => {
      const over = range(frame);
      frame.slots[accumulator] = start(frame);
      each(over, loop, frame, () => {
        if (condition?.(frame) !== true) return false;
        frame.slots[accumulator] = step(frame);
        return true;
      });
      return result(frame);
    };
  }

  /** all() and exists() judge every member though one fails, as long as another may settle it. */
  #quantifier(expr: Comprehension): { test: Code; stopsAt: boolean } | undefined {
    const { step } = expr;
    if (step.kind !== "call" || (step.name !== "_&&_" && step.name !== "_||_")) return undefined;
    const [sofar, test] = step.args;
    if (sofar?.kind !== "ident" || sofar.name !== expr.accumulator || test === undefined)
      return undefined;
    return { test: this.plan(test), stopsAt: step.name === "_||_" };
  }
}

const isEmptyList = (expr: Expr): boolean => expr.kind === "list" && expr.items.length === 0;

function put(made: Entries, key: Value, given: Value, isOptional: boolean): void {
  let value: Value | undefined = given;
  if (isOptional) {
    if (!(given instanceof Optional)) throw noOverload();
    value = given.value;
  }
  if (value !== undefined && !made.add(key, value))
    throw new CelError(`Failed with repeated key: ${keyText(key)}`);
}

function field(operand: Code, name: string): Code {
  return (frame) => {
    const from = operand(frame);
    spend(frame, 1);
    if (from instanceof MapValue) {
      const found = from.get(name);
      if (found === undefined) throw new CelError(`no such key: ${name}`);
      return found;
    }
    if (from instanceof Optional) return mustMember(from, name);
    throw noOverload();
  };
}

function direct(one: Overload, codes: readonly Code[]): Code {
  const { call, name } = one;
  const [a, b] = codes;
  if (codes.length === 1 && a !== undefined)
    return (frame) => {
      const x = a(frame);
      const result = call(x);
      spend(frame, callCost(name, [x], result));
      return result;
    };
  if (codes.length === 2 && a !== undefined && b !== undefined)
    return (frame) => {
      const x = a(frame);
      const y = b(frame);
      const result = call(x, y);
      spend(frame, callCost(name, [x, y], result));
      return result;
    };
  return (frame) => {
    const values = codes.map((code) => code(frame));
    const result = call(...values);
    spend(frame, callCost(name, values, result));
    return result;
  };
}

function equality(a: Code, b: Code, wanted: boolean): Code {
  return (frame) => {
    const x = a(frame);
    const y = b(frame);
    spend(frame, callCost("_==_", [x, y], true));
    return equalValues(x, y) === wanted;
  };
}

/** && and ||: whichever side settles it wins, also over the other's error. */
function decide(a: Code, b: Code, settles: boolean): Code {
  return (frame) => {
    let left: Value | CelError;
    try {
      left = a(frame);
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      left = error;
    }
    if (left === settles) return settles;
    const right = b(frame);
    if (right === settles) return settles;
    if (left instanceof CelError) throw left;
    if (typeof left !== "boolean" || typeof right !== "boolean") throw noOverload();
    return !settles;
  };
}

function conditional(test: Code, yes: Code, no: Code): Code {
  return (frame) => {
    const value = test(frame);
    if (value === true) return yes(frame);
    if (value === false) return no(frame);
    throw noOverload();
  };
}

function fallback(a: Code, b: Code, unwraps: boolean): Code {
  return (frame) => {
    const left = a(frame);
    if (!(left instanceof Optional)) throw noOverload();
    if (left.value === undefined) return b(frame);
    return unwraps ? left.value : left;
  };
}

function append(list: Code, item: Code): Code {
  return (frame) => {
    const to = list(frame);
    const value = item(frame);
    spend(frame, 11);
    if (!(to instanceof Building)) throw noOverload();
    to.growing.push(value);
    return to;
  };
}

interface Loop {
  readonly range: Code;
  readonly first: number;
  readonly second: number | undefined;
}

/** Hands over one member after the other until `next` says false. */
function each(over: Value, loop: Loop, frame: Frame, next: () => boolean): void {
  const { slots } = frame;
  const { first, second } = loop;
  if (over instanceof List) {
    for (const [index, item] of over.items.entries()) {
      slots[first] = second === undefined ? item : BigInt(index);
      if (second !== undefined) slots[second] = item;
      if (!next()) return;
    }
    return;
  }
  if (!(over instanceof MapValue)) throw noOverload();
  for (const key of over.keys()) {
    slots[first] = key;
    if (second !== undefined) slots[second] = over.get(key) ?? null;
    if (!next()) return;
  }
}

function decideAll(loop: Loop, test: Code, stopsAt: boolean): Code {
  return (frame) => {
    let problem: CelError | undefined;
    let settled = false;
    each(loop.range(frame), loop, frame, () => {
      try {
        const value = test(frame);
        settled = value === stopsAt;
        if (typeof value !== "boolean") problem ??= noOverload();
      } catch (error) {
        if (!(error instanceof CelError)) throw error;
        problem ??= error;
      }
      return !settled;
    });
    if (settled) return stopsAt;
    if (problem !== undefined) throw problem;
    return !stopsAt;
  };
}

export interface Program {
  readonly type: Type;
  /** The environment's variables, in the order in which run() takes their values. */
  readonly inputs: readonly string[];
  /** Those of them that it names. */
  readonly variables: ReadonlySet<string>;
  readonly checked: Checked;
  /** `values` in the order of the environment's variables; throws CelError or CostExceeded. */
  readonly run: (values: readonly (Value | undefined)[], costMax: number) => Outcome;
}
export type Outcome =
  | { readonly value: Value; readonly cost: number }
  | { readonly error: string; readonly cost: number; readonly exceeded: boolean };

export function program(checked: Checked, environment: Environment): Program {
  const planner = new Planner(checked, environment);
  const code = planner.plan(checked.expr);
  const size = planner.slots;
  return {
    type: checked.types.get(checked.expr) ?? checked.type,
    inputs: [...environment.variables.keys()],
    variables: checked.variables,
    checked,
    run(values, costMax) {
      const slots = values.slice();
      slots.length = size;
      const frame: Frame = { slots, cost: 0, costMax };
      try {
        const value = code(frame);
        return { value, cost: frame.cost };
      } catch (error) {
        if (error instanceof CelError)
          return { error: error.message, cost: frame.cost, exceeded: false };
        if (error instanceof CostExceeded)
          return { error: error.message, cost: frame.cost, exceeded: true };
        throw error;
      }
    },
  };
}
