/**
 * HttpProxy: takes HTTP in at the machine's ports and leads it to backends: said as routes and endpoints, never as settings. What a
 * request means to the world outside (X-Forwarded-…, retries, keeping connections) is the same on every adapter.
 */
import type { Protocol } from "./dataplane.ts";

export interface ProxyEndpoint {
  readonly address: string;
  readonly port: number;
}
/** Without endpoints requests for it are answered 503. */
export interface ProxyBackend {
  readonly endpoints: readonly ProxyEndpoint[];
  /** How it is spoken to; "https" trusts whatever certificate it shows. */
  readonly protocol: "http" | "https" | "h2c";
}
export interface ProxyRoute {
  /** Exact: this path. Prefix: this path and all below it, element by element. */
  readonly match: "exact" | "prefix";
  readonly path: string;
  /** Key of a backend. */
  readonly backend: string;
}
export interface ProxyHost {
  /** A name; "*.example.com" for any one label in front; "" for every other host. */
  readonly host: string;
  readonly routes: readonly ProxyRoute[];
}
export interface ProxyCertificate {
  /** As in ProxyHost; none: for whoever asks for a name that no certificate has. */
  readonly hosts: readonly string[];
  /** PEM. */
  readonly chain: string;
  readonly key: string;
}
export interface ProxyTable {
  readonly hosts: readonly ProxyHost[];
  readonly certificates: readonly ProxyCertificate[];
}

/** A port where it listens, in place of the one that is usual. */
export interface ProxyPort {
  readonly usual: number;
  /** Undefined: neither the usual one nor its substitute was free. */
  readonly port: number | undefined;
  readonly tls: boolean;
  readonly protocol: Protocol;
}

export interface HttpProxy {
  /** Begins to listen if it does not yet. Listens without TLS and with it. */
  listen(): Promise<readonly ProxyPort[]>;
  /** What holds for new requests from now on; resolves when it does. Requests under way end as they began. */
  setTable(table: ProxyTable): Promise<void>;
  /** Undefined: gone. */
  setBackends(changes: ReadonlyMap<string, ProxyBackend | undefined>): Promise<void>;
  /** Takes nothing new, lets what is under way end within `graceMs`, frees the ports. It may be begun again. */
  close(graceMs: number): Promise<void>;
}
