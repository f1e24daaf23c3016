/**
 * CEL's type checker: gives each expression its type and each call the overloads that may answer it, or says what does not fit, in
 * cel-go's words.
 */

import type {
  Call,
  Comprehension,
  Expr,
  Issue,
  ListExpr,
  MapExpr,
  Select,
  StructExpr,
} from "./ast.ts";
import type { Environment, Overload } from "./environment.ts";
import {
  boolType,
  dynType,
  errorType,
  intType,
  isDyn,
  isOptional,
  listOf,
  mapOf,
  moreGeneral,
  nullType,
  optionalOf,
  readType,
  Substitution,
  stringType,
  type Type,
  typeOf,
  typeText,
} from "./type.ts";
import { List, typeName, type Value } from "./value.ts";

const typeNames: Readonly<Record<string, string>> = {
  int: "int",
  uint: "uint",
  double: "double",
  bool: "bool",
  string: "string",
  bytes: "bytes",
  list: "list<dyn>",
  map: "map<dyn,dyn>",
  null_type: "null",
  type: "type",
  dyn: "dyn",
  "google.protobuf.Timestamp": "timestamp",
  "google.protobuf.Duration": "duration",
  optional_type: "optional<dyn>",
};

/** What the checker learned about one expression. */
export interface Checked {
  readonly expr: Expr;
  readonly type: Type;
  readonly types: ReadonlyMap<Expr, Type>;
  /** Of calls: who may answer. A namespaced function's target is part of its name. */
  readonly calls: ReadonlyMap<Expr, Resolved>;
  /** Names of types used as values. */
  readonly typeValues: ReadonlyMap<Expr, string>;
  readonly variables: ReadonlySet<string>;
}
export interface Resolved {
  readonly overloads: readonly Overload[];
  readonly args: readonly Expr[];
}

/** "a.b.c"; undefined for what is no plain chain of names. */
export function chainOf(expr: Expr): string | undefined {
  if (expr.kind === "ident") return expr.name;
  if (expr.kind !== "select" || expr.test) return undefined;
  const head = chainOf(expr.operand);
  return head === undefined ? undefined : `${head}.${expr.field}`;
}

const withoutDot = (name: string): string => (name.startsWith(".") ? name.slice(1) : name);

function literalType(value: Value): Type {
  if (value === null) return nullType;
  if (value instanceof List) return listOf(dynType);
  return readType(typeName(value));
}

class Checker {
  readonly #environment: Environment;
  readonly #mapping = new Substitution();
  readonly #scopes: Map<string, Type>[] = [];
  readonly issues: Issue[] = [];
  readonly types = new Map<Expr, Type>();
  readonly calls = new Map<Expr, Resolved>();
  readonly typeValues = new Map<Expr, string>();
  readonly variables = new Set<string>();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  #issue(at: number, message: string): Type {
    this.issues.push({ at, message });
    return errorType;
  }

  finish(): void {
    for (const [expr, type] of this.types) this.types.set(expr, this.#mapping.apply(type, true));
  }

  check(expr: Expr): Type {
    const type = this.#typeOf(expr);
    this.types.set(expr, type);
    return type;
  }

  #typeOf(expr: Expr): Type {
    switch (expr.kind) {
      case "literal":
        return literalType(expr.value);
      case "ident":
        return this.#ident(expr, expr.name);
      case "select":
        return this.#select(expr);
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

  #variable(name: string): Type | undefined {
    if (!name.startsWith(".")) {
      for (let at = this.#scopes.length - 1; at >= 0; at--) {
        const type = this.#scopes[at]?.get(name);
        if (type !== undefined) return type;
      }
    }
    const global = this.#environment.variables.get(withoutDot(name));
    if (global !== undefined) this.variables.add(withoutDot(name));
    return global;
  }

  #typeValue(expr: Expr, name: string): Type | undefined {
    const plain = withoutDot(name);
    const known = Object.hasOwn(typeNames, plain) ? typeNames[plain] : undefined;
    if (known === undefined) {
      const struct = this.#environment.structs(plain);
      if (struct === undefined) return undefined;
      this.typeValues.set(expr, plain);
      return typeOf(struct);
    }
    this.typeValues.set(expr, plain);
    return typeOf(readType(known));
  }

  #ident(expr: Expr & { readonly at: number }, name: string): Type {
    const found = this.#variable(name) ?? this.#typeValue(expr, name);
    if (found !== undefined) return found;
    return this.#issue(expr.at, `undeclared reference to '${withoutDot(name)}' (in container '')`);
  }

  #rootIsVariable(expr: Expr): boolean {
    let at = expr;
    while (at.kind === "select") at = at.operand;
    return at.kind === "ident" && this.#variable(at.name) !== undefined;
  }

  #select(expr: Select): Type {
    const chain = chainOf(expr);
    // A variable may have dots in its name.
    const whole = chain === undefined || expr.test ? undefined : this.#variable(chain);
    if (whole !== undefined) return whole;
    if (chain !== undefined && !expr.test && !this.#rootIsVariable(expr)) {
      const type = this.#typeValue(expr, chain);
      if (type !== undefined) return type;
    }
    const type = this.#field(expr, this.check(expr.operand), expr.field, false);
    return expr.test ? boolType : type;
  }

  #field(expr: Expr, operand: Type, field: string, makesOptional: boolean): Type {
    const target = this.#mapping.find(operand);
    if (target.kind === "opaque" && isOptional(target)) {
      const inner = this.#field(expr, target.of[0] ?? dynType, field, false);
      return optionalOf(inner);
    }
    const found = this.#plainField(expr, target, field);
    return makesOptional ? optionalOf(found) : found;
  }

  #plainField(expr: Expr, target: Type, field: string): Type {
    switch (target.kind) {
      case "map":
        return target.of;
      case "object":
        return target.field(field) ?? this.#issue(expr.at, `undefined field '${field}'`);
      case "param":
        this.#mapping.assignable(target, dynType);
        return dynType;
      default: {
        if (isDyn(target)) return dynType;
        const text = typeText(this.#mapping.apply(target));
        return this.#issue(expr.at, `type '${text}' does not support field selection`);
      }
    }
  }

  #call(expr: Call): Type {
    const { name, target, args } = expr;
    if (name === "_?._") {
      const [operand, field] = args;
      const text = field?.kind === "literal" && typeof field.value === "string" ? field.value : "";
      if (field !== undefined) this.types.set(field, stringType);
      return operand === undefined ? errorType : this.#field(expr, this.check(operand), text, true);
    }
    const { functions } = this.#environment;
    if (target === undefined) {
      const plain = withoutDot(name);
      const types = args.map((one) => this.check(one));
      const known = functions.get(plain);
      if (known === undefined)
        return this.#issue(expr.at, `undeclared reference to '${plain}' (in container '')`);
      return this.#resolve(expr, plain, known, args, types, false);
    }
    const chain = chainOf(target);
    if (chain !== undefined && !this.#rootIsVariable(target)) {
      const full = `${withoutDot(chain)}.${name}`;
      const known = functions.get(full);
      if (known !== undefined) {
        const types = args.map((one) => this.check(one));
        return this.#resolve(expr, full, known, args, types, false);
      }
    }
    const all = [target, ...args];
    const types = all.map((one) => this.check(one));
    const known = functions.get(name);
    if (known === undefined)
      return this.#issue(expr.at, `undeclared reference to '${name}' (in container '')`);
    return this.#resolve(expr, name, known, all, types, true);
  }

  #resolve(
    expr: Call,
    name: string,
    known: readonly Overload[],
    args: readonly Expr[],
    types: readonly Type[],
    member: boolean,
  ): Type {
    const candidates: Overload[] = [];
    let result: Type | undefined;
    for (const one of known) {
      if (one.member !== member || one.args.length !== args.length) continue;
      const fresh = this.#freshen(one);
      if (!this.#mapping.assignableAll(fresh.args, types)) continue;
      candidates.push(one);
      const found = this.#mapping.apply(fresh.result);
      if (result === undefined) result = found;
      else if (typeText(result) !== typeText(found)) result = dynType;
    }
    if (result !== undefined) {
      this.calls.set(expr, { overloads: candidates, args });
      return result;
    }
    if (types.some((one) => this.#mapping.find(one).kind === "error")) return errorType;
    const shown = types.map((one) => typeText(this.#mapping.apply(one, true)));
    const rest = (member ? shown.slice(1) : shown).join(", ");
    const signature = member ? `${shown[0] ?? ""}.(${rest})` : `(${rest})`;
    const message = `found no matching overload for '${name}' applied to '${signature}'`;
    return this.#issue(expr.at, message);
  }

  #freshen(one: Overload): { args: Type[]; result: Type } {
    const names = new Map<string, Type>();
    const renew = (type: Type): Type => {
      switch (type.kind) {
        case "param": {
          const known = names.get(type.name) ?? this.#mapping.fresh();
          names.set(type.name, known);
          return known;
        }
        case "list":
          return listOf(renew(type.of));
        case "map":
          return mapOf(renew(type.key), renew(type.of));
        case "opaque":
          return { ...type, of: type.of.map(renew) };
        case "type":
          return type.of === undefined ? type : typeOf(renew(type.of));
        default:
          return type;
      }
    };
    return { args: one.args.map(renew), result: renew(one.result) };
  }

  #join(before: Type | undefined, type: Type, at: number): Type {
    if (before === undefined) return type;
    if (this.#mapping.assignable(before, type))
      return moreGeneral(this.#mapping.apply(before), this.#mapping.apply(type));
    const wanted = typeText(this.#mapping.apply(before, true));
    const given = typeText(this.#mapping.apply(type, true));
    return this.#issue(at, `expected type '${wanted}' but found '${given}'`);
  }

  #unwrapped(type: Type, at: number): Type {
    const found = this.#mapping.find(type);
    if (found.kind === "opaque" && isOptional(found)) return found.of[0] ?? dynType;
    if (isDyn(found)) return dynType;
    const text = typeText(this.#mapping.apply(found, true));
    return this.#issue(at, `expected type 'optional_type(${text})' but found '${text}'`);
  }

  #list(expr: ListExpr): Type {
    let of: Type | undefined;
    for (const [index, item] of expr.items.entries()) {
      const type = this.check(item);
      const plain = expr.optional.has(index) ? this.#unwrapped(type, item.at) : type;
      of = this.#join(of, plain, item.at);
    }
    return listOf(of ?? this.#mapping.fresh());
  }

  #map(expr: MapExpr): Type {
    let key: Type | undefined;
    let of: Type | undefined;
    for (const entry of expr.entries) {
      key = this.#join(key, this.check(entry.key), entry.key.at);
      const type = this.check(entry.value);
      const plain = entry.optional ? this.#unwrapped(type, entry.value.at) : type;
      of = this.#join(of, plain, entry.value.at);
    }
    return mapOf(key ?? this.#mapping.fresh(), of ?? this.#mapping.fresh());
  }

  #struct(expr: StructExpr): Type {
    const name = withoutDot(expr.name);
    const struct = this.#environment.structs(name);
    for (const one of expr.fields) this.check(one.value);
    if (struct === undefined)
      return this.#issue(expr.at, `undeclared reference to '${name}' (in container '')`);
    for (const one of expr.fields) {
      const type = struct.field(one.name);
      if (type === undefined) {
        this.#issue(one.at, `undefined field '${one.name}'`);
        continue;
      }
      const given = this.types.get(one.value) ?? dynType;
      const plain = one.optional ? this.#unwrapped(given, one.at) : given;
      if (this.#mapping.assignable(type, plain)) continue;
      const wanted = typeText(type);
      const found = typeText(this.#mapping.apply(plain, true));
      this.#issue(
        one.at,
        `expected type of field '${one.name}' is '${wanted}' but provided type is '${found}'`,
      );
    }
    return struct;
  }

  #members(expr: Comprehension, range: Type): [Type, Type] {
    const found = this.#mapping.find(range);
    switch (found.kind) {
      case "list":
        return [intType, found.of];
      case "map":
        return [found.key, found.of];
      case "param":
        this.#mapping.assignable(found, dynType);
        return [dynType, dynType];
      default: {
        if (isDyn(found)) return [dynType, dynType];
        const text = typeText(this.#mapping.apply(found, true));
        const why = `expression of type '${text}' cannot be range of a comprehension (must be list, map, or dynamic)`;
        const wrong = this.#issue(expr.range.at, why);
        return [wrong, wrong];
      }
    }
  }

  #comprehension(expr: Comprehension): Type {
    const range = this.check(expr.range);
    const [first, second] = this.#members(expr, range);
    const accumulator = this.check(expr.start);
    const isList = this.#mapping.find(range).kind === "list";
    const names = new Map<string, Type>();
    if (expr.second === undefined) names.set(expr.variable, isList ? second : first);
    else names.set(expr.variable, first).set(expr.second, second);
    this.#scopes.push(new Map([[expr.accumulator, accumulator]]), names);
    const condition = this.check(expr.condition);
    this.#must(boolType, condition, expr.condition.at);
    const step = this.check(expr.step);
    this.#must(accumulator, step, expr.step.at);
    this.#scopes.pop();
    const result = this.check(expr.result);
    this.#scopes.pop();
    return this.#mapping.apply(result);
  }

  #must(wanted: Type, given: Type, at: number): void {
    if (this.#mapping.assignable(wanted, given)) return;
    const a = typeText(this.#mapping.apply(wanted, true));
    const b = typeText(this.#mapping.apply(given, true));
    this.#issue(at, `expected type '${a}' but found '${b}'`);
  }
}

export function check(
  expr: Expr,
  environment: Environment,
): { readonly checked: Checked } | { readonly issues: Issue[] } {
  const checker = new Checker(environment);
  const found = checker.check(expr);
  if (checker.issues.length > 0) return { issues: checker.issues };
  checker.finish();
  const { types, calls, typeValues, variables } = checker;
  const type = types.get(expr) ?? found;
  return { checked: { expr, type, types, calls, typeValues, variables } };
}
