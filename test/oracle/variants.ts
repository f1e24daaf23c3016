/**
 * From the smallest object of a kind, one further object for every field that the corpus' documents do not have: with that field, and all
 * that can stand in it, set to good values.
 */
import type { ObjectSchema, Schema } from "#machinery/schema.ts";
import { changed, type Path, pointerOf, valueAt } from "./change.ts";
import type { Delta, Json } from "./mask.ts";
import { goodValues, isLarge, membersOf, seedOf } from "./values.ts";

export interface Variant {
  /** Where the smallest object has it otherwise. */
  readonly path: Path;
  readonly value: Json;
  /** What must be there first. */
  readonly seed?: { readonly path: Path; readonly value: Json };
  /** What cannot stand beside it. */
  readonly without: readonly Path[];
  /** Within the template of a Pod: the Pods' own corpus says which of its values are wrong. */
  readonly isTemplate: boolean;
}

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  value !== null && typeof value === "object" && !Array.isArray(value);
const fixed = new Set(["apiVersion", "kind", "metadata", "status"]);

/** Of the fields below `path`, where `held` is what the object has there. */
export function* variantsOf(
  schema: ObjectSchema,
  held: Json,
  path: Path,
  isTemplate = false,
): Generator<Variant> {
  if (!isObject(held)) return;
  const owner = schema.name.split(".").at(-1) ?? "";
  const inTemplate = isTemplate || owner === "PodTemplateSpec";
  const union = membersOf(schema);
  for (const [name, field] of schema.fields) {
    if (path.length === 0 && fixed.has(name)) continue;
    const below = [...path, name];
    const value = held[name];
    if (isObject(value) && field.schema.type === "object") {
      yield* variantsOf(field.schema, value, below, inTemplate);
      continue;
    }
    if (Array.isArray(value) && field.schema.type === "list") {
      const [first] = value as readonly Json[];
      if (isObject(first) && field.schema.items.type === "object") {
        yield* variantsOf(field.schema.items, first, [...below, 0], inTemplate);
        continue;
      }
    }
    const isSplit = !(inTemplate && name === "ephemeralContainers") && value === undefined;
    if (isSplit && field.schema.type === "list" && isLarge(field.schema.items)) {
      const items = field.schema.items;
      const seed = { path: below, value: [seedOf(items)] };
      const [item] = seed.value;
      for (const one of variantsOf(items, item ?? null, [...below, 0], inTemplate))
        yield { ...one, seed };
      continue;
    }
    const others = union.includes(name) ? union.filter((one) => one !== name && one in held) : [];
    const without = others.map((one) => [...path, one]);
    for (const good of goodValues(field.schema, owner, name, field.enum, [schema.name]))
      yield { path: below, value: good, without, isTemplate: inTemplate };
  }
}

export const withVariant = (object: Json, { path, value, without, seed }: Variant): Json =>
  without.reduce<Json>(
    (now, one) => changed(now, one, undefined),
    changed(seed === undefined ? object : changed(object, seed.path, seed.value), path, value),
  );

/** The same for an object that is there, with the wrong value in place of the good. */
export function changeTo(
  { path, value, without, seed }: Variant,
  held: Json | undefined = value,
): Delta {
  const first = seed === undefined ? [] : [[pointerOf(seed.path), seed.value] as const];
  const own = held === undefined ? [] : [[pointerOf(path), held] as const];
  return [...first, ...own, ...without.map((one) => [pointerOf(one)] as const)];
}

/** The schema's place of a value: without positions and keys of maps. */
export function placeOf(schema: Schema, path: Path): string {
  const steps: string[] = [];
  let at: Schema | undefined = schema;
  for (const step of path) {
    if (at?.type === "list") at = at.items;
    else if (at?.type === "map") at = at.values;
    else if (at?.type === "object") {
      steps.push(String(step));
      at = at.fields.get(String(step))?.schema;
    } else return `${steps.join(".")}.${String(step)}`;
  }
  return steps.join(".");
}
export function schemaAt(schema: Schema, path: Path): Schema | undefined {
  let at: Schema | undefined = schema;
  for (const step of path) {
    if (at?.type === "list") at = at.items;
    else if (at?.type === "map") at = at.values;
    else if (at?.type === "object") at = at.fields.get(String(step))?.schema;
    else return undefined;
  }
  return at;
}

/** A second member of the union that the object at `path` is. */
export function secondMember(schema: Schema, object: Json, path: Path): Json | undefined {
  const type = schemaAt(schema, path);
  const held = valueAt(object, path);
  if (type?.type !== "object" || !isObject(held)) return undefined;
  const union = membersOf(type);
  if (!union.some((name) => name in held)) return undefined;
  const next = union.find((name) => !(name in held));
  const field = next === undefined ? undefined : type.fields.get(next);
  if (next === undefined || field === undefined) return undefined;
  const owner = type.name.split(".").at(-1) ?? "";
  const [value] = goodValues(field.schema, owner, next, field.enum, [type.name]);
  return value === undefined ? undefined : { ...held, [next]: value };
}

/** Where the object holds templates of Pods. */
export function* templates(schema: ObjectSchema, held: Json, path: Path): Generator<Path> {
  if (!isObject(held)) return;
  if (schema.name.endsWith(".PodTemplateSpec")) yield path;
  for (const [name, field] of schema.fields) {
    const value = held[name];
    if (value !== undefined && field.schema.type === "object")
      yield* templates(field.schema, value, [...path, name]);
  }
}
