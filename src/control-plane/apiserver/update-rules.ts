/** What an update through the object itself, or through one of its subresources, may change, and who judges it. */
import type { Resource, StrategyContext } from "#api/resource.ts";
import type { FieldError } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { canonical } from "./object-codec.ts";
import { sameBesidesStatus } from "./object-rules.ts";

export interface UpdateRules {
  /** Takes back what this way in may not change. */
  readonly prepare: (object: ApiObject, old: ApiObject, context: StrategyContext) => void;
  readonly validate: (object: ApiObject, old: ApiObject, context: StrategyContext) => FieldError[];
  /** The request was computed from the old object: when that has changed, compute anew rather than fail. */
  readonly retries: boolean;
}

type WithStatus = ApiObject & { status?: unknown };

const hasStatus = (resource: Resource): boolean =>
  resource.facts.subresources.some(({ name }) => name === "status");

function keepStatus(object: WithStatus, old: WithStatus): void {
  if (old.status === undefined) delete object.status;
  else object.status = cloneJson(old.status);
}

/** PUT and PATCH of the object: its status stays; the generation counts what changes besides metadata. */
export function objectRules(resource: Resource, retries: boolean): UpdateRules {
  const { strategy } = resource;
  // What was stored is canonical; what was sent may still have empty lists where there are none in the store.
  const isTyped = resource.schema.custom === undefined;
  const sameSpec = (object: ApiObject, old: ApiObject): boolean =>
    sameBesidesStatus(object, old, isTyped) ||
    sameBesidesStatus(canonical(resource, object), old, isTyped);
  return {
    retries,
    prepare(object, old, context) {
      if (hasStatus(resource)) keepStatus(object, old);
      strategy.prepareForUpdate?.(object, old, context);
      if (strategy.tracksGeneration === true && !sameSpec(object, old))
        object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    },
    validate: (object, old, context) =>
      strategy.validateUpdate?.(object, old, context) ?? strategy.validate?.(object, context) ?? [],
  };
}

/** Through /status: everything else stays, but labels and annotations may change with it, as upstream. */
export function statusRules(resource: Resource, retries: boolean): UpdateRules {
  const { strategy } = resource;
  return {
    retries,
    prepare(object, old, context) {
      const { status } = object as WithStatus;
      const { managedFields, labels, annotations, resourceVersion } = object.metadata;
      for (const key of Object.keys(object))
        if (key !== "metadata") delete (object as unknown as Record<string, unknown>)[key];
      const { status: _, metadata, ...rest } = cloneJson(old) as WithStatus;
      Object.assign(object, rest);
      if (status !== undefined) (object as WithStatus).status = status;
      object.metadata = { ...metadata };
      assignOrDelete(object.metadata, { managedFields, labels, annotations, resourceVersion });
      strategy.prepareForStatusUpdate?.(object, old, context);
    },
    validate: (object, old, context) => strategy.validateStatusUpdate?.(object, old, context) ?? [],
  };
}

function assignOrDelete<T extends object>(
  target: T,
  values: { [K in keyof T]?: T[K] | undefined },
): void {
  for (const key of Object.keys(values) as (keyof T)[]) {
    const value = values[key];
    if (value === undefined) delete target[key];
    else target[key] = value;
  }
}

/**
 * Through a subresource that is a window on some fields: `copy` brings those over, everything else stays. `spec` tells whether
 * the fields count for the generation.
 */
export function windowRules(
  resource: Resource,
  copy: (into: ApiObject, from: ApiObject) => void,
): UpdateRules {
  const object = objectRules(resource, true);
  return {
    retries: true,
    prepare(asked, old, context) {
      const next = cloneJson(old);
      copy(next, asked);
      const { managedFields, resourceVersion } = asked.metadata;
      for (const key of Object.keys(asked))
        if (key !== "metadata") delete (asked as unknown as Record<string, unknown>)[key];
      const { metadata, ...rest } = next;
      Object.assign(asked, rest);
      asked.metadata = { ...metadata };
      assignOrDelete(asked.metadata, { managedFields, resourceVersion });
      object.prepare(asked, old, context);
    },
    validate: object.validate,
  };
}
