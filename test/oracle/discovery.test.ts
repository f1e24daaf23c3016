/**
 * What we serve beside what the original serves by default, as its aggregated discovery says (golden/): every group, version, resource,
 * subresource and verb. What is missing is a short list, each line with its reason.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ComponentStatus } from "#api/core/v1/componentstatus.ts";
import { builtInResources } from "#api/index.ts";
import { reviewFacts } from "#control-plane/apiserver/reviews.ts";
import { bindingFacts, offeredFacts } from "#control-plane/apiserver/routes.ts";

const notServed: Readonly<Record<string, string>> = {};

interface Discovered {
  readonly metadata: { readonly name?: string };
  readonly versions: readonly {
    readonly version: string;
    readonly resources: readonly {
      readonly resource: string;
      readonly scope: string;
      readonly singularResource: string;
      readonly shortNames?: readonly string[];
      readonly categories?: readonly string[];
      readonly verbs: readonly string[];
      readonly subresources?: readonly {
        readonly subresource: string;
        readonly verbs: readonly string[];
      }[];
    }[];
  }[];
}

function* theirs(): Generator<readonly [string, object]> {
  const lines = readFileSync(join(import.meta.dirname, "golden/system.jsonl"), "utf8").trim();
  for (const line of lines.split("\n")) {
    const { id, body } = JSON.parse(line) as { id: string; body: { items: Discovered[] } };
    if (!id.startsWith("aggregated discovery")) continue;
    for (const { metadata, versions } of body.items) {
      for (const { version, resources } of versions) {
        for (const one of resources) {
          const root = `${metadata.name ?? ""}/${version}/${one.resource}`;
          const { scope, singularResource, shortNames = [], categories = [] } = one;
          const verbs = [...one.verbs].sort();
          yield [root, { scope, singularResource, shortNames, categories, verbs }];
          for (const sub of one.subresources ?? [])
            yield [`${root}/${sub.subresource}`, { verbs: [...sub.verbs].sort() }];
        }
      }
    }
  }
}

function* ours(): Generator<readonly [string, object]> {
  const all = [
    ...builtInResources.map(({ facts }) => facts),
    ...reviewFacts,
    ComponentStatus.facts,
  ];
  if (bindingFacts !== undefined) all.push(bindingFacts);
  for (const { facts, subresources } of all.map(offeredFacts)) {
    const root = `${facts.group}/${facts.version}/${facts.plural}`;
    const { singular, namespaced, shortNames, categories } = facts;
    const scope = namespaced ? "Namespaced" : "Cluster";
    const verbs = [...facts.verbs].sort();
    yield [root, { scope, singularResource: singular, shortNames, categories, verbs }];
    for (const { name, verbs } of subresources)
      yield [`${root}/${name}`, { verbs: [...verbs].sort() }];
  }
}

test("every resource that the original serves by default is served, or said not to be", () => {
  const mine = new Map(ours());
  const wanted = new Map(theirs());
  expect(wanted.size).toBeGreaterThan(100);
  const missing = [...wanted.keys()].filter((id) => !mine.has(id));
  const unsaid = missing.filter(
    (id) => !Object.keys(notServed).some((one) => id === one || id.startsWith(`${one}/`)),
  );
  expect(unsaid, "neither served nor said to be missing").toEqual([]);
  const served = Object.keys(notServed).filter((id) => mine.has(id));
  expect(served, "served by now: take them off the list").toEqual([]);
  expect(
    [...mine.keys()].filter((id) => !wanted.has(id)),
    "not served by the original",
  ).toEqual([]);
  for (const [id, facts] of mine) expect(facts, id).toEqual(wanted.get(id));
});
