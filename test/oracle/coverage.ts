/** How many of a kind's fields the corpus speaks of: a field counts once wherever it stands in lists and maps; metadata is ConfigMap's. */
import type { Resource } from "#api/resource.ts";
import type { Schema } from "#machinery/schema.ts";
import type { Json } from "./mask.ts";

export interface Coverage {
  readonly covered: number;
  readonly total: number;
  /** Paths of what the corpus never mentions. */
  readonly missing: readonly string[];
}

type Paths = Map<string, boolean>;

/** Types that contain themselves (JSONSchemaProps) are walked once. */
function collect(
  schema: Schema,
  path: string,
  values: readonly Json[],
  into: Paths,
  above: readonly string[],
): void {
  if (schema.type === "list") {
    const items = values.flatMap((value) => (Array.isArray(value) ? (value as Json[]) : []));
    collect(schema.items, path, items, into, above);
  } else if (schema.type === "map") {
    collect(schema.values, path, values.flatMap(membersOf), into, above);
  } else if (schema.type === "object") {
    if (above.includes(schema.name)) return;
    for (const [name, field] of schema.fields) {
      const own = path === "" ? name : `${path}.${name}`;
      if (own === "metadata" || own === "status" || own === "kind" || own === "apiVersion")
        continue;
      const held = values.flatMap((value) => memberOf(value, name));
      into.set(own, (into.get(own) ?? false) || held.length > 0);
      collect(field.schema, own, held, into, [...above, schema.name]);
    }
  }
}

const membersOf = (value: Json): Json[] =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? Object.values(value) : [];
function memberOf(value: Json, name: string): Json[] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [];
  const member = (value as { readonly [key: string]: Json })[name];
  return member === undefined ? [] : [member];
}

export function coverageOf(resource: Resource, documents: readonly Json[]): Coverage {
  const paths: Paths = new Map();
  collect(resource.schema, "", documents, paths, []);
  const missing = [...paths].filter(([, covered]) => !covered).map(([path]) => path);
  return { covered: paths.size - missing.length, total: paths.size, missing };
}
