/**
 * Request, Response, Handler: how anyone speaks to the API server. The server's handler chain is a Handler; so is a client's
 * transport: "direct" calls the chain in this process with a fixed identity, "remote" speaks HTTPS. Neither side can tell.
 */
import type { Bytes, Duplex, Source } from "#ports/stream.ts";

export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export interface ApiRequest {
  readonly method: string;
  /** Percent-encoded, without the query. */
  readonly path: string;
  /** Decoded; in order. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** `object` (in process): read by the server, never kept, never frozen: it is copied by schema on the way in. */
  readonly body?: { readonly bytes: Bytes } | { readonly object: object };
  /** Fires when the asker is gone or has given up. */
  readonly gone: AbortSignal;
  /** The asker wants values, not bytes: objects come frozen and shared, watches as events. */
  readonly direct: boolean;
  /** Set by a direct transport, or by the authentication stage. */
  readonly user?: User;
  /** What the connection proved: the client's certificate chain (DER, leaf first; not yet judged) and address. */
  readonly peer?: { readonly address: string; readonly certificates: readonly Bytes[] };
}

export interface WatchEvent<T = object> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

export type Content =
  /** Frozen. `encoded` gives the bytes of a media type, cached or spliced, where the server has them. */
  | {
      readonly type: "object";
      readonly object: object;
      readonly encoded?: (mediaType: string) => readonly Bytes[] | undefined;
    }
  | { readonly type: "watch"; readonly events: Source<WatchEvent> }
  | { readonly type: "bytes"; readonly mediaType: string; readonly bytes: Bytes }
  | { readonly type: "stream"; readonly mediaType: string; readonly bytes: Source<Bytes> }
  /** With status 101: `run` owns the connection from then on. */
  | { readonly type: "upgrade"; readonly run: (raw: Duplex) => void };

export interface ApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly content: Content;
}

/** Rejects with StatusError only where the transport itself failed; API errors are responses with a Status object. */
export type Handler = (request: ApiRequest) => Promise<ApiResponse>;
