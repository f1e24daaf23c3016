/**
 * Dataplane: what the kernel (or the simulation) does with packets, said as keyed facts, never as rules.
 * The key names the fact for good: `service/ns/name:port`, `hostport/uid/8080`, `masquerade/…`.
 */
import type { Source } from "./stream.ts";

export type Protocol = "TCP" | "UDP" | "SCTP";
export interface Backend {
  readonly address: string;
  readonly port: number;
  readonly local: boolean;
}
/** One port of a Service. Without backends connections to it are refused at once. */
export interface ServiceFact {
  readonly type: "service";
  readonly protocol: Protocol;
  readonly port: number;
  /** Cluster IPs. */
  readonly addresses: readonly string[];
  /** External and load-balancer IPs. */
  readonly externalAddresses: readonly string[];
  readonly nodePort?: number;
  readonly backends: readonly Backend[];
  /** Only local backends for traffic that came from outside (keeps the source address), or from inside. */
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  /** ClientIP affinity. */
  readonly affinitySeconds?: number;
  /** CIDRs that may use externalAddresses; empty: all. */
  readonly sourceRanges: readonly string[];
}
/** A container's hostPort. */
export interface HostPortFact {
  readonly type: "hostPort";
  readonly protocol: Protocol;
  /** Empty: every address of the host. */
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly backend: { readonly address: string; readonly port: number };
}
/** Traffic from `source` to anywhere but `except` leaves with the host's address. */
export interface MasqueradeFact {
  readonly type: "masquerade";
  readonly source: string;
  readonly except: readonly string[];
}
/** A packet route: to another node's pods, or (gateway undefined) one that only has to exist. */
export interface RouteFact {
  readonly type: "route";
  readonly destination: string;
  readonly gateway?: string;
  /** The host's own address that packets of its own carry. */
  readonly source?: string;
}
export type DataplaneFact = ServiceFact | HostPortFact | MasqueradeFact | RouteFact;

export interface Dataplane {
  /** One atomic change as seen by packets; undefined deletes. Only what really changed is touched. */
  apply(changes: ReadonlyMap<string, DataplaneFact | undefined>): Promise<void>;
  /** Everything that is to hold from now on; what an earlier life left behind and is not in it goes. */
  replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void>;
  /** Someone else changed or flushed what we put there: the caller answers with replace(). */
  disturbed(): Source<string>;
  /** Takes everything of ours away. */
  remove(): Promise<void>;
}
