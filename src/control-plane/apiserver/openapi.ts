/**
 * OpenAPI v2 and v3, made from the schemas when asked for: enough for `kubectl explain`, for clients that look whether a parameter is
 * supported, and for those that read merge keys and list types from it. Of v2, which is one document for all, the bytes are kept; v3 is
 * made anew each time: its documents are many and asked for rarely.
 */
import { kindSchema } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import { isObject, setKey } from "#machinery/object.ts";
import { notAcceptable } from "#machinery/status-error.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Bytes } from "#ports/stream.ts";
import type { ChainContext } from "./chain.ts";
import type { AggregatedVersion, Discovery, ServedFacts } from "./discovery.ts";
import { acceptClauses } from "./media-type.ts";
import { encodeJson } from "./object-codec.ts";
import { isConnection, resourcePaths } from "./openapi-paths.ts";
import { openApiProtobuf } from "./openapi-protobuf.ts";
import { type Json, Schemas } from "./openapi-schemas.ts";
import { serverVersion } from "./public-paths.ts";

function addResource(schemas: Schemas, served: ServedFacts): void {
  const { facts, subresources, schema: own } = served;
  const { group, version, kind } = facts;
  if (own?.custom !== undefined) schemas.addCustom(own, facts);
  const add = (one: { group: string; version: string; kind: string }): void => {
    const schema = kindSchema(one.group, one.version, one.kind);
    if (schema !== undefined) {
      const { group, version, kind } = one;
      schemas.addKind(schema, { group, kind, version });
    }
  };
  add({ group, version, kind });
  if (facts.verbs.includes("list")) add({ group, version, kind: `${kind}List` });
  for (const sub of subresources) if (!isConnection(sub)) add(sub);
}

/** The only way in that OpenAPI can name: a bearer's token. */
const securitySchemes = {
  BearerToken: {
    description: "Bearer Token authentication",
    type: "apiKey",
    name: "authorization",
    in: "header",
  },
};
/** Others are only asked: reviews. */
const isStored = ({ facts }: ServedFacts): boolean => facts.verbs.some((verb) => verb !== "create");

const info = { title: "Kubernetes", version: serverVersion.gitVersion };

/** Whoever serves it documents it, too. */
const isOthers = (by: AggregatedVersion | undefined): by is AggregatedVersion =>
  by !== undefined && by.isOwn !== true;

const pathOf = (group: string, version: string): string =>
  group === "" ? `api/${version}` : `apis/${group}/${version}`;

const v2Protobuf = "com.github.proto-openapi.spec.v2.v1.0+protobuf";
/** The forms of v2 by what is asked for. Upstream: the name with "@" is no valid media type, so it is taken (kubectl), never answered. */
const v2Forms = [
  { asked: "json", form: "json", mediaType: "application/json" },
  {
    asked: v2Protobuf.replace("v2.v1", "v2@v1"),
    form: "protobuf",
    mediaType: `application/${v2Protobuf}`,
  },
  { asked: v2Protobuf, form: "protobuf", mediaType: `application/${v2Protobuf}` },
] as const;

function v2FormOf(accept: string): (typeof v2Forms)[number] {
  for (const { type, subtype } of acceptClauses(accept)) {
    if (type !== "application" && type !== "*") continue;
    const found = v2Forms.find(({ asked }) => subtype === asked || subtype === "*");
    if (found !== undefined) return found;
  }
  const names = v2Forms.map(({ asked }) => `application/${asked}`).join(", ");
  throw notAcceptable(`only the following media types are accepted: ${names}`);
}

const upperHex = (bytes: Bytes): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join("");

export class OpenApi {
  readonly #groups: () => Discovery["groups"];
  readonly #crypto: Crypto;
  #index: { bytes: Bytes; tag: string } | undefined;
  #v2Json: { bytes: Bytes; tag: string } | undefined;
  #v2Protobuf: Bytes | undefined;

  constructor(groups: () => Discovery["groups"], crypto: Crypto) {
    this.#groups = groups;
    this.#crypto = crypto;
  }

  /** Kinds came or went: what was made is no longer true. */
  forget(): void {
    this.#index = undefined;
    this.#v2Json = undefined;
    this.#v2Protobuf = undefined;
  }

  /** Undefined: not a path of OpenAPI. */
  async handle(context: ChainContext): Promise<ApiResponse | undefined> {
    const path = context.info.path.replace(/\/+$/, "");
    if (path === "/openapi/v2") return this.#v2(context);
    if (path === "/openapi/v3") return answer(context, this.#indexOf(), "application/json");
    const match = /^\/openapi\/v3\/(.+)$/.exec(path);
    if (match?.[1] === undefined) return undefined;
    for (const { name, versions } of this.#groups()) {
      for (const { version, resources, by } of versions) {
        if (pathOf(name, version) !== match[1] || isOthers(by)) continue;
        const tag = this.#hash(name, version, resources);
        const made = {
          bytes: encodeJson(this.#documentV3({ group: name, version }, resources)),
          tag: `"${tag}"`,
        };
        return answer(context, made, "application/json");
      }
    }
    return undefined;
  }

  /** What the document is made of, without making it. */
  #hash(group: string, version: string, resources: readonly ServedFacts[]): string {
    const told = resources.map(({ facts, subresources, schema }) => [
      facts,
      subresources,
      schema?.custom?.openApi("v3"),
    ]);
    return upperHex(
      this.#crypto.digest(encodeJson([serverVersion.gitVersion, group, version, told])),
    );
  }

  #indexOf(): { bytes: Bytes; tag: string } {
    if (this.#index !== undefined) return this.#index;
    const paths: Json = {};
    for (const { name, versions } of this.#groups()) {
      for (const { version, resources, by } of versions) {
        const path = pathOf(name, version);
        if (isOthers(by) && by.openApiHash === undefined) continue;
        const hash = by?.openApiHash ?? this.#hash(name, version, resources);
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
    }
    const bytes = encodeJson({ paths });
    this.#index = { bytes, tag: `"${upperHex(this.#crypto.digest(bytes))}"` };
    return this.#index;
  }

  #documentV3(
    version: { readonly group: string; readonly version: string },
    resources: readonly ServedFacts[],
  ): Json {
    const schemas = new Schemas("v3");
    schemas.addMeta([version], resources.some(isStored));
    for (const resource of resources) addResource(schemas, resource);
    const paths = Object.assign({}, ...resources.map((one) => resourcePaths(one, "v3"))) as Json;
    return {
      openapi: "3.0.0",
      info,
      paths,
      components: { schemas: schemas.finish(), securitySchemes },
    };
  }

  #v2(context: ChainContext): ApiResponse {
    const { form, mediaType } = v2FormOf(context.request.headers.accept || "*/*");
    const json = (this.#v2Json ??= this.#makeV2Json());
    if (form === "json") return answer(context, json, mediaType);
    const bytes = (this.#v2Protobuf ??= openApiProtobuf(this.#documentV2()));
    // Upstream: both forms have the tag of the JSON; Vary keeps them apart in caches.
    return answer(context, { bytes, tag: json.tag }, mediaType);
  }

  #makeV2Json(): { bytes: Bytes; tag: string } {
    const bytes = encodeJson(this.#documentV2());
    return { bytes, tag: `"${upperHex(this.#crypto.digest(bytes))}"` };
  }

  #documentV2(): Json {
    const all = this.#groups().flatMap(({ versions }) => versions);
    const resources = all.flatMap((one) => (isOthers(one.by) ? [] : one.resources));
    const schemas = new Schemas("v2");
    schemas.addMeta(
      this.#groups().flatMap(({ name, versions }) =>
        versions.map(({ version }) => ({ group: name, version })),
      ),
      true,
    );
    for (const resource of resources) addResource(schemas, resource);
    const paths = Object.assign({}, ...resources.map((one) => resourcePaths(one, "v2"))) as Json;
    const definitions = schemas.finish();
    for (const { by } of all) if (isOthers(by)) mergeV2(by, paths, definitions);
    return { swagger: "2.0", info, paths, definitions };
  }
}

/** Adds what an extension server documents: its own paths, and the definitions that nobody has made yet. */
function mergeV2({ group, version, openApiV2 }: AggregatedVersion, paths: Json, made: Json): void {
  const root = `/${pathOf(group, version)}/`;
  const theirs = isObject(openApiV2?.paths) ? openApiV2.paths : {};
  for (const [path, item] of Object.entries(theirs))
    if (`${path}/`.startsWith(root)) paths[path] = item;
  const definitions = isObject(openApiV2?.definitions) ? openApiV2.definitions : {};
  for (const [name, definition] of Object.entries(definitions))
    if (!Object.hasOwn(made, name)) setKey(made, name, definition);
}

function answer(
  context: ChainContext,
  { bytes, tag }: { readonly bytes: Bytes; readonly tag: string },
  mediaType: string,
): ApiResponse {
  const headers = { etag: tag, vary: "Accept" };
  if (context.request.headers["if-none-match"] === tag)
    return { status: 304, headers, content: { type: "bytes", mediaType, bytes: new Uint8Array() } };
  return { status: 200, headers, content: { type: "bytes", mediaType, bytes } };
}
