import type { Bytes, Duplex, Source } from "./stream.ts";

export type Address = { readonly host: string; readonly port: number } | { readonly unix: string };

/** PEM throughout. `identity()` is asked at each handshake, so certificates reload without a restart. */
export interface ServerTls {
  readonly identity: (serverName: string | undefined) => {
    readonly chain: string;
    readonly key: string;
  };
  /** Ask clients for a certificate (never required here: judging it is authentication's business). */
  readonly askClient?: boolean;
  /** Names offered by ALPN for raw listeners, best first. */
  readonly protocols?: readonly string[];
}
export interface ClientTls {
  /** Trusted roots; without them the system's. */
  readonly roots?: string;
  readonly identity?: () => { readonly chain: string; readonly key: string };
  readonly serverName?: string;
  readonly insecure?: boolean;
  readonly protocols?: readonly string[];
}

/**
 * Header names in lower case; several values of one name joined by ", " (set-cookie: by "\n"; so are those of x-remote-… that are sent,
 * where each must be a line of its own).
 */
export type Headers = Readonly<Record<string, string>>;

export interface HttpRequest {
  readonly method: string;
  /** Path and query exactly as sent. */
  readonly target: string;
  readonly headers: Headers;
  /** Whole when it was small and complete, else a stream; undefined: none. */
  readonly body?: Bytes | Source<Bytes>;
  /** Fires when the peer is gone before the answer was complete. */
  readonly gone: AbortSignal;
  readonly peer?: {
    readonly address: string;
    /** DER, leaf first: possession of the leaf's key is proved, the chain is not judged. */
    readonly certificates: readonly Bytes[];
  };
}
export interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body?: Bytes | Source<Bytes>;
  readonly trailers?: Promise<Headers>;
  /** Compress if the client accepts gzip and the body is whole and at least 128 KiB. */
  readonly gzip?: boolean;
  /** With status 101: what happens then. Its first read gives what the peer already sent behind the head. */
  readonly upgrade?: (raw: Duplex) => void;
}
export type HttpHandler = (request: HttpRequest) => Promise<HttpResponse>;

/** What a server of HTTP is told besides where and by whom. */
export interface ServeOptions {
  readonly tls?: ServerTls;
  /** A whole body up to this is handed over as Bytes; a larger one is answered 413 before the handler. */
  readonly bodyBytesMax: number;
  /** What a larger body is answered instead of a plain text. Its own body, if any, is whole. */
  readonly tooLarge?: HttpResponse;
}

export interface Listener {
  readonly address: Address;
  /** Refuses new work at once, waits up to `graceMs` for what is running, then cuts it. */
  close(graceMs: number): Promise<void>;
}

export interface HttpClient {
  /** Rejects with NetworkError. With status 101 `raw` is the connection. */
  send(request: {
    readonly method: string;
    readonly target: string;
    readonly headers?: Headers;
    readonly body?: Bytes | Source<Bytes>;
    /** Cancels the request. */
    readonly signal?: AbortSignal;
  }): Promise<{
    readonly status: number;
    readonly headers: Headers;
    readonly body: Source<Bytes>;
    readonly trailers: Promise<Headers>;
    readonly raw?: Duplex;
  }>;
  close(): void;
}

/**
 * `code`: ECONNREFUSED, ECONNRESET, ETIMEDOUT, ENOTFOUND, EADDRINUSE, EACCES, … as the system has them, and: ETLS (the
 * handshake failed or the certificate is not trusted), ECANCELED (by the request's signal, or the client was closed),
 * EREFUSEDSTREAM (HTTP/2: not processed, may be sent again), EBADHTTP (the peer does not speak HTTP), EINVAL.
 */
export class NetworkError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "NetworkError";
    this.code = code;
  }
}

export interface UdpSocket extends Listener {
  send(bytes: Bytes, to: { readonly host: string; readonly port: number }): void;
}

export interface Network {
  connect(
    to: Address,
    options?: { readonly tls?: ClientTls; readonly timeoutMs?: number },
  ): Promise<Duplex>;
  listen(
    at: Address,
    options: { readonly tls?: ServerTls },
    accept: (connection: Duplex, from: Address) => void,
  ): Promise<Listener>;
  /** HTTP/1.1 and, behind TLS by ALPN (or with prior knowledge on unix sockets), HTTP/2 on one port. Port 0: a free one. */
  serve(at: Address, options: ServeOptions, handle: HttpHandler): Promise<Listener>;
  /** Keeps connections. `version` 2 multiplexes over one. */
  http(
    to: Address,
    options: { readonly tls?: ClientTls; readonly version: 1 | 2; readonly connections?: number },
  ): HttpClient;
  udp(
    at: { readonly host: string; readonly port: number },
    got: (bytes: Bytes, from: { readonly host: string; readonly port: number }) => void,
  ): Promise<UdpSocket>;
  /** Addresses of a name, as the system resolves it; empty if it has none. */
  resolve(name: string): Promise<readonly string[]>;
}
