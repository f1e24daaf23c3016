/**
 * Client: typed verbs over a Handler. The same in process and over HTTPS: objects that come back are frozen and may be shared
 * with others; what goes in is copied. Every verb rejects with StatusError when the server refuses.
 */
import type { Handler, WatchEvent } from "#api/request.ts";
import type { Kind } from "#api/resource.ts";
import type { ApiList, ApiObject, Stored } from "#machinery/meta.ts";
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
