/** For tests: objects as the API server has them before validation: decoded, defaulted, prepared. */
import { applySchemaDefaults, decodeObject } from "#machinery/decode.ts";
import { type FieldError, formatFieldError } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { apiVersionOf, type Resource, type StrategyContext } from "./resource.ts";

export const testContext: StrategyContext = { now: 1_000_000_000_000, user: "tester" };

/** In canonical form with all defaults, as it would be read. */
export function decoded<T extends ApiObject>(resource: Resource<T>, object: object): T {
  const typed = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
  const result = decodeObject(resource.schema, typed, { strict: false }).object as T;
  applySchemaDefaults(resource.schema, result);
  resource.strategy.defaults?.(result);
  return result;
}

/** Ready to be validated as a new object. */
export function prepared<T extends ApiObject>(resource: Resource<T>, object: object): T {
  const result = decoded(resource, object);
  resource.strategy.prepareForCreate?.(result, testContext);
  return result;
}

export const formatted = (errors: readonly FieldError[] | undefined): string[] =>
  (errors ?? []).map(formatFieldError);

export const createErrors = <T extends ApiObject>(resource: Resource<T>, object: object) =>
  formatted(resource.strategy.validate?.(prepared(resource, object)));

export function updateErrors<T extends ApiObject>(
  resource: Resource<T>,
  old: object,
  object: object,
  subresource = "",
): string[] {
  const before = prepared(resource, old);
  const next = decoded(resource, object);
  const context = { ...testContext, subresource };
  if (subresource === "status") {
    resource.strategy.prepareForStatusUpdate?.(next, before, context);
    return formatted(resource.strategy.validateStatusUpdate?.(next, before));
  }
  resource.strategy.prepareForUpdate?.(next, before, context);
  return formatted(resource.strategy.validateUpdate?.(next, before, context));
}
