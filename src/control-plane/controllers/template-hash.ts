/**
 * The short hash that tells a Deployment's ReplicaSets apart: stable for equal templates, in
 * upstream's alphabet. Pure.
 */
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import { fnv1a32 } from "#machinery/hash.ts";
import { safeEncode } from "#machinery/names.ts";
import { sortedKeys } from "#machinery/object.ts";

/** JSON with sorted keys: equal for equal values. */
export function canonicalText(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  const record = value as Readonly<Record<string, unknown>>;
  const parts = sortedKeys(record)
    .filter((key) => record[key] !== undefined)
    .map((key) => `${JSON.stringify(key)}:${canonicalText(record[key])}`);
  return `{${parts.join(",")}}`;
}

/** `collisions`: how often this template's hash was found taken by another. */
export function templateHash(template: PodTemplateSpec, collisions: number | undefined): string {
  const salt = collisions === undefined ? "" : `\n${collisions}`;
  return safeEncode(String(fnv1a32(canonicalText(template) + salt)));
}
