/** Discovery: which groups, versions, resources and verbs there are: the old endpoints and the aggregated one. */
import { groupOrder, type ResourceFacts } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { compareVersions } from "#machinery/gvk.ts";
import type { JsonObject } from "#machinery/object.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import type { Crypto } from "#ports/crypto.ts";
import { answerPlain } from "./answer.ts";
import type { ChainContext } from "./chain.ts";
import { type Conversion, negotiate } from "./media-type.ts";
import { encodeJson } from "./object-codec.ts";
import { queryValue } from "./request-info.ts";

/** What is served, as discovery tells it: only the subresources that there are. */
export interface ServedFacts {
  readonly facts: ResourceFacts;
  readonly subresources: ResourceFacts["subresources"];
  /** Of a custom resource: the generated facts know no schema of it. */
  readonly schema?: ObjectSchema;
}

/** A group version that somebody else serves. */
export interface AggregatedVersion {
  readonly group: string;
  readonly version: string;
  readonly groupPriorityMinimum: number;
  readonly versionPriority: number;
  readonly resources: readonly ServedFacts[];
  /** It is not available: what it served last is told. */
  readonly isStale: boolean;
  /** A program of this process serves it: its schemas are known here. */
  readonly isOwn?: boolean;
  readonly openApiHash?: string;
  readonly openApiV2?: JsonObject;
}

interface GroupVersion {
  readonly version: string;
  readonly resources: readonly ServedFacts[];
  /** Set where somebody else serves it. */
  readonly by?: AggregatedVersion;
}

interface Group {
  readonly name: string;
  readonly versions: readonly GroupVersion[];
}

const apiVersion = (group: string, version: string): string =>
  group === "" ? version : `${group}/${version}`;

/** Custom resources' groups, among all. */
const customPriority = 1000;

/** Upstream: the group of the aggregator itself has none, and comes first. */
function priorityOf(group: string, by: AggregatedVersion | undefined): number {
  if (by !== undefined) return by.groupPriorityMinimum;
  const known = groupOrder.find((one) => one.group === group)?.versions;
  if (known === undefined) return customPriority;
  const highest = Math.max(...known.map(({ groupPriority }) => groupPriority));
  return highest === 0 ? Number.POSITIVE_INFINITY : highest;
}

function versionsOf(name: string, versions: readonly GroupVersion[]): GroupVersion[] {
  const known = groupOrder.find((one) => one.group === name)?.versions ?? [];
  const rank = ({ version }: GroupVersion): number => {
    const at = known.findIndex((one) => one.version === version);
    return at === -1 ? known.length : at;
  };
  return versions.toSorted((a, b) => {
    const [first, second] = [a.by?.versionPriority, b.by?.versionPriority];
    if (first !== undefined && second !== undefined && first !== second) return second - first;
    return rank(a) - rank(b) || compareVersions(a.version, b.version);
  });
}

function grouped(
  served: readonly ServedFacts[],
  aggregated: readonly AggregatedVersion[] = [],
): Group[] {
  const groups = new Map<string, Map<string, ServedFacts[]>>();
  const others = new Map<string, AggregatedVersion[]>();
  for (const one of aggregated) others.set(one.group, [...(others.get(one.group) ?? []), one]);
  const order = groupOrder.map(({ group }) => group);
  const rank = (group: string): number => {
    const at = order.indexOf(group);
    return at === -1 ? order.length : at;
  };
  for (const one of served) {
    const { group, version } = one.facts;
    const isOthers = others.get(group)?.some((other) => other.version === version) === true;
    if (isOthers) continue;
    let versions = groups.get(group);
    if (versions === undefined) groups.set(group, (versions = new Map()));
    const list = versions.get(version);
    if (list === undefined) versions.set(version, [one]);
    else list.push(one);
  }
  const names = new Set([...groups.keys(), ...others.keys()]);
  const priorities = new Map(
    [...names].map((name) => {
      const own = groups.has(name) ? [priorityOf(name, undefined)] : [];
      const theirs = (others.get(name) ?? []).map((one) => priorityOf(name, one));
      return [name, Math.max(...own, ...theirs)];
    }),
  );
  const priority = (name: string): number => priorities.get(name) ?? 0;
  return [...names]
    .sort((a, b) => {
      if (priority(a) !== priority(b)) return priority(b) - priority(a);
      return rank(a) - rank(b) || (a < b ? -1 : 1);
    })
    .map((name) => ({
      name,
      versions: versionsOf(name, [
        ...[...(groups.get(name) ?? [])].map(([version, resources]) => ({
          version,
          resources: resources.sort((a, b) => (a.facts.plural < b.facts.plural ? -1 : 1)),
        })),
        ...(others.get(name) ?? []).map((by) => ({
          version: by.version,
          resources: by.resources,
          by,
        })),
      ]),
    }));
}

function apiResources(group: string, version: string, resources: readonly ServedFacts[]): object[] {
  const list: object[] = [];
  for (const { facts, subresources } of resources) {
    list.push({
      name: facts.plural,
      singularName: facts.singular,
      namespaced: facts.namespaced,
      kind: facts.kind,
      verbs: facts.verbs,
      ...(facts.shortNames.length === 0 ? {} : { shortNames: facts.shortNames }),
      ...(facts.categories.length === 0 ? {} : { categories: facts.categories }),
      ...(facts.storageVersionHash === undefined
        ? {}
        : { storageVersionHash: facts.storageVersionHash }),
    });
    for (const sub of subresources) {
      const foreign = sub.group !== group || sub.version !== version;
      list.push({
        name: `${facts.plural}/${sub.name}`,
        singularName: "",
        namespaced: facts.namespaced,
        ...(foreign ? { group: sub.group, version: sub.version } : {}),
        kind: sub.kind,
        verbs: sub.verbs,
      });
    }
  }
  return list;
}

function apiGroup(group: Group): object {
  const versions = group.versions.map(({ version }) => ({
    groupVersion: apiVersion(group.name, version),
    version,
  }));
  return { name: group.name, versions, preferredVersion: versions[0] };
}

function aggregated(groups: readonly Group[]): object {
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: groups.map((group) => ({
      metadata: group.name === "" ? {} : { name: group.name },
      versions: group.versions.map(({ version, resources, by }) => ({
        version,
        resources: resources.map((one) => discovered(one, by === undefined)),
        freshness: by?.isStale === true ? "Stale" : "Current",
      })),
    })),
  };
}

/** Upstream: a built-in resource names group and version only where they are not those that it stands in. */
function discovered({ facts, subresources, schema }: ServedFacts, isOurs: boolean): object {
  const { group, version, kind } = facts;
  const isBuiltIn = isOurs && schema === undefined;
  const own = isBuiltIn ? { group: "", version: "" } : { group, version };
  const isOwn = (sub: { readonly group: string; readonly version: string }): boolean =>
    sub.group === group && sub.version === version;
  return {
    resource: facts.plural,
    responseKind: { ...own, kind },
    scope: facts.namespaced ? "Namespaced" : "Cluster",
    singularResource: facts.singular,
    verbs: facts.verbs,
    ...(facts.shortNames.length === 0 ? {} : { shortNames: facts.shortNames }),
    ...(facts.categories.length === 0 ? {} : { categories: facts.categories }),
    ...(subresources.length === 0
      ? {}
      : {
          subresources: subresources.map((sub) => ({
            subresource: sub.name,
            responseKind: {
              ...(isOwn(sub) ? own : { group: sub.group, version: sub.version }),
              kind: sub.kind,
            },
            verbs: sub.verbs,
          })),
        }),
  };
}

const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const allowsAggregated = ({ kind, group, version }: Conversion): boolean =>
  kind === "APIGroupDiscoveryList" && group === "apidiscovery.k8s.io" && version === "v2";

export class Discovery {
  #groups: readonly Group[];
  #custom: readonly ServedFacts[] = [];
  #others: readonly AggregatedVersion[] = [];
  readonly #builtIn: readonly ServedFacts[];
  readonly #crypto: Crypto;
  readonly #address: () => string | undefined;
  /** By path: encoded once, with its ETag. */
  readonly #aggregated = new Map<string, { bytes: Uint8Array; tag: string; object: object }>();

  constructor(served: readonly ServedFacts[], crypto: Crypto, address: () => string | undefined) {
    this.#builtIn = served;
    this.#groups = grouped(served);
    this.#crypto = crypto;
    this.#address = address;
  }

  /** Every group version and its resources, for OpenAPI. */
  get groups(): readonly Group[] {
    return this.#groups;
  }

  /** The group versions that this server serves from the start. */
  get builtIn(): { readonly group: string; readonly version: string }[] {
    return grouped(this.#builtIn).flatMap(({ name, versions }) =>
      versions.map(({ version }) => ({ group: name, version })),
    );
  }

  /** What is served besides the built-in kinds, from now on. */
  setCustom(custom: readonly ServedFacts[]): void {
    this.#custom = custom;
    this.#regroup();
  }

  /** What others serve, from now on. */
  setAggregated(others: readonly AggregatedVersion[]): void {
    this.#others = others;
    this.#regroup();
  }

  #regroup(): void {
    this.#groups = grouped([...this.#builtIn, ...this.#custom], this.#others);
    this.#aggregated.clear();
  }

  paths(): string[] {
    const named = this.#groups.filter(({ name }) => name !== "");
    return [
      "/api",
      "/api/v1",
      "/apis",
      "/apis/",
      ...named.flatMap(({ name, versions }) => [
        `/apis/${name}`,
        ...versions.map(({ version }) => `/apis/${name}/${version}`),
      ]),
    ];
  }

  /** Undefined: not a path of discovery. */
  handle(context: ChainContext): ApiResponse | undefined {
    const path = context.info.path.replace(/\/+$/, "");
    const parts = path.split("/").slice(1);
    if (parts[0] === "api" && parts.length === 1)
      return this.#root(context, "/api", this.#legacyVersions());
    if (parts[0] === "apis" && parts.length === 1)
      return this.#root(context, "/apis", this.#groupList());
    const object = this.#document(parts);
    return object === undefined ? undefined : answerPlain(200, object, this.#form(context));
  }

  #document(parts: readonly string[]): object | undefined {
    if (parts[0] === "api" && parts.length === 2) return this.#resourceList("", parts[1] ?? "");
    if (parts[0] !== "apis") return undefined;
    const group = this.#groups.find(({ name }) => name !== "" && name === parts[1]);
    if (group === undefined) return undefined;
    if (parts.length === 2) return { kind: "APIGroup", apiVersion: "v1", ...apiGroup(group) };
    return parts.length === 3 ? this.#resourceList(group.name, parts[2] ?? "") : undefined;
  }

  #resourceList(group: string, version: string): object | undefined {
    const found = this.#groups
      .find(({ name }) => name === group)
      ?.versions.find((one) => one.version === version);
    if (found === undefined) return undefined;
    return {
      kind: "APIResourceList",
      ...(group === "" ? {} : { apiVersion: "v1" }),
      groupVersion: apiVersion(group, version),
      resources: apiResources(group, version, found.resources),
    };
  }

  #legacyVersions(): object {
    const address = this.#address();
    return {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs:
        address === undefined ? [] : [{ clientCIDR: "0.0.0.0/0", serverAddress: address }],
    };
  }

  #groupList(): object {
    const named = this.#groups.filter(({ name }) => name !== "");
    return { kind: "APIGroupList", apiVersion: "v1", groups: named.map(apiGroup) };
  }

  #form(context: ChainContext, allows: (conversion: Conversion) => boolean = () => false) {
    const { request } = context;
    const mediaType = negotiate({
      accept: request.headers.accept,
      pretty: queryValue(request, "pretty"),
      userAgent: request.headers["user-agent"],
      allows,
      stream: false,
      protobuf: true,
    });
    return { mediaType, direct: request.direct, includeObject: "Metadata", now: 0 } as const;
  }

  #root(context: ChainContext, path: "/api" | "/apis", old: object): ApiResponse {
    const form = this.#form(context, allowsAggregated);
    if (form.mediaType.as === undefined)
      return withHeaders(answerPlain(200, old, form), { vary: "Accept" });
    let made = this.#aggregated.get(path);
    if (made === undefined) {
      const groups = this.#groups.filter(({ name }) => (name === "") === (path === "/api"));
      const object = aggregated(groups);
      const bytes = encodeJson(object);
      const tag = `"${encodeBase64(this.#crypto.digest(bytes))}"`;
      made = { bytes, tag, object };
      this.#aggregated.set(path, made);
    }
    const headers = { vary: "Accept", etag: made.tag };
    if (context.request.headers["if-none-match"] === made.tag) {
      const empty = { type: "bytes", mediaType: aggregatedType, bytes: new Uint8Array() } as const;
      return { status: 304, headers, content: empty };
    }
    if (context.request.direct) return withHeaders(answerPlain(200, made.object, form), headers);
    const content = { type: "bytes", mediaType: aggregatedType, bytes: made.bytes } as const;
    return { status: 200, headers, content };
  }
}

const withHeaders = (response: ApiResponse, headers: Record<string, string>): ApiResponse => ({
  ...response,
  headers: { ...response.headers, ...headers },
});
