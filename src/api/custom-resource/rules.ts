/**
 * x-kubernetes-validations: the rules of a definition's schema, compiled once, and a custom resource judged by them. Wording, ratcheting and
 * the cost budget are upstream's.
 */

import { compile, environmentOf } from "#machinery/cel/compile.ts";
import { costMax, type Sized } from "#machinery/cel/cost.ts";
import type { Program } from "#machinery/cel/interpret.ts";
import { optionalOf } from "#machinery/cel/type.ts";
import { none, Optional, type Value } from "#machinery/cel/value.ts";
import {
  type FieldError,
  forbidden,
  formatFieldError,
  invalid,
  invalidWithoutValue,
  required,
} from "#machinery/field-error.ts";
import { equalObjects, getKey, isObject, type JsonObject } from "#machinery/object.ts";
import type { ValidationRule } from "../generated/apiextensions/v1.ts";
import { itemsOf, type Props, valuesOf } from "./pruning.ts";
import { normalizePath } from "./rule-path.ts";
import { type Shape, shapeOf } from "./rule-schema.ts";

/** Of one expression, and of all the rules of one write. */
const callCostMax = 1_000_000;
const budgetOfWrite = 10_000_000;
const messageBytesMax = 5 * 1024;

export interface CompiledRule {
  readonly rule: ValidationRule;
  readonly program?: Program;
  readonly problem?: string;
  readonly messageProgram?: Program;
  readonly messageProblem?: string;
  readonly usesOldSelf: boolean;
  readonly costMax: number;
  readonly messageCostMax: number;
}

/** The program of one expression over self and oldSelf, or what is wrong with it. */
function compileOne(
  source: string,
  shape: Shape,
  optionalOld: boolean,
  wanted: "bool" | "string",
): { program: Program; cost: number } | { problem: string } {
  const oldType = optionalOld ? optionalOf(shape.type) : shape.type;
  const environment = environmentOf([
    ["self", shape.type],
    ["oldSelf", oldType],
  ]);
  const compiled = compile(source, environment);
  const isMessage = wanted === "string";
  if ("problem" in compiled)
    return {
      problem: `${isMessage ? "messageExpression " : ""}compilation failed: ${compiled.problem}`,
    };
  const { program, checked } = compiled;
  if (program.type.kind !== wanted)
    return {
      problem: isMessage
        ? "messageExpression must evaluate to a string"
        : "cel expression must evaluate to a bool",
    };
  const sizes = new Map<string, Sized | undefined>([
    ["self", shape.sized],
    ["oldSelf", shape.sized],
  ]);
  return { program, cost: costMax(checked, sizes) };
}

export function compileRule(rule: ValidationRule, shape: Shape): CompiledRule {
  const nothing = { rule, usesOldSelf: false, costMax: 0, messageCostMax: 0 };
  if (rule.rule.trim() === "") return nothing;
  const optionalOld = rule.optionalOldSelf === true;
  const found = compileOne(rule.rule, shape, optionalOld, "bool");
  if ("problem" in found) return { ...nothing, problem: found.problem };
  const { program, cost } = found;
  const usesOldSelf = program.variables.has("oldSelf");
  const made = { ...nothing, program, usesOldSelf, costMax: cost };
  const { messageExpression = "" } = rule;
  if (messageExpression === "") return made;
  const message = compileOne(messageExpression, shape, optionalOld, "string");
  if ("problem" in message) return { ...made, messageProblem: message.problem };
  return { ...made, messageProgram: message.program, messageCostMax: message.cost };
}

/** A place of the schema with rules at it or below. */
interface RuleNode {
  readonly props: Props;
  readonly shape: Shape;
  readonly rules: readonly CompiledRule[];
  readonly usesOldSelf: boolean;
  readonly items?: RuleNode;
  readonly values?: RuleNode;
  readonly properties: ReadonlyMap<string, RuleNode>;
}

function nodeOf(props: Props, isRoot: boolean): RuleNode | undefined {
  const rules = props["x-kubernetes-validations"] ?? [];
  const below = (one: Props | undefined): RuleNode | undefined =>
    one === undefined ? undefined : nodeOf(one, one["x-kubernetes-embedded-resource"] === true);
  const items = below(itemsOf(props));
  const values = below(valuesOf(props));
  const properties = new Map<string, RuleNode>();
  for (const [name, property] of Object.entries(props.properties ?? {})) {
    const node = below(property);
    if (node !== undefined) properties.set(name, node);
  }
  if (rules.length + properties.size === 0 && items === undefined && values === undefined)
    return undefined;
  const shape = rules.length === 0 ? undefined : shapeOf(props, isRoot);
  const compiled = shape === undefined ? [] : rules.map((rule) => compileRule(rule, shape));
  return {
    props,
    shape: shape ?? unseen,
    rules: compiled,
    usesOldSelf: compiled.some((one) => one.usesOldSelf),
    ...(items === undefined ? {} : { items }),
    ...(values === undefined ? {} : { values }),
    properties,
  };
}

const unseen: Shape = { type: { kind: "dyn" }, adapt: () => null, sized: { max: 0 }, bytesMin: 0 };

/** What it was before, as far as that can be told. */
interface History {
  /** Undefined: there is none, or it can not be told which. */
  readonly old: unknown;
  /** Whether this, or the nearest place around it that can be compared, is as it was. */
  readonly unchanged: () => boolean;
  /** What it was, for ratcheting: also where rules do not see it. */
  readonly correlated: boolean;
}

const named = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);
const placed = (path: string): string => (path === "" ? "<nil>" : path);
const shownRule = ({ rule, message = "" }: ValidationRule): string =>
  (message === "" ? rule : message).trim();

class Judgement {
  readonly errors: FieldError[] = [];
  readonly #warn: ((text: string) => void) | undefined;
  #budget = budgetOfWrite;

  constructor(warn: ((text: string) => void) | undefined) {
    this.#warn = warn;
  }

  /** False: the budget is spent. */
  visit(node: RuleNode, value: unknown, path: string, history: History): boolean {
    if (value === undefined || value === null) return true;
    if (node.rules.length > 0 && !this.#rules(node, value, path, history)) return false;
    if (Array.isArray(value)) return this.#list(node, value, path, history);
    return isObject(value) ? this.#object(node, value, path, history) : true;
  }

  #list(node: RuleNode, value: unknown[], path: string, history: History): boolean {
    const { items, props } = node;
    if (items === undefined) return true;
    const keys = props["x-kubernetes-list-map-keys"] ?? [];
    const before = Array.isArray(history.old) ? history.old : [];
    const isMap = props["x-kubernetes-list-type"] === "map";
    for (const [index, item] of value.entries()) {
      const old = isMap ? before.find((one) => sameItem(one, item, keys)) : undefined;
      if (!this.visit(items, item, `${path}[${index}]`, below(history, item, old, isMap)))
        return false;
    }
    return true;
  }

  #object(node: RuleNode, value: JsonObject, path: string, history: History): boolean {
    const old = isObject(history.old) ? history.old : {};
    for (const [key, member] of Object.entries(value)) {
      const next = below(history, member, getKey(old, key), history.correlated);
      const { values } = node;
      if (values !== undefined && !this.visit(values, member, `${path}[${key}]`, next))
        return false;
      const property = node.properties.get(key);
      if (property !== undefined && !this.visit(property, member, named(path, key), next))
        return false;
    }
    return true;
  }

  #spent(node: RuleNode, path: string): false {
    const why =
      "validation failed due to running out of cost budget, no further validation rules will be run";
    this.errors.push(invalid(placed(path), node.props.type ?? "", why));
    return false;
  }

  #rules(node: RuleNode, value: unknown, path: string, history: History): boolean {
    if (this.#budget <= 0) return this.#spent(node, path);
    const self = node.shape.adapt(value);
    const hasOld = history.old !== undefined && history.old !== null;
    const oldSelf = node.usesOldSelf && hasOld ? node.shape.adapt(history.old) : undefined;
    for (const one of node.rules) {
      const say = (why: string): number =>
        this.errors.push(invalid(placed(path), node.props.type ?? "", why));
      if (one.problem !== undefined) {
        say(`rule compile error: ${one.problem}`);
        continue;
      }
      const optionalOld = one.rule.optionalOldSelf === true;
      if (one.program === undefined || (one.usesOldSelf && !hasOld && !optionalOld)) continue;
      const old = optionalOld ? (oldSelf === undefined ? none : new Optional(oldSelf)) : oldSelf;
      const values = [self, old];
      const outcome = one.program.run(values, callCostMax);
      if (outcome.cost > this.#budget) return this.#spent(node, path);
      this.#budget -= outcome.cost;
      const shown = shownRule(one.rule);
      if ("error" in outcome) {
        const { error, exceeded } = outcome;
        if (exceeded) {
          say(
            `'${error}': no further validation rules will be run due to call cost exceeds limit for rule: ${shown}`,
          );
          return false;
        }
        if (error.startsWith("no such overload"))
          say(
            `'${error}': call arguments did not match a supported operator, function or macro signature for rule: ${shown}`,
          );
        else say(`${error} evaluating rule: ${shown}`);
      } else if (outcome.value !== true && !this.#refuse(node, one, values, value, path, history))
        return false;
    }
    return true;
  }

  #refuse(
    node: RuleNode,
    one: CompiledRule,
    values: readonly (Value | undefined)[],
    value: unknown,
    path: string,
    history: History,
  ): boolean {
    const { rule } = one;
    const inner =
      (rule.fieldPath ?? "") === "" ? undefined : normalizePath(rule.fieldPath ?? "", node.props);
    const at = placed(inner === undefined ? path : named(path, inner));
    const add = (error: FieldError): void => {
      // What was so before this write is not held against it.
      if (one.usesOldSelf || !history.unchanged()) this.errors.push(error);
      else this.#warn?.(formatFieldError(error));
    };
    const { message = "" } = rule;
    let detail = message === "" ? `failed rule: ${shownRule(rule)}` : message.trim();
    const told = one.messageProgram?.run(values, callCostMax);
    if (told !== undefined) {
      const expression = JSON.stringify(rule.messageExpression ?? "");
      if (told.cost > this.#budget || ("error" in told && told.exceeded)) {
        const why =
          told.cost > this.#budget
            ? "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"
            : `no further validation rules will be run due to call cost exceeds limit for messageExpression: ${expression}`;
        add(invalid(at, node.props.type ?? "", why));
        return false;
      }
      this.#budget -= told.cost;
      const text = "value" in told && typeof told.value === "string" ? told.value.trim() : "";
      // A message that can not be shown gives way to the rule's own.
      if (text !== "" && text.length <= messageBytesMax && !text.includes("\n")) detail = text;
    }
    const isWhole = node.props.type === "object" || node.props.type === "array";
    add(errorFor(at, isWhole ? undefined : { value }, detail, rule.reason));
    return true;
  }
}

function sameItem(a: unknown, b: unknown, keys: readonly string[]): boolean {
  if (!isObject(a) || !isObject(b)) return false;
  return keys.every((key) => equalObjects(getKey(a, key), getKey(b, key)));
}

function below(history: History, value: unknown, old: unknown, correlates: boolean): History {
  if (!history.correlated || !correlates)
    return { old, unchanged: history.unchanged, correlated: false };
  return {
    old,
    unchanged: () => old !== undefined && equalObjects(value, old),
    correlated: old !== undefined,
  };
}

function errorFor(
  path: string,
  bad: { readonly value: unknown } | undefined,
  detail: string,
  reason: ValidationRule["reason"],
): FieldError {
  switch (reason) {
    case "FieldValueForbidden":
      return forbidden(path, detail);
    case "FieldValueRequired":
      return required(path, detail);
    case "FieldValueDuplicate": {
      const shown = bad === undefined ? "" : `: ${JSON.stringify(bad.value)}`;
      return { path, type: "FieldValueDuplicate", message: `Duplicate value${shown}` };
    }
    default:
      return bad === undefined
        ? invalidWithoutValue(path, detail)
        : invalid(path, bad.value, detail);
  }
}

/** Upstream: what makes the object unfit for its schema keeps the rules from being asked at all. */
const blocking = new Set([
  "FieldValueNotSupported",
  "FieldValueRequired",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueTypeInvalid",
]);

export type JudgeRules = (
  object: JsonObject,
  old: JsonObject | undefined,
  found: readonly FieldError[],
  warn: ((text: string) => void) | undefined,
) => FieldError[];

/** Undefined: the schema has no rules, and nothing is to be done. */
export function rulesOf(props: Props): JudgeRules | undefined {
  const root = nodeOf(props, true);
  if (root === undefined) return undefined;
  return (object, old, found, warn) => {
    if (found.some(({ type }) => blocking.has(type))) {
      const why =
        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
      return [...found, invalid("<nil>", null, why)];
    }
    const judgement = new Judgement(warn);
    const unchanged = (): boolean => old !== undefined && equalObjects(object, old);
    judgement.visit(root, object, "", { old, unchanged, correlated: old !== undefined });
    return [...found, ...judgement.errors];
  };
}
