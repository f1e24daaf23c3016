/**
 * Delegates: programs in this process that serve a group version whose objects nobody stores: they are made when they are asked for. A
 * delegate only gives objects; what is asked, by whom, and in which form (table, protobuf, metadata alone), is settled here.
 */
import type { ApiResponse } from "#api/request.ts";
import type { Resource } from "#api/resource.ts";
import { apiVersionOf } from "#api/resource.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { methodNotSupported } from "#machinery/status-error.ts";
import { answerPlain, formOf } from "./answer.ts";
import type { ChainContext } from "./chain.ts";
import type { AggregatedVersion } from "./discovery.ts";
import { queryValue } from "./request-info.ts";
import { noSuchPath } from "./routes.ts";
import { partialMetadata, partialMetadataList, tableOf } from "./table.ts";

export interface Delegate {
  readonly group: string;
  readonly version: string;
  readonly groupPriorityMinimum: number;
  readonly versionPriority: number;
  /** Each can be got and listed, and nothing else. */
  readonly resources: readonly Resource[];
  /** Rejects with NotFound. `namespace`: "" where the resource has none. */
  get(resource: Resource, namespace: string, name: string): Promise<ApiObject>;
  /** In the order of the API server's own lists; `namespace`: "" for all. */
  list(
    resource: Resource,
    namespace: string,
    selection: { readonly labelSelector: string; readonly fieldSelector: string },
  ): Promise<readonly ApiObject[]>;
}

/** What discovery and OpenAPI tell of it. */
export function delegatedVersion(delegate: Delegate): AggregatedVersion {
  const { group, version, groupPriorityMinimum, versionPriority, resources } = delegate;
  const served = resources.map(({ facts }) => ({ facts, subresources: [] }));
  const priorities = { groupPriorityMinimum, versionPriority };
  return { group, version, ...priorities, resources: served, isStale: false, isOwn: true };
}

export async function answerDelegated(
  context: ChainContext,
  delegate: Delegate,
  nowMs: number,
): Promise<ApiResponse> {
  const { info } = context;
  const resource = delegate.resources.find(({ plural }) => plural === info.resource);
  const isMisplaced = resource?.namespaced === false && info.namespace !== "";
  if (resource === undefined || info.subresource !== "" || isMisplaced) throw noSuchPath();
  const isList = info.verb === "list";
  if ((!isList && info.verb !== "get") || (!isList && resource.namespaced && info.namespace === ""))
    throw methodNotSupported(resource, info.verb);
  const form = formOf(context, nowMs);
  const { as } = form.mediaType;
  const options = { version: as?.version ?? "v1", includeObject: form.includeObject, now: nowMs };
  if (!isList) {
    const object = await delegate.get(resource, info.namespace, info.name);
    if (as === undefined) return answerPlain(200, object, form);
    if (as.kind === "Table")
      return answerPlain(200, tableOf(resource, [object], {}, options), form);
    return answerPlain(200, partialMetadata(object, as.version), form);
  }
  const text = (name: string): string => queryValue(context.request, name) ?? "";
  const items = await delegate.list(resource, info.namespace, {
    labelSelector: text("labelSelector"),
    fieldSelector: text("fieldSelector"),
  });
  if (as?.kind === "Table")
    return answerPlain(200, tableOf(resource, items, {}, { ...options, isList: true }), form);
  if (as !== undefined) return answerPlain(200, partialMetadataList(items, {}, as.version), form);
  const head = { kind: `${resource.kind}List`, apiVersion: apiVersionOf(resource), metadata: {} };
  return answerPlain(200, { ...head, items }, form);
}
