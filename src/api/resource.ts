/**
 * Resource: everything the rest of the system may know about a kind, in one value. What upstream's modules state as facts
 * (schema, names, verbs, subresources) comes from the generated tables; a kind's file adds what is special: columns,
 * selectable fields and the strategy. The registry does what is law for every kind (see Strategy).
 */
import type { FieldError } from "#machinery/field-error.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import { kindSchema, type ResourceFacts, resourceFactsOf } from "./facts.ts";
import type { User } from "./request.ts";

/** The identity of a kind: enough for a client. The type parameter is the object's TypeScript type. */
export interface Kind<T extends ApiObject = ApiObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Never set: carries T through inference. */
  readonly objectType?: T;
}

/** A column of `kubectl get`. Cells are made by the server. */
export interface PrinterColumn<T> {
  readonly name: string;
  readonly type?: "string" | "integer" | "number" | "boolean" | "date";
  readonly format?: string;
  /** 0: always shown; 1: with -o wide. */
  readonly priority?: 0 | 1;
  readonly description?: string;
  /** `now`: milliseconds since the epoch, for ages. `list`: the objects of the same list; without any where one was asked for. */
  readonly value: (
    object: T,
    now: number,
    list?: readonly T[],
  ) => string | number | boolean | null | undefined;
}

/** What a strategy may ask while a request is worked on. */
export interface StrategyContext {
  readonly now: number;
  readonly user: string;
  /** All that is known of the user. */
  readonly requester?: User;
  /** What an update comes through: "" the object itself, "resize", "ephemeralcontainers", "finalize" … */
  readonly subresource?: string;
  /** The version in which the request speaks; absent: the resource's own. */
  readonly requestVersion?: { readonly group: string; readonly version: string };
  /** Whether the world knows a time zone of this name. */
  readonly isTimeZone?: (name: string) => boolean;
  /** Takes a warning that only preparing can know. */
  readonly warn?: (message: string) => void;
}

/** A mark on a row of a table: kubectl hides or greys out what is "Completed". */
export interface RowCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/**
 * What is special about a kind. Law, and so not here: uid, creation time, generation, resourceVersion, managed fields, status
 * isolation (where there is a status subresource: writes to the object keep the old status, writes to status keep all else),
 * metadata validation and immutability, no-op updates.
 */
export interface Strategy<T extends ApiObject> {
  /**
   * Defaults that the schema's markers do not say. Called on every decoded object, also on what is read from the store; `now` is there for
   * what a request brings.
   */
  readonly defaults?: (object: T, now?: number) => void;
  readonly prepareForCreate?: (object: T, context: StrategyContext) => void;
  readonly prepareForUpdate?: (object: T, old: T, context: StrategyContext) => void;
  readonly prepareForStatusUpdate?: (object: T, old: T, context: StrategyContext) => void;
  readonly validate?: (object: T, context?: StrategyContext) => FieldError[];
  readonly validateUpdate?: (object: T, old: T, context?: StrategyContext) => FieldError[];
  readonly validateStatusUpdate?: (object: T, old: T, context?: StrategyContext) => FieldError[];
  /** What a request to delete adds to an object that is not being deleted yet (a finalizer of the kind). */
  readonly prepareForDelete?: (object: T, context: { readonly now: number }) => void;
  readonly warnings?: (object: T, old: T | undefined) => string[];
  /** "metadata.labels": what a write through /status takes back besides the spec, so that nobody manages it that way. */
  readonly statusResetFields?: readonly string[];
  readonly statusWarnings?: (object: T) => string[];
  /** Which names are allowed; default "subdomain" (RFC 1123). */
  readonly nameFormat?: "subdomain" | "label" | "rfc1035label" | "pathSegment";
  /** Instead of nameFormat, for kinds with names of their own: what is wrong with one. */
  readonly nameProblems?: (name: string, prefix?: boolean, object?: T) => string[];
  /** Bump metadata.generation when anything but metadata and status changed. Default false. */
  readonly tracksGeneration?: boolean;
  /** What creates an object may say its status as well (Nodes). Default: the status of what is new is empty. */
  readonly keepsStatusOnCreate?: boolean;
  /** PUT to a name that is not there creates it. */
  readonly allowCreateOnUpdate?: boolean;
  /** PUT without a resourceVersion is fine. Default true. */
  readonly allowUnconditionalUpdate?: boolean;
  /** Seconds between the delete request and the removal by the kubelet (Pods); undefined: removed at once. */
  readonly gracePeriodSeconds?: (object: T, asked: number | undefined) => number | undefined;
  /** Who deletes without saying what becomes of dependents leaves them behind. */
  readonly orphansByDefault?: boolean;
  /** Said to who deletes without saying so. */
  readonly unsaidPropagationWarning?: string;
  /** Finalizers that every new object gets, or that are kept in spec (Namespace). */
  readonly specFinalizers?: boolean;
}

/** Paths of a custom resource that its scale subresource shows; each a list of field names. */
export interface ScalePaths {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  /** Holds a selector in its text form. */
  readonly labelSelector?: readonly string[];
}

export interface Resource<T extends ApiObject = ApiObject> extends Kind<T> {
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  readonly facts: ResourceFacts;
  /** Lazily decoded. */
  readonly schema: ObjectSchema;
  /** Field selectors beyond metadata.name and metadata.namespace: label → value as a string. */
  readonly selectableFields: Readonly<Record<string, (object: T) => string>>;
  /** Without any: NAME and AGE. The first, NAME, is always there and not listed, unless the list itself has a "Name". */
  readonly printerColumns: readonly PrinterColumn<T>[];
  /** Rows of a list stand in this order; without one in the list's. */
  readonly tableOrder?: (a: T, b: T) => number;
  readonly rowConditions?: (object: T) => readonly RowCondition[];
  /** The kind is on its way out: told as a warning with every answer. */
  readonly deprecation?: string;
  /** Where replicas stand, if not in spec.replicas and status.replicas. */
  readonly scale?: ScalePaths;
  readonly strategy: Strategy<T>;
  /** Key prefix in the store without a trailing slash, upstream's: "/registry/pods". */
  readonly storagePrefix: string;
}

export interface ResourceDefinition<T extends ApiObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly selectableFields?: Readonly<Record<string, (object: T) => string>>;
  readonly printerColumns?: readonly PrinterColumn<T>[];
  readonly tableOrder?: (a: T, b: T) => number;
  readonly rowConditions?: (object: T) => readonly RowCondition[];
  readonly deprecation?: string;
  readonly strategy?: Strategy<T>;
  /** Where upstream's differs from /registry/<plural>. */
  readonly storagePrefix?: string;
  /** Of a kind that upstream's API server does not serve itself: the tables know its schema only. */
  readonly facts?: ResourceFacts;
}

export function defineResource<T extends ApiObject>(
  definition: ResourceDefinition<T>,
): Resource<T> {
  const { group, version, plural } = definition;
  const facts = definition.facts ?? resourceFactsOf(group, version, plural);
  if (facts === undefined) throw new Error(`no facts about ${plural} of ${group}/${version}`);
  return {
    group,
    version,
    plural,
    kind: facts.kind,
    namespaced: facts.namespaced,
    singular: facts.singular,
    shortNames: facts.shortNames,
    categories: facts.categories,
    verbs: facts.verbs,
    facts,
    get schema() {
      const schema = kindSchema(group, version, facts.kind);
      if (schema === undefined)
        throw new Error(`no schema of ${facts.kind} of ${group}/${version}`);
      return schema;
    },
    selectableFields: definition.selectableFields ?? {},
    printerColumns: definition.printerColumns ?? [],
    ...(definition.tableOrder === undefined ? {} : { tableOrder: definition.tableOrder }),
    ...(definition.rowConditions === undefined ? {} : { rowConditions: definition.rowConditions }),
    ...(definition.deprecation === undefined ? {} : { deprecation: definition.deprecation }),
    strategy: definition.strategy ?? {},
    storagePrefix: definition.storagePrefix ?? `/registry/${plural}`,
  };
}

export const apiVersionOf = (kind: { readonly group: string; readonly version: string }): string =>
  kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
