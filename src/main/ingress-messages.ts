/** What the node's thread and the thread of its ingress say to each other. */
import type { LogLevel } from "#adapters/nodejs/log.ts";
import type { ProxyBackend, ProxyPort, ProxyTable } from "#ports/http-proxy.ts";

export type ProxyOrder =
  | { readonly what: "table"; readonly table: ProxyTable }
  | {
      readonly what: "backends";
      readonly changes: ReadonlyMap<string, ProxyBackend | undefined>;
    }
  | { readonly what: "listen" }
  | { readonly what: "close"; readonly graceMs: number };

export interface IngressInput {
  readonly host: string;
  readonly ports: readonly [usual: number, ...instead: number[]];
  readonly tlsPorts: readonly [usual: number, ...instead: number[]];
  readonly logLevel: LogLevel;
}

export type ToIngress =
  /** The first thing that it hears. */
  | { readonly type: "open"; readonly input: IngressInput }
  | { readonly type: "order"; readonly id: number; readonly order: ProxyOrder }
  /** The last piece of log is written. */
  | { readonly type: "wrote" };

export type FromIngress =
  | { readonly type: "done"; readonly id: number; readonly ports?: readonly ProxyPort[] }
  | { readonly type: "failed"; readonly id: number; readonly why: string }
  | { readonly type: "log"; readonly text: string };
