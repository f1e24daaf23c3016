/**
 * What the server serves: its groups, versions and resources, read from aggregated discovery in two requests; and the mapping from
 * what a user types ("po", "deploy.apps", "Pod") to a resource.
 */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { CommandError } from "./errors.ts";
import { jsonMedia, type Rest } from "./rest.ts";

export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly subresources: readonly string[];
}

export const apiVersionOf = ({ group, version }: { group: string; version: string }): string =>
  group === "" ? version : `${group}/${version}`;
/** "pods", "deployments.apps". */
export const fullName = ({ plural, group }: Resource): string =>
  group === "" ? plural : `${plural}.${group}`;
/** "pod", "deployment.apps": how results are named. */
export const nameInResults = ({ kind, group }: { kind: string; group: string }): string =>
  group === "" ? kind.toLowerCase() : `${kind.toLowerCase()}.${group}`;

export function resourcePath(
  resource: Resource,
  namespace: string,
  name = "",
  subresource = "",
): string {
  const prefix =
    resource.group === ""
      ? `/api/${resource.version}`
      : `/apis/${resource.group}/${resource.version}`;
  const scope =
    resource.namespaced && namespace !== "" ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  const item = name === "" ? "" : `/${encodeURIComponent(name)}`;
  const sub = subresource === "" ? "" : `/${subresource}`;
  return `${prefix}${scope}/${resource.plural}${item}${sub}`;
}

const accept =
  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
const objects = (value: unknown): JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject) : [];
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

interface Version {
  readonly group: string;
  readonly version: string;
  readonly resources: readonly Resource[];
}

function readResource(group: string, version: string, found: JsonObject): Resource {
  const kind = isObject(found["responseKind"]) ? textOf(found["responseKind"]["kind"]) : "";
  return {
    group,
    version,
    kind,
    plural: textOf(found["resource"]),
    singular: textOf(found["singularResource"]) || kind.toLowerCase(),
    shortNames: texts(found["shortNames"]),
    categories: texts(found["categories"]),
    namespaced: found["scope"] === "Namespaced",
    verbs: texts(found["verbs"]),
    subresources: objects(found["subresources"]).map((one) => textOf(one["subresource"])),
  };
}

function readAggregated(answer: JsonObject): Version[] {
  return objects(answer["items"]).flatMap((item) => {
    const group = isObject(item["metadata"]) ? textOf(item["metadata"]["name"]) : "";
    return objects(item["versions"]).map((one) => {
      const version = textOf(one["version"]);
      const resources = objects(one["resources"]).map((found) =>
        readResource(group, version, found),
      );
      return { group, version, resources };
    });
  });
}

/** The old way: a list of groups, then a request for each version. */
async function readVersion(rest: Rest, group: string, version: string): Promise<Version> {
  const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const found = objects((await rest.json("GET", path))["resources"]);
  const subresources = new Map<string, string[]>();
  for (const one of found) {
    const [plural = "", sub] = textOf(one["name"]).split("/");
    if (sub !== undefined) subresources.set(plural, [...(subresources.get(plural) ?? []), sub]);
  }
  const resources = found
    .filter((one) => !textOf(one["name"]).includes("/"))
    .map((one) => ({
      group,
      version,
      kind: textOf(one["kind"]),
      plural: textOf(one["name"]),
      singular: textOf(one["singularName"]) || textOf(one["kind"]).toLowerCase(),
      shortNames: texts(one["shortNames"]),
      categories: texts(one["categories"]),
      namespaced: one["namespaced"] === true,
      verbs: texts(one["verbs"]),
      subresources: subresources.get(textOf(one["name"])) ?? [],
    }));
  return { group, version, resources };
}

async function readRoot(rest: Rest, path: string): Promise<Version[]> {
  let answer: JsonObject;
  try {
    answer = await rest.json("GET", path, { accept });
  } catch (error) {
    if (isStatus(error, "NotFound")) return [];
    throw error;
  }
  if (answer["kind"] === "APIGroupDiscoveryList") return readAggregated(answer);
  const versions =
    answer["kind"] === "APIVersions"
      ? texts(answer["versions"]).map((version) => ["", version] as const)
      : objects(answer["groups"]).flatMap((group) =>
          objects(group["versions"]).map(
            (one) => [textOf(group["name"]), textOf(one["version"])] as const,
          ),
        );
  return Promise.all(versions.map(([group, version]) => readVersion(rest, group, version)));
}

export class NoSuchResource extends CommandError {}

export class Discovery {
  readonly versions: readonly Version[];
  constructor(versions: readonly Version[]) {
    this.versions = versions;
  }

  static async read(rest: Rest): Promise<Discovery> {
    const [core, named] = await Promise.all([readRoot(rest, "/api"), readRoot(rest, "/apis")]);
    return new Discovery([...core, ...named]);
  }

  /** Of each resource the version that its group prefers, in the server's order. */
  get preferred(): readonly Resource[] {
    const seen = new Set<string>();
    return this.versions.flatMap(({ resources }) =>
      resources.filter((one) => {
        const key = fullName(one);
        if (seen.has(key)) return false;
        seen.add(key);
        return true;
      }),
    );
  }

  #named(
    name: string,
    group: string | undefined,
    version: string | undefined,
  ): Resource | undefined {
    const all = (
      version === undefined
        ? this.preferred
        : this.versions.filter((one) => one.version === version).flatMap((one) => one.resources)
    ).filter(
      (one) => group === undefined || one.group === group || one.group.startsWith(`${group}.`),
    );
    return (
      all.find((one) => one.plural === name || one.singular === name) ??
      all.find((one) => one.shortNames.includes(name)) ??
      all.find((one) => one.kind.toLowerCase() === name)
    );
  }

  /** "pods", "po", "Pod", "deployments.apps", "deployments.v1.apps". */
  find(typed: string): Resource | undefined {
    const [name = "", second, ...rest] = typed.toLowerCase().split(".");
    if (second === undefined) return this.#named(name, undefined, undefined);
    if (rest.length > 0) {
      const exact = this.#named(name, rest.join("."), second);
      if (exact !== undefined) return exact;
    }
    return (
      this.#named(name, [second, ...rest].join("."), undefined) ??
      (rest.length === 0 ? this.#named(name, "", second) : undefined)
    );
  }

  require(typed: string): Resource {
    const found = this.find(typed);
    if (found !== undefined) return found;
    throw noSuchResource(typed);
  }

  /** The resources of a category ("all"). */
  category(name: string): readonly Resource[] {
    return this.preferred.filter((one) => one.categories.includes(name));
  }

  ofKind(apiVersion: string, kind: string): Resource | undefined {
    return this.versions
      .find((one) => apiVersionOf(one) === apiVersion)
      ?.resources.find((one) => one.kind === kind);
  }
}

export function noSuchResource(typed: string): NoSuchResource {
  const [name = "", second, ...rest] = typed.split(".");
  const quote = JSON.stringify;
  const text = (what: string): NoSuchResource =>
    new NoSuchResource(`the server doesn't have a resource type ${what}`);
  if (second === undefined) return text(quote(typed));
  if (rest.length > 0 && /^v\d/.test(second)) {
    return text(`${quote(name)} in group ${quote(rest.join("."))} and version ${quote(second)}`);
  }
  return text(quote(name));
}

export const tableMedia = `${jsonMedia};as=Table;v=v1;g=meta.k8s.io,${jsonMedia};as=Table;v=v1beta1;g=meta.k8s.io,${jsonMedia}`;
