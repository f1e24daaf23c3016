/**
 * Schema: what is known of a type's fields: what each may hold, how it is printed when it is empty, how lists and maps
 * merge, its protobuf number. Built-in kinds' schemas are generated (see api/facts.ts); a custom resource's is read
 * from its definition. Decoding, defaulting, patching, applying, diffing and OpenAPI all read this one value.
 */

/** A leaf. `any`: whatever JSON (RawExtension, JSON); `fields`: FieldsV1. Times and quantities are strings on the wire. */
export interface ScalarSchema {
  readonly type:
    | "string"
    | "boolean"
    | "int32"
    | "int64"
    | "float64"
    | "bytes"
    | "time"
    | "microTime"
    | "duration"
    | "quantity"
    | "intOrString"
    | "any"
    | "fields";
  /** Upstream's name of the type, where it is more than one of JSON's own. */
  readonly name?: string;
  /** For "any": a change of any part is a change of the whole. */
  readonly isAtomic?: true;
  /**
   * For "any" of a known shape (JSONSchemaPropsOrBool …): JSON holds the value of one of these fields bare, protobuf a
   * message of them.
   */
  readonly alternatives?: readonly Field[];
}
export interface ListSchema {
  readonly type: "list";
  readonly items: Schema;
  /** How server-side apply merges: whole, by value, by `keys`. */
  readonly listType: "atomic" | "set" | "map";
  /** For "map": the fields that identify an item. */
  readonly keys: readonly string[];
  /** Atomic because nothing is said: OpenAPI does not print it. */
  readonly implied?: true;
  /** Protobuf holds the items in a message of its own, as its field 1. */
  readonly protoWrapped?: true;
}
export interface MapSchema {
  readonly type: "map";
  readonly values: Schema;
  readonly mapType: "granular" | "atomic";
}
export interface ObjectSchema {
  readonly type: "object";
  /** Upstream's name of the type, for example "io.k8s.api.core.v1.PodSpec". */
  readonly name: string;
  readonly mapType: "granular" | "atomic";
  /** The type itself, where a field sees it with another mapType. */
  readonly plain?: ObjectSchema;
  /** By JSON name, in the order in which Go prints them; fields of inlined structs stand among them. */
  readonly fields: ReadonlyMap<string, Field>;
  /** Union types: discriminator and members where declared. */
  readonly unions?: readonly {
    readonly discriminator?: string;
    readonly fields: readonly string[];
  }[];
  /** Of custom resources: fields that are not declared are kept, of any type. */
  readonly isOpen?: boolean;
  /** Of a custom resource's kind. */
  readonly custom?: CustomSchema;
}
/**
 * What is special about a custom resource: its fields besides kind, apiVersion and metadata are kept as they come, pruned but not
 * judged (validation does that), and its definition prints its own OpenAPI.
 */
export interface CustomSchema {
  /** kind, apiVersion and metadata alone: these are decoded like any object's. */
  readonly head: ObjectSchema;
  /** The other fields, copied and pruned, in order. Paths of what is dropped go to `unknown`. */
  readonly prune: (value: Record<string, unknown>, unknown: string[]) => Record<string, unknown>;
  /** In place: nulls that may not be and defaults. */
  readonly defaults: (object: Record<string, unknown>) => void;
  /** The schema as OpenAPI tells it, without the names of the kind. */
  readonly openApi: (dialect: "v2" | "v3") => Record<string, unknown>;
}
export type Schema = ScalarSchema | ListSchema | MapSchema | ObjectSchema;

export interface Field {
  readonly name: string;
  readonly schema: Schema;
  /**
   * When an absent or empty value is left out: "never" (Go prints "", 0, false, null, {}), "empty" (omitempty: empty
   * strings, zero numbers, false, empty lists and maps, nil pointers; structs are printed all the same), "zero"
   * (omitzero: also zero structs).
   */
  readonly omit: "never" | "empty" | "zero";
  /** A Go pointer: absent and zero differ. */
  readonly pointer: boolean;
  /** OpenAPI's `required`. */
  readonly required: boolean;
  /** The `+default` marker's JSON value. */
  readonly default?: unknown;
  /** The allowed strings; of a list or map: its items'. */
  readonly enum?: readonly string[];
  /** Protobuf field number; 0: none. */
  readonly proto: number;
  /** The number of the protobuf message that holds this field, where Go inlines a struct that protobuf nests. */
  readonly protoInline?: {
    readonly name: string;
    readonly number: number;
    /** A further message inside that one (NamedRuleWithOperations). */
    readonly inner?: { readonly name: string; readonly number: number };
  };
  /** Strategic merge patch. */
  readonly patchStrategy?: readonly ("merge" | "replace" | "retainKeys")[];
  readonly patchMergeKey?: string;
}
