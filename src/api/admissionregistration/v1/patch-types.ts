/**
 * What an expression that mutates may construct: `Object{…}`, `Object.spec{…}` and so on by the path of the field, whose fields nobody
 * checks before they are merged, and `JSONPatch{…}`; and jsonpatch.escapeKey. Wording is upstream's.
 */

import { type Overload, overload } from "#machinery/cel/environment.ts";
import { dynType, type ObjectType, stringType, type Type } from "#machinery/cel/type.ts";
import { List, MapValue, type Value } from "#machinery/cel/value.ts";

const operation: Readonly<Record<string, Type>> = {
  op: stringType,
  path: stringType,
  from: stringType,
  value: dynType,
};
const jsonPatchType: ObjectType = {
  kind: "object",
  name: "JSONPatch",
  field: (name) => (Object.hasOwn(operation, name) ? operation[name] : undefined),
};

const isObjectName = (name: string): boolean => name === "Object" || name.startsWith("Object.");

/** The type of that name, if an expression that mutates may construct it. */
export function patchType(name: string): ObjectType | undefined {
  if (name === jsonPatchType.name) return jsonPatchType;
  return isObjectName(name) ? { kind: "object", name, field: () => dynType } : undefined;
}

export const jsonPatchFunctions: readonly Overload[] = [
  overload("=jsonpatch.escapeKey(string):string", (key: string) =>
    key.replaceAll("~", "~0").replaceAll("/", "~1"),
  ),
];

/** What is wrong with the names of the objects in a value: each is to be named by the path to it, from where its own name begins. */
export function typeNameProblems(value: Value, path?: string): string[] {
  if (value instanceof List) return value.items.flatMap((item) => typeNameProblems(item, path));
  if (!(value instanceof MapValue)) return [];
  const name = value.typeName;
  const isMade = isObjectName(name);
  if (path === undefined && !isMade) return [];
  const at = path ?? name;
  const problems: string[] = [];
  if (isMade && name !== at)
    problems.push(
      `unexpected type name ${JSON.stringify(name)}, expected ${JSON.stringify(at)}, which matches field name path from root Object type`,
    );
  for (const key of value.keys()) {
    const inner = isMade && typeof key === "string" ? `${at}.${key}` : at;
    problems.push(...typeNameProblems(value.get(key) ?? null, inner));
  }
  return problems;
}
