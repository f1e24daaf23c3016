/** What an extension server says that it serves (an APIResourceList), as facts like those about our own kinds. */
import type { ResourceFacts, SubresourceFacts } from "#api/facts.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import type { ServedFacts } from "./discovery.ts";

const resourcesMax = 10_000;

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];

function subresourceOf(one: JsonObject, group: string, version: string): SubresourceFacts {
  return {
    name: text(one.name).slice(text(one.name).indexOf("/") + 1),
    group: text(one.group) === "" && text(one.version) === "" ? group : text(one.group),
    version: text(one.version) || version,
    kind: text(one.kind),
    verbs: texts(one.verbs),
  };
}

/** Undefined: it is no list of resources. */
export function servedFactsOf(
  list: unknown,
  group: string,
  version: string,
): ServedFacts[] | undefined {
  if (!isObject(list) || list.kind !== "APIResourceList" || !Array.isArray(list.resources))
    return undefined;
  const all = (list.resources as unknown[]).filter(isObject).slice(0, resourcesMax);
  const subresources = all.filter(({ name }) => text(name).includes("/"));
  return all
    .filter(({ name }) => text(name) !== "" && !text(name).includes("/"))
    .map((one) => {
      const plural = text(one.name);
      const hash = text(one.storageVersionHash);
      const own = subresources
        .filter(({ name }) => text(name).startsWith(`${plural}/`))
        .map((sub) => subresourceOf(sub, group, version));
      const facts: ResourceFacts = {
        group,
        version,
        plural,
        singular: text(one.singularName),
        kind: text(one.kind),
        namespaced: one.namespaced === true,
        shortNames: texts(one.shortNames),
        categories: texts(one.categories),
        verbs: texts(one.verbs),
        subresources: own,
        ...(hash === "" ? {} : { storageVersionHash: hash }),
        servedByDefault: true,
      };
      return { facts, subresources: own };
    });
}
