/** Routing: the last link of the handler chain: from what a request asks for to the function that answers it. */
import { ComponentStatus } from "#api/core/v1/componentstatus.ts";
import { type ResourceFacts, resourceFactsOf } from "#api/facts.ts";
import type { ApiResponse } from "#api/request.ts";
import { StatusError } from "#machinery/status-error.ts";
import type { ChainContext, ChainHandler } from "./chain.ts";
import { type Component, handleComponentStatus } from "./component-status.ts";
import type { Discovery, ServedFacts } from "./discovery.ts";
import { handleEviction } from "./eviction.ts";
import { handleBinding } from "./pod-subresources.ts";
import { handleConnect, type ProxyParts } from "./proxy-subresources.ts";
import {
  handleCreate,
  handleDelete,
  handleDeleteCollection,
  handleGet,
  handleList,
  handlePatch,
  handleUpdate,
  handleWatch,
  notAllowed,
  type VerbWorld,
} from "./resource-verbs.ts";
import { handleReview, type ReviewParts, reviewFacts } from "./reviews.ts";
import { handleScale } from "./scale.ts";
import type { ServedResource } from "./served-resource.ts";
import { handleTokenRequest, type TokenParts } from "./token-request.ts";
import { windows } from "./windows.ts";

const encoder = new TextEncoder();

export interface RouteParts {
  readonly served: ReadonlyMap<string, ServedResource>;
  readonly discovery: Discovery;
  readonly world: VerbWorld;
  readonly reviews: ReviewParts;
  readonly tokens: TokenParts | undefined;
  readonly proxy: ProxyParts;
  readonly components: readonly Component[];
  readonly aggregator:
    | { handle(context: ChainContext): Promise<ApiResponse> | undefined }
    | undefined;
  /** Paths that are no resources. Undefined: no such path. */
  readonly path: (context: ChainContext) => Promise<ApiResponse | undefined>;
}

export const resourceId = (group: string, version: string, plural: string): string =>
  `${group}/${version}/${plural}`;

/** Upstream: below no path that it knows it answers what a web server answers. */
function noSuchPage({ request }: ChainContext): ApiResponse {
  if (request.direct) throw noSuchPath();
  const bytes = encoder.encode("404 page not found\n");
  const headers = { "x-content-type-options": "nosniff" };
  return {
    status: 404,
    headers,
    content: { type: "bytes", mediaType: "text/plain; charset=utf-8", bytes },
  };
}

/** Whether the path lies below a group that is built in. */
function isOfKnownGroup({ info }: ChainContext, discovery: Discovery): boolean {
  const [root = "", group = ""] = info.path.split("/").slice(1);
  if (root === "api") return group === "v1";
  if (root !== "apis" || group === "") return false;
  return discovery.builtIn.some((one) => one.group === group);
}

export const noSuchPath = (): StatusError =>
  new StatusError(404, "NotFound", "the server could not find the requested resource", {});

const connectable = new Set(["log", "exec", "attach", "portforward", "proxy"]);

/** Whether there is an answer for this subresource. */
export function offersSubresource(facts: ResourceFacts, name: string): boolean {
  if (name === "status" || name === "scale") return true;
  const id = `${facts.group}/${facts.plural}/${name}`;
  if (id in windows) return true;
  if (facts.group !== "") return false;
  if (connectable.has(name)) return ["pods", "services", "nodes"].includes(facts.plural);
  return ["/pods/binding", "/pods/eviction", "/serviceaccounts/token"].includes(id);
}

export const offeredFacts = (facts: ResourceFacts): ServedFacts => ({
  facts,
  subresources: facts.subresources.filter(({ name }) => offersSubresource(facts, name)),
});

/** Bindings are not stored: they are another way to bind a pod. */
export const bindingFacts = resourceFactsOf("", "v1", "bindings");

const reviews = new Map(
  reviewFacts.map((facts) => [resourceId(facts.group, facts.version, facts.plural), facts]),
);

function verb(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  const { info } = context;
  const named = info.parts.length > 1;
  switch (info.verb) {
    case "get":
      return handleGet(context, served, world);
    case "list":
      return handleList(context, served, world);
    case "watch":
      return handleWatch(context, served, world);
    case "create":
      if (named) throw notAllowed();
      if (served.isEnding) throw endingDefinition(info.verb);
      return handleCreate(context, served, world);
    case "update":
      if (!named) throw notAllowed();
      return handleUpdate(context, served, world);
    case "patch":
      if (!named) throw notAllowed();
      return handlePatch(context, served, world);
    case "delete":
      return handleDelete(context, served, world);
    case "deletecollection":
      return handleDeleteCollection(context, served, world);
    default:
      throw notAllowed();
  }
}

const endingDefinition = (verb: string): StatusError =>
  new StatusError(
    405,
    "MethodNotAllowed",
    `${verb} not allowed while custom resource definition is terminating`,
  );

/** The object itself, seen through /status or a window. */
function objectView(
  context: ChainContext,
  served: ServedResource,
  world: VerbWorld,
): Promise<ApiResponse> {
  switch (context.info.verb) {
    case "get":
      return handleGet(context, served, world);
    case "update":
      return handleUpdate(context, served, world);
    case "patch":
      return handlePatch(context, served, world);
    default:
      throw notAllowed();
  }
}

function subresource(
  context: ChainContext,
  served: ServedResource,
  parts: RouteParts,
): Promise<ApiResponse> {
  const { facts } = served.resource;
  const { subresource: name } = context.info;
  const offered = facts.subresources.some((one) => one.name === name);
  if (!offered || !offersSubresource(facts, name)) throw noSuchPath();
  const id = `${facts.group}/${facts.plural}/${name}`;
  if (name === "status" || id in windows) return objectView(context, served, parts.world);
  if (name === "scale") return handleScale(context, served, parts.world);
  if (id === "/pods/binding") return handleBinding(context, served, parts.world);
  if (id === "/pods/eviction") {
    const budgets = parts.served.get(resourceId("policy", "v1", "poddisruptionbudgets"));
    return handleEviction(context, served, budgets, parts.world);
  }
  if (id === "/serviceaccounts/token") {
    if (parts.tokens === undefined) throw noSuchPath();
    return handleTokenRequest(context, served, parts.world, parts.tokens);
  }
  const connected = handleConnect(context, parts.proxy);
  if (connected === undefined) throw noSuchPath();
  return connected;
}

/** Whether the path has a namespace, or none, as the kind's paths do. */
function isWhereItsKindIs({ info }: ChainContext, { resource }: ServedResource): boolean {
  if (!resource.namespaced) return info.namespace === "" || info.resource === "namespaces";
  if (info.namespace !== "") return true;
  // Upstream: across all namespaces a custom resource has no path for other verbs at all.
  if (resource.schema.custom !== undefined) return info.verb === "list" || info.verb === "watch";
  return info.parts.length === 1;
}

export function routes(parts: RouteParts): ChainHandler {
  return async (context) => {
    const { info } = context;
    const forwarded = parts.aggregator?.handle(context);
    if (forwarded !== undefined) return await forwarded;
    if (!info.isResource) {
      const answer = parts.discovery.handle(context) ?? (await parts.path(context));
      if (answer !== undefined) return answer;
      if (isOfKnownGroup(context, parts.discovery)) throw noSuchPath();
      return noSuchPage(context);
    }
    const id = resourceId(info.group, info.version, info.resource);
    if (id === "/v1/bindings") {
      const pods = parts.served.get("/v1/pods");
      if (pods === undefined) throw noSuchPath();
      return await handleBinding(context, pods, parts.world);
    }
    if (id === "/v1/componentstatuses") {
      context.warnings.push(ComponentStatus.deprecation ?? "");
      return handleComponentStatus(context, parts.components, parts.world.now());
    }
    const review = reviews.get(id);
    if (review !== undefined)
      return await handleReview(context, review, parts.world, parts.reviews);
    const served = parts.served.get(id);
    if (served === undefined || !isWhereItsKindIs(context, served)) {
      if (isOfKnownGroup(context, parts.discovery)) throw noSuchPath();
      return noSuchPage(context);
    }
    context.protobuf = served.resource.schema.custom === undefined;
    const { deprecation } = served.resource;
    if (deprecation !== undefined) context.warnings.push(deprecation);
    if (info.subresource !== "") return await subresource(context, served, parts);
    return await verb(context, served, parts.world);
  };
}
