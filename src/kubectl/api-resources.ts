/** `kubectl api-resources` and `kubectl api-versions`: what the server serves. */

import { printYaml } from "#machinery/yaml-print.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { apiVersionOf, fullName, type Resource } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { list, text, toggle } from "./flags.ts";
import { indentedJson } from "./json-print.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

export const apiResourcesCommand: KubectlCommand = {
  name: "api-resources",
  summary: "Print the supported API resources on the server",
  flags: [
    text("api-group", "Limit to resources in the specified API group"),
    toggle("cached", "Accepted and unused: nothing is cached"),
    list("categories", "Limit to resources that belong to the specified categories"),
    toggle("namespaced", "Limit to namespaced resources (or, =false, to the others)", {
      default: "true",
    }),
    toggle("no-headers", "Don't print headers"),
    text("output", "Output format: wide, name, json or yaml", { short: "o" }),
    text("sort-by", "Sort by this field: name or kind"),
    list("verbs", "Limit to resources that support the specified verbs"),
  ],
  run: apiResources,
};

async function apiResources(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length > 0) throw usageFailure(given, `unexpected arguments: [${args.join(" ")}]`);
  const output = flags.text("output");
  if (!["", "wide", "name", "json", "yaml"].includes(output)) {
    throw new CommandError(`--output ${output} is not available`);
  }
  const sortBy = flags.text("sort-by");
  if (!["", "name", "kind"].includes(sortBy)) {
    throw new CommandError(`--sort-by accepts only name or kind`);
  }
  const discovery = await session.discovery();
  const has = (resource: Resource): boolean =>
    resource.verbs.length > 0 &&
    (!flags.given("api-group") || resource.group === flags.text("api-group")) &&
    (!flags.given("namespaced") || resource.namespaced === flags.switch("namespaced")) &&
    flags.list("verbs").every((verb) => resource.verbs.includes(verb)) &&
    flags.list("categories").every((one) => resource.categories.includes(one));
  const keyOf = (one: Resource): string[] =>
    sortBy === "name" ? [one.plural] : sortBy === "kind" ? [one.kind] : [one.group, one.plural];
  const found = discovery.preferred.filter(has).toSorted((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    const i = left.findIndex((part, at) => part !== right[at]);
    return i < 0 ? 0 : (left[i] ?? "") < (right[i] ?? "") ? -1 : 1;
  });
  if (output === "name") {
    session.out(found.map((one) => `${fullName(one)}\n`).join(""));
    return;
  }
  if (output === "json" || output === "yaml") {
    const value = {
      apiVersion: "v1",
      groupVersion: "",
      kind: "APIResourceList",
      resources: found.map(listed),
    };
    session.out(output === "json" ? `${indentedJson(value)}\n` : printYaml(value));
    return;
  }
  const wide = output === "wide";
  const header = [
    "NAME",
    "SHORTNAMES",
    "APIVERSION",
    "NAMESPACED",
    "KIND",
    ...(wide ? ["VERBS", "CATEGORIES"] : []),
  ];
  const rows = found.map((one) => [
    one.plural,
    one.shortNames.join(","),
    apiVersionOf(one),
    String(one.namespaced),
    one.kind,
    ...(wide ? [one.verbs.join(","), one.categories.join(",")] : []),
  ]);
  const lines = [...(flags.switch("no-headers") ? [] : [header]), ...rows];
  session.out(alignTabs(lines.map((cells) => `${cells.join("\t")}\n`).join(""), tableStops));
}

const listed = (one: Resource): object => ({
  ...(one.categories.length === 0 ? {} : { categories: one.categories }),
  ...(one.group === "" ? {} : { group: one.group }),
  kind: one.kind,
  name: one.plural,
  namespaced: one.namespaced,
  ...(one.shortNames.length === 0 ? {} : { shortNames: one.shortNames }),
  singularName: one.singular,
  verbs: one.verbs,
  version: one.version,
});

export const apiVersionsCommand: KubectlCommand = {
  name: "api-versions",
  summary: 'Print the supported API versions on the server, in the form of "group/version"',
  run: async (given) => {
    if (given.args.length > 0)
      throw usageFailure(given, `unexpected arguments: [${given.args.join(" ")}]`);
    const { versions } = await given.session.discovery();
    const names = [...new Set(versions.map(apiVersionOf))].toSorted();
    given.session.out(names.map((name) => `${name}\n`).join(""));
  },
};
