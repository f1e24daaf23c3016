import { expect, test } from "vitest";
import { decodeObject } from "#machinery/decode.ts";
import { formatFieldError } from "#machinery/field-error.ts";
import { CustomResourceDefinition } from "./customresourcedefinition.ts";

type Loose = Record<string, unknown>;

/** A definition with one version, of this schema. */
function definition(schema: Loose | undefined, over: Loose = {}, version: Loose = {}) {
  const decoded = decodeObject(
    CustomResourceDefinition.schema,
    {
      metadata: { name: "foos.example.com" },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "foos", kind: "Foo" },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            ...(schema === undefined ? {} : { schema: { openAPIV3Schema: schema } }),
            ...version,
          },
        ],
        ...over,
      },
    },
    { strict: true },
  );
  expect(decoded.strictErrors).toEqual([]);
  const crd = decoded.object as unknown as CustomResourceDefinition;
  const { strategy } = CustomResourceDefinition;
  strategy.defaults?.(crd);
  return crd;
}
const problems = (crd: CustomResourceDefinition): string[] =>
  (CustomResourceDefinition.strategy.validate?.(crd) ?? []).map(formatFieldError);
const schemaProblems = (schema: Loose, version: Loose = {}): string[] =>
  problems(definition(schema, {}, version)).map((text) =>
    text.replace("spec.validation.openAPIV3Schema", "$"),
  );
const object = (properties: Loose, rest: Loose = {}): Loose => ({
  type: "object",
  properties,
  ...rest,
});

test("a good definition, with its defaults", () => {
  const crd = definition(object({ spec: object({ a: { type: "string" } }) }));
  expect(problems(crd)).toEqual([]);
  expect(crd.spec.names).toEqual({
    plural: "foos",
    singular: "foo",
    kind: "Foo",
    listKind: "FooList",
  });
  expect(crd.status.storedVersions).toEqual(["v1"]);
});

test("names, versions and scope", () => {
  expect(problems(definition(undefined))).toEqual([
    "spec.versions[0].schema.openAPIV3Schema: Required value",
  ]);
  const odd = definition({ type: "object" }, { group: "nodots", scope: "Odd" });
  expect(problems(odd)).toEqual([
    'metadata.name: Invalid value: "foos.example.com": must be spec.names.plural+"."+spec.group',
    'spec.group: Invalid value: "nodots": should be a domain with at least one dot',
    'spec.scope: Unsupported value: "Odd": supported values: "Cluster", "Namespaced"',
  ]);
  const kinds = definition(
    { type: "object" },
    { names: { plural: "foos", kind: "Foo", listKind: "Foo" } },
  );
  expect(problems(kinds)).toEqual([
    'spec.names.listKind: Invalid value: "Foo": kind and listKind may not be the same',
  ]);
  const none = definition({ type: "object" }, {}, { storage: false });
  expect(problems(none).join()).toContain(
    "must have exactly one version marked as storage version",
  );
});

test("groups of the community need an approval", () => {
  const crd = definition({ type: "object" }, { group: "foo.k8s.io" });
  crd.metadata.name = "foos.foo.k8s.io";
  expect(problems(crd)).toEqual([
    'metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
  ]);
  crd.metadata.annotations = { "api-approved.kubernetes.io": "https://example.com/1" };
  expect(problems(crd)).toEqual([]);
});

test("schemas must be structural", () => {
  expect(schemaProblems({})).toEqual(["$.type: Required value: must not be empty at the root"]);
  expect(schemaProblems(object({ a: {} }))).toEqual([
    "$.properties[a].type: Required value: must not be empty for specified object fields",
  ]);
  expect(schemaProblems(object({ a: { type: "array" } }))).toEqual([
    "$.properties[a].items: Required value: must be specified",
  ]);
  const nested = object({}, { anyOf: [{ properties: { b: { type: "string" } } }] });
  expect(schemaProblems(nested)).toEqual([
    "$.anyOf[0].properties[b].type: Forbidden: must be empty to be structural",
    "$.properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[b]",
  ]);
  const meta = object({ metadata: object({ labels: { type: "object" } }) });
  expect(schemaProblems(meta)[0]).toBe(
    "$.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
  );
  const intOrString = {
    "x-kubernetes-int-or-string": true,
    anyOf: [{ type: "integer" }, { type: "string" }],
  };
  expect(schemaProblems(object({ a: intOrString }))).toEqual([]);
  expect(schemaProblems(object({ a: { type: "string", pattern: "(" } }))).toEqual([
    '$.properties[a].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: missing closing ): `(`',
  ]);
});

test("keywords that are not for definitions", () => {
  expect(schemaProblems(object({ a: { type: "strin" } }))).toEqual([
    '$.properties[a].type: Unsupported value: "strin": supported values: "array", "boolean", "integer", "number", "object", "string"',
  ]);
  expect(schemaProblems(object({ a: { $ref: "#/x" } }))).toEqual([
    "$.properties[a].$ref: Forbidden: $ref is not supported",
  ]);
  const both = object({
    a: object({ b: { type: "string" } }, { additionalProperties: { type: "string" } }),
  });
  expect(schemaProblems(both)).toEqual([
    "$.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
  ]);
  const set = { type: "array", "x-kubernetes-list-type": "set", items: object({}) };
  expect(schemaProblems(object({ a: set }))[0]).toContain(
    "must be atomic as item of a list with x-kubernetes-list-type=set",
  );
  const map = {
    type: "array",
    "x-kubernetes-list-type": "map",
    items: object({ k: { type: "string" } }),
    "x-kubernetes-list-map-keys": ["k"],
  };
  expect(schemaProblems(object({ a: map }))).toEqual([
    "$.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
  ]);
});

test("defaults must fit, and have no unknown fields", () => {
  expect(schemaProblems(object({ a: { type: "integer", default: "x" } }))).toEqual([
    '$.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"',
  ]);
  expect(schemaProblems(object({ a: object({}, { default: { b: 1 } }) }))[0]).toContain(
    "must not have unknown fields",
  );
});

test("columns, scale and selectable fields", () => {
  const schema = object({ spec: object({ n: { type: "integer" }, o: { type: "object" } }) });
  expect(
    schemaProblems(schema, {
      additionalPrinterColumns: [{ name: "N", type: "odd", jsonPath: "spec" }],
    }),
  ).toEqual([
    'spec.additionalPrinterColumns[0].type: Invalid value: "odd": must be one of boolean,date,integer,number,string',
    'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with .',
  ]);
  const scale = { specReplicasPath: ".x.n", statusReplicasPath: ".status.n" };
  expect(schemaProblems(schema, { subresources: { scale } })).toEqual([
    'spec.subresources.scale.specReplicasPath: Invalid value: ".x.n": should be a json path under .spec',
  ]);
  expect(
    schemaProblems(schema, {
      selectableFields: [{ jsonPath: ".spec.o" }, { jsonPath: ".spec.n" }],
    }),
  ).toEqual([
    'spec.selectableFields[0].jsonPath: Invalid value: ".spec.o": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.',
  ]);
});

test("what is fixed once it is established", () => {
  const old = definition({ type: "object" });
  old.status.conditions = [
    { type: "Established", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" },
  ];
  const next = structuredClone(old);
  next.spec.scope = "Cluster";
  next.spec.versions = [{ ...(next.spec.versions[0] as never as Loose), name: "v2" } as never];
  next.status.storedVersions = ["v1", "v2"];
  const errors = CustomResourceDefinition.strategy.validateUpdate?.(next, old) ?? [];
  expect(errors.map(formatFieldError)).toEqual([
    'spec.scope: Invalid value: "Cluster": field is immutable',
    'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions',
  ]);
});

test("warnings: formats nobody knows", () => {
  const crd = definition(object({ a: { type: "string", format: "odd" } }));
  const { strategy } = CustomResourceDefinition;
  expect(strategy.warnings?.(crd, undefined)).toEqual(['unrecognized format "odd"']);
  expect(strategy.warnings?.(crd, crd)).toEqual([]);
});
