/** How the two versions of OpenAPI refer to a schema. */

export type Dialect = "v2" | "v3";

const prefixes = { v2: "#/definitions/", v3: "#/components/schemas/" } as const;

export function reference(name: string, dialect: Dialect): Record<string, unknown> {
  const ref = { $ref: `${prefixes[dialect]}${name}` };
  return dialect === "v2" ? ref : { allOf: [ref] };
}
