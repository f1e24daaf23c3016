/** Reader: how authentication, authorization and admission look at stored objects: synchronously, in the watch caches. */
import type { ApiObject } from "#machinery/meta.ts";

export interface ResourceRef {
  readonly group: string;
  readonly plural: string;
}

export interface Reader {
  /** Frozen. Undefined: no such object, or no such kind. An object in an embedded store is never staler than the last acknowledged write. */
  get(resource: ResourceRef, namespace: string, name: string): ApiObject | undefined;
  /** Every object of the kind, or of the kind in a namespace, frozen. */
  list(resource: ResourceRef, namespace?: string): Iterable<ApiObject>;
  /** Resolves once get() and list() see every write that was acknowledged before now, by whichever server. */
  fresh(): Promise<void>;
}
