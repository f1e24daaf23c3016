/** How the two versions of OpenAPI refer to a schema. */

export type Dialect = "v2" | "v3";

const prefixes = { v2: "#/definitions/", v3: "#/components/schemas/" } as const;

export const reference = (name: string, dialect: Dialect): { readonly $ref: string } => ({
  $ref: `${prefixes[dialect]}${name}`,
});
