/**
 * The rules of a definition's schema as they are when the definition is written: each must compile, fit its types, and not cost more than
 * a request may. Reads the schema from its root down; wording and limits are upstream's.
 */

import { type FieldError, forbidden, invalid } from "#machinery/field-error.ts";
import { sortedKeys } from "#machinery/object.ts";
import { itemsOf, type Props, valuesOf } from "../../custom-resource/pruning.ts";
import { cardinalityMax, type Shape, shapeOf } from "../../custom-resource/rule-schema.ts";
import { type CompiledRule, compileRule } from "../../custom-resource/rules.ts";
import type { ValidationRule } from "../../generated/apiextensions/v1.ts";

const costOfRuleMax = 10_000_000;
const costOfSchemaMax = 100_000_000;
const expensiveShown = 4;

function budgetMessage(what: string, cost: number, max: number): string {
  const factor = cost / max;
  let shown = "more than 100x";
  if (factor <= 100) shown = factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${what} exceeds budget by factor of ${shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}

/** Upstream: the rule as Go prints a struct that has no JSON names. */
function shownRule(rule: ValidationRule): unknown {
  return {
    Rule: rule.rule,
    Message: rule.message ?? "",
    MessageExpression: rule.messageExpression ?? "",
    Reason: rule.reason ?? null,
    FieldPath: rule.fieldPath ?? "",
    OptionalOldSelf: rule.optionalOldSelf ?? null,
  };
}

const goJson = (error: FieldError): FieldError => {
  const end = error.message.indexOf("}: ");
  const escaped = error.message
    .slice(0, end)
    .replace(/[<>&]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
  return { ...error, message: escaped + error.message.slice(end) };
};

interface Place {
  readonly path: string;
  readonly isRoot: boolean;
  /** How often there may be such a value; undefined: as often as a request has room. */
  readonly cardinality: number | undefined;
  /** The list around this whose items can not be told from one another. */
  readonly uncorrelatable?: string;
}

class Reader {
  readonly errors: FieldError[] = [];
  #total = 0;
  readonly #costs: { path: string; cost: number }[] = [];

  read(props: Props, place: Place): void {
    const { path } = place;
    const inner = { ...place, isRoot: false };
    const values = valuesOf(props);
    if (values !== undefined) {
      const at = `${path}.additionalProperties`;
      this.read(values, { ...inner, path: at, cardinality: times(place, props.maxProperties) });
    }
    for (const name of sortedKeys(props.properties ?? {})) {
      const property = props.properties?.[name];
      if (property !== undefined)
        this.read(property, { ...inner, path: `${path}.properties[${name}]` });
    }
    const items = itemsOf(props);
    if (items !== undefined) {
      const isMap = props["x-kubernetes-list-type"] === "map";
      this.read(items, {
        ...inner,
        path: `${path}.items`,
        cardinality: times(place, props.maxItems),
        ...(isMap ? {} : { uncorrelatable: path }),
      });
    }
    const rules = props["x-kubernetes-validations"] ?? [];
    if (rules.length === 0) return;
    const isResource = place.isRoot || props["x-kubernetes-embedded-resource"] === true;
    const shape = shapeOf(props, isResource);
    if (shape === undefined) {
      const message =
        "Internal error: internal error: failed to retrieve type information for x-kubernetes-validations";
      this.errors.push({
        path: `${path}.x-kubernetes-validations`,
        type: "InternalError",
        message,
      });
      return;
    }
    for (const [index, rule] of rules.entries())
      this.#rule(
        compileRule(rule, shape),
        shape,
        place,
        `${path}.x-kubernetes-validations[${index}]`,
      );
  }

  #rule(one: CompiledRule, shape: Shape, place: Place, at: string): void {
    const { rule } = one;
    const often = place.cardinality ?? cardinalityMax(shape);
    this.#cost(one.costMax * often, `${at}.rule`, "estimated rule cost");
    if (one.problem !== undefined)
      this.errors.push(goJson(invalid(`${at}.rule`, shownRule(rule), one.problem)));
    if (one.messageProblem !== undefined)
      this.errors.push(
        goJson(invalid(`${at}.messageExpression`, shownRule(rule), one.messageProblem)),
      );
    else if (one.messageProgram !== undefined)
      this.#cost(one.messageCostMax, `${at}.messageExpression`, "estimated messageExpression cost");
    if (one.usesOldSelf && place.uncorrelatable !== undefined) {
      const why = `oldSelf cannot be used on the uncorrelatable portion of the schema within ${place.uncorrelatable}`;
      this.errors.push(invalid(`${at}.rule`, rule.rule, why));
    }
    if (!one.usesOldSelf && rule.optionalOldSelf !== undefined) {
      const why = "may not be set if oldSelf is not used in rule";
      this.errors.push(invalid(`${at}.optionalOldSelf`, rule.optionalOldSelf, why));
    }
  }

  #cost(cost: number, path: string, what: string): void {
    if (cost > costOfRuleMax)
      this.errors.push(forbidden(path, budgetMessage(what, cost, costOfRuleMax)));
    this.#total += cost;
    this.#costs.push({ path, cost });
  }

  finish(path: string): FieldError[] {
    if (this.#total <= costOfSchemaMax) return this.errors;
    const why =
      "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    const worst = this.#costs
      .filter(({ cost }) => cost > costOfSchemaMax / 100)
      .sort((a, b) => b.cost - a.cost)
      .slice(0, expensiveShown);
    for (const one of worst) this.errors.push(forbidden(one.path, why));
    const what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    this.errors.push(forbidden(path, budgetMessage(what, this.#total, costOfSchemaMax)));
    return this.errors;
  }
}

function times(place: Place, max: number | undefined): number | undefined {
  if (place.cardinality === undefined || max === undefined) return undefined;
  return place.cardinality * Math.max(0, max);
}

/** `path` is that of openAPIV3Schema; the schema is sound otherwise. */
export function validateRules(props: Props, path: string): FieldError[] {
  const reader = new Reader();
  reader.read(props, { path, isRoot: true, cardinality: 1 });
  return reader.finish(path);
}
