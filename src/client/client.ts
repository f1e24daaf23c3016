/**
 * Client: typed verbs over a Handler. The same in process and over HTTPS: objects that come back
 * are frozen and may be shared with others; what goes in is copied. Every verb rejects with
 * StatusError when the server refuses.
 */
import type { ApiRequest, ApiResponse, Handler, User, WatchEvent } from "#api/request.ts";
import type { Kind } from "#api/resource.ts";
import type { ApiList, ApiObject, Stored } from "#machinery/meta.ts";
import { internalError, type Status, StatusError } from "#machinery/status-error.ts";
import type { Source } from "#ports/stream.ts";

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: "Exact" | "NotOlderThan";
}
export interface WatchOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion?: string;
  readonly allowBookmarks?: boolean;
  readonly sendInitialEvents?: boolean;
  readonly timeoutSeconds?: number;
}
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}
export type PatchType = "json" | "merge" | "strategic" | "apply";
export interface PatchOptions {
  readonly subresource?: string;
  readonly fieldManager?: string;
  readonly force?: boolean;
}
export interface Ref {
  readonly name: string;
  readonly namespace?: string;
}

/** What a caller hands in: without what the server fills in. */
export type New<T extends ApiObject> = Omit<T, "apiVersion" | "kind" | "status"> &
  Partial<Pick<T, "apiVersion" | "kind">> & { status?: unknown };

export interface Client {
  get<T extends ApiObject>(kind: Kind<T>, ref: Ref): Promise<Stored<T>>;
  list<T extends ApiObject>(kind: Kind<T>, options?: ListOptions): Promise<ApiList<Stored<T>>>;
  /** Ends when the server ends it; rejects with StatusError on an ERROR event (410: list anew). */
  watch<T extends ApiObject>(
    kind: Kind<T>,
    options: WatchOptions,
  ): Promise<Source<WatchEvent<Stored<T>>>>;
  create<T extends ApiObject>(kind: Kind<T>, object: New<T>): Promise<Stored<T>>;
  /** PUT of the whole; the resourceVersion in it guards against lost updates. */
  update<T extends ApiObject>(kind: Kind<T>, object: T): Promise<Stored<T>>;
  updateStatus<T extends ApiObject>(kind: Kind<T>, object: T): Promise<Stored<T>>;
  /** PUT through another subresource that shows the whole object: approval, finalize. */
  updateSubresource<T extends ApiObject>(
    kind: Kind<T>,
    object: T,
    subresource: string,
  ): Promise<Stored<T>>;
  patch<T extends ApiObject>(
    kind: Kind<T>,
    ref: Ref,
    type: PatchType,
    body: object,
    options?: PatchOptions,
  ): Promise<Stored<T>>;
  delete<T extends ApiObject>(kind: Kind<T>, ref: Ref, options?: DeleteOptions): Promise<void>;
  /** POST to a subresource: binding, eviction, token. */
  post<T extends ApiObject>(
    kind: Kind<T>,
    ref: Ref,
    subresource: string,
    body: object,
  ): Promise<object>;
  /** For what the verbs above do not say. */
  readonly handler: Handler;
}

const mediaTypes: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

type Query = readonly (readonly [string, string])[];

/**
 * The path of a collection, an object or a subresource. A namespaced kind without a namespace: all
 * namespaces.
 */
export function pathOf(
  kind: Kind,
  ref: { readonly namespace?: string; readonly name?: string; readonly subresource?: string },
): string {
  const parts = kind.group === "" ? ["/api", kind.version] : ["/apis", kind.group, kind.version];
  if (kind.namespaced && ref.namespace) parts.push("namespaces", encodeURIComponent(ref.namespace));
  parts.push(kind.plural);
  if (ref.name !== undefined) parts.push(encodeURIComponent(ref.name));
  if (ref.subresource !== undefined) parts.push(ref.subresource);
  return parts.join("/");
}

const queryOf = (options: Readonly<Record<string, string | number | boolean | undefined>>): Query =>
  Object.entries(options).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, String(value)] as const],
  );

/** The requests of one identity, in this process, straight into the handler chain. */
export const directHandler =
  (handler: Handler, user: User): Handler =>
  (request) =>
    handler({ ...request, direct: true, user });

function refused(response: ApiResponse): StatusError {
  const { content } = response;
  if (content.type === "object" && (content.object as Partial<Status>).kind === "Status") {
    return StatusError.from(content.object as Status);
  }
  const text =
    content.type === "bytes" ? new TextDecoder().decode(content.bytes) : "the answer has no Status";
  // Upstream: where a server knows no such path it answers a page.
  if (response.status === 404)
    return new StatusError(404, "NotFound", "the server could not find the requested resource");
  return new StatusError(response.status, "", text);
}

/** Rejects with the ERROR event's Status once all before it was handed out. */
function checkedEvents<T>(events: Source<WatchEvent>, stopped: () => void): Source<WatchEvent<T>> {
  let failure: StatusError | undefined;
  return {
    async next() {
      if (failure !== undefined) throw failure;
      const batch = (await events.next()) as readonly WatchEvent<T>[] | undefined;
      const at = batch?.findIndex((event) => event.type === "ERROR") ?? -1;
      if (batch === undefined || at < 0) return batch;
      failure = StatusError.from((batch[at] as WatchEvent).object as Status);
      events.stop();
      if (at === 0) throw failure;
      return batch.slice(0, at);
    },
    stop() {
      events.stop();
      stopped();
    },
  };
}

/**
 * Upstream: items of a list come without apiVersion and kind when they were decoded from the wire;
 * whoever handles them wants to see them as they come from get.
 */
function withTypes<T extends ApiObject>(
  kind: Kind<T>,
  list: ApiList<Stored<T>>,
): ApiList<Stored<T>> {
  const items = list.items as readonly Stored<T>[] | null;
  if (items !== null && (items.length === 0 || items[0]?.apiVersion !== undefined)) return list;
  const apiVersion = kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
  const typed = (items ?? []).map((item) =>
    Object.freeze({ ...item, apiVersion, kind: kind.kind }),
  );
  return Object.freeze({ ...list, items: Object.freeze(typed) });
}

export interface ClientOptions {
  /** "kube-controller-manager/v1.37.2 …": what stands before the slash names the field manager. */
  readonly userAgent: string;
}

/** Typed verbs over any transport. */
export function createClient(handler: Handler, options: ClientOptions): Client {
  const send = async (
    method: string,
    path: string,
    query: Query,
    body?: { readonly object: object; readonly mediaType: string },
    gone: AbortSignal = new AbortController().signal,
  ): Promise<ApiResponse> => {
    const request: ApiRequest = {
      method,
      path,
      query,
      headers: {
        accept: "application/json",
        "user-agent": options.userAgent,
        ...(body === undefined ? {} : { "content-type": body.mediaType }),
      },
      ...(body === undefined ? {} : { body: { object: body.object } }),
      gone,
      direct: true,
    };
    const response = await handler(request);
    if (response.status >= 400) throw refused(response);
    return response;
  };
  const object = async (response: Promise<ApiResponse>): Promise<object> => {
    const { content } = await response;
    if (content.type !== "object") {
      throw internalError(`expected an object from the server, not ${content.type}`);
    }
    return content.object;
  };
  const json = (body: object) => ({ object: body, mediaType: "application/json" });
  const typed = (kind: Kind, body: object) => ({
    apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}`,
    kind: kind.kind,
    ...body,
  });
  const put = <T extends ApiObject>(kind: Kind<T>, body: T, subresource?: string) => {
    const { namespace, name = "" } = body.metadata;
    const path = pathOf(kind, {
      ...(namespace === undefined ? {} : { namespace }),
      name,
      ...(subresource === undefined ? {} : { subresource }),
    });
    return object(send("PUT", path, [], json(typed(kind, body)))) as Promise<Stored<T>>;
  };
  return {
    handler,
    get: (kind, ref) => object(send("GET", pathOf(kind, ref), [])) as Promise<Stored<never>>,
    async list<T extends ApiObject>(kind: Kind<T>, { namespace, ...rest }: ListOptions = {}) {
      const path = pathOf(kind, namespace === undefined ? {} : { namespace });
      const list = (await object(send("GET", path, queryOf({ ...rest })))) as ApiList<Stored<T>>;
      return withTypes(kind, list);
    },
    async watch<T extends ApiObject>(kind: Kind<T>, watchOptions: WatchOptions) {
      const { namespace, allowBookmarks, ...rest } = watchOptions;
      const gone = new AbortController();
      const query = queryOf({ watch: true, allowWatchBookmarks: allowBookmarks, ...rest });
      // Upstream: sendInitialEvents must say how fresh the list is to be.
      const match = rest.sendInitialEvents === undefined ? [] : [initialEventsMatch];
      const path = pathOf(kind, namespace === undefined ? {} : { namespace });
      const response = await send("GET", path, [...query, ...match], undefined, gone.signal);
      if (response.content.type !== "watch") {
        throw internalError(`expected a watch from the server, not ${response.content.type}`);
      }
      return checkedEvents<Stored<T>>(response.content.events, () => gone.abort());
    },
    create(kind, body) {
      const { namespace } = body.metadata;
      const path = pathOf(kind, namespace === undefined ? {} : { namespace });
      return object(send("POST", path, [], json(typed(kind, body)))) as Promise<Stored<never>>;
    },
    update: (kind, body) => put(kind, body),
    updateStatus: (kind, body) => put(kind, body, "status"),
    updateSubresource: (kind, body, subresource) => put(kind, body, subresource),
    patch(kind, ref, type, body, { subresource, ...rest } = {}) {
      const path = pathOf(kind, { ...ref, ...(subresource === undefined ? {} : { subresource }) });
      const apply = type === "apply" ? { fieldManager: options.userAgent.split("/", 1)[0] } : {};
      const query = queryOf({ ...apply, ...rest });
      return object(
        send("PATCH", path, query, { object: body, mediaType: mediaTypes[type] }),
      ) as Promise<Stored<never>>;
    },
    async delete(kind, ref, deleteOptions = {}) {
      const body = { apiVersion: "v1", kind: "DeleteOptions", ...deleteOptions };
      await send("DELETE", pathOf(kind, ref), [], json(body));
    },
    post: (kind, ref, subresource, body) =>
      object(send("POST", pathOf(kind, { ...ref, subresource }), [], json(body))),
  };
}

const initialEventsMatch = ["resourceVersionMatch", "NotOlderThan"] as const;
