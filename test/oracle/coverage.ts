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

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** The schema's places of all that the values have, without positions and keys of maps. */
export function* placesIn(schema: Schema, values: readonly Json[], path = ""): Generator<string> {
  if (schema.type === "list") {
    const items = values.flatMap((value) => (Array.isArray(value) ? (value as Json[]) : []));
    if (items.length > 0) yield* placesIn(schema.items, items, path);
  } else if (schema.type === "map") {
    const held = values.flatMap((value) => (isObject(value) ? Object.values(value) : []));
    if (held.length > 0) yield* placesIn(schema.values, held, path);
  } else if (schema.type === "object") {
    for (const [name, field] of schema.fields) {
      const own = path === "" ? name : `${path}.${name}`;
      const held = values.flatMap((value) => {
        const member = isObject(value) ? value[name] : undefined;
        return member === undefined ? [] : [member];
      });
      if (held.length === 0) continue;
      yield own;
      yield* placesIn(field.schema, held, own);
    }
  }
}

/** Types that contain themselves (JSONSchemaProps) are walked once. */
function* allPlaces(schema: Schema, path: string, above: readonly string[]): Generator<string> {
  if (schema.type === "list") yield* allPlaces(schema.items, path, above);
  else if (schema.type === "map") yield* allPlaces(schema.values, path, above);
  else if (schema.type === "object" && !above.includes(schema.name)) {
    for (const [name, field] of schema.fields) {
      const own = path === "" ? name : `${path}.${name}`;
      yield own;
      yield* allPlaces(field.schema, own, [...above, schema.name]);
    }
  }
}

const notOwn = /^(metadata|kind|apiVersion)(\.|$)/;

/** `told`: the places that the corpus speaks of. */
export function coverageOf(resource: Resource, told: ReadonlySet<string>): Coverage {
  const hasStatus = resource.facts.subresources.some(({ name }) => name === "status");
  const all = [...new Set(allPlaces(resource.schema, "", []))].filter(
    (place) =>
      !notOwn.test(place) && place !== "status" && (hasStatus || !place.startsWith("status.")),
  );
  const missing = all.filter((place) => !told.has(place));
  return { covered: all.length - missing.length, total: all.length, missing };
}
